//! The output, written from its first byte to its last.
//!
//! Parts of it are made on rayon's pool, taken up in file order, and each is
//! written to its place by the worker that made it. What has to follow in
//! order, the sum and the disk's write-back, follows the [`Frontier`].

use super::changes::{Change, Changes};
use super::error::Error;
use super::frontier::Frontier;
use super::layout::{FileLayout, Pages, Part};
use super::progress::Progress;
use super::rules::{Rules, State};
use super::source::{SnapshotFile, Source};
use crate::bolt::layout::Node;
use crate::bolt::{Bucket, writer};
use crate::etcd::KeyValue;
use crate::etcd::history::History;
use crate::kube::Sealer;
use crate::output::Output;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use zeroize::Zeroizing;

/// Everything the workers look at.
pub struct Pipeline<'r, 'a> {
    /// The input.
    pub file: &'r SnapshotFile,
    /// The input, surveyed.
    pub source: &'r Source<'a>,
    /// The keys.
    pub rules: &'r Rules,
    /// What becomes of each entry.
    pub changes: &'r Changes,
    /// Values given, by the numbers [`Change::Replace`] has.
    pub values: &'r [(u64, Vec<u8>)],
    /// Where it goes.
    pub layout: &'r FileLayout<'a>,
}

/// A part is about so long: its plaintext and its ciphertext stay in a core's
/// second-level cache, and enough values are on it to be sealed side by side.
const PART: u64 = 512 << 10;
/// All parts being made are together about so long at most.
const IN_FLIGHT: u64 = 24 << 20;

/// How long parts are where so many threads make them.
#[must_use]
pub fn part_size(threads: usize) -> u64 {
    (IN_FLIGHT / u64::try_from(threads).unwrap_or(u64::MAX).max(1)).min(PART)
}

impl<'a> Pipeline<'_, 'a> {
    /// Writes every part of the file; the trailer is left to the caller.
    ///
    /// # Errors
    /// [`Error::Output`], [`Error::InputChanged`], [`Error::Random`],
    /// [`Error::Interrupted`].
    pub fn write(
        &self,
        parts: &[Part],
        pool: &rayon::ThreadPool,
        output: &Output<'_>,
        frontier: &Frontier,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        // Their memory is used again: fresh memory is slow to touch.
        let buffers = Mutex::new(Vec::<Zeroizing<Vec<u8>>>::new());
        let buffers = || buffers.lock().unwrap_or_else(PoisonError::into_inner);
        // The file system lets one write to a file at a time, and has the
        // others spin for their turn; here they sleep, and the core is free.
        let turn = Mutex::new(());
        let failure = OnceLock::new();
        pool.in_place_scope_fifo(|scope| {
            for (number, part) in parts.iter().enumerate() {
                let (buffers, turn, failure) = (&buffers, &turn, &failure);
                scope.spawn_fifo(move |_| {
                    if failure.get().is_some() {
                        return;
                    }
                    let taken = buffers().pop();
                    let made = catch_unwind(AssertUnwindSafe(|| {
                        let mut bytes = taken.unwrap_or_default();
                        if progress.stop() {
                            return Err(Error::Interrupted);
                        }
                        let current = self.make(part, &mut bytes)?;
                        {
                            let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                            output.write_all_at(&bytes, part.at)?;
                        }
                        Ok((bytes, current))
                    }));
                    match made {
                        Ok(Ok((bytes, current))) => {
                            frontier.written(number, part.bytes);
                            progress.rewritten(current);
                            buffers().push(bytes);
                        }
                        Ok(Err(error)) => drop(failure.set(error)),
                        Err(_) => {
                            let ended = "a worker ended before its work".to_owned();
                            drop(failure.set(Error::Threads(ended)));
                        }
                    }
                });
            }
        });
        failure.into_inner().map_or(Ok(()), Err)
    }

    /// Makes a part; returns how many current values were sealed on it.
    fn make(&self, part: &Part, bytes: &mut Zeroizing<Vec<u8>>) -> Result<u64, Error> {
        bytes.clear();
        let mut current = 0;
        match &part.pages {
            Pages::Metas => bytes.extend(self.layout.metas()),
            Pages::Branches { tree } => self.branches(*tree, bytes),
            Pages::Leaves { tree, leaves, first_entry } => {
                let leaves = self.layout.leaves(*tree, leaves);
                current = self.leaves(*tree, leaves, *first_entry, bytes)?;
            }
        }
        Ok(current)
    }

    fn branches(&self, tree: usize, out: &mut Vec<u8>) {
        let Some(laid) = self.layout.trees.get(tree) else { return };
        for levels in laid.tree.levels.windows(2) {
            let [below, level] = levels else { continue };
            let mut children = below.as_slice();
            for node in level {
                let count = crate::bolt::page::index(node.count).min(children.len());
                let (mine, rest) = children.split_at(count);
                writer::branch(out, node, mine, self.layout.page_size);
                children = rest;
            }
        }
    }

    /// Makes leaves, with every value on them sealed; returns how many
    /// current values were.
    fn leaves(
        &self,
        tree: usize,
        leaves: &[Node<'a>],
        first_entry: u64,
        out: &mut Zeroizing<Vec<u8>>,
    ) -> Result<u64, Error> {
        let Some(laid) = self.layout.trees.get(tree) else { return Ok(0) };
        let (keys, _) = self.source.keys().map_err(|e| self.file.error(e))?;
        let bucket = &self.source.survey.buckets[laid.bucket];
        let page_size = self.layout.page_size;
        // Room for all of it at once: a buffer that grew would leave copies
        // of plaintext behind.
        let room: usize = leaves.iter().map(|leaf| crate::bolt::page::index(leaf.run) * page_size).sum();
        if out.capacity() < room {
            *out = Zeroizing::new(Vec::with_capacity(room));
        }
        let changes = (laid.bucket == keys).then_some(self.changes);
        let mut job = Job {
            pipeline: self,
            bucket,
            number: laid.bucket,
            changes,
            history: &self.source.history,
            plain: Zeroizing::new(Vec::new()),
            nonces: Nonces::default(),
            placed: Vec::new(),
            current: 0,
        };
        let entries = self.layout.entries(laid.bucket, bucket, first_entry);
        let mut entries = (first_entry..).zip(entries).filter(|(number, _)| !is_left_out(changes, *number));
        let mut on_leaf = Vec::new();
        for leaf in leaves {
            on_leaf.clear();
            for (number, entry) in entries.by_ref().take(crate::bolt::page::index(leaf.count)) {
                let entry = entry.map_err(|e| self.file.error(e))?;
                let length = job.length(number, &entry);
                on_leaf.push((number, entry, length));
            }
            let start = out.len();
            let sizes = on_leaf.iter().map(|(_, entry, length)| (entry.flags, entry.key.len(), *length));
            writer::leaf_headers(out, leaf, sizes);
            for (number, entry, length) in &on_leaf {
                out.extend_from_slice(entry.key);
                let at = out.len();
                job.value(*number, entry, out)?;
                if out.len() - at != *length {
                    return Err(Error::InputChanged { what: at_revision(entry.key) });
                }
            }
            writer::pad(out, start, leaf, page_size);
        }
        job.seal(out)?;
        Ok(job.current)
    }
}

/// The place of an entry of the `key` bucket, for people.
fn at_revision(key: &[u8]) -> String {
    crate::etcd::RevisionKey::parse(key).map_or_else(
        || "an entry of another bucket".to_owned(),
        |key| format!("the entry at revision {}", key.revision),
    )
}

fn is_left_out(changes: Option<&Changes>, number: u64) -> bool {
    matches!(changes.and_then(|changes| changes.get(number)), Some((Change::Drop, _)))
}

/// Random IVs and nonces, taken from the operating system in bulk.
#[derive(Default)]
struct Nonces {
    bytes: Vec<u8>,
    at: usize,
}

impl Nonces {
    fn take(&mut self, count: usize) -> Result<&[u8], Error> {
        if self.at + count > self.bytes.len() {
            self.bytes.resize(4096, 0);
            getrandom::fill(&mut self.bytes).map_err(|e| Error::Random(e.to_string()))?;
            self.at = 0;
        }
        self.at += count;
        Ok(&self.bytes[self.at - count..self.at])
    }
}

/// One worker's work on one part.
struct Job<'j, 'r, 'a> {
    pipeline: &'j Pipeline<'r, 'a>,
    bucket: &'j Bucket<'a>,
    number: usize,
    changes: Option<&'j Changes>,
    history: &'j History,
    plain: Zeroizing<Vec<u8>>,
    nonces: Nonces,
    /// Placed values, in order: key number, where, and the etcd key.
    placed: Vec<(u16, Range<usize>, &'a [u8])>,
    current: u64,
}

impl<'a> Job<'_, '_, 'a> {
    fn bucket_value(&self, entry: u64) -> Option<&Vec<u8>> {
        self.pipeline.layout.bucket_values.get(&(self.number, entry))
    }

    fn length(&self, number: u64, entry: &crate::bolt::Entry<'a>) -> usize {
        if entry.is_bucket() {
            self.bucket_value(number).map_or(0, Vec::len)
        } else {
            let changed = self.changes.and_then(|changes| changes.get(number));
            changed.map_or(entry.value.len(), |(_, length)| length)
        }
    }

    /// Appends the value of an entry; one to be sealed is only placed.
    fn value(&mut self, number: u64, entry: &crate::bolt::Entry<'a>, out: &mut Vec<u8>) -> Result<(), Error> {
        debug_assert!(number < self.bucket.entries);
        if entry.is_bucket() {
            out.extend(self.bucket_value(number).into_iter().flatten());
            return Ok(());
        }
        let change = self.changes.and_then(|changes| changes.get(number));
        let changed = || Error::InputChanged { what: at_revision(entry.key) };
        let (from, to) = match change {
            Some((Change::Reseal { from, to }, _)) => (from, to),
            Some((Change::Replace(value), _)) => {
                let (_, value) = self.pipeline.values.get(value).ok_or_else(changed)?;
                let kv = KeyValue::parse(entry.value).map_err(|_| changed())?;
                kv.put_before(out, value.len());
                out.extend_from_slice(value);
                out.extend_from_slice(kv.after);
                return Ok(());
            }
            _ => {
                out.extend_from_slice(entry.value);
                return Ok(());
            }
        };
        let kv = KeyValue::parse(entry.value).map_err(|_| changed())?;
        let plain: &[u8] = match from {
            State::Plain => kv.value,
            State::Key(key) => {
                let rules = self.pipeline.rules;
                let key = rules.keyring().keys().get(usize::from(key)).ok_or_else(changed)?;
                let payload = key.payload(kv.value).ok_or_else(changed)?;
                let path = rules.path(kv.key).ok_or_else(changed)?;
                key.open_object(payload, kv.key, &path, &mut self.plain).map_err(|_| changed())?;
                &self.plain
            }
        };
        match to {
            State::Plain => {
                kv.put_before(out, plain.len());
                out.extend_from_slice(plain);
            }
            State::Key(to) => {
                let keys = self.pipeline.rules.keyring().keys();
                let key = keys.get(usize::from(to)).ok_or_else(changed)?;
                kv.put_before(out, key.sealed_len(plain.len()));
                let nonce = self.nonces.take(key.nonce_len())?;
                let start = key.place(out, nonce, plain).ok_or_else(changed)?;
                self.placed.push((to, start..out.len(), kv.key));
            }
        }
        out.extend_from_slice(kv.after);
        self.current += u64::from(self.history.is_live(number));
        Ok(())
    }

    fn key(&self, number: u16) -> Option<Sealer> {
        self.pipeline.rules.keyring().keys().get(usize::from(number)).cloned()
    }

    /// Encrypts everything placed, key by key.
    fn seal(&mut self, out: &mut [u8]) -> Result<(), Error> {
        let mut by_key = BTreeMap::<u16, Vec<_>>::new();
        let (mut rest, mut at) = (out, 0);
        for (key, range, etcd_key) in std::mem::take(&mut self.placed) {
            let (_, tail) = rest.split_at_mut(range.start - at);
            let (value, tail) = tail.split_at_mut(range.len());
            (rest, at) = (tail, range.end);
            by_key.entry(key).or_default().push((value, etcd_key));
        }
        for (number, values) in by_key {
            let unsealed = || Error::InputChanged { what: "a value that was placed was not sealed".to_owned() };
            let key = self.key(number).ok_or_else(unsealed)?;
            key.seal(values).map_err(|_| unsealed())?;
        }
        Ok(())
    }
}
