//! K3s and RKE2: a snapshot and a token are enough. Real snapshots of every
//! stage, each verb, judged by Go's own cryptography and Kubernetes' own code.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::path::Path;
use support::clusters::{Cluster, FIXTURES, encodings, held, keys_of, unzipped};
use support::fixture;
use support::judge::judge;
use support::program::{Bench, Ran, run, text};

const VERBS: [&str; 6] = ["prepare", "rotate", "reencrypt", "rotate-keys", "enable", "disable"];

/// The stage the verbs of K3s want to find; `None` when the servers disagree,
/// or the hash is stale, and so K3s refuses most of them.
fn allowed(name: &str, verb: &str) -> bool {
    match name {
        "k3s-fresh" | "k3s-compressed" | "k3s-reencrypt_finished" => !matches!(verb, "rotate" | "reencrypt"),
        "k3s-secretbox-rotated" => matches!(verb, "rotate-keys" | "enable" | "disable"),
        "k3s-rotated" | "k3s-partial" => verb == "reencrypt",
        // Its Node says reencrypt_active.
        "k3s-ha-mismatch" | "k3s-midrotatekeys" => false,
        _ => matches!(verb, "enable" | "disable"),
    }
}

/// What must hold of an output of a verb.
fn right(cluster: &Cluster, verb: &str, bench: &Bench, output: &Path) {
    let place = format!("{} {verb}", cluster.name);
    let (before, after) = (cluster.records(&unzipped(cluster, bench)), cluster.records(output));
    assert_eq!(before.len(), after.len(), "{place}");
    let newest = after.last().unwrap();
    let (config, said) = (newest["config"].as_str().unwrap(), newest["state"].as_str().unwrap());
    let stage = match verb {
        "prepare" | "rotate" => verb,
        _ => "reencrypt_finished",
    };
    assert_eq!(said, format!("{stage}-{}", newest["config_sha256"].as_str().unwrap()), "{place}");
    let rewrites = !matches!(verb, "prepare" | "rotate");
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    for (i, (was, is)) in before.iter().zip(&after).enumerate() {
        for same in ["rev", "version", "create", "others"] {
            assert_eq!(was[same], is[same], "{place}: {same}");
        }
        assert_eq!(is["as_k3s_writes"], true, "{place}");
        if rewrites || i + 1 == after.len() {
            assert_eq!((&is["config"], &is["state"]), (&newest["config"], &newest["state"]), "{place}");
            assert_ne!(was["salt"], is["salt"], "{place}");
            for time in ["config_time", "state_time"] {
                assert!((now - 300..=now).contains(&is[time].as_i64().unwrap()), "{place}");
            }
        } else {
            assert_eq!(was, is, "{place}");
        }
    }
    // Every revision opens with what the record holds, and nothing is lost.
    if rewrites {
        let file = bench.file("written.json", config);
        for value in judge("values", &[text(output), text(&file)], b"").unwrap() {
            assert!(value.get("error").is_none(), "{place}: {value}");
            assert!(value["stale"] != true, "{place}: {value}");
        }
    }
    assert_eq!(cluster.secrets(bench, output), cluster.manifest_or_served(bench), "{place}");
}

/// No key and no token stands in what was printed, the token nowhere at all,
/// and an old key nowhere in an output that no longer needs it.
fn nothing_is_told(cluster: &Cluster, verb: &str, output: &Path, ran: &Ran) {
    let place = format!("{} {verb}", cluster.name);
    let written = std::fs::read(output).unwrap();
    let told = [ran.out.as_bytes(), ran.err.as_bytes()].concat();
    let token = encodings(&STANDARD.encode(cluster.passphrase()));
    let needed = keys_of(&cluster.config(output));
    let bench = Bench::new();
    let records = cluster.records(&unzipped(cluster, &bench));
    let before: Vec<_> = records.iter().flat_map(|was| keys_of(was["config"].as_str().unwrap())).collect();
    let all: Vec<_> =
        before.iter().chain(&needed).flat_map(|key| encodings(key)).chain(token.clone()).collect();
    assert_eq!(held(&told, &all), None, "{place}: a key or the token is told");
    let dropped = before.iter().filter(|key| !needed.contains(key) && !matches!(verb, "prepare" | "rotate"));
    let gone: Vec<_> = dropped.flat_map(|key| encodings(key)).chain(token).collect();
    assert_eq!(held(&written, &gone), None, "{place}: an old key or the token is left");
}

#[test]
fn status_prints_what_k3s_printed() {
    for name in FIXTURES {
        let cluster = Cluster::of(name);
        let expected = cluster.recorded("status.txt");
        let printed = cluster.status(&cluster.snapshot, &[]).out;
        assert!(printed.starts_with(&expected), "{name}: {printed}");
        let printed = cluster.status(&cluster.snapshot, &["-w", "json"]).json();
        let expected: serde_json::Map<String, Value> =
            serde_json::from_str(&cluster.recorded("status.json")).unwrap();
        let ours = ["snapshot", "values", "unreadable", "residue"];
        let mut fields = printed.as_object().unwrap().clone();
        fields.retain(|field, _| !ours.contains(&field.as_str()));
        assert_eq!(fields, expected, "{name}");
    }
}

#[test]
fn every_fixture_opens_completely_with_the_keys_of_all_revisions_of_the_record() {
    for name in FIXTURES {
        let cluster = Cluster::of(name);
        let status = cluster.status(&cluster.snapshot, &["-w", "json"]).json();
        assert_eq!(status["unreadable"], Value::Array(Vec::new()), "{name}");
        let secrets = status["values"].as_array().unwrap().iter().filter(|row| row["resource"] == "secrets");
        let of = |field: &str| secrets.clone().map(|row| row[field].as_u64().unwrap()).sum::<u64>();
        if name == "k3s-reencrypt_finished" {
            assert_eq!((of("current"), of("old")), (59, 68));
        }
        assert!(of("current") >= 40, "{name}");
    }
}

#[test]
fn each_verb_does_what_it_says_or_is_refused_as_k3s_refuses_it() {
    for name in FIXTURES {
        let cluster = Cluster::of(name);
        for verb in VERBS {
            let bench = Bench::new();
            let output = bench.path("out");
            let before = std::fs::read(&cluster.snapshot).unwrap();
            if allowed(name, verb) {
                let ran = cluster.run(verb, &output, &[]).expect(0);
                right(&cluster, verb, &bench, &output);
                nothing_is_told(&cluster, verb, &output, &ran);
                let mut proof =
                    vec!["verify", text(&output), "--against", text(&cluster.snapshot), "--token-file"];
                proof.push(text(&cluster.token));
                if verb == "disable" {
                    proof.push("--allow-plaintext");
                }
                run(&proof).expect(0);
            } else {
                let refused = cluster.run(verb, &output, &["-w", "json"]).expect(4).json();
                let message = refused["error"]["message"].as_str().unwrap();
                let stage = cluster.recorded("status.txt");
                let stage =
                    stage.lines().find_map(|line| line.strip_prefix("Current Rotation Stage: ")).unwrap();
                assert!(message.contains(stage), "{name} {verb}: {message}");
                assert!(bench.names().is_empty());
            }
            assert_eq!(std::fs::read(&cluster.snapshot).unwrap(), before);
        }
    }
}

#[test]
fn rotate_keys_with_force_cures_every_cluster_that_is_enabled() {
    for name in FIXTURES {
        let cluster = Cluster::of(name);
        let bench = Bench::new();
        let output = bench.path("out");
        if name.starts_with("k3s-disabled") {
            let refused = cluster.run("rotate-keys", &output, &["--force", "-w", "json"]).expect(4).json();
            assert_eq!(refused["error"]["kind"], "rotation", "{name}");
            continue;
        }
        let escrow = bench.path("escrow.json");
        let ran = cluster.run("rotate-keys", &output, &["-f", "--write-config", text(&escrow)]).expect(0);
        right(&cluster, "rotate-keys", &bench, &output);
        let record = cluster.records(&output).pop().unwrap();
        assert_eq!(std::fs::read_to_string(&escrow).unwrap(), record["config"].as_str().unwrap());
        let meta = std::fs::metadata(&escrow).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);
        nothing_is_told(&cluster, "rotate-keys", &output, &ran);
        let new = keys_of(record["config"].as_str().unwrap());
        assert_eq!(new.len(), 1);
        let before = cluster.records(&unzipped(&cluster, &bench));
        assert!(before.iter().any(|was| keys_of(was["config"].as_str().unwrap()) != new), "{name}");
        for is in cluster.records(&output) {
            assert_eq!(keys_of(is["config"].as_str().unwrap()), new, "{name}");
        }
    }
}

#[test]
fn the_provider_can_be_changed() {
    for (name, provider, prefix) in
        [("k3s-fresh", "secretbox", "secretboxkey-"), ("k3s-secretbox-rotated", "aescbc", "aescbckey-")]
    {
        let cluster = Cluster::of(name);
        let bench = Bench::new();
        let output = bench.path("out");
        let ran = cluster.run("rotate-keys", &output, &["--secrets-encryption-provider", provider]).expect(0);
        right(&cluster, "rotate-keys", &bench, &output);
        let config = cluster.records(&output).pop().unwrap()["config"].as_str().unwrap().to_owned();
        assert!(config.contains(&format!("{{\"{provider}\":{{\"keys\":[{{\"name\":\"{prefix}")), "{config}");
        assert!(provider == "aescbc" || ran.out.contains("secrets-encryption-provider: secretbox"));
    }
}

#[test]
fn enabling_and_disabling_repair_what_k3s_left_half_done() {
    let bench = Bench::new();
    // Sealed values although encryption is off: disable ends it, and enable.
    let cluster = Cluster::of("k3s-disabled-norestart");
    for (verb, provider) in [("disable", "identity"), ("enable", "aescbc")] {
        let output = bench.path(verb);
        cluster.run(verb, &output, &[]).expect(0);
        let status = cluster.status(&output, &["-w", "json"]).json();
        for row in status["values"].as_array().unwrap().iter().filter(|row| row["resource"] == "secrets") {
            assert_eq!(row["provider"], provider, "{row}");
        }
        assert_eq!(status["enable"], verb == "enable");
        assert_eq!(status["stage"], "reencrypt_finished");
    }
}

#[test]
fn a_crash_in_rotate_keys_is_cured_with_the_key_from_the_disk() {
    // The record of this snapshot is put back to before the rotation: its
    // values are under a key that lies on a server's disk alone.
    let bench = Bench::new();
    let (before, after) = (Cluster::of("k3s-fresh"), Cluster::of("k3s-partial"));
    let old_record = support::contents(&std::fs::read(&before.snapshot).unwrap());
    let old_record = old_record
        .iter()
        .filter(|(bucket, _, _)| bucket == b"key")
        .filter_map(|(_, _, value)| etcd_rekey::etcd::KeyValue::parse(value).ok())
        .find(|kv| kv.key.starts_with(b"/bootstrap/"))
        .unwrap();
    let crashed = bench.file(
        "crashed.db",
        support::builder::mapped(&std::fs::read(&after.snapshot).unwrap(), |kv| {
            kv.key.starts_with(b"/bootstrap/").then(|| old_record.value.to_vec())
        }),
    );
    let cluster = Cluster { name: "k3s-partial", snapshot: crashed, token: after.token.clone() };
    let output = bench.path("out");
    let refused = cluster.run("rotate-keys", &output, &["-f", "-w", "json"]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "unreadable");
    assert_eq!(refused["unreadable"].as_array().unwrap().len(), 7);
    let remedy = refused["error"]["remedy"].as_str().unwrap();
    assert!(["--decryption-config", "--compact", "--keep-unreadable"].iter().all(|flag| remedy.contains(flag)));
    let disk = fixture("k3s-partial", "encryption-config.json");
    cluster.run("rotate-keys", &output, &["-f", "--decryption-config", text(&disk)]).expect(0);
    assert_eq!(cluster.secrets(&bench, &output), after.secrets(&bench, &after.snapshot));
}

#[test]
fn files_of_servers_are_compared_with_the_record() {
    let cluster = Cluster::of("k3s-fresh");
    let own = fixture("k3s-fresh", "encryption-config.json");
    let other = fixture("k3s-rotated", "encryption-config.json");
    let same = cluster.status(&cluster.snapshot, &["--server-config", text(&own)]).out;
    assert!(same.contains("Server Encryption Hashes: All hashes match\n"));
    let differs = ["--server-config", text(&own), "--server-config", text(&other)];
    let differs = cluster.status(&cluster.snapshot, &differs).out;
    let expected = format!("hash does not match between the snapshot and {}\n", other.display());
    assert!(differs.contains(&expected), "{differs}");
}

#[test]
fn a_thousand_secrets_go_through_all_stages() {
    let bench = Bench::new();
    let start = bench.path("start");
    let token = fixture("k3s-fresh", "token");
    // A real record and a thousand secrets under its key.
    let fresh = std::fs::read(fixture("k3s-fresh", "snapshot.db")).unwrap();
    let own = std::fs::read_to_string(fixture("k3s-fresh", "encryption-config.json")).unwrap();
    let own = etcd_rekey::kube::EncryptionConfiguration::parse(&own).unwrap();
    let key = own.keys().next().unwrap().clone();
    std::fs::write(&start, support::builder::with_secrets(&fresh, 941, &key)).unwrap();
    let step = |verb: &str, from: &Path, to: &str| {
        let to = bench.path(to);
        let args = [verb, text(from), "-o", text(&to), "--token-file", text(&token), "--progress", "plain"];
        (run(&args).expect(0), to)
    };
    let (_, prepared) = step("prepare", &start, "prepared");
    let (_, rotated) = step("rotate", &prepared, "rotated");
    let (ran, done) = step("reencrypt", &rotated, "done");
    let lines: Vec<_> = ran.err.lines().filter(|line| line.starts_with("reencrypted ")).collect();
    let expected: Vec<String> = (1..=20).map(|n| format!("reencrypted {} secrets", n * 50)).collect();
    assert_eq!(lines, expected);
    let status = run(&["status", text(&done), "--token-file", text(&token)]).expect(0).out;
    assert!(
        status.starts_with(
            "Encryption Status: Enabled\nCurrent Rotation Stage: reencrypt_finished\nServer Encryption Hashes: All hashes match\n"
        ),
        "{status}"
    );
}

#[test]
fn configurations_of_other_clusters_take_the_same_steps() {
    let bench = Bench::new();
    let snapshot = fixture("kube-aescbc256", "snapshot.db");
    let config = fixture("kube-aescbc256", "encryption-config.yaml");
    let (prepared, rotated) = (bench.path("prepared.yaml"), bench.path("rotated.yaml"));
    let step = |verb: &str, from: &Path, to: &Path| {
        run(&[verb, "--encryption-config", text(from), "--write-config", text(to)])
    };
    step("prepare", &config, &prepared).expect(0);
    step("rotate", &prepared, &rotated).expect(0);
    assert!(step("rotate", &prepared, &rotated).expect(2).err.contains("the file exists"));
    assert!(step("rotate", &config, &bench.path("x")).expect(4).err.contains("one key only"));
    // All at once: a new key, the snapshot under it, both files left.
    let (output, new) = (bench.path("out"), bench.path("new.yaml"));
    let args = ["rotate-keys", text(&snapshot), "--encryption-config", text(&config), "-o", text(&output)];
    let refused = run(&args).expect(2);
    assert!(refused.err.contains("--write-config"));
    run(&[&args[..], &["--write-config", text(&new)]].concat()).expect(0);
    let values = judge("values", &[text(&output), text(&new)], b"").unwrap();
    assert!(values.iter().filter(|value| value["stale"] == false).count() >= 69);
    assert!(values.iter().all(|value| value.get("error").is_none() && value["stale"] != true));
    // Nothing is ever written over a file that was read, whatever is forced.
    for target in [&config, &new] {
        let more = ["--write-config", text(target), "--decryption-config", text(&new), "-f"];
        let refused = run(&[&args[..], &more].concat()).expect(2);
        assert!(refused.err.contains("another file of this run"), "{}", refused.err);
        let onto = ["reencrypt", text(&snapshot), "--encryption-config", text(&config), "-f"];
        let more = ["--decryption-config", text(&new), "-o", text(target)];
        assert!(run(&[&onto[..], &more].concat()).expect(2).err.contains("another file of this run"));
    }
    let both = [&args[..], &["--write-config", text(&output), "-f"]].concat();
    assert!(run(&both).expect(2).err.contains("another file of this run"));
    // Enabled again after it was disabled.
    let (plain, off) = (bench.path("plain"), bench.path("off.yaml"));
    let args = ["disable", text(&output), "--encryption-config", text(&new), "-o", text(&plain)];
    run(&[&args[..], &["--write-config", text(&off)]].concat()).expect(0);
    let values = judge("values", &[text(&plain), text(&off)], b"").unwrap();
    assert!(values.iter().all(|value| value.get("error").is_none() && value["stale"] != true));
    let (sealed, on) = (bench.path("sealed"), bench.path("on.yaml"));
    let args = ["enable", text(&plain), "--encryption-config", text(&off), "-o", text(&sealed)];
    run(&[&args[..], &["--write-config", text(&on)]].concat()).expect(0);
    let values = judge("values", &[text(&sealed), text(&on)], b"").unwrap();
    assert!(values.iter().all(|value| value.get("error").is_none() && value["stale"] != true));
}
