//! Promise: Kubernetes' own transformers read in every output what they read
//! in its input, and ours and theirs open each other's values.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use etcd_rekey::kube::{Provider, SealingKey};
use serde_json::{Value, json};
use support::judge::{by_revision, check, judge, oracle, values};
use support::program::{Bench, make_snapshot, text};
use support::{KUBE_FIXTURES, blocks, config, fixture};
use zeroize::Zeroizing;

#[test]
fn kubernetes_reads_every_output_as_it_read_the_input() {
    for name in KUBE_FIXTURES.into_iter().filter(|name| *name != "kube-kms") {
        let old = fixture(name, "encryption-config.yaml");
        let input = fixture(name, "snapshot.db");
        let expected = by_revision(&oracle(name));
        assert_eq!(by_revision(&values(&input, &old)), expected, "{name}: the judge itself");
        for provider in ["aescbc", "aesgcm", "secretbox", "identity"] {
            let bench = Bench::new();
            let new = bench.file("new.yaml", config(blocks(name), provider, "fresh:key", 0x42));
            bench.reencrypt(&input, &new, Some(&old), &["--allow-plaintext"]).expect(0);
            let read = values(&bench.path("out.db"), &new);
            assert_eq!(by_revision(&read), expected, "{name} {provider}");
            for line in &read {
                assert_eq!(line["error"], Value::Null, "{name} {provider} {line}");
                // Plaintext under a rule is stale to Kubernetes; so nothing is.
                assert_ne!(line["stale"], true, "{name} {provider} {line}");
            }
        }
    }
}

/// Snapshots made to order: several revisions of each secret, config maps in
/// plaintext among them, pages of several sizes; from each provider to each.
#[test]
fn kubernetes_and_bbolt_take_every_made_snapshot_rekeyed() {
    let providers = ["aescbc", "aesgcm", "secretbox", "identity"];
    for (seed, from) in (1u8..).zip(providers) {
        let bench = Bench::new();
        let (input, old) = (bench.path("in.db"), bench.path("old.yaml"));
        let pages = ["4096", "16384", "65536", "4096"][usize::from(seed) - 1];
        let size = (usize::from(seed) * 700).to_string();
        make_snapshot(&[
            text(&input),
            "--config-out",
            text(&old),
            "--provider",
            from,
            "--seed",
            &seed.to_string(),
            "--size",
            &size,
            "--page-size",
            pages,
            "--secrets",
            "120",
            "--revisions",
            "3",
            "--configmaps",
            "17",
        ]);
        let expected = by_revision(&values(&input, &old));
        assert_eq!(expected.len(), 120 * 3 + 17);
        for (step, to) in (1..).zip(providers) {
            let new = bench.file("new.yaml", config(&[&["secrets"]], to, "fresh", step));
            let report =
                bench.reencrypt(&input, &new, Some(&old), &["--force", "--allow-plaintext", "-w", "json"]);
            let report = report.expect(0).json();
            assert_eq!(report["verified"], true, "{from} {to}");
            let out = bench.path("out.db");
            let read = values(&out, &new);
            assert_eq!(by_revision(&read), expected, "{from} {to}");
            let unfit = |line: &&Value| line["error"] != Value::Null || line["stale"] == true;
            assert_eq!(read.iter().find(unfit), None, "{from} {to}");
            assert_eq!(check(&out, 2000)["ok"], true, "{from} {to}");
        }
    }
}

#[test]
fn every_provider_is_left_for_every_other() {
    // Through all of them and back to the first, one output the next input.
    let providers = ["aescbc", "secretbox", "aesgcm", "secretbox", "aescbc", "aesgcm", "aescbc"];
    let bench = Bench::new();
    let expected = by_revision(&oracle("kube-multi"));
    let mut input = fixture("kube-multi", "snapshot.db");
    let mut old = fixture("kube-multi", "encryption-config.yaml");
    for (step, provider) in (1..).zip(providers) {
        let new = bench.file(&format!("{step}.yaml"), config(blocks("kube-multi"), provider, "k", step));
        bench.reencrypt(&input, &new, Some(&old), &[]).expect(0);
        input = bench.path(&format!("{step}.db"));
        std::fs::rename(bench.path("out.db"), &input).unwrap();
        assert_eq!(by_revision(&values(&input, &new)), expected, "{step} {provider}");
        old = new;
    }
}

/// Names that have led parsers astray, ours among them.
const NAMES: [&str; 7] =
    ["key1", "a:b", "a", "a:", "with space", "cl\u{e9} \u{fc}", "aescbckey-2026-11-24T02:15:42Z"];

#[test]
fn ours_and_kubernetes_own_open_each_others_values() {
    let bench = Bench::new();
    let mut lengths: Vec<usize> = (0..=130).collect();
    lengths.extend([255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 1 << 20]);
    let etcd_key = "/registry/secrets/default/a";
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    let mut keys = Vec::new();
    for provider in Provider::ALL {
        for length in provider.key_lengths() {
            for name in NAMES {
                let secret = vec![u8::try_from(keys.len()).unwrap(); *length];
                let config = format!(
                    "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - {provider}: {{keys: [{{name: '{name}', secret: '{}'}}]}}\n",
                    STANDARD.encode(&secret)
                );
                let file = bench.file(&format!("{}.yaml", keys.len()), config);
                keys.push((SealingKey::new(provider, name, Zeroizing::new(secret)).unwrap(), file));
            }
        }
    }
    for (number, (key, file)) in keys.iter().enumerate() {
        for length in &lengths {
            // The long ones once a key length are enough.
            if *length > 130 && number % NAMES.len() != 0 {
                continue;
            }
            let plain: Vec<u8> = (0..*length).map(|i| u8::try_from((i * 7 + length) % 256).unwrap()).collect();
            let mut value = Vec::new();
            let mut nonce = vec![0; key.provider().nonce_len()];
            getrandom::fill(&mut nonce).unwrap();
            let start = key.place(&mut value, &nonce, &plain).unwrap();
            key.seal(vec![(&mut value[start..], etcd_key.as_bytes())]).unwrap();
            for (op, bytes) in [("open", &value), ("seal", &plain)] {
                let line = json!({
                    "op": op, "config": text(file), "resource": "secrets", "key": etcd_key, "value": STANDARD.encode(bytes),
                });
                asked.extend(format!("{line}\n").bytes());
            }
            expected.push((number, plain));
        }
    }
    let answers = judge("batch", &[], &asked).unwrap();
    assert_eq!(answers.len(), expected.len() * 2);
    for ((number, plain), answer) in expected.iter().zip(answers.chunks(2)) {
        let (key, _) = &keys[*number];
        let bytes = |answer: &Value| {
            STANDARD.decode(answer["value"].as_str().unwrap_or_else(|| panic!("{answer}"))).unwrap()
        };
        assert_eq!(&bytes(&answer[0]), plain, "{} {} {}", key.provider(), key.name(), plain.len());
        assert_eq!(answer[0]["stale"], false);
        let sealed = bytes(&answer[1]);
        let payload = sealed.strip_prefix(key.prefix()).unwrap();
        let mut opened = Vec::new();
        key.open(payload, etcd_key.as_bytes(), &mut opened).unwrap();
        assert_eq!(&opened, plain, "{} {} {}", key.provider(), key.name(), plain.len());
    }
}
