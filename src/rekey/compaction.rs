//! Compaction on the way: superseded revisions and deleted keys are left out,
//! and the marks say so, as after etcd's own compaction at the newest
//! revision. Source: etcd `server/storage/mvcc/kvstore.go`,
//! `kvstore_compaction.go`.

use crate::bolt::Entry;
use crate::etcd::{Error, META_BUCKET, Revision, RevisionKey};
use crate::rekey::source::Source;

const MARKS: [&[u8]; 2] = [b"finishedCompactRev", b"scheduledCompactRev"];

/// A compaction at a revision.
#[derive(Debug, Clone)]
pub struct Compaction {
    mark: Vec<u8>,
}

impl Compaction {
    /// At the newest revision of a snapshot.
    #[must_use]
    pub fn newest(source: &Source<'_>) -> Self {
        let revision = Revision { main: source.history.revision, sub: 0 };
        Self { mark: RevisionKey { revision, tombstone: false }.encode() }
    }

    /// Whether a snapshot bears the marks of this compaction; one whose marks
    /// cannot be read bears none.
    #[must_use]
    pub fn marks(&self, source: &Source<'_>) -> bool {
        let Some((_, bucket)) = source.survey.bucket(META_BUCKET) else { return false };
        let ours =
            bucket.entries().flatten().filter(|entry| MARKS.contains(&entry.key) && entry.value == self.mark);
        ours.count() == MARKS.len()
    }

    /// The bucket of marks, and its entries with the marks of this compaction
    /// among them.
    ///
    /// # Errors
    /// [`Error::NoMetaBucket`]: a store without the marks would answer for
    /// revisions that are gone; and as [`crate::bolt::Bucket::entries`].
    pub fn marked<'m>(&'m self, source: &Source<'m>) -> Result<(usize, Vec<Entry<'m>>), Error> {
        let (number, bucket) = source.survey.bucket(META_BUCKET).ok_or(Error::NoMetaBucket)?;
        let mut entries = Vec::new();
        for entry in bucket.entries() {
            let entry = entry?;
            if !MARKS.contains(&entry.key) {
                entries.push(entry);
            }
        }
        entries.extend(MARKS.map(|key| Entry { flags: 0, key, value: &self.mark }));
        entries.sort_by_key(|entry| entry.key);
        Ok((number, entries))
    }
}
