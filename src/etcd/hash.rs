//! The hashes etcd prints: both are CRC-32C (Castagnoli).
//!
//! * Status hash (`snapshot status`): over each top-level bucket in key order
//!   its name, then each key and value. Source: etcd
//!   `etcdutl/snapshot/v3_snapshot.go`.
//! * HashKV (`endpoint hashkv`): over the name `key`, then key and value of
//!   each entry of that bucket that a compaction would have kept. Source:
//!   etcd `server/storage/mvcc/hash.go`.

use super::history::History;
use super::{KEY_BUCKET, RevisionKey};
use crate::bolt::{Bucket, Defect, Entry, Survey};
use crc_fast::{CrcAlgorithm, Digest};

/// A running CRC-32C, which can be computed in parts.
#[derive(Debug, Clone, Copy)]
pub struct Checksum(Digest);

impl Default for Checksum {
    fn default() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }
}

impl Checksum {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Adds an entry: its key, then its value. The value of a bucket is not
    /// part of any of etcd's hashes.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        self.0.update(entry.key);
        if !entry.is_bucket() {
            self.0.update(entry.value);
        }
    }

    /// Adds all that `next` was given.
    pub fn append(&mut self, next: &Self) {
        // Joining two sums takes as long as summing tens of kilobytes.
        if self.is_empty() {
            *self = *next;
        } else if !next.is_empty() {
            self.0.combine(&next.0);
        }
    }

    /// Whether nothing was added so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.get_amount() == 0
    }

    /// The CRC of everything added so far.
    #[must_use]
    pub fn value(&self) -> u32 {
        u32::try_from(self.0.finalize()).unwrap_or(u32::MAX)
    }
}

/// The CRC of all entries of a bucket.
///
/// # Errors
/// As [`Bucket::entries`].
pub fn bucket_checksum(bucket: &Bucket<'_>) -> Result<Checksum, Defect> {
    let mut sum = Checksum::default();
    for entry in bucket.entries() {
        sum.entry(&entry?);
    }
    Ok(sum)
}

/// The hash of `snapshot status`. `key_bucket` is the CRC of the entries of
/// bucket `key`, which the caller has from elsewhere.
///
/// # Errors
/// As [`Bucket::entries`].
pub fn status_hash(survey: &Survey<'_>, key_bucket: &Checksum) -> Result<u32, Defect> {
    let mut sum = Checksum::default();
    for (_, bucket) in survey.inside(0) {
        sum.update(bucket.name);
        if bucket.name == KEY_BUCKET {
            sum.append(key_bucket);
        } else {
            sum.append(&bucket_checksum(bucket)?);
        }
    }
    Ok(sum.value())
}

/// HashKV at the current revision, from the CRC of the entries it covers.
#[must_use]
pub fn hash_kv(covered: &Checksum) -> u32 {
    let mut sum = Checksum::default();
    sum.update(KEY_BUCKET);
    sum.append(covered);
    sum.value()
}

/// Both hashes of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    /// `snapshot status`.
    pub status: u32,
    /// `endpoint hashkv`.
    pub kv: u32,
}

/// Whether HashKV covers entry number `entry` of bucket `key`.
///
/// Entries at or below the compacted revision count only where a compaction
/// would keep them; a tombstone right at it never does (etcd from 3.4.34,
/// 3.5.16 and 3.6 on).
#[must_use]
pub fn hash_kv_covers(history: &History, entry: u64, key: RevisionKey) -> bool {
    if key.revision.main > history.compact_revision {
        return true;
    }
    if key.tombstone && key.revision.main == history.compact_revision {
        return false;
    }
    history.live_count() == 0 || history.is_live(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> Checksum {
        let mut sum = Checksum::default();
        sum.update(bytes);
        sum
    }

    #[test]
    fn the_polynomial_is_castagnolis() {
        assert_eq!(sum(b"123456789").value(), 0xe306_9283);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let mut parts = sum(b"1234");
        parts.append(&sum(b""));
        parts.append(&sum(b"56789"));
        assert_eq!(parts.value(), 0xe306_9283);
    }

    #[test]
    fn hash_kv_matches_etcds_pinned_vectors() {
        assert_eq!(hash_kv(&Checksum::default()), 1_084_519_789);
        // put("test-key", "test-value", lease 1) at revision 2.
        let mut covered = Checksum::default();
        covered.update(
            &RevisionKey { revision: crate::etcd::Revision { main: 2, sub: 0 }, tombstone: false }.encode(),
        );
        covered.update(b"\x0a\x08test-key\x10\x02\x18\x02\x20\x01\x2a\x0atest-value\x30\x01");
        assert_eq!(hash_kv(&covered), 645_561_629);
    }
}
