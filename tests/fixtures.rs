//! Promise: every real snapshot is rekeyed to every provider without losing a
//! byte, and what is not to change does not.

mod support;

use serde_json::Value;
use std::collections::HashMap;
use support::program::{Bench, run, text};
use support::{KUBE_FIXTURES, blocks, config, contents, fixture, opener, records};

/// What Kubernetes' own transformers read in each revision of a fixture.
fn oracle(name: &str) -> HashMap<(i64, i64), Value> {
    let lines = std::fs::read_to_string(fixture(name, "oracle.jsonl")).unwrap();
    lines
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            ((value["rev"].as_i64().unwrap(), value["sub"].as_i64().unwrap()), value)
        })
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    etcd_rekey::etcd::snapshot::hex(&Sha256::digest(bytes))
}

fn manifest(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name, "manifest.json")).unwrap()).unwrap()
}

#[test]
fn every_revision_of_every_fixture_has_its_plaintext_under_each_providers_fresh_key() {
    for name in KUBE_FIXTURES.into_iter().filter(|name| *name != "kube-kms") {
        for provider in ["aescbc", "aesgcm", "secretbox", "identity"] {
            let bench = Bench::new();
            let new = bench.file("new.yaml", config(blocks(name), provider, "fresh:key", 0x42));
            let input = fixture(name, "snapshot.db");
            let before = std::fs::read(&input).unwrap();
            let old = fixture(name, "encryption-config.yaml");
            let flags = ["-w", "json", "--allow-plaintext"];
            let report = bench.reencrypt(&input, &new, Some(&old), &flags).expect(0).json();
            assert_eq!(report["verified"], true, "{name} {provider}");
            assert_eq!(std::fs::read(&input).unwrap(), before);
            let after = std::fs::read(bench.path("out.db")).unwrap();

            let oracle = oracle(name);
            let mut seen = 0;
            let mut sealed_current = 0u64;
            records(&after, |revision, kv| {
                let expected = &oracle[&(revision.revision.main, revision.revision.sub)];
                seen += 1;
                assert_eq!(expected["key"].as_str().unwrap().as_bytes(), kv.key, "{name}");
                let Some(plain) = expected["plain_sha256"].as_str() else { return };
                // What the fixture's configuration names, its output seals.
                let target =
                    expected["stale"].is_boolean() && expected["gr"].is_string() && is_target(name, expected);
                if target && provider != "identity" {
                    let opened = opener::open(provider, "fresh:key", &[0x42; 32], kv.key, kv.value);
                    let opened = opened.unwrap_or_else(|| panic!("{name} {provider} {expected}"));
                    assert_eq!(sha256(&opened), plain, "{name} {provider} {expected}");
                    sealed_current += 1;
                } else if kv.value.starts_with(b"k8s:enc:") {
                    // A foreign key whose value only looks sealed.
                    assert!(!kv.key.starts_with(b"/registry/"), "{name} {expected}");
                } else {
                    assert_eq!(sha256(kv.value), plain, "{name} {expected}");
                }
            });
            assert_eq!(seen, oracle.len(), "{name}");
            assert_eq!(sealed_current > 0, provider != "identity", "{name}");
            same_but_for_values(&before, &after);
        }
    }
}

/// Whether a revision's resource is sealed by the fixture's configuration.
fn is_target(name: &str, expected: &Value) -> bool {
    let resource = expected["gr"].as_str().unwrap();
    blocks(name).iter().flat_map(|block| block.iter()).any(|rule| match *rule {
        "*.*" => true,
        "*.apps" => resource.split_once('.').is_some_and(|(_, group)| group == "apps"),
        rule => rule == resource,
    })
}

/// Every bucket, key and byte but field 5 is the same.
fn same_but_for_values(before: &[u8], after: &[u8]) {
    let (before, after) = (contents(before), contents(after));
    assert_eq!(before.len(), after.len());
    for ((bucket, key, old), (bucket2, key2, new)) in before.iter().zip(&after) {
        assert_eq!((bucket, key), (bucket2, key2));
        if bucket != b"key" {
            assert_eq!(old, new);
            continue;
        }
        let cut = |record: &[u8]| {
            let kv = etcd_rekey::etcd::KeyValue::parse(record).unwrap();
            (kv.before.to_vec(), kv.after.to_vec())
        };
        if old != new {
            assert_eq!(cut(old), cut(new));
        }
    }
}

#[test]
fn the_hashes_of_every_fixture_are_those_etcd_printed() {
    for name in KUBE_FIXTURES {
        let status = run(&["status", text(&fixture(name, "snapshot.db")), "-w", "json"]).expect(0).json();
        let status = &status["snapshot"];
        let printed: Value =
            serde_json::from_str(&std::fs::read_to_string(fixture(name, "status-3.6.json")).unwrap()).unwrap();
        let manifest = manifest(name);
        assert_eq!(status["statusHash"], printed["hash"], "{name}");
        assert_eq!(status["revision"], printed["revision"], "{name}");
        assert_eq!(status["keys"], printed["totalKey"], "{name}");
        assert_eq!(status["bytes"], printed["totalSize"], "{name}");
        assert_eq!(
            status["storageVersion"].as_str().unwrap_or(""),
            printed["version"].as_str().unwrap(),
            "{name}"
        );
        assert_eq!(status["hashKV"], manifest["endpoint_hashkv"][0]["HashKV"]["hash"], "{name}");
        assert_eq!(status["hashKV"], manifest["etcdutl37_hashkv"]["hash"], "{name}");
    }
}

#[test]
fn a_rewrite_with_nothing_to_change_reproduces_etcds_own_hashes() {
    // A configuration that seals nothing leaves every plaintext as it is; one
    // under which everything is sealed already leaves that as it is.
    for name in KUBE_FIXTURES.into_iter().filter(|name| *name != "kube-kms") {
        let bench = Bench::new();
        let own = fixture(name, "encryption-config.yaml");
        let input = fixture(name, "snapshot.db");
        let first = bench.reencrypt(&input, &own, None, &["-w", "json"]).expect(0).json();
        let once = bench.path("once.db");
        std::fs::rename(bench.path("out.db"), &once).unwrap();
        let again = bench.reencrypt(&once, &own, None, &["-w", "json"]).expect(0).json();
        for hash in ["statusHash", "hashKV", "revision"] {
            assert_eq!(again["input"][hash], first["output"][hash], "{name}");
            assert_eq!(again["output"][hash], again["input"][hash], "{name}");
        }
        assert_eq!((&again["rewritten"], &again["rewrittenOld"]), (&0.into(), &0.into()), "{name}");
        assert_eq!(again["unchanged"], first["unchanged"].as_u64().unwrap() + rewritten(&first), "{name}");
        let nothing_to_do = rewritten(&first) == 0;
        if nothing_to_do {
            let manifest = manifest(name);
            assert_eq!(first["output"]["hashKV"], manifest["endpoint_hashkv"][0]["HashKV"]["hash"], "{name}");
        }
        let stale = matches!(name, "kube-rotated" | "kube-identity-then-aescbc" | "kube-compacted-residue");
        assert_eq!(nothing_to_do, !stale, "{name}");
    }
}

/// A configuration that has nothing to write and no key to read with.
#[test]
fn a_rewrite_that_carries_everything_over_reproduces_what_etcd_printed_of_every_fixture() {
    for name in KUBE_FIXTURES {
        let bench = Bench::new();
        let none = bench.file("none.yaml", config(&[&["configmaps"]], "identity", "", 0));
        let input = fixture(name, "snapshot.db");
        let flags = ["-w", "json", "--keep-unreadable"];
        let report = bench.reencrypt(&input, &none, None, &flags).expect(7).json();
        let output = &report["output"];
        for release in ["3.5", "3.6"] {
            let printed = std::fs::read_to_string(fixture(name, &format!("status-{release}.json"))).unwrap();
            let printed: Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(output["statusHash"], printed["hash"], "{name} {release}");
        }
        assert_eq!(output["hashKV"], manifest(name)["endpoint_hashkv"][0]["HashKV"]["hash"], "{name}");
        assert_eq!(output["hashKV"], report["input"]["hashKV"], "{name}");
    }
}

fn rewritten(report: &Value) -> u64 {
    report["rewritten"].as_u64().unwrap() + report["rewrittenOld"].as_u64().unwrap()
}

#[test]
fn values_of_a_kms_plugin_are_named_and_can_be_carried_over() {
    let bench = Bench::new();
    let new = bench.file("new.yaml", config(blocks("kube-kms"), "aescbc", "fresh", 0x42));
    let input = fixture("kube-kms", "snapshot.db");
    let old = fixture("kube-kms", "encryption-config.yaml");
    // Nobody names the plugin.
    let refused = bench.reencrypt(&input, &new, None, &["-w", "json"]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "unreadable");
    let listed = refused["unreadable"].as_array().unwrap();
    assert_eq!(listed.len(), 100);
    assert_eq!(listed.iter().filter(|value| value["provider"] == "kms-v2").count(), 93);
    assert_eq!(listed.iter().filter(|value| value["keyName"] == "lab:v1").count(), 7);
    assert!(listed.iter().all(|value| value["error"].as_str().unwrap().contains("KMS plugin")));
    assert_eq!(bench.names(), ["new.yaml"]);

    let kept = bench.reencrypt(&input, &new, None, &["-w", "json", "--keep-unreadable"]).expect(7).json();
    assert_eq!(kept["carriedOver"].as_array().unwrap().len(), 100);
    assert_eq!(kept["verified"], true);
    // It is named, and cannot be reached: that does not make its values unreadable.
    let nowhere = ["labv2", "lab:v1"].map(|name| format!("{name}=unix://{}", text(&bench.path("none.sock"))));
    let more =
        ["--kms-endpoint", &nowhere[0], "--kms-endpoint", &nowhere[1], "-w", "json", "--keep-unreadable"];
    let unreachable = bench.reencrypt(&input, &new, Some(&old), &[&more[..], &["--force"]].concat());
    assert_eq!(unreachable.expect(8).json()["error"]["kind"], "kms-unreachable");
    let unsealed = fixture("kube-identity-then-aescbc", "snapshot.db");
    let as_writer = bench.reencrypt(&unsealed, &old, None, &[&more[..], &["--force"]].concat());
    assert_eq!(as_writer.expect(8).json()["error"]["kind"], "kms-unreachable");
}

#[test]
fn residue_is_counted_and_not_in_the_output() {
    let bench = Bench::new();
    let input = fixture("kube-compacted-residue", "snapshot.db");
    let status = run(&["status", text(&input), "-w", "json"]).expect(0).json();
    // The manifest's 84 plaintext Secrets are 83 in free pages and one that
    // is current.
    assert_eq!(status["residue"]["freePages"], 150);
    assert_eq!(status["residue"]["plaintext"], 83);
    let new = bench.file("new.yaml", config(&[&["secrets"]], "aescbc", "fresh", 0x42));
    let old = fixture("kube-compacted-residue", "encryption-config.yaml");
    bench.reencrypt(&input, &new, Some(&old), &[]).expect(0);
    let after = std::fs::read(bench.path("out.db")).unwrap();
    let count = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).filter(|window| *window == what).count();
    let before = std::fs::read(&input).unwrap();
    assert_eq!(count(&before, b"\x12\x06Secret"), 84);
    assert_eq!(count(&after, b"\x12\x06Secret"), 0);
    assert_eq!(count(&after, b"k8s:enc:aescbc:v1:key1:"), 0);
}
