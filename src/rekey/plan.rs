//! What becomes of every value, and every size, before anything is written.

use super::changes::{Change, Changes, ChangesPart};
use super::error::{Error, UnreadableValue};
use super::options::Options;
use super::progress::Progress;
use super::rules::{Rules, State, Verdict};
use super::source::{SnapshotFile, Source};
use super::tally::{Count, Tally};
use crate::bolt::{Leaf, entries_of};
use crate::etcd::history::Record;
use crate::etcd::{History, escape};
use crate::kube::Seal;
use rayon::prelude::*;
use zeroize::Zeroizing;

/// What a run does besides sealing values anew.
#[derive(Debug, Default)]
pub struct Besides {
    /// Values of single entries, by their numbers, in order.
    pub values: Vec<(u64, Vec<u8>)>,
    /// Leave out superseded revisions and deleted keys.
    pub compact: bool,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Every value is opened: what does not open is known, all of it.
    Inside,
    /// What a value says of itself is believed where that is enough to tell
    /// its new length. It is opened only when it is rewritten, and the plan
    /// made again, looking inside, when one does not open then.
    Outside,
}

/// What a pass over the values found.
#[derive(Debug, Default)]
pub struct Plan {
    /// What becomes of each entry.
    pub changes: Changes,
    /// Values by what they are and what they are to be.
    pub values: Tally<(State, State)>,
    /// Values to be sealed anew.
    pub reseal: Count,
    /// Values that stay as they are, sealed with the right key already.
    pub unchanged: Count,
    /// Foreign keys whose values look sealed.
    pub foreign_sealed: u64,
    /// Values no key opens.
    pub unreadable: Vec<UnreadableValue>,
    /// Sealed values that would become plaintext: how many, the resource and
    /// key of the first.
    pub to_plaintext: Option<(u64, String, String)>,
    /// Values of 1.5 MiB less a margin or more, which etcd would not take again.
    pub oversize: u64,
    /// Entries left out.
    pub dropped: u64,
    /// Values under the prefix of Kubernetes' keys.
    pub kubernetes: u64,
    /// The first foreign key whose value looks sealed.
    pub first_foreign: Option<String>,
}

/// etcd's default limit of a request is 1.5 MiB; the rest of a request must
/// fit as well.
const LARGE_VALUE: usize = (1536 - 64) << 10;

/// Leaves judged in one go.
const CHUNK: usize = 64;

impl Plan {
    /// Judges every record of the `key` bucket, many at a time.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Interrupted`].
    pub fn make(
        file: &SnapshotFile,
        source: &Source<'_>,
        rules: &Rules,
        besides: &Besides,
        look: Look,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let (_, keys) = source.keys().map_err(|e| file.error(e))?;
        let mut changes = Changes::of(keys.entries);
        let mut rest = changes.all();
        let mut parts = Vec::new();
        for (number, leaves) in keys.leaves.chunks(CHUNK).enumerate() {
            let first = leaves.first().map_or(0, |leaf| leaf.first_entry);
            let end = keys.leaves.get((number + 1) * CHUNK).map_or(keys.entries, |leaf| leaf.first_entry);
            let (part, more) = rest.split(end - first);
            parts.push((leaves, part));
            rest = more;
        }
        let made: Vec<Result<Self, Error>> = parts
            .into_par_iter()
            .map_init(
                || Zeroizing::new(Vec::new()),
                |opened, (leaves, part)| {
                    if progress.stop() {
                        return Err(Error::Interrupted);
                    }
                    Self::of_leaves(file, leaves, part, &source.history, (rules, besides, look), opened)
                },
            )
            .collect();
        let mut plan = Self::default();
        for part in made {
            plan.merge(part?);
        }
        plan.changes = changes;
        Ok(plan)
    }

    /// Refuses what must not be written.
    ///
    /// # Errors
    /// [`Error::NothingUnderPrefix`], [`Error::Unreadable`],
    /// [`Error::WouldBePlaintext`].
    pub fn refuse(&mut self, prefix: &str, options: &Options) -> Result<(), Error> {
        if let (0, Some(first)) = (self.kubernetes, self.first_foreign.take()) {
            return Err(Error::NothingUnderPrefix { prefix: prefix.to_owned(), first });
        }
        if !self.unreadable.is_empty() && !options.keep_unreadable {
            let values = std::mem::take(&mut self.unreadable);
            let current = values.iter().filter(|value| value.current).count();
            return Err(Error::Unreadable { values, current: u64::try_from(current).unwrap_or(0) });
        }
        match &self.to_plaintext {
            Some((count, resource, first)) if !options.allow_plaintext => {
                Err(Error::WouldBePlaintext { count: *count, resource: resource.clone(), first: first.clone() })
            }
            _ => Ok(()),
        }
    }

    fn of_leaves(
        file: &SnapshotFile,
        leaves: &[Leaf<'_>],
        mut changes: ChangesPart<'_>,
        history: &History,
        (rules, besides, look): (&Rules, &Besides, Look),
        opened: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let mut plan = Self::default();
        for entry in entries_of(leaves) {
            let (number, entry) = entry.map_err(|e| file.error(e))?;
            let record = Record::parse(number, &entry).map_err(|e| file.error(e))?;
            let live = history.is_live(number);
            if besides.compact && !live {
                plan.dropped += 1;
                changes.push(Change::Drop, 0);
            } else if let Ok(value) = besides.values.binary_search_by_key(&number, |(entry, _)| *entry) {
                let length = record.kv.spliced_len(besides.values[value].1.len());
                changes.push(Change::Replace(value), length);
            } else {
                let (change, length) = plan.judge((rules, look), &record, entry.value.len(), live, opened);
                changes.push(change, length);
            }
        }
        Ok(plan)
    }

    fn judge(
        &mut self,
        (rules, look): (&Rules, Look),
        record: &Record<'_>,
        length: usize,
        current: bool,
        opened: &mut Vec<u8>,
    ) -> (Change, usize) {
        let foreseen = if look == Look::Outside { rules.foresee(record) } else { None };
        let (judged, sealed) = foreseen.unwrap_or_else(|| {
            let judged = rules.judge(record, opened);
            let sealed = match judged.verdict {
                Verdict::Reseal { from: State::Plain, to } => rules.stored_len(to, record.kv.value.len()),
                Verdict::Reseal { to, .. } => rules.stored_len(to, opened.len()),
                _ => length,
            };
            (judged, sealed)
        });
        self.kubernetes += u64::from(judged.resource.is_some());
        let resource = judged.resource.unwrap_or_else(|| crate::kube::GroupResource::new("", ""));
        match judged.verdict {
            Verdict::Stays(state) => {
                if state != State::Plain {
                    self.unchanged.add(current);
                    self.values.add(resource, (state, state), current);
                }
                (Change::None, length)
            }
            Verdict::Reseal { from, to } => {
                if to == State::Plain {
                    let named = (1, resource.to_string(), escape(record.kv.key));
                    self.to_plaintext = Some(match self.to_plaintext.take() {
                        Some((count, resource, key)) => (count + 1, resource, key),
                        None => named,
                    });
                }
                self.oversize += u64::from(sealed >= LARGE_VALUE);
                self.reseal.add(current);
                self.values.add(resource, (from, to), current);
                (Change::Reseal { from, to }, record.kv.spliced_len(sealed))
            }
            Verdict::Unreadable(why) => {
                let seal = Seal::read(record.kv.value);
                self.unreadable.push(UnreadableValue {
                    key: escape(record.kv.key),
                    revision: record.revision.revision.to_string(),
                    current,
                    provider: seal.provider,
                    key_name: seal.name,
                    error: why.to_string(),
                });
                (Change::None, length)
            }
            Verdict::Foreign { looks_sealed } => {
                self.foreign_sealed += u64::from(looks_sealed);
                if looks_sealed {
                    self.first_foreign.get_or_insert_with(|| escape(record.kv.key));
                }
                (Change::None, length)
            }
            Verdict::Empty => (Change::None, length),
        }
    }

    fn merge(&mut self, other: Self) {
        self.values.merge(other.values);
        self.reseal.merge(other.reseal);
        self.unchanged.merge(other.unchanged);
        self.foreign_sealed += other.foreign_sealed;
        self.unreadable.extend(other.unreadable);
        self.to_plaintext = match (self.to_plaintext.take(), other.to_plaintext) {
            (Some((a, resource, key)), Some((b, _, _))) => Some((a + b, resource, key)),
            (mine, theirs) => mine.or(theirs),
        };
        self.oversize += other.oversize;
        self.dropped += other.dropped;
        self.kubernetes += other.kubernetes;
        self.first_foreign = self.first_foreign.take().or(other.first_foreign);
    }
}
