//! Promise: what fuzzing found, and every piece of the fixtures, keeps the
//! promises of the fuzz targets.
//!
//! With `FUZZ_SEEDS=FOLDER` the pieces are written there, a folder a target,
//! for a fuzzer to begin with.

mod support;

#[path = "../fuzz/src/lib.rs"]
mod promises;

use etcd_rekey::bolt::Thoroughness;
use etcd_rekey::bolt::{Database, survey};
use etcd_rekey::etcd::{KeyValue, Snapshot};
use etcd_rekey::k3s::bootstrap;
use etcd_rekey::kube::{Provider, SealingKey};
use promises::{TARGETS, joined};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use support::builder::{self, Builder};
use support::clusters::{self, Cluster};
use support::fixtures::unpacked;
use support::{KUBE_FIXTURES, fixture};

/// Inputs of each target.
type Inputs = BTreeMap<&'static str, BTreeSet<Vec<u8>>>;

/// Holds a target's promise to each input; tells how many there were.
fn held(target: &str, inputs: impl IntoIterator<Item = (String, Vec<u8>)>) -> usize {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let each = inputs.into_iter().map(|(name, input)| {
        let result = catch_unwind(|| check(&input));
        assert!(result.is_ok(), "{target}: {name}, of {} bytes", input.len());
    });
    each.count()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_corpora_keep_the_promises() {
    let corpora = unpacked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora.tar.xz"));
    for (target, _) in TARGETS {
        let files = files(&corpora.join(target)).into_iter();
        let inputs = files.map(|file| (file.display().to_string(), std::fs::read(&file).unwrap()));
        assert!(held(target, inputs) >= 5, "{target}");
    }
}

#[test]
fn what_is_sound_of_the_corpora_is_sound_to_bbolt() {
    let corpora = unpacked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora.tar.xz"));
    let folder = tempfile::tempdir().unwrap();
    let (mut sound, mut all) = (0, 0);
    for input in ["structure", "whole"].iter().flat_map(|target| files(&corpora.join(target))) {
        let bytes = std::fs::read(&input).unwrap();
        let (how, pages) = promises::choice(&bytes);
        let mut pages = pages.to_vec();
        promises::structure::mend(&mut pages, how);
        all += 1;
        if promises::structure::walk(&pages).is_some() {
            let file = folder.path().join("sound.db");
            std::fs::write(&file, &pages).unwrap();
            let verdict = support::judge::judge("check", &[file.to_str().unwrap()], b"");
            let ok = verdict.as_ref().is_ok_and(|verdict| verdict[0]["ok"] == true);
            assert!(ok, "{}: {verdict:?}", input.display());
            sound += 1;
        }
    }
    println!("{sound} of {all} files are sound, to bbolt too");
    assert!(sound > 50, "{sound} of {all}");
}

#[test]
fn the_pieces_of_the_fixtures_keep_the_promises() {
    let inputs = pieces();
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        for (target, inputs) in &inputs {
            let folder = Path::new(&folder).join(target);
            std::fs::create_dir_all(&folder).unwrap();
            for input in inputs {
                let name: String =
                    Sha256::digest(input).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                std::fs::write(folder.join(name), input).unwrap();
            }
        }
        return;
    }
    for (target, _) in TARGETS {
        let inputs = inputs[target].iter().enumerate();
        let held = held(target, inputs.map(|(number, input)| (format!("piece {number}"), input.clone())));
        assert!(held > 0, "{target}");
    }
}

/// Small snapshots of each kind, which whole runs go through.
fn small() -> Vec<Vec<u8>> {
    let old = builder::key(Provider::Aescbc, "old", 1);
    let mut plain = Builder { freelist: true, free: vec![b"free".to_vec()], ..Builder::default() };
    (0..5).for_each(|i| {
        plain.sealed(&old, &format!("s{i}"));
    });
    plain.sealed(&old, "s1");
    plain.tombstone("/registry/secrets/default/s2");
    plain.record("/registry/configmaps/default/c", &builder::object("ConfigMap", "default", "c", b"plain"));
    plain.put("meta", b"finishedCompactRev", b"\0\0\0\0\0\0\0\x02_\0\0\0\0\0\0\0\0");
    let mut large = Builder { page_size: 1024, own_pages: true, ..Builder::default() };
    (0..40).for_each(|i| {
        large.sealed(&old, &format!("s{i}"));
    });
    let mut cluster = Builder::default();
    let config = support::config(&[&["secrets"]], "aescbc", "old", 1);
    let config = etcd_rekey::kube::EncryptionConfiguration::parse(&config).unwrap().to_json();
    let state = etcd_rekey::k3s::State::of(etcd_rekey::k3s::Stage::Start, config.as_bytes());
    let record = etcd_rekey::k3s::record::Record::parse(b"{}").unwrap();
    let record = record.with(config.as_bytes(), &state, jiff::Timestamp::UNIX_EPOCH);
    let key = etcd_rekey::k3s::token::record_key("password");
    cluster.record(std::str::from_utf8(&key).unwrap(), &bootstrap::seal(&record, "password").unwrap());
    cluster.sealed(&old, "s1");
    let with_choice = |builder: &Builder, how: u8| [builder.file(), vec![how]].concat();
    vec![
        with_choice(&plain, 3),
        with_choice(&plain, 3 | 4),
        with_choice(&plain, 3 | 8),
        with_choice(&large, 3),
        with_choice(&cluster, 3 | 16),
    ]
}

/// Every piece of every fixture that is for one of the targets.
fn pieces() -> Inputs {
    let mut inputs = Inputs::new();
    let mut add = |target, input: Vec<u8>| {
        // What is large says nothing that is new.
        if input.len() <= 100_000 {
            inputs.entry(target).or_default().insert(input);
        }
    };
    for file in small() {
        add("structure", file.clone());
        add("whole", file);
    }
    let mut snapshots: Vec<PathBuf> = KUBE_FIXTURES.iter().map(|name| fixture(name, "snapshot.db")).collect();
    for name in clusters::FIXTURES {
        let cluster = Cluster::of(name);
        add("token", std::fs::read(&cluster.token).unwrap());
        if cluster.snapshot.extension().is_some_and(|e| e == "db") {
            snapshots.push(cluster.snapshot);
        }
        for file in
            files(&fixture(name, "")).into_iter().filter(|f| f.to_string_lossy().contains("encryption-config"))
        {
            add("configuration", std::fs::read(file).unwrap());
        }
    }
    for name in KUBE_FIXTURES {
        for file in files(&fixture(name, "")).into_iter().filter(|f| f.extension().is_some_and(|e| e == "yaml"))
        {
            add("configuration", std::fs::read(file).unwrap());
        }
    }
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations")) {
        add("configuration", std::fs::read(file).unwrap());
    }
    add("token", format!("K10{}::server:password", "0".repeat(64)).into_bytes());
    add("token", b"abcdef.0123456789abcdef".to_vec());
    for (number, lengths) in
        [&[0u8, 0, 0][..], &[3, 40, 0], &[200, 16, 39], &[1, 255, 3, 60, 0, 9]].iter().enumerate()
    {
        let shape = u8::try_from(number).unwrap();
        for times in [0, 1, 3, 40, 300] {
            let changes = [1, 16, 0, 0, 0xff, 20, 8, 0, 1];
            add("tree", [&[shape, 0], lengths.repeat(times).as_slice()].concat());
            add("tree", [&[shape | 4], changes.as_slice(), lengths.repeat(times).as_slice()].concat());
        }
    }
    for text in ["a", "snapshot"] {
        let content = text.repeat(300);
        add("sums", [joined(content.as_bytes(), text.as_bytes()), vec![3]].concat());
        add("zip", archive(content.as_bytes()));
    }
    for snapshot in snapshots {
        taken_apart(&std::fs::read(snapshot).unwrap(), &mut add);
    }
    inputs
}

/// Adds the pages, records, values and objects of a snapshot: of each kind the
/// first of each length there is.
fn taken_apart(bytes: &[u8], add: &mut impl FnMut(&'static str, Vec<u8>)) {
    let db = Database::open(Snapshot::open(bytes, false).unwrap().file).unwrap();
    let found = survey(&db, Thoroughness::FULL).sound().unwrap();
    let mut lengths = BTreeSet::new();
    for bucket in &found.buckets {
        for leaf in &bucket.leaves {
            let page = leaf.page().unwrap();
            if lengths.insert(("page", usize::from(page.header.count), 0)) {
                add("page", leaf.run.to_vec());
            }
        }
    }
    let (_, keys) = found.bucket(b"key").unwrap();
    let sealed = SealingKey::new(Provider::Aescbc, "k", zeroize::Zeroizing::new(vec![7; 32])).unwrap();
    for entry in keys.entries() {
        let entry = entry.unwrap();
        let kv = KeyValue::parse(entry.value).unwrap();
        // One of each path and each length that differs by more than a little.
        let path = kv.key.split(|byte| *byte == b'/').nth(2).map_or(0, <[u8]>::len);
        if !lengths.insert(("record", kv.value.len() / 64, path)) {
            continue;
        }
        add("record", joined(entry.value, b"another value"));
        add("record", joined(entry.key, b""));
        if kv.value.starts_with(b"k8s:enc:") {
            add("sealed", [joined(kv.value, kv.key), vec![0]].concat());
        } else if kv.key.starts_with(b"/bootstrap/") {
            add("bootstrap", [kv.value, &[1]].concat());
        } else {
            add("object", joined(kv.value, kv.key));
            let mut value = Vec::new();
            let start = sealed.place(&mut value, &[1; 16], kv.value).unwrap();
            sealed.seal(vec![(&mut value[start..], kv.key)]).unwrap();
            add("sealed", [joined(&value[start..], kv.key), vec![2]].concat());
        }
    }
    if let Some(record) = keys.entries().find_map(|entry| {
        let kv = KeyValue::parse(entry.unwrap().value).unwrap();
        kv.key.starts_with(b"/bootstrap/").then(|| kv.value.to_vec())
    }) {
        for name in clusters::FIXTURES {
            let token = Cluster::of(name).passphrase();
            let token = etcd_rekey::k3s::Token::parse(&token).unwrap_or_else(|e| panic!("{e}"));
            if let Some(plain) = token.passphrases().find_map(|passphrase| bootstrap::open(&record, passphrase))
            {
                add("bootstrap", [plain.as_slice(), &[0]].concat());
                add(
                    "bootstrap",
                    [bootstrap::seal(b"{\"A\":\"YQ==\"}\n", "password").unwrap(), vec![1]].concat(),
                );
                return;
            }
        }
    }
}

fn archive(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("snapshot", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(content).unwrap();
    writer.finish().unwrap().into_inner()
}
