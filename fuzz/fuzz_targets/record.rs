//! Records of bucket `key`: what parses is spliced back to the same bytes but
//! for the value.
#![no_main]

use etcd_rekey::etcd::{KeyValue, RevisionKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8])| {
    let (record, value) = input;
    if let Some(key) = RevisionKey::parse(record) {
        assert_eq!(key.encode(), record);
    }
    let Ok(kv) = KeyValue::parse(record) else { return };
    let mut out = Vec::new();
    kv.put_before(&mut out, value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(kv.after);
    assert_eq!(out.len(), kv.spliced_len(value.len()));
    let again = KeyValue::parse(&out).expect("a spliced record parses");
    assert_eq!((again.value, again.before, again.after), (value, kv.before, kv.after));
    assert_eq!((again.mod_revision, again.version, again.lease), (kv.mod_revision, kv.version, kv.lease));
});
