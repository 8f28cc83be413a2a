//! Promise: whatever single bit of a snapshot is wrong, the run ends soon, with
//! a typed error and nothing left behind, or with an output that is proven to
//! hold what the input holds; never with a panic.
//!
//! The trailer is computed anew each time, so that only the structure tells;
//! under the old one every flipped bit is found by it alone.
//!
//! Built in release only: it is some ten thousand runs. `scripts/test` has every
//! bit of what leads to the values of a small file flipped, and one bit in a few
//! of the bytes of the rest and of what leads to the values of a snapshot etcd
//! wrote; `scripts/test --long` one in each.
#![cfg(not(debug_assertions))]

mod support;

use etcd_rekey::bolt::meta::META_SIZE;
use etcd_rekey::bolt::page::{BRANCH, ELEMENT, FREELIST, HEADER, LEAF};
use etcd_rekey::kube::{EncryptionConfiguration, Provider};
use etcd_rekey::output::SystemDisk;
use etcd_rekey::rekey::{Error, Options, Silent, Task, reencrypt};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use support::builder::{Builder, key, object, seal, with_trailer};
use support::program::Bench;
use support::{fixture, records, task};

const PAGE: usize = 4096;

/// A small file with everything in it: branches, runs of several pages, inline
/// buckets, free pages and their list, tombstones, leases, plaintext.
fn small() -> Vec<u8> {
    let mut builder =
        Builder { freelist: true, free: vec![b"free".to_vec(), b"too".to_vec()], ..Builder::default() };
    let old = key(Provider::Aescbc, "old", 1);
    for i in 0..40 {
        builder.sealed(&old, &format!("s{i}"));
    }
    let large = object("Secret", "default", "large", &[7; 9000]);
    builder.record("/registry/secrets/default/large", &seal(&old, "/registry/secrets/default/large", &large));
    builder.record("/registry/configmaps/default/c", &object("ConfigMap", "default", "c", b"plain"));
    builder.put("lease", &7u64.to_be_bytes(), b"\x08\x07\x10\x0a");
    builder.file()
}

/// Which bytes lead to the values: those of which every bit is flipped.
fn leads(file: &[u8]) -> Vec<bool> {
    let mut leads = vec![false; file.len()];
    let mut mark = |from: usize, length: usize| {
        let end = (from + length).min(leads.len());
        leads[from.min(end)..end].fill(true);
    };
    mark(0, HEADER + META_SIZE);
    mark(PAGE, HEADER + META_SIZE);
    let mut page = 2;
    while page * PAGE < file.len() {
        let at = page * PAGE;
        let number = |from: usize| usize::from(u16::from_le_bytes([file[from], file[from + 1]]));
        let (flags, count) = (u16::try_from(number(at + 8)).unwrap(), number(at + 10));
        match flags {
            LEAF => mark(at, HEADER + count * ELEMENT),
            BRANCH => mark(at, PAGE),
            FREELIST => mark(at, HEADER + count * 8),
            _ => {}
        }
        page += 1 + number(at + 12);
    }
    leads
}

/// What a snapshot holds: by its revision, whether it is a deletion, the key,
/// and the plaintext.
type Opened = BTreeMap<(i64, i64), (bool, Vec<u8>, Vec<u8>)>;

fn opened(bytes: &[u8], key_name: &str, secret: &[u8]) -> Opened {
    let mut all = BTreeMap::new();
    records(bytes, |revision, kv| {
        // What a flipped bit has moved from under the prefix is another tenant's, and copied.
        let ours = kv.key.starts_with(b"/registry/");
        let plain = ours.then(|| support::opener::open("aescbc", key_name, secret, kv.key, kv.value));
        let value = plain.flatten().unwrap_or_else(|| kv.value.to_vec());
        let at = (revision.revision.main, revision.revision.sub);
        all.insert(at, (revision.tombstone, kv.key.to_vec(), value));
    });
    all
}

/// What a compaction at the newest revision leaves of it.
fn live(all: Opened) -> Opened {
    let last: HashMap<Vec<u8>, (i64, i64)> = all.iter().map(|(at, (_, key, _))| (key.clone(), *at)).collect();
    all.into_iter().filter(|(at, (deleted, key, _))| last[key] == *at && !deleted).collect()
}

/// Runs over broken files, what is known of them, and what came of it.
struct Trial {
    bench: Bench,
    task: Task,
    /// The name and the bytes of the key there was.
    old: (String, Vec<u8>),
    alive: Sender<()>,
    runs: u32,
    done: u32,
    kinds: BTreeMap<&'static str, u32>,
}

impl Trial {
    fn new(task: Task, old: (String, Vec<u8>)) -> Self {
        // In memory where that can be had: what is durable is not asked here.
        let shared = Some(Path::new("/dev/shm")).filter(|path| path.is_dir());
        let bench = Bench { dir: shared.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap() };
        let (alive, ends) = channel();
        std::thread::spawn(move || {
            loop {
                match ends.recv_timeout(Duration::from_secs(60)) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("a run has not ended for a minute: it hangs");
                        std::process::exit(101)
                    }
                }
            }
        });
        // What a file claims is never taken for a size: no run gets 3 GiB.
        let most = Some(3 << 30);
        setrlimit(Resource::As, Rlimit { current: most, maximum: most }).unwrap();
        Self { bench, task, old, alive, runs: 0, done: 0, kinds: BTreeMap::new() }
    }

    fn of_small() -> Self {
        Self::new(task::reencrypt(), ("old".to_owned(), vec![1; 32]))
    }

    /// One run over these bytes; compacted or not.
    fn run(&mut self, bytes: &[u8], compact: bool, place: &str) {
        let (input, output) = (self.bench.path("in.db"), self.bench.path("out.db"));
        let options = Options { output: output.clone(), threads: 1, compact, ..Options::default() };
        std::fs::write(&input, bytes).unwrap();
        self.alive.send(()).unwrap();
        let result =
            catch_unwind(AssertUnwindSafe(|| reencrypt(&input, &self.task, &options, &SystemDisk, &Silent)));
        assert!(std::fs::read(&input).unwrap() == bytes, "{place}: the input changed");
        self.runs += 1;
        match result.unwrap_or_else(|_| panic!("{place}: it panicked")) {
            Ok(report) => {
                self.done += 1;
                assert!(report.verified, "{place}");
                let after = std::fs::read(&output).unwrap();
                std::fs::remove_file(&output).unwrap();
                let before = opened(bytes, &self.old.0, &self.old.1);
                let before = if compact { live(before) } else { before };
                assert!(opened(&after, "new", &[2; 32]) == before, "{place}: it holds something else");
            }
            Err(error) => {
                let allowed = matches!(
                    error,
                    Error::Snapshot { .. } | Error::Unreadable { .. } | Error::WouldBePlaintext { .. }
                );
                assert!(allowed, "{place}: {error}");
                *self.kinds.entry(error.kind()).or_default() += 1;
            }
        }
        assert_eq!(self.bench.names(), ["in.db"], "{place}");
    }

    fn told(&self, what: &str) {
        let Self { runs, done, kinds, .. } = self;
        println!("{what}: {runs} runs, {done} done, others: {kinds:?}");
    }
}

fn long() -> bool {
    std::env::var_os("LONG").is_some()
}

fn flipped(file: &[u8], at: usize, bit: usize) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at] ^= 1 << bit;
    file
}

#[test]
fn every_flipped_bit_ends_in_an_error_or_a_right_output() {
    let good = small();
    let leads = leads(&good);
    let mut trial = Trial::of_small();
    let step = if long() { 1 } else { 7 };
    for (at, leads) in leads.into_iter().enumerate() {
        let bits = match (leads, at % step) {
            (true, _) => 0..8,
            (false, 0) => at % 8..at % 8 + 1,
            _ => continue,
        };
        for bit in bits {
            let compact = at % 3 == 2;
            trial.run(&with_trailer(&flipped(&good, at, bit)), compact, &format!("byte {at} bit {bit}"));
        }
    }
    trial.told("a small file");
    assert!(trial.runs > 10_000 && trial.done > 0 && trial.kinds.len() > 15);
}

#[test]
fn a_bit_flipped_under_the_trailer_is_always_found_by_it() {
    let good = with_trailer(&small());
    let mut trial = Trial::of_small();
    for at in (0..good.len()).step_by(if long() { 1 } else { 7 }) {
        trial.run(&flipped(&good, at, at % 8), false, &format!("byte {at}"));
    }
    trial.told("under the old trailer");
    assert_eq!(trial.kinds, BTreeMap::from([("trailer-mismatch", trial.runs)]));
}

#[test]
fn no_count_size_or_place_is_believed() {
    let good = small();
    let leads = leads(&good);
    let mut trial = Trial::of_small();
    let (mut at, most) = (0, |width: u32| u64::MAX >> (64 - 8 * width));
    while at < good.len() {
        if !leads[at] {
            at += 2;
            continue;
        }
        // Whatever field begins here, of two, four or eight bytes.
        for width in [2u32, 4, 8] {
            let bytes = usize::try_from(width).unwrap();
            let Some(field) = good.get(at..at + bytes).filter(|_| at % bytes == 0) else { continue };
            let is = field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            let half = most(width) / 2;
            for value in [0, 1, is.wrapping_sub(1), is + 1, half, half + 1, most(width) - 1, most(width)] {
                let mut file = good.clone();
                file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
                trial.run(&with_trailer(&file), false, &format!("{value:#x} in the {bytes} bytes from {at}"));
            }
        }
        at += 2;
    }
    trial.told("values of fields");
    assert!(trial.runs > 10_000 && trial.done > 0 && trial.kinds.len() > 15);
}

#[test]
fn a_bit_flipped_in_a_snapshot_of_etcd_ends_in_an_error_or_a_right_output() {
    let whole = std::fs::read(fixture("kube-etcd34", "snapshot.db")).unwrap();
    let (good, _) = whole.split_last_chunk::<32>().unwrap();
    let text = std::fs::read_to_string(fixture("kube-etcd34", "encryption-config.yaml")).unwrap();
    let (_, secret) = text.split_once("secret: ").unwrap();
    let secret =
        base64::Engine::decode(&base64::engine::general_purpose::STANDARD, secret.lines().next().unwrap());
    let task = Task { read: vec![EncryptionConfiguration::parse(&text).unwrap()], ..task::reencrypt() };
    let mut trial = Trial::new(task, ("key1".to_owned(), secret.unwrap()));
    let leads = leads(good);
    let step = if long() { 1 } else { 5 };
    for at in (0..good.len()).filter(|at| leads[*at] && at % step == 0 || long() && at % 31 == 0) {
        let bit = at / step % 8;
        trial.run(&with_trailer(&flipped(good, at, bit)), at % 3 == 2, &format!("byte {at} bit {bit}"));
    }
    trial.told("a snapshot of etcd");
    assert!(trial.runs > 1_000 && trial.done > 0 && trial.kinds.len() > 10);
}
