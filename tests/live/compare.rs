//! What is said of a live etcd is true, whatever happens meanwhile.

use crate::proxy::{Proxy, Ways};
use crate::server::Server;
use crate::support::builder::{Builder, key, mapped, with_secrets};
use crate::support::plugin::{Plugin, by_plugins};
use crate::support::program::{Bench, Ran, command, run, text};
use crate::{RELEASES, Release, compare_with, restored, secrets, snapshot};
use etcd_rekey::kube::Provider;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[track_caller]
fn counts(found: &Value, expected: &[(&str, u64)]) {
    for (name, count) in expected {
        let is = &found["keys"][name];
        let is = if is.is_object() { &is["count"] } else { is };
        assert_eq!(is, *count, "{name}: {found}");
    }
}

fn clean(found: &Value) {
    counts(found, &[("missing", 0), ("extra", 0), ("differing", 0), ("gone", 0)]);
}

#[test]
fn a_restored_etcd_is_equal_and_stays_so_while_it_is_used() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = restored(&bench, release, &snapshot());
        let found = compare_with(&snapshot(), &server.endpoint(), &[]).expect(0).json();
        assert_eq!((&found["equal"], &found["hashes"]["asSnapshot"]), (&true.into(), &true.into()), "{found}");
        clean(&found);
        let total = found["keys"]["snapshot"].as_u64().unwrap();
        counts(&found, &[("equal", total), ("changedSince", 0), ("newSince", 0)]);
        assert_eq!(found["live"]["keysThen"], total);
        assert_eq!(found["hashes"]["members"][0]["hashKV"], server.hash_kv(server.revision()));

        let secrets = secrets();
        server.put(&secrets[0], b"changed");
        server.delete(&secrets[1]);
        server.put("/registry/secrets/default/brand-new", b"new");
        server.put("/registry/secrets/default/short", b"new");
        server.delete("/registry/secrets/default/short");
        server.delete(&secrets[2]);
        server.put(&secrets[2], b"again");
        let revision = server.revision();
        let found = compare_with(&snapshot(), &server.endpoint(), &[]).expect(0).json();
        clean(&found);
        counts(
            &found,
            &[("equal", total - 3), ("changedSince", 2), ("deletedSince", 1), ("newSince", 1), ("unproven", 0)],
        );
        assert_eq!((&found["equal"], &found["hashes"]["asSnapshot"]), (&true.into(), &true.into()), "{found}");
        assert_eq!(server.revision(), revision, "nothing was written");
    }
}

/// The fixture's snapshot with one more key, whose revision the live etcd
/// uses for another one.
fn with_one_more(bench: &Bench) -> PathBuf {
    let mut builder = Builder::of(&std::fs::read(snapshot()).unwrap());
    builder.next = 216;
    builder.record("/registry/secrets/default/only-in-the-file", b"value");
    bench.file("one-more.db", builder.snapshot())
}

#[test]
fn one_value_changed_one_key_missing_and_one_extra_are_found() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = restored(&bench, release, &snapshot());
        assert_eq!(server.revision(), 215);
        let secret = secrets().remove(3);
        // A value that differs in one bit.
        let bytes = std::fs::read(snapshot()).unwrap();
        let changed = mapped(&bytes, |kv| {
            (kv.key == secret.as_bytes()).then(|| {
                let mut value = kv.value.to_vec();
                *value.last_mut().unwrap() ^= 1;
                value
            })
        });
        let changed = bench.file("changed.db", changed);
        let found = compare_with(&changed, &server.endpoint(), &[]).expect(6).json();
        counts(&found, &[("missing", 0), ("extra", 0), ("differing", 1), ("gone", 0)]);
        let differing = &found["keys"]["differing"]["listed"][0];
        assert_eq!(differing["key"], secret.as_str());
        assert!(differing["what"].as_str().unwrap().starts_with("another value"), "{differing}");
        assert_eq!((&found["equal"], &found["hashes"]["asSnapshot"]), (&false.into(), &false.into()));

        // The live etcd has not come as far as the file.
        let more = with_one_more(&bench);
        let found = compare_with(&more, &server.endpoint(), &[]).expect(6).json();
        counts(&found, &[("missing", 1), ("extra", 0), ("differing", 0)]);
        assert!(found["warnings"][0].as_str().unwrap().contains("before the file's"), "{found}");
        // It has, with another key.
        server.put("/registry/secrets/default/only-in-etcd\u{1b}", b"value");
        let found = compare_with(&more, &server.endpoint(), &[]).expect(6).json();
        counts(&found, &[("missing", 1), ("extra", 1), ("differing", 0)]);
        let key = |kind: &str| found["keys"][kind]["listed"][0]["key"].as_str().unwrap().to_owned();
        assert_eq!(key("missing"), "/registry/secrets/default/only-in-the-file");
        assert_eq!(key("extra"), "/registry/secrets/default/only-in-etcd\\x1b");
        // The one that is extra goes again: it was there all the same.
        server.delete("/registry/secrets/default/only-in-etcd\u{1b}");
        let found = compare_with(&more, &server.endpoint(), &[]).expect(6).json();
        counts(&found, &[("missing", 1), ("extra", 1), ("differing", 0)]);
        let told = run(&["snapshot", "compare", text(&more), "--endpoints", &server.endpoint()]).expect(6);
        assert!(
            told.err.contains("error: the live etcd does not hold what the snapshot holds"),
            "{}",
            told.err
        );
        assert!(!told.out.contains('\u{1b}') && !told.out.contains("equal: "), "{}", told.out);
    }
}

#[test]
fn a_key_that_was_only_there_at_the_files_revision_is_extra() {
    let bench = Bench::new();
    let server = restored(&bench, Release::V36, &snapshot());
    // Neither file nor live etcd have it now, but the number of keys then tells.
    server.put("/registry/secrets/default/for-a-moment", b"value");
    let mut builder = Builder::of(&std::fs::read(snapshot()).unwrap());
    builder.next = 216;
    builder.tombstone("/registry/secrets/default/never-there");
    let file = bench.file("file.db", builder.snapshot());
    server.delete("/registry/secrets/default/for-a-moment");
    let found = compare_with(&file, &server.endpoint(), &[]).expect(6).json();
    counts(&found, &[("missing", 0), ("extra", 1), ("differing", 0)]);
}

#[test]
fn what_is_compacted_is_told_and_never_taken_for_equal() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = restored(&bench, release, &snapshot());
        let secrets = secrets();
        server.put(&secrets[0], b"changed");
        server.compact(server.revision());
        // Nobody knows what it held, but that it was written since.
        let found = compare_with(&snapshot(), &server.endpoint(), &[]).expect(0).json();
        counts(&found, &[("changedSince", 1), ("unproven", 1), ("gone", 0)]);
        assert_eq!((&found["hashes"]["asSnapshot"], &found["live"]["keysThen"]), (&Value::Null, &Value::Null));
        let told =
            run(&["snapshot", "compare", text(&snapshot()), "--endpoints", &server.endpoint()]).expect(0);
        assert!(told.out.contains("what 1 of them held before is compacted"), "{}", told.out);
        server.delete(&secrets[1]);
        server.compact(server.revision());
        let found = compare_with(&snapshot(), &server.endpoint(), &[]).expect(6).json();
        counts(&found, &[("missing", 0), ("gone", 1)]);
        assert_eq!(found["keys"]["gone"]["listed"][0]["key"], secrets[1].as_str());
    }
}

/// A snapshot of a hundred thousand secrets, made once.
fn many(bench: &Bench) -> PathBuf {
    let key = key(Provider::Aesgcm, "many", 7);
    bench.file("many.db", with_secrets(&std::fs::read(snapshot()).unwrap(), 100_000, &key))
}

/// Begins to compare, through a proxy, in JSON.
fn begin(file: &Path, proxy: &Proxy, more: &[&str]) -> std::process::Child {
    let endpoint = proxy.endpoint();
    let args =
        ["snapshot", "compare", text(file), "--endpoints", &endpoint, "-w", "json", "--progress", "none"];
    let mut command = command(&[&args, more].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: std::process::Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

fn wait_until(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !what() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_hundred_thousand_secrets_are_compared_also_while_etcd_compacts_and_connections_break() {
    let bench = Bench::new();
    let file = many(&bench);
    let server = restored(&bench, Release::V36, &file);
    let begun = Instant::now();
    let found = compare_with(&file, &server.endpoint(), &[]).expect(0).json();
    println!("compared {} keys in {:?}", found["keys"]["equal"], begun.elapsed());
    assert!(found["keys"]["equal"].as_u64().unwrap() > 100_000);
    assert_eq!(found["hashes"]["asSnapshot"], true);

    // Each connection breaks after a page or two.
    let proxy = Proxy::before(server.port(), Ways { cut_after: 3_000_000.into(), ..Ways::default() });
    let found = compare_with(&file, &proxy.endpoint(), &[]).expect(0).json();
    assert!(found["retries"].as_u64().unwrap() >= 3, "{}", found["retries"]);
    assert!(found["keys"]["equal"].as_u64().unwrap() > 100_000);

    // In the middle the last secret changes, and etcd compacts.
    let last = "/registry/secrets/default/s99999";
    let proxy = Proxy::before(server.port(), Ways { hold_after: 6_000_000.into(), ..Ways::default() });
    let child = begin(&file, &proxy, &[]);
    wait_until(|| proxy.ways.held.load(Ordering::Relaxed));
    server.put(last, b"changed");
    server.compact(server.revision());
    proxy.ways.held.store(false, Ordering::Relaxed);
    let found = ended(child).expect(0).json();
    counts(&found, &[("changedSince", 1), ("unproven", 1), ("gone", 0), ("missing", 0), ("differing", 0)]);
    assert_eq!(found["hashes"]["asSnapshot"], Value::Null);
}

#[test]
fn a_server_that_goes_away_midway_is_never_called_equal() {
    let bench = Bench::new();
    let file = many(&bench);
    let mut server = restored(&bench, Release::V35New, &file);
    let proxy = Proxy::before(server.port(), Ways { hold_after: 6_000_000.into(), ..Ways::default() });
    let child = begin(&file, &proxy, &["--stall-timeout", "2s"]);
    wait_until(|| proxy.ways.held.load(Ordering::Relaxed));
    server.kill();
    proxy.ways.held.store(false, Ordering::Relaxed);
    let ran = ended(child).expect(8);
    assert!(!ran.out.contains("\"equal\":true"), "{}", ran.out);
    assert_eq!(ran.json()["error"]["kind"], "unreachable");
    // It comes back, and the comparison goes on where it was.
    server.start();
    let proxy = Proxy::before(server.port(), Ways { hold_after: 6_000_000.into(), ..Ways::default() });
    let child = begin(&file, &proxy, &[]);
    wait_until(|| proxy.ways.held.load(Ordering::Relaxed));
    server.kill();
    proxy.ways.held.store(false, Ordering::Relaxed);
    server.start();
    let found = ended(child).expect(0).json();
    assert!(proxy.ways.connections.load(Ordering::Relaxed) > 1);
    assert_eq!(found["keys"]["equal"], found["keys"]["snapshot"]);
}

#[test]
fn a_difference_is_found_through_a_connection_that_breaks() {
    let bench = Bench::new();
    let file = many(&bench);
    let server = restored(&bench, Release::V36, &file);
    let changed = mapped(&std::fs::read(&file).unwrap(), |kv| {
        (kv.key == b"/registry/secrets/default/s77777").then(|| b"other".to_vec())
    });
    let changed = bench.file("changed.db", changed);
    let proxy = Proxy::before(server.port(), Ways { cut_after: 3_000_000.into(), ..Ways::default() });
    let found = compare_with(&changed, &proxy.endpoint(), &[]).expect(6).json();
    counts(&found, &[("differing", 1), ("missing", 0), ("extra", 0)]);
    assert!(found["retries"].as_u64().unwrap() > 0);
}

#[test]
fn values_are_opened_and_those_under_an_old_key_are_told() {
    let bench = Bench::new();
    let (new, old) = (
        crate::support::fixture("kube-rotated", "new.yaml"),
        crate::support::fixture("kube-rotated", "old.yaml"),
    );
    let rekeyed = bench.path("rekeyed.db");
    let keys = ["--encryption-config", text(&new), "--decryption-config", text(&old)];
    run(&[&["reencrypt", text(&snapshot()), "-o", text(&rekeyed)], &keys[..]].concat()).expect(0);
    let server = restored(&bench, Release::V36, &rekeyed);
    // The new key alone opens everything, and nothing is under another one.
    let found =
        compare_with(&rekeyed, &server.endpoint(), &["--encryption-config", text(&new)]).expect(0).json();
    let rows = found["values"]["seals"].as_array().unwrap();
    let row = rows.iter().find(|row| row["resource"] == "secrets").unwrap();
    assert_eq!(
        (&row["provider"], &row["key"], &row["count"]),
        (&"aescbc".into(), &"key-2027".into(), &47.into())
    );
    assert_eq!(found["values"]["oldKey"]["count"], 0);
    // An API server with the old configuration writes a secret.
    let original = Server::restored(Release::V36, &bench.path("original"), &snapshot());
    let secret = &secrets()[5];
    let under_old = original.at(secret, original.revision()).value;
    server.put(secret, &under_old);
    let found = compare_with(&rekeyed, &server.endpoint(), &keys).expect(6).json();
    counts(&found, &[("changedSince", 1), ("differing", 0)]);
    assert_eq!(found["values"]["oldKey"]["count"], 1);
    assert_eq!(found["values"]["oldKey"]["listed"][0]["key"], secret.as_str());
    // Where no key opens it, it is that which is told.
    let found =
        compare_with(&rekeyed, &server.endpoint(), &["--encryption-config", text(&new)]).expect(7).json();
    assert_eq!((&found["equal"], &found["values"]["unreadableCount"]), (&true.into(), &1.into()));
    // The wrong file is told as that, whatever opens.
    compare_with(&snapshot(), &server.endpoint(), &[]).expect(6);
}

#[test]
fn values_of_a_plugin_are_opened_and_those_under_its_old_key_are_told() {
    let bench = Bench::new();
    let socket = bench.path("kms.sock");
    let plugin = |keys: &[&str]| Plugin::start("v2", text(&socket), keys);
    let first = plugin(&["-key", "1"]);
    let config = bench.file("kms.yaml", by_plugins(&[("secrets", "v2", "vault", &first.endpoint())]));
    let named = ["--encryption-config", text(&config)];
    let (rekeyed, again) = (bench.path("rekeyed.db"), bench.path("again.db"));
    let old = crate::support::fixture("kube-rotated", "old.yaml");
    let input = snapshot();
    let from = ["reencrypt", text(&input), "-o", text(&rekeyed), "--decryption-config", text(&old)];
    run(&[&from[..], &named[..]].concat()).expect(0);
    let server = restored(&bench, Release::V36, &rekeyed);
    let found = compare_with(&rekeyed, &server.endpoint(), &named).expect(0).json();
    let rows = found["values"]["seals"].as_array().unwrap();
    let row = rows.iter().find(|row| row["resource"] == "secrets").unwrap();
    let expected = (&Value::from("kms-v2"), &Value::from("vault"), &Value::from(47));
    assert_eq!((&row["provider"], &row["key"], &row["count"]), expected);
    assert_eq!(
        (&found["values"]["oldKey"]["count"], &found["values"]["unreadableCount"]),
        (&0.into(), &0.into())
    );
    drop(first);

    // The plugin has a new key, under which an API server writes one secret.
    let second = plugin(&["-key", "2", "-known", "1"]);
    run(&[&["reencrypt", text(&rekeyed), "-o", text(&again)], &named[..]].concat()).expect(0);
    let secret = &secrets()[5];
    let mut under_new = Vec::new();
    crate::support::records(&std::fs::read(&again).unwrap(), |_, kv| {
        if kv.key == secret.as_bytes() {
            under_new = kv.value.to_vec();
        }
    });
    server.put(secret, &under_new);
    let found = compare_with(&rekeyed, &server.endpoint(), &named).expect(6).json();
    counts(&found, &[("changedSince", 1), ("differing", 0)]);
    assert_eq!(found["values"]["oldKey"]["count"], 46, "{found}");
    assert_eq!(found["values"]["unreadableCount"], 0);
    drop(second);

    // It opens its old values no more.
    let third = plugin(&["-key", "2"]);
    let found = compare_with(&rekeyed, &server.endpoint(), &named).expect(7).json();
    assert_eq!(found["values"]["unreadableCount"], 46, "{found}");
    drop(third);
    // It is not there at all: that is not taken for an answer.
    let endpoint = server.endpoint();
    let compare = ["snapshot", "compare", text(&rekeyed), "--endpoints", &endpoint];
    let told = run(&[&compare[..], &named[..]].concat());
    assert!(told.expect(8).err.contains("vault"));
}

#[test]
fn a_compacted_output_and_a_bumped_restore_are_equal_too() {
    for release in [Release::V34, Release::V35New, Release::V36] {
        let bench = Bench::new();
        let (new, old) = (
            crate::support::fixture("kube-rotated", "new.yaml"),
            crate::support::fixture("kube-rotated", "old.yaml"),
        );
        let (out, original) = (bench.path("compacted.db"), snapshot());
        let args =
            ["reencrypt", text(&original), "-o", text(&out), "--compact", "--encryption-config", text(&new)];
        run(&[&args, &["--decryption-config", text(&old)][..]].concat()).expect(0);
        let server = restored(&bench, release, &out);
        let found = compare_with(&out, &server.endpoint(), &[]).expect(0).json();
        assert_eq!(found["hashes"]["asSnapshot"], true, "{release:?}: {found}");
        if release != Release::V34 {
            let flags = ["--bump-revision", "1000000", "--mark-compacted"];
            let bumped = Server::restored_with(release, &bench.path("bumped"), &out, &flags);
            let found = compare_with(&out, &bumped.endpoint(), &[]).expect(0).json();
            assert_eq!(found["keys"]["equal"], found["keys"]["snapshot"], "{found}");
        }
    }
}
