//! The output, written from its first byte to its last.
//!
//! Parts of about a MiB are made on rayon's pool, a bounded number at a time;
//! the calling thread takes them in file order, hashes and writes them. A
//! third thread tells the disk to start early, so that little is left to
//! make durable at the end.

use super::error::Error;
use super::layout::{FileLayout, Part};
use super::plan::{Change, Changes};
use super::progress::Progress;
use super::rules::{Rules, State};
use super::source::{SnapshotFile, Source};
use crate::bolt::layout::Node;
use crate::bolt::{Bucket, writer};
use crate::etcd::KeyValue;
use crate::etcd::history::History;
use crate::kube::SealingKey;
use crate::output::Output;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
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

/// Bytes after which the disk is told to start writing.
const WRITE_BACK: u64 = 32 << 20;

/// A part, made.
struct Made {
    bytes: Zeroizing<Vec<u8>>,
    current: u64,
}

impl<'a> Pipeline<'_, 'a> {
    /// Writes the whole file and its trailer; returns the trailer.
    ///
    /// # Errors
    /// [`Error::Output`], [`Error::InputChanged`], [`Error::Random`],
    /// [`Error::Interrupted`].
    pub fn write(
        &self,
        pool: &rayon::ThreadPool,
        output: &mut Output<'_>,
        progress: &dyn Progress,
    ) -> Result<[u8; 32], Error> {
        let parts = self.layout.parts(self.changes);
        let window = pool.current_num_threads() * 2 + 2;
        let mut second = output.second()?;
        let (behind, written) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // The system tells an error of the disk once: to the first that
            // asks for durability, and that may be this one.
            let early = std::thread::Builder::new()
                .spawn_scoped(scope, move || written.iter().try_for_each(|()| second.sync_data_early()))
                .map_err(|e| Error::Threads(e.to_string()))?;
            let result = pool.in_place_scope(|scope| {
                self.in_order(scope, &parts, window, progress, |bytes, since| {
                    output.write_all(bytes)?;
                    if *since >= WRITE_BACK {
                        *since = 0;
                        // It is gone only when it has failed, which is told below.
                        let _ = behind.send(());
                    }
                    Ok(())
                })
            });
            drop(behind);
            match early.join() {
                Ok(Ok(())) => result,
                Ok(Err(source)) => Err(output.not_durable(source).into()),
                Err(_) => Err(Error::Threads("a thread ended before its work".to_owned())),
            }
        })
        .and_then(|digest| {
            output.write_all(&digest)?;
            Ok(digest)
        })
    }

    /// Makes the parts on the pool and takes them in order.
    fn in_order<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        parts: &[Part],
        window: usize,
        progress: &dyn Progress,
        mut take: impl FnMut(&[u8], &mut u64) -> Result<(), Error>,
    ) -> Result<[u8; 32], Error> {
        let (done, made) = mpsc::channel::<(usize, Result<Made, Error>)>();
        let mut early: BTreeMap<usize, Result<Made, Error>> = BTreeMap::new();
        let mut buffers: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut hasher = Sha256::new();
        let mut since = 0;
        let mut begun = 0;
        for next in 0..parts.len() {
            while begun < parts.len().min(next + window) {
                let (number, part, done) = (begun, parts[begun].clone(), done.clone());
                let buffer = buffers.pop().unwrap_or_default();
                scope.spawn(move |_| {
                    let made = catch_unwind(AssertUnwindSafe(|| self.make(&part, buffer)));
                    let ended = |_| Err(Error::Threads("a worker ended before its work".to_owned()));
                    // The receiver is gone only when the run has failed.
                    let _ = done.send((number, made.unwrap_or_else(ended)));
                });
                begun += 1;
            }
            let part = loop {
                if progress.stop() {
                    return Err(Error::Interrupted);
                }
                if let Some(part) = early.remove(&next) {
                    break part?;
                }
                let (number, part) =
                    made.recv().map_err(|_| Error::Threads("a worker ended before its work".to_owned()))?;
                early.insert(number, part);
            };
            hasher.update(part.bytes.as_slice());
            since += u64::try_from(part.bytes.len()).unwrap_or(0);
            take(&part.bytes, &mut since)?;
            progress.rewritten(part.current);
            buffers.push(part.bytes);
        }
        Ok(hasher.finalize().into())
    }

    fn make(&self, part: &Part, mut bytes: Zeroizing<Vec<u8>>) -> Result<Made, Error> {
        bytes.clear();
        let mut current = 0;
        match part {
            Part::Metas => bytes.extend(self.layout.metas()),
            Part::Branches { tree } => self.branches(*tree, &mut bytes),
            Part::Leaves { tree, leaves, first_entry } => {
                let leaves = self.layout.leaves(*tree, leaves);
                current = self.leaves(*tree, leaves, *first_entry, &mut bytes)?;
            }
        }
        Ok(Made { bytes, current })
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
                let key = self.key(key).ok_or_else(changed)?;
                let payload = kv.value.strip_prefix(key.prefix()).ok_or_else(changed)?;
                key.open(payload, kv.key, &mut self.plain).map_err(|_| changed())?;
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
                let nonce = self.nonces.take(key.provider().nonce_len())?;
                let start = key.place(out, nonce, plain).ok_or_else(changed)?;
                self.placed.push((to, start..out.len(), kv.key));
            }
        }
        out.extend_from_slice(kv.after);
        self.current += u64::from(self.history.is_live(number));
        Ok(())
    }

    fn key(&self, number: u16) -> Option<std::sync::Arc<SealingKey>> {
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
