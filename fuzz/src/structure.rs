//! Files of pages: whatever the bytes, the walk ends with a list of defects,
//! and what it calls sound can be read to its end.
//!
//! The last byte says which metas get a right checksum: else no change of one
//! would ever be looked behind.

use etcd_rekey::bolt::meta::{MAGIC, META_SIZE, VERSION};
use etcd_rekey::bolt::page::HEADER;
use etcd_rekey::bolt::{Database, survey};
use etcd_rekey::bolt::{Survey, Thoroughness};

/// Holds the promise to a file and the byte behind it.
pub fn check(input: &[u8]) {
    let (how, file) = super::choice(input);
    let mut file = file.to_vec();
    mend(&mut file, how);
    walk(&file);
}

/// Makes the checksums of the metas right that bits 0 and 1 of `how` name.
pub fn mend(file: &mut [u8], how: u8) {
    let size = file.get(HEADER + 8..HEADER + 12).and_then(|size| size.try_into().ok()).map(u32::from_le_bytes);
    let second = size.and_then(|size| usize::try_from(size).ok()).filter(|size| size.is_power_of_two());
    for (bit, at) in [(1, 0), (2, second.unwrap_or(4096))] {
        let meta = at.checked_add(HEADER).and_then(|from| file.get_mut(from..from.checked_add(META_SIZE)?));
        if let Some(meta) = meta.filter(|_| how & bit != 0) {
            meta[..4].copy_from_slice(&MAGIC.to_le_bytes());
            meta[4..8].copy_from_slice(&VERSION.to_le_bytes());
            let sum = meta[..META_SIZE - 8].iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
                (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            meta[META_SIZE - 8..].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

/// Walks a file, and reads what is sound to its end; the survey, where it is.
pub fn walk(file: &[u8]) -> Option<Survey<'_>> {
    let db = Database::open(file).ok()?;
    let found = survey(&db, Thoroughness::FULL);
    let strict = survey(&db, Thoroughness::STRICT);
    assert_eq!(
        strict.defects.first(),
        found.defects.first(),
        "the first defect is the same, however many are listed"
    );
    if !found.defects.is_empty() {
        return None;
    }
    let mut held = 0;
    for bucket in &found.buckets {
        let mut entries = 0;
        let mut last: Option<&[u8]> = None;
        for entry in bucket.entries() {
            let entry = entry.expect("a sound file is read to its end");
            assert!(last.is_none_or(|last| last < entry.key), "keys ascend");
            assert_eq!(bucket.entry(entries), Some(entry), "an entry is found by its number");
            last = Some(entry.key);
            entries += 1;
            held += entry.key.len() + if entry.is_bucket() { 0 } else { entry.value.len() };
        }
        assert_eq!(entries, bucket.entries);
    }
    assert!(held <= file.len(), "no byte belongs to two elements");
    assert_eq!(found.used.len() + found.free_pages, db.pages(), "every page is in use or free");
    Some(found)
}
