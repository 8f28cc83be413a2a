//! The current keys of a snapshot, in key order, as a live etcd lists them.

use super::Error;
use crate::bolt::Bucket;
use crate::etcd::history::Record;
use crate::rekey::source::{SnapshotFile, Source};

/// The current keys of a snapshot. Of each its place in the file is kept, and
/// the number of its entry: 24 bytes.
pub struct Current<'s, 'a> {
    file: &'s SnapshotFile,
    bucket: &'s Bucket<'a>,
    /// In key order.
    keys: Vec<(&'a [u8], u32)>,
    /// The newest revision of the file.
    pub revision: i64,
}

impl<'s, 'a> Current<'s, 'a> {
    /// Gathers the current keys.
    ///
    /// # Errors
    /// [`crate::rekey::Error::Snapshot`].
    pub fn of(file: &'s SnapshotFile, source: &'s Source<'a>) -> Result<Self, Error> {
        let (_, bucket) = source.keys().map_err(|e| file.error(e))?;
        let mut keys = Vec::with_capacity(usize::try_from(source.history.live_count()).unwrap_or(0));
        for (number, entry) in (0u32..).zip(bucket.entries()) {
            let entry = entry.map_err(|e| file.error(e))?;
            if source.history.is_live(u64::from(number)) {
                let record = Record::parse(u64::from(number), &entry).map_err(|e| file.error(e))?;
                // The mark that a bumped revision leaves has no key.
                if !record.kv.key.is_empty() {
                    keys.push((record.kv.key, number));
                }
            }
        }
        keys.sort_unstable();
        Ok(Self { file, bucket, keys, revision: source.history.revision })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of the first key that is not less than `key`.
    #[must_use]
    pub fn place(&self, key: &[u8]) -> usize {
        self.keys.partition_point(|(ours, _)| *ours < key)
    }

    /// Key number `n` in key order.
    #[must_use]
    pub fn key(&self, n: usize) -> Option<&'a [u8]> {
        self.keys.get(n).map(|(key, _)| *key)
    }

    /// The record of key number `n`.
    ///
    /// # Errors
    /// [`crate::rekey::Error::Snapshot`]; it was read before.
    pub fn record(&self, n: usize) -> Result<Record<'a>, Error> {
        let number = self.keys.get(n).map_or(u64::MAX, |(_, number)| u64::from(*number));
        let entry =
            self.bucket.entry(number).ok_or_else(|| self.file.error(crate::etcd::Error::NoKeyBucket))?;
        Ok(Record::parse(number, &entry).map_err(|e| self.file.error(e))?)
    }

    /// How many keys from number `n` on make a page of at most `bytes`, and
    /// at most `most`; one at least.
    ///
    /// # Errors
    /// As [`Current::record`].
    pub fn page(&self, n: usize, bytes: usize, most: usize) -> Result<usize, Error> {
        let (mut count, mut sum) = (0, 0);
        while count < most && n + count < self.keys.len() {
            let kv = self.record(n + count)?.kv;
            // Besides the bytes themselves a record is numbers, about so long.
            sum += kv.key.len() + kv.value.len() + 64;
            if sum > bytes {
                break;
            }
            count += 1;
        }
        // Behind the last one there may be keys that the file does not have.
        Ok(if n + count >= self.keys.len() { most } else { count.max(1) })
    }
}
