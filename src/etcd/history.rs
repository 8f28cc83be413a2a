//! Which entries of the `key` bucket are current, and what was compacted.

use super::{Error, KEY_BUCKET, KeyValue, META_BUCKET, RevisionKey, escape};
use crate::bolt::{Bucket, Entry, Leaf, Survey, entries_of};
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use rayon::prelude::*;
use std::hash::BuildHasher;

/// One entry of the `key` bucket, parsed.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its revision.
    pub revision: RevisionKey,
    /// Its record.
    pub kv: KeyValue<'a>,
}

impl<'a> Record<'a> {
    /// Parses entry number `number`.
    ///
    /// # Errors
    /// [`Error::RevisionKey`], [`Error::Record`].
    pub fn parse(number: u64, entry: &Entry<'a>) -> Result<Self, Error> {
        let revision = RevisionKey::parse(entry.key)
            .filter(|_| !entry.is_bucket())
            .ok_or_else(|| Error::RevisionKey { entry: number, key: escape(entry.key) })?;
        let kv = KeyValue::parse(entry.value)
            .map_err(|why| Error::Record { revision: revision.revision.to_string(), why })?;
        Ok(Self { revision, kv })
    }
}

/// What a pass over the `key` bucket tells: one bit an entry, and the marks.
#[derive(Debug, Clone)]
pub struct History {
    live: Vec<u64>,
    live_count: u64,
    /// The revision of the newest entry, or of the newest compaction where
    /// that is later; 1 in an empty store.
    pub revision: i64,
    /// `finishedCompactRev`, or -1.
    pub compact_revision: i64,
    /// The storage version etcd 3.6 and later write.
    pub storage_version: Option<String>,
}

/// Entries parsed before their keys are looked up, about: what is known of
/// them meanwhile stays in the caches.
const WAVE: u64 = 16 << 10;
/// Leaves parsed in one go.
const LEAVES: usize = 64;

/// What some leaves hold.
#[derive(Default)]
struct Records {
    /// The hashes of their keys, their numbers, and whether they are tombstones.
    met: Vec<(u64, u32, bool)>,
    /// The highest revision.
    revision: i64,
}

impl Records {
    fn on(leaves: &[Leaf<'_>], state: &RandomState) -> Result<Self, Error> {
        let mut records = Self::default();
        for entry in entries_of(leaves) {
            let (entry, element) = entry?;
            let record = Record::parse(entry, &element)?;
            let number = u32::try_from(entry).map_err(|_| Error::TooManyEntries { entries: entry })?;
            records.met.push((state.hash_one(record.kv.key), number, record.revision.tombstone));
            records.revision = records.revision.max(record.revision.revision.main);
        }
        Ok(records)
    }
}

impl History {
    /// Goes through the `key` bucket from its end, so that the first record
    /// met of a key is its newest. Every record is parsed on the way, many
    /// at a time.
    ///
    /// # Errors
    /// [`Error::RevisionKey`], [`Error::Record`], [`Error::CompactRevision`],
    /// [`Error::TooManyEntries`].
    pub fn read(survey: &Survey<'_>, bucket: &Bucket<'_>) -> Result<Self, Error> {
        Self::through(survey, bucket, &|| true)
    }

    /// The same, for as long as `go_on` says so; `None` when stopped.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn read_while(
        survey: &Survey<'_>,
        bucket: &Bucket<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, Error> {
        let history = Self::through(survey, bucket, go_on)?;
        Ok(go_on().then_some(history))
    }

    fn through(survey: &Survey<'_>, bucket: &Bucket<'_>, go_on: &dyn Fn() -> bool) -> Result<Self, Error> {
        let words = usize::try_from(bucket.entries.div_ceil(64)).unwrap_or(0);
        let mut history = Self {
            live: vec![0; words],
            live_count: 0,
            revision: 1,
            compact_revision: -1,
            storage_version: None,
        };
        // The keys met so far, each as the number of its newest entry and a
        // part of its hash: eight bytes, where a key itself would take
        // sixteen and more, and is looked up only where the part is the same.
        // They are not the program's own choice, so the hash is seeded.
        let state = RandomState::default();
        let key_at = |number: u32| Some(KeyValue::parse(bucket.entry(u64::from(number))?.value).ok()?.key);
        let mut seen = HashTable::with_capacity(usize::try_from(bucket.entries).unwrap_or(0));
        let mut rest = bucket.leaves.as_slice();
        while let Some(last) = rest.last().filter(|_| go_on()) {
            let first = rest.partition_point(|leaf| leaf.first_entry + WAVE <= last.first_entry);
            let (before, wave) = rest.split_at(first);
            rest = before;
            let parts: Vec<_> = wave.par_rchunks(LEAVES).map(|leaves| Records::on(leaves, &state)).collect();
            for part in parts {
                let part = part?;
                history.revision = history.revision.max(part.revision);
                for (hash, number, tombstone) in part.met.into_iter().rev() {
                    let same = |(met, part): &(u32, u32)| {
                        *part == high(hash) && key_at(number).is_some_and(|key| key_at(*met) == Some(key))
                    };
                    if seen.find(hash, same).is_none() {
                        let again = |(met, _): &(u32, u32)| state.hash_one(key_at(*met).unwrap_or_default());
                        seen.insert_unique(hash, (number, high(hash)), again);
                        if !tombstone {
                            history.mark(u64::from(number));
                        }
                    }
                }
            }
        }
        history.marks(survey)?;
        Ok(history)
    }

    fn marks(&mut self, survey: &Survey<'_>) -> Result<(), Error> {
        let Some((_, meta)) = survey.bucket(META_BUCKET) else { return Ok(()) };
        for entry in meta.entries() {
            let entry = entry?;
            match entry.key {
                b"finishedCompactRev" | b"scheduledCompactRev" => {
                    let finished = entry.key.starts_with(b"f");
                    let key = if finished { "finishedCompactRev" } else { "scheduledCompactRev" };
                    let mark = RevisionKey::parse(entry.value).ok_or(Error::CompactRevision { key })?;
                    if finished {
                        self.compact_revision = mark.revision.main;
                    }
                    self.revision = self.revision.max(mark.revision.main);
                }
                b"storageVersion" => self.storage_version = Some(escape(entry.value)),
                _ => {}
            }
        }
        Ok(())
    }

    fn mark(&mut self, entry: u64) {
        let (word, bit) = place(entry);
        if let Some(word) = self.live.get_mut(word) {
            *word |= bit;
            self.live_count += 1;
        }
    }

    /// Whether entry number `entry` is the newest of its key, and no tombstone.
    #[must_use]
    pub fn is_live(&self, entry: u64) -> bool {
        let (word, bit) = place(entry);
        self.live.get(word).is_some_and(|word| word & bit != 0)
    }

    /// The number of the entry that is the `n`th of those that are live,
    /// counted from 0; the number of all entries and more when there are fewer.
    #[must_use]
    pub fn nth_live(&self, n: u64) -> u64 {
        let (mut left, mut at) = (n, 0);
        for word in &self.live {
            let ones = u64::from(word.count_ones());
            if left < ones {
                let bits = (0..64).filter(|bit| word & (1 << bit) != 0);
                return bits.zip(0..).find(|(_, i)| *i == left).map_or(at, |(bit, _)| at + bit);
            }
            (left, at) = (left - ones, at + 64);
        }
        at
    }

    /// How many keys there are: etcd 3.6's `totalKey`.
    #[must_use]
    pub fn live_count(&self) -> u64 {
        self.live_count
    }
}

/// The half of a hash that the table itself does not look at first.
fn high(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(0)
}

fn place(entry: u64) -> (usize, u64) {
    (usize::try_from(entry / 64).unwrap_or(usize::MAX), 1 << (entry % 64))
}

/// The `key` bucket of a surveyed file.
///
/// # Errors
/// [`Error::NoKeyBucket`].
pub fn key_bucket<'s, 'a>(survey: &'s Survey<'a>) -> Result<&'s Bucket<'a>, Error> {
    survey.bucket(KEY_BUCKET).map(|(_, bucket)| bucket).ok_or(Error::NoKeyBucket)
}
