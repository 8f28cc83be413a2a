//! Promise: whatever single bit of a snapshot is wrong, the run ends soon, with
//! a typed error and nothing left behind, or with an output that is proven to
//! hold what the input holds; never with a panic.
//!
//! The trailer is computed anew each time, so that only the structure tells: a
//! flipped bit under an old trailer is found by the trailer alone.
//!
//! Built in release only: it is some ten thousand runs. `scripts/test` has every
//! bit of what leads to the values flipped and one bit in a few of the bytes of
//! the rest; `scripts/test --long` one in each.
#![cfg(not(debug_assertions))]

mod support;

use etcd_rekey::bolt::meta::META_SIZE;
use etcd_rekey::bolt::page::{BRANCH, ELEMENT, FREELIST, HEADER, LEAF};
use etcd_rekey::kube::Provider;
use etcd_rekey::output::SystemDisk;
use etcd_rekey::rekey::{Error, Options, Silent, reencrypt};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use support::builder::{Builder, key, object, seal, with_trailer};
use support::program::Bench;
use support::{records, task};

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

/// What a snapshot holds: which key at which revision, and the plaintext.
fn opened(bytes: &[u8], key_name: &str, byte: u8) -> BTreeMap<(i64, i64), (Vec<u8>, Vec<u8>)> {
    let mut all = BTreeMap::new();
    records(bytes, |revision, kv| {
        // What a flipped bit has moved from under the prefix is another tenant's, and copied.
        let ours = kv.key.starts_with(b"/registry/");
        let plain = ours.then(|| support::opener::open("aescbc", key_name, &[byte; 32], kv.key, kv.value));
        let value = plain.flatten().unwrap_or_else(|| kv.value.to_vec());
        all.insert((revision.revision.main, revision.revision.sub), (kv.key.to_vec(), value));
    });
    all
}

#[test]
fn every_flipped_bit_ends_in_an_error_or_a_right_output() {
    // In memory where that can be had: what is durable is not asked here.
    let shared = Some(std::path::Path::new("/dev/shm")).filter(|path| path.is_dir());
    let bench = Bench { dir: shared.map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap() };
    let good = small();
    let leads = leads(&good);
    let task = task::reencrypt();
    let (input, output) = (bench.path("in.db"), bench.path("out.db"));
    let options = Options { output: output.clone(), threads: 1, ..Options::default() };
    let step = if std::env::var_os("LONG").is_some() { 1 } else { 7 };
    let (mut runs, mut done, mut kinds) = (0u32, 0u32, BTreeMap::<&str, u32>::new());
    for at in 0..good.len() {
        let bits: &[u32] = match (leads[at], at % step) {
            (true, _) => &[0, 1, 2, 3, 4, 5, 6, 7],
            (false, 0) => &[0],
            _ => continue,
        };
        for bit in bits {
            let mut file = good.clone();
            file[at] ^= 1 << bit;
            let bytes = with_trailer(&file);
            std::fs::write(&input, &bytes).unwrap();
            let begun = Instant::now();
            let result =
                catch_unwind(AssertUnwindSafe(|| reencrypt(&input, &task, &options, &SystemDisk, &Silent)));
            let place = format!("byte {at} bit {bit}");
            assert!(begun.elapsed() < Duration::from_secs(10), "{place}: it takes too long");
            assert_eq!(std::fs::read(&input).unwrap(), bytes, "{place}: the input changed");
            runs += 1;
            match result.unwrap_or_else(|_| panic!("{place}: it panicked")) {
                Ok(report) => {
                    done += 1;
                    assert!(report.verified, "{place}");
                    let after = std::fs::read(&output).unwrap();
                    std::fs::remove_file(&output).unwrap();
                    assert!(
                        opened(&after, "new", 2) == opened(&bytes, "old", 1),
                        "{place}: it holds something else"
                    );
                }
                Err(error) => {
                    let allowed = matches!(
                        error,
                        Error::Snapshot { .. } | Error::Unreadable { .. } | Error::WouldBePlaintext { .. }
                    );
                    assert!(allowed, "{place}: {error}");
                    *kinds.entry(error.kind()).or_default() += 1;
                }
            }
            assert_eq!(bench.names(), ["in.db"], "{place}");
        }
    }
    println!("{runs} runs, {done} done, others: {kinds:?}");
    assert!(runs > 10_000 && done > 0 && kinds.len() > 15, "{runs} {done} {kinds:?}");
}
