//! Pages and trees: whatever the bytes, the walk ends with a list of defects,
//! and what it calls sound can be read to its end.
#![no_main]

use etcd_rekey::bolt::check::Thoroughness;
use etcd_rekey::bolt::{Database, survey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(db) = Database::open(bytes) else { return };
    let found = survey(&db, Thoroughness::FULL);
    if found.defects.is_empty() {
        let mut held = 0;
        for bucket in &found.buckets {
            for entry in bucket.entries() {
                let entry = entry.expect("a sound file is read to its end");
                held += entry.key.len() + if entry.is_bucket() { 0 } else { entry.value.len() };
            }
        }
        assert!(held <= bytes.len(), "no byte belongs to two elements");
    }
});
