//! Promise: nothing that is not a value of the output survives in it: old
//! plaintexts and ciphertexts in free pages, behind the last element of a
//! page, beyond the high-water mark, in old revisions; for every provider.

mod support;

use std::path::{Path, PathBuf};
use support::builder::{Builder, object, with_trailer};
use support::clusters::holds;
use support::plugin::{Plugin, by_plugins};
use support::program::{Bench, text};
use support::{config, records};

const PAGE: usize = 4096;

/// How often some bytes are in others.
fn count(bytes: &[u8], what: &[u8]) -> usize {
    let mut found = 0;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == what[0]) {
        rest = &rest[at..];
        found += usize::from(rest.starts_with(what));
        rest = &rest[1..];
    }
    found
}

/// A provider, as configurations name it; of KMS, the version.
const PROVIDERS: [&str; 6] = ["identity", "aescbc", "aesgcm", "secretbox", "v1", "v2"];

/// A configuration for secrets, written to a file of a bench; of KMS, with the
/// plugin it asks.
fn configured(bench: &Bench, provider: &str, name: &str, byte: u8) -> (PathBuf, Option<Plugin>) {
    let file = format!("{name}.yaml");
    if !matches!(provider, "v1" | "v2") {
        return (bench.file(&file, config(&[&["secrets"]], provider, name, byte)), None);
    }
    let socket = bench.path(&format!("{name}.sock"));
    let plugin = Plugin::start(provider, text(&socket), &["-key", &byte.to_string()]);
    let new = by_plugins(&[("secrets", provider, name, &plugin.endpoint())]);
    (bench.file(&file, new), Some(plugin))
}

/// A snapshot by its builder, the values in it, and one that it does not hold.
struct Made {
    builder: Builder,
    values: Vec<Vec<u8>>,
    gone: Vec<u8>,
}

const AGES: [&str; 2] = ["in an old revision", "in a current one"];
const SECRETS: usize = 60;

/// Two revisions of each secret: the older one is history, and stays, sealed anew.
fn made(bench: &Bench, provider: &str, reads: &Path) -> Made {
    let mut builder = Builder::default();
    let names: Vec<_> = AGES.iter().flat_map(|age| (0..SECRETS).map(move |i| (i, *age))).collect();
    for (i, age) in names {
        let plain = object("Secret", "default", &format!("s{i}"), format!("canary {i} {age};").as_bytes());
        builder.record(format!("/registry/secrets/default/s{i}"), &plain);
    }
    builder.record("/registry/secrets/default/gone", &object("Secret", "default", "gone", b"what was sealed"));
    if provider != "identity" {
        let plain = bench.file("plain.db", builder.snapshot());
        bench.reencrypt(&plain, reads, None, &[]).expect(0);
        builder = Builder::of(&std::fs::read(bench.path("out.db")).unwrap());
        std::fs::remove_file(bench.path("out.db")).unwrap();
    }
    let mut values = Vec::new();
    records(&builder.snapshot(), |_, kv| values.push(kv.value.to_vec()));
    let (_, entries) = builder.buckets.get_mut(b"key".as_slice()).unwrap();
    entries.pop_last();
    let gone = values.pop().unwrap();
    Made { builder, values, gone }
}

/// Bytes that only one value has: of KMS v2, the keys stand at its end.
fn piece<'v>(provider: &str, value: &'v [u8]) -> &'v [u8] {
    let from = if provider == "v2" { 40 } else { value.len() - 32 };
    &value[from..from + 32]
}

#[test]
fn of_every_provider_as_source_and_target() {
    for source in PROVIDERS {
        for target in PROVIDERS {
            from_to(source, target);
        }
    }
}

fn from_to(source: &str, target: &str) {
    let bench = Bench::new();
    let (reads, _asked) = configured(&bench, source, "old", 1);
    let (writes, _asks) = configured(&bench, target, "new", 2);
    let Made { builder, values, gone } = made(&bench, source, &reads);
    // What lay in pages that are free now: a plaintext and a sealed value.
    let free_plain = object("Secret", "default", "gone", b"canary in a free page");
    let free = vec![[&b"\0".repeat(100)[..], &free_plain].concat(), gone.clone()];
    let mut file = Builder { freelist: true, free, ..builder }.file();
    let mut tails = 0;
    for page in file.chunks_exact_mut(PAGE).skip(2) {
        let tail = &mut page[PAGE - 64..];
        if tail.iter().all(|byte| *byte == 0) {
            tail[..21].copy_from_slice(b"canary in a page tail");
            tails += 1;
        }
    }
    assert!(tails > 2);
    // Beyond the high-water mark, as in a copy of a live database.
    file.extend(b"canary beyond the high-water mark".repeat(3));
    file.resize(file.len().next_multiple_of(PAGE), 0);
    let input = with_trailer(&file);
    let residues: [&[u8]; 4] = [
        b"canary in a free page",
        piece(source, &gone),
        b"canary in a page tail",
        b"canary beyond the high-water mark",
    ];
    for residue in residues {
        assert!(holds(&input, residue), "{source}");
    }

    let path = bench.file("in.db", &input);
    let ran = bench.reencrypt(&path, &writes, Some(&reads), &["--allow-plaintext", "-w", "json"]).expect(0);
    assert_eq!(ran.json()["verified"], true);
    let output = std::fs::read(bench.path("out.db")).unwrap();
    let what = format!("{source} to {target}");
    for residue in residues {
        assert_eq!(count(&output, residue), 0, "{what}: {:?}", String::from_utf8_lossy(residue));
    }
    for age in AGES {
        for i in 0..SECRETS {
            let plain = format!("canary {i} {age};");
            let times = usize::from(target == "identity");
            assert_eq!(count(&output, plain.as_bytes()), times, "{what}: {plain}");
            assert_eq!(count(&input, plain.as_bytes()), usize::from(source == "identity"), "{what}");
        }
    }
    assert_eq!(values.len(), AGES.len() * SECRETS);
    for value in values {
        // From plaintext to plaintext nothing was to change.
        let times = usize::from(source == "identity" && target == "identity");
        assert_eq!(count(&output, piece(source, &value)), times, "{what}");
    }
}
