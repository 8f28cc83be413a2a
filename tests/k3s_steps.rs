//! Promise: a step of a rotation leaves a cluster that can read its secrets,
//! in the stage K3s expects, or is refused.

mod support;

use serde_json::Value;
use support::clusters::{Cluster, content, encodings, holds, keys_of, put};
use support::fixture;
use support::program::{Bench, Ran, run, text};

fn error(ran: &Ran) -> Value {
    ran.json()["error"].clone()
}

/// A crash in rotate-keys: values under a key that lies on a server's disk,
/// and the record of before.
fn crashed(bench: &Bench) -> Cluster {
    let fresh = Cluster::of("k3s-fresh");
    let config = fresh.config(&fresh.snapshot);
    Cluster::of("k3s-partial").with_files(bench, |_, files| {
        put(files, "EncryptionConfig", &config);
        let hash = etcd_rekey::k3s::stage::config_hash(config.as_bytes());
        put(files, "EncryptionHash", &format!("start-{hash}"));
    })
}

#[test]
fn a_step_is_refused_where_the_cluster_lacks_the_key_of_a_value() {
    let bench = Bench::new();
    let (cluster, out) = (crashed(&bench), bench.path("out"));
    let disk = fixture("k3s-partial", "encryption-config.json");
    let read = ["--decryption-config", text(&disk)];
    for more in [&["-f", "-w", "json"][..], &["-f", "-w", "json", "--compact"]] {
        let refused = cluster.run("prepare", &out, &[&read, more].concat()).expect(4);
        assert_eq!(error(&refused)["kind"], "cluster-cannot-read");
        assert!(error(&refused)["remedy"].as_str().unwrap().contains("rotate-keys --force"));
        let values = refused.json()["unreadable"].as_array().unwrap().clone();
        assert_eq!(values.iter().filter(|value| value["current"] == true).count(), 7);
        assert!(!out.exists());
    }
    cluster.run("rotate-keys", &out, &[&read, &["-f"][..]].concat()).expect(0);
    cluster.verify(&out, &read).expect(0);
    let status = cluster.status(&out, &["-w", "json"]).json();
    assert_eq!(status["unreadable"], Value::Array(Vec::new()));
}

#[test]
fn a_key_that_only_an_old_record_holds_is_not_left_behind() {
    let bench = Bench::new();
    // The current record has lost the key of what it seals.
    let lost = |stage: &str, names: &[&str]| {
        let keys: Vec<_> = names
            .iter()
            .map(|name| {
                format!("{{\"name\":\"{name}\",\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}}")
            })
            .collect();
        Cluster::of("k3s-rotated").with_config(&bench, stage, |config| {
            let start = config.find("[{\"aescbc\"").unwrap();
            let keys = keys.join(",");
            format!("{}[{{\"aescbc\":{{\"keys\":[{keys}]}}}},{{\"identity\":{{}}}}]}}]}}", &config[..start])
        })
    };
    let cluster = lost("start", &["other"]);
    for more in [&["-f", "-w", "json"][..], &["-f", "-w", "json", "--compact"]] {
        let refused = cluster.run("prepare", &bench.path("out"), more).expect(4);
        assert_eq!(error(&refused)["kind"], "cluster-cannot-read");
    }
    // Neither does the next step go on from there, nor does a proof take it, however it came about.
    let prepared = lost("prepare", &["other", "second"]);
    let refused = prepared.run("rotate", &bench.path("out"), &["-w", "json"]).expect(4);
    assert_eq!(error(&refused)["kind"], "cluster-cannot-read");
    let refused = cluster.verify(&prepared.snapshot, &[]).expect(6);
    assert!(refused.err.contains("no key of the record opens it"), "{}", refused.err);
    cluster.run("rotate-keys", &bench.path("out"), &["-f"]).expect(0);
}

#[test]
fn an_output_whose_record_contradicts_itself_proves_nothing() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-reencrypt_finished");
    let out = bench.path("out");
    cluster.run("rotate-keys", &out, &[]).expect(0);
    let rotated = Cluster { snapshot: out, ..cluster.same() };
    cluster.verify(&rotated.snapshot, &[]).expect(0);
    let (nothing, contradicts) =
        ("holds no encryption configuration", "holds a stage whose hash is not the configuration's");
    for (file, content, says) in
        [("EncryptionConfig", None, nothing), ("EncryptionHash", Some("reencrypt_finished-0123"), contradicts)]
    {
        let wrong = rotated.with_files(&bench, |newer, files| match content {
            _ if newer > 0 => {}
            Some(content) => put(files, file, content),
            None => drop(files.remove(file)),
        });
        let refused = cluster.verify(&wrong.snapshot, &[]).expect(6);
        assert!(refused.err.contains(says), "{file}: {}", refused.err);
    }
    // The record is what it is proven by, and nothing that is given beside it.
    let config = bench.file("config.json", rotated.config(&rotated.snapshot));
    let (before, after) = (text(&cluster.snapshot), text(&rotated.snapshot));
    let refused = run(&["verify", after, "--against", before, "--encryption-config", text(&config)]).expect(2);
    assert!(refused.err.contains("record"), "{}", refused.err);
}

#[test]
fn a_whole_rotation_is_proven_step_by_step_and_at_the_end() {
    let bench = Bench::new();
    let start = Cluster::of("k3s-reencrypt_finished");
    let token = text(&start.token);
    let step = |verb: &str, from: &Cluster, more: &[&str]| {
        let out = bench.path(&format!("{verb}{}", more.concat()));
        from.run(verb, &out, more).expect(0);
        from.verify(&out, &[]).expect(0);
        Cluster { snapshot: out, ..start.same() }
    };
    let prepared = step("prepare", &start, &[]);
    start.verify(&prepared.snapshot, &[]).expect(0);
    let rotated = step("rotate", &prepared, &[]);
    start.verify(&rotated.snapshot, &[]).expect(0);
    let skipped = step("reencrypt", &rotated, &["--skip"]);
    // The first and the last alone, where both the record and the values changed.
    start.verify(&skipped.snapshot, &[]).expect(0);
    assert_eq!(skipped.stage(&skipped.snapshot), "rotate");
    let config = rotated.config(&rotated.snapshot);
    assert_eq!(skipped.config(&skipped.snapshot), config);
    assert_eq!(keys_of(&config).len(), 2);
    let status = skipped.status(&skipped.snapshot, &["-w", "json"]).json();
    let secrets: Vec<_> =
        status["values"].as_array().unwrap().iter().filter(|row| row["resource"] == "secrets").collect();
    assert_eq!(secrets.len(), 1, "under one key: {status}");
    let done = step("reencrypt", &skipped, &[]);
    assert_eq!(done.stage(&done.snapshot), "reencrypt_finished");
    assert_eq!(keys_of(&done.config(&done.snapshot)), keys_of(&config)[..1]);
    start.verify(&done.snapshot, &[]).expect(0);
    assert!(!token.is_empty());
}

#[test]
fn compacted_a_snapshot_holds_nothing_deleted_and_one_record() {
    let bench = Bench::new();
    let base = Cluster::of("k3s-reencrypt_finished");
    let config = base.config(&base.snapshot);
    let config = etcd_rekey::kube::EncryptionConfiguration::parse(&config).unwrap_or_else(|e| panic!("{e}"));
    let key = config.keys().next().unwrap().clone();
    let cluster = base.with_more(&bench, |more| {
        more.sealed(&key, "deleted-one");
        more.tombstone("/registry/secrets/default/deleted-one");
    });
    let deleted = b"/registry/secrets/default/deleted-one";
    assert!(holds(&std::fs::read(&cluster.snapshot).unwrap(), deleted));
    for verb in ["prepare", "rotate-keys", "disable"] {
        let out = bench.path(verb);
        cluster.run(verb, &out, &["--compact"]).expect(0);
        let more: &[&str] =
            if verb == "disable" { &["--compact", "--allow-plaintext"] } else { &["--compact"] };
        cluster.verify(&out, more).expect(0);
        assert_eq!(cluster.records(&out).len(), 1, "{verb}");
        let written = std::fs::read(&out).unwrap();
        assert!(!holds(&written, deleted), "{verb}");
        let kept = keys_of(&cluster.config(&out));
        for was in cluster.records(&cluster.snapshot) {
            for old in keys_of(was["config"].as_str().unwrap()) {
                let gone = !kept.contains(&old);
                assert!(!gone || encodings(&old).iter().all(|bytes| !holds(&written, bytes)), "{verb}");
            }
        }
        let before = base.secrets(&bench, &base.snapshot);
        assert_eq!(cluster.secrets(&bench, &out), before, "{verb}");
    }
}

#[test]
fn the_record_goes_before_what_a_node_says() {
    let bench = Bench::new();
    // Its Node says start, and so does the record; enabling what is enabled
    // leaves the configuration as it is, and another stage.
    let cluster = Cluster::of("k3s-fresh");
    let out = bench.path("out");
    cluster.run("enable", &out, &[]).expect(0);
    assert_eq!(cluster.config(&out), cluster.config(&cluster.snapshot));
    let status = cluster.status(&out, &[]).out;
    assert!(status.contains("Current Rotation Stage: reencrypt_finished\n"), "{status}");
    let enabled = Cluster { snapshot: out, ..cluster.same() };
    let refused = enabled.run("rotate", &bench.path("x"), &["-w", "json"]).expect(4);
    let message = error(&refused)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("reencrypt_finished") && message.contains("record"), "{message}");
    enabled.run("rotate-keys", &bench.path("next"), &[]).expect(0);
}

#[test]
fn stages_that_contradict_the_configuration_are_told_and_cured() {
    let bench = Bench::new();
    let one_key = |stage| Cluster::of("k3s-fresh").with_config(&bench, stage, str::to_owned);
    let out = bench.path("out");
    // The stage says there is a second key.
    let cluster = one_key("prepare");
    let refused = error(&cluster.run("rotate", &out, &["-w", "json"]).expect(4));
    assert!(refused["message"].as_str().unwrap().contains("the stage is prepare"), "{refused}");
    assert!(refused["remedy"].as_str().unwrap().contains("rotate-keys --force"), "{refused}");
    cluster.run("prepare", &bench.path("prepared"), &["-f"]).expect(0);
    for stage in ["prepare", "rotate", "reencrypt_active"] {
        let cluster = one_key(stage);
        for verb in ["enable", "disable"] {
            let refused = error(&cluster.run(verb, &out, &["-w", "json"]).expect(4));
            assert!(refused["message"].as_str().unwrap().contains(stage), "{refused}");
            assert!(refused["remedy"].as_str().unwrap().contains("enable --force"), "{refused}");
        }
        let out = bench.path(stage);
        cluster.run("enable", &out, &["-f"]).expect(0);
        assert_eq!(cluster.stage(&out), "reencrypt_finished");
        let out = bench.path(&format!("{stage}-keys"));
        cluster.run("rotate-keys", &out, &["-f"]).expect(0);
        cluster.verify(&out, &[]).expect(0);
    }
    // A stage with the hash of another configuration.
    let cluster = Cluster::of("k3s-fresh").with_files(&bench, |_, files| {
        let config = content(files, "EncryptionConfig");
        put(files, "EncryptionHash", &format!("start-{}", "0".repeat(64)));
        assert!(!config.is_empty());
    });
    let refused = error(&cluster.run("rotate-keys", &out, &["-w", "json"]).expect(4));
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("invalid hash") && message.contains("stage is start"), "{message}");
    cluster.run("rotate-keys", &out, &["-f"]).expect(0);
}

#[test]
fn a_disabled_cluster_is_told_of_disable_and_not_of_resources() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-disabled-norestart");
    let refused = error(&cluster.run("reencrypt", &bench.path("out"), &["-f", "-w", "json"]).expect(4));
    assert_eq!(refused["kind"], "would-be-plaintext");
    assert!(refused["remedy"].as_str().unwrap().contains("`disable`"), "{refused}");
    // And what lies on the servers' disks is named where a key is missing.
    let refused =
        error(&crashed(&bench).run("rotate-keys", &bench.path("out"), &["-f", "-w", "json"]).expect(4));
    assert!(refused["remedy"].as_str().unwrap().contains("server/cred/encryption-config.json"), "{refused}");
}
