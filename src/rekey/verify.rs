//! A second reader, which proves an output from the two files and the keys
//! alone, and trusts nothing of what wrote it.
//!
//! Shown are: the output's trailer and structure, with no free page and no
//! byte in use by nothing; the same buckets, sequences and entries as the
//! input; every record equal but for the value; every changed value opened by
//! the key that now writes its resource, to the plaintext the input holds; and
//! no value left that should have been changed.

use super::compaction::Compaction;
use super::error::Error;
use super::progress::{Phase, Progress};
use super::rules::{Rules, State, Verdict};
use super::source::{SnapshotFile, Source};
use super::sums::CheckSums;
use super::trailers::{self, Sum};
use super::verified::Verified;
use crate::bolt::meta::{Meta, NO_FREELIST};
use crate::bolt::{Entry, asked, entries_of};
use crate::etcd::hash::{hash_kv, hash_kv_covers};
use crate::etcd::history::Record;
use crate::etcd::{Hashes, History, RevisionKey, escape, status_hash};
use crate::k3s;
use crate::k3s::proof::{Outcome, Proof};
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Leaves compared in one go: so many that joining their sums is cheap beside it.
const LEAVES: usize = 256;

/// What may differ from a full rewrite.
#[derive(Clone, Copy, Default)]
pub struct Allowed<'p> {
    /// Values no key opens may be the same in both.
    pub unreadable: bool,
    /// Sealed values may have become plaintext.
    pub plaintext: bool,
    /// Superseded revisions and deleted keys must have been left out.
    pub compacted: bool,
    /// What a K3s record must have become.
    pub record: Option<&'p Proof>,
}

/// Compares an output with its input, and both with their trailers. The
/// output is to have been read with an eye on its unused bytes.
///
/// # Errors
/// [`Error::Snapshot`] for either file, [`Error::Interrupted`]. What differs
/// is in the result.
pub fn verify(
    input: (&SnapshotFile, &Source<'_>),
    output: (&SnapshotFile, &Source<'_>),
    rules: &Rules,
    allowed: Allowed<'_>,
    progress: &dyn Progress,
) -> Result<Verified, Error> {
    progress.phase(Phase::Verifying, 0);
    let snapshots = (input.0.snapshot()?, output.0.snapshot()?);
    let (sums, verified) = rayon::join(
        || trailers::both(Sum::of(snapshots.0.file), Sum::of(snapshots.1.file), || !progress.stop()),
        || compare(input, output, rules, allowed, progress),
    );
    let sums = sums.ok_or(Error::Interrupted)?;
    snapshots.0.compare_trailer(&sums.0).map_err(|e| input.0.error(e))?;
    snapshots.1.compare_trailer(&sums.1).map_err(|e| output.0.error(e))?;
    let mut verified = verified?;
    verified.trailer = Some(sums.1);
    Ok(verified)
}

/// Compares an output with its input, all but their trailers.
///
/// # Errors
/// As [`verify`].
pub fn compare(
    (input_file, input): (&SnapshotFile, &Source<'_>),
    (output_file, output): (&SnapshotFile, &Source<'_>),
    rules: &Rules,
    allowed: Allowed<'_>,
    progress: &dyn Progress,
) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    if output.db.page_size() != input.db.page_size() {
        verified.note("the page sizes differ".to_owned());
    }
    if output.survey.free_pages != 0 || output.survey.dirty != 0 {
        let (free, dirty) = (output.survey.free_pages, output.survey.dirty);
        verified.note(format!("the output is no fresh file: {free} free pages, {dirty} with unused bytes"));
    }
    // As a server's snapshot has them: a later transaction can fall back on either.
    let [first, second] = *output.db.metas();
    let alike = first.is_ok_and(|first| {
        let before = Meta { txid: first.txid.saturating_sub(1), ..first };
        first.freelist == NO_FREELIST && second == Ok(before)
    });
    verified.require(alike, || "the two metas of the output do not name the same pages".to_owned());
    if output_file.snapshot()?.trailer.is_none() || output.db.bytes().len() + 32 != output_file.map.len() {
        verified.note("the output is not exactly its pages and a trailer".to_owned());
    }
    let compaction = allowed.compacted.then(|| Compaction::newest(input));
    let marked = match &compaction {
        Some(compaction) => Some(compaction.marked(input).map_err(|e| input_file.error(e))?),
        None => None,
    };
    if !same_buckets(input, output, marked.as_ref()) {
        verified.note("the buckets differ in name, place, sequence or number of entries".to_owned());
        return Ok(verified);
    }
    let (keys, input_keys) = input.keys().map_err(|e| input_file.error(e))?;
    let (_, output_keys) = output.keys().map_err(|e| output_file.error(e))?;
    for (number, (ours, theirs)) in input.survey.buckets.iter().zip(&output.survey.buckets).enumerate() {
        match &marked {
            _ if number == keys => Ok(()),
            Some((other, entries)) if *other == number => {
                verified.same_entries(entries.iter().copied().map(Ok), theirs)
            }
            _ => verified.same_entries(ours.entries(), theirs),
        }
        .map_err(|e| input_file.error(e))?;
    }
    let comparison = Comparison { input: &input.history, output: &output.history, rules, allowed };
    let parts: Vec<Result<Verified, Error>> = output_keys
        .leaves
        .par_chunks(LEAVES)
        .map_init(Default::default, |scratch: &mut Scratch, leaves| {
            if progress.stop() {
                return Err(Error::Interrupted);
            }
            let mut part = Verified::default();
            let first = leaves.first().map_or(0, |leaf| leaf.first_entry);
            let first = if allowed.compacted { input.history.nth_live(first) } else { first };
            let ours = (first..).zip(input_keys.entries_from(first));
            let ours = ours.map(|(number, entry)| entry.map(|entry| (number, entry)));
            let kept = |number: u64| !allowed.compacted || input.history.is_live(number);
            let mut ours = asked(ours.filter(|ours| ours.as_ref().map_or(true, |(number, _)| kept(*number))));
            let mut theirs = entries_of(leaves);
            for (ours, theirs) in ours.by_ref().zip(theirs.by_ref()) {
                let (number, theirs) = theirs.map_err(|e| output_file.error(e))?;
                let (our_number, ours) = ours.map_err(|e| input_file.error(e))?;
                let (ours, theirs) = ((our_number, &ours), (number, &theirs));
                comparison.entry(ours, theirs, scratch, &mut part).map_err(|e| output_file.error(e))?;
                comparison.sum(ours, theirs, &mut part);
            }
            // As many as there are, by the buckets' own numbers.
            part.require(theirs.next().is_none(), || "the output has more entries".to_owned());
            Ok(part)
        })
        .collect();
    for part in parts {
        verified.merge(part?);
    }
    if let (0, 1..) = verified.under_prefix {
        verified.note("no key is Kubernetes' under this --etcd-prefix, but there are sealed values".to_owned());
    }
    let sums = verified.sums;
    let hashes = |file: &SnapshotFile, source: &Source<'_>, mut sums: CheckSums| {
        sums.settle();
        let status = status_hash(&source.survey, &sums.all).map_err(|e| file.error(e))?;
        Ok::<_, Error>(Hashes { status, kv: hash_kv(&sums.covered) })
    };
    // Entries left out were not met above.
    let of_input = if allowed.compacted {
        input.hashes().map_err(|e| input_file.error(e))?
    } else {
        hashes(input_file, input, sums.input)?
    };
    verified.hashes = Some((of_input, hashes(output_file, output, sums.output)?));
    Ok(verified)
}

/// Whether both files have the same buckets in the same places, with as many
/// entries; of a compacted output, as many as must be left.
fn same_buckets(input: &Source<'_>, output: &Source<'_>, marked: Option<&(usize, Vec<Entry<'_>>)>) -> bool {
    let (ours, theirs) = (&input.survey.buckets, &output.survey.buckets);
    let keys = input.survey.bucket(crate::etcd::KEY_BUCKET).map(|(number, _)| number);
    let entries = |number: usize| match marked {
        Some(_) if Some(number) == keys => input.history.live_count(),
        Some((other, entries)) if *other == number => u64::try_from(entries.len()).unwrap_or(0),
        _ => ours[number].entries,
    };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).enumerate().all(|(number, (a, b))| {
            a.name == b.name && a.parent == b.parent && a.sequence == b.sequence && entries(number) == b.entries
        })
}

/// Buffers of one worker.
#[derive(Default)]
struct Scratch {
    input: Zeroizing<Vec<u8>>,
    output: Zeroizing<Vec<u8>>,
}

struct Comparison<'c> {
    input: &'c History,
    output: &'c History,
    rules: &'c Rules,
    allowed: Allowed<'c>,
}

impl Comparison<'_> {
    fn entry(
        &self,
        (our_number, ours): (u64, &Entry<'_>),
        (number, theirs): (u64, &Entry<'_>),
        scratch: &mut Scratch,
        part: &mut Verified,
    ) -> Result<(), crate::etcd::Error> {
        part.records += 1;
        if ours.key != theirs.key || ours.flags != theirs.flags {
            part.note(format!("entry {number}: the revisions differ"));
            return Ok(());
        }
        let before = Record::parse(our_number, ours)?;
        let after = Record::parse(number, theirs)?;
        let judged = self.rules.judge(&before, &mut scratch.input);
        part.under_prefix.0 += u64::from(judged.resource.is_some());
        part.under_prefix.1 += u64::from(judged.verdict == Verdict::Foreign { looks_sealed: true });
        let current = self.input.is_live(our_number);
        let place = || format!("{} at revision {}", escape(before.kv.key), before.revision.revision);
        let same = ours.value == theirs.value;
        match judged.verdict {
            Verdict::Reseal { from, to } => {
                if (before.kv.before, before.kv.after) != (after.kv.before, after.kv.after) {
                    part.note(format!("{}: more than the value differs", place()));
                    return Ok(());
                }
                let plain = if from == State::Plain { before.kv.value } else { &scratch.input };
                match self.open_with(to, &after, &mut scratch.output) {
                    Some(found) if found == plain => {
                        part.require(!same, || format!("{}: it was not sealed anew", place()));
                        part.values += 1;
                        let allowed = to != State::Plain || self.allowed.plaintext;
                        if !allowed {
                            part.note(format!("{}: it became plaintext", place()));
                        }
                        part.found(judged.resource, to, current);
                    }
                    Some(_) => part.note(format!("{}: the plaintexts differ", place())),
                    None => part.note(format!("{}: the key that writes now does not open it", place())),
                }
            }
            Verdict::Stays(state) => {
                part.values += u64::from(state != State::Plain);
                part.found(judged.resource, state, current);
                part.require(same, || format!("{}: it changed without need", place()));
            }
            Verdict::Unreadable(why) => {
                part.carried_over += 1;
                part.require(same, || format!("{}: it changed, and cannot be opened", place()));
                part.require(self.allowed.unreadable, || format!("{}: {why}", place()));
            }
            Verdict::Foreign { .. }
                if before.kv.key.starts_with(k3s::RECORD) && self.allowed.record.is_some() =>
            {
                self.record(&before, &after, current, part);
            }
            Verdict::Empty | Verdict::Foreign { .. } => {
                part.require(same, || format!("{}: it changed without need", place()));
            }
        }
        Ok(())
    }

    /// Adds both entries to the sums. Last, when their bytes are at hand.
    fn sum(
        &self,
        (our_number, ours): (u64, &Entry<'_>),
        (number, theirs): (u64, &Entry<'_>),
        part: &mut Verified,
    ) {
        let covers = |history, number, entry: &Entry<'_>| {
            RevisionKey::parse(entry.key).is_some_and(|key| hash_kv_covers(history, number, key))
        };
        part.sums.input.add(ours, covers(self.input, our_number, ours));
        part.sums.output.add(theirs, covers(self.output, number, theirs));
    }

    /// Compares a revision of the record of a K3s cluster.
    fn record(&self, before: &Record<'_>, after: &Record<'_>, current: bool, part: &mut Verified) {
        let Some(proof) = self.allowed.record else { return };
        let place = || format!("{} at revision {}", escape(before.kv.key), before.revision.revision);
        let around = (before.kv.before, before.kv.after) == (after.kv.before, after.kv.after);
        part.require(around, || format!("{}: more than the value differs", place()));
        match proof.check(before.kv.key, current, before.kv.value, after.kv.value) {
            Outcome::Right => {}
            Outcome::CarriedOver => {
                part.require(self.allowed.unreadable, || format!("{}: no token opens it", place()));
            }
            Outcome::Wrong(why) => part.note(format!("{}: {why}", place())),
        }
    }

    /// Opens a value of the output with the one key that writes it now.
    fn open_with<'s>(&self, state: State, record: &Record<'s>, out: &'s mut Vec<u8>) -> Option<&'s [u8]> {
        match state {
            State::Plain => Some(record.kv.value),
            State::Key(number) => {
                let key = self.rules.keyring().keys().get(usize::from(number))?;
                key.open_written(record.kv.value, record.kv.key, out).ok()?;
                Some(out)
            }
        }
    }
}
