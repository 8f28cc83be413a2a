//! Promise: whatever a record holds, a snapshot is rekeyed completely, or
//! refused with what to do about it.

mod support;

use etcd_rekey::k3s::bootstrap;
use serde_json::{Value, json};
use std::path::Path;
use support::clusters::{Cluster, content, keys_of, put};
use support::program::{Bench, Ran, command, run, text};

fn message(ran: &Ran) -> String {
    ran.json()["error"]["message"].as_str().unwrap().to_owned()
}

fn remedy(ran: &Ran) -> String {
    ran.json()["error"]["remedy"].as_str().unwrap().to_owned()
}

fn unreadable(cluster: &Cluster, snapshot: &Path) -> usize {
    let status = cluster.status(snapshot, &["-w", "json"]).json();
    status["unreadable"].as_array().unwrap().len()
}

#[test]
fn old_revisions_that_k3s_would_not_rotate_still_give_their_keys() {
    let bench = Bench::new();
    let gcm = "{\"aesgcm\":{\"keys\":[{\"name\":\"g\",\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}]}},{\"identity\":{}}";
    let cluster = Cluster::of("k3s-reencrypt_finished").with_files(&bench, |newer, files| {
        if newer > 0 {
            let config = content(files, "EncryptionConfig").replace("{\"identity\":{}}", gcm);
            put(files, "EncryptionConfig", &config);
        }
    });
    assert_eq!(unreadable(&cluster, &cluster.snapshot), 0);
    cluster.run("rotate-keys", &bench.path("out"), &[]).expect(0);
}

#[test]
fn a_damaged_old_revision_is_left_out_or_carried_over() {
    let bench = Bench::new();
    let damage = |damaged: usize| {
        move |newer: usize, value: &[u8]| if newer == damaged { b"damaged".to_vec() } else { value.to_vec() }
    };
    let cluster = Cluster::of("k3s-rotated").with_values(&bench, damage(1));
    let out = bench.path("out");
    let refused = cluster.run("rotate-keys", &out, &["-f", "-w", "json"]).expect(4);
    assert!(message(&refused).contains("old revisions of the record are damaged"), "{}", refused.out);
    assert!(["--compact", "--keep-unreadable"].iter().all(|flag| remedy(&refused).contains(flag)));
    let status = cluster_status(&cluster);
    assert!(status.contains("damaged old revisions: /bootstrap/"), "{status}");

    cluster.run("rotate-keys", &out, &["-f", "--compact"]).expect(0);
    assert_eq!(cluster.records(&out).len(), 1);
    cluster.verify(&out, &["--compact"]).expect(0);

    let kept = bench.path("kept");
    let ran = cluster.run("rotate-keys", &kept, &["-f", "--keep-unreadable", "-w", "json"]).expect(7);
    assert_eq!(ran.json()["carriedOverRecords"].as_array().unwrap().len(), 1);
    cluster.verify(&kept, &["--keep-unreadable"]).expect(0);
    assert!(cluster.verify(&kept, &[]).expect(6).err.contains("no token opens it"));

    // The current one is another matter.
    let cluster = Cluster::of("k3s-rotated").with_values(&bench, damage(0));
    let refused = cluster.run("rotate-keys", &out, &["-f", "--keep-unreadable", "-w", "json"]).expect(4);
    assert!(remedy(&refused).contains("K3s could not restore this one"), "{}", refused.out);
}

fn cluster_status(cluster: &Cluster) -> String {
    cluster.status(&cluster.snapshot, &[]).out
}

#[test]
fn locked_deleted_and_several_records_are_refused() {
    let bench = Bench::new();
    let fresh = Cluster::of("k3s-fresh");
    let key = "/bootstrap/3a137d5ec4da";
    for (cluster, words, what_to_do) in [
        (fresh.with_values(&bench, |_, _| Vec::new()), "lock is held", "another snapshot"),
        (fresh.with_more(&bench, |more| more.tombstone(key)), "was deleted", "another snapshot"),
        (
            fresh.with_more(&bench, |more| {
                more.record("/bootstrap/e3b0c44298fc", b"x");
            }),
            "found multiple bootstrap keys in storage: /bootstrap/3a137d5ec4da, /bootstrap/e3b0c44298fc",
            "delete the one",
        ),
    ] {
        let refused = cluster.run("rotate-keys", &bench.path("out"), &["-w", "json"]).expect(4);
        assert!(message(&refused).contains(words), "{}", refused.out);
        assert!(remedy(&refused).contains(what_to_do), "{}", refused.out);
    }
    assert!(!bench.path("out").exists());
}

#[test]
fn a_record_of_before_there_were_times_keeps_its_form() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh").with_files(&bench, |_, files| {
        for file in files.values_mut() {
            *file = file["Content"].clone();
        }
    });
    let out = bench.path("out");
    cluster.run("rotate-keys", &out, &[]).expect(0);
    cluster.verify(&out, &[]).expect(0);
    assert!(
        cluster_status(&Cluster { snapshot: out.clone(), ..cluster.same() }).contains("reencrypt_finished")
    );
    let record = |snapshot: &Path| {
        let all = support::contents(&std::fs::read(snapshot).unwrap());
        let mut kv = all.iter().filter_map(|(_, _, value)| etcd_rekey::etcd::KeyValue::parse(value).ok());
        let value = kv.rfind(|kv| kv.key.starts_with(b"/bootstrap/")).unwrap().value.to_vec();
        let plain = bootstrap::open(&value, &cluster.passphrase()).unwrap();
        serde_json::from_slice::<Value>(&plain).unwrap()
    };
    let (mut before, mut after) = (record(&cluster.snapshot), record(&out));
    assert!(after["EncryptionHash"].is_string());
    for files in [&mut before, &mut after] {
        for name in ["EncryptionConfig", "EncryptionHash"] {
            files.as_object_mut().unwrap().remove(name);
        }
    }
    assert_eq!(before, after);
}

#[test]
fn a_file_that_does_not_decode_is_no_file_that_is_missing() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh").with_files(&bench, |_, files| {
        files.get_mut("EncryptionConfig").unwrap()["Content"] = json!("e30");
    });
    for verb in ["enable", "rotate-keys"] {
        let refused = cluster.run(verb, &bench.path("out"), &["-w", "json"]).expect(4);
        assert!(message(&refused).contains("does not open, or is none"), "{}", refused.out);
    }
}

#[test]
fn a_state_nobody_knows_is_told_and_mended_by_force() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh").with_files(&bench, |_, files| {
        put(files, "EncryptionHash", "rotate");
    });
    assert!(cluster_status(&cluster).contains("Current Rotation Stage: rotate\n"));
    let out = bench.path("out");
    let refused = cluster.run("rotate-keys", &out, &["-w", "json"]).expect(4);
    assert!(message(&refused).contains("rotate"), "{}", refused.out);
    cluster.run("rotate-keys", &out, &["-f"]).expect(0);
    assert_eq!(cluster.stage(&out), "reencrypt_finished");
}

#[test]
fn a_configuration_k3s_would_write_otherwise_is_refused() {
    let bench = Bench::new();
    let fresh = Cluster::of("k3s-fresh");
    let two = "{\"aescbc\":{\"keys\":[{\"name\":\"b\",\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}]}},{\"identity\":{}}";
    for (old, new, words) in [
        ("[\"secrets\"]", "[\"secrets\",\"configmaps\"]", "seals more than secrets (configmaps)"),
        ("{\"identity\":{}}", two, "has aescbc twice"),
    ] {
        let cluster = fresh.with_config(&bench, "start", |config| config.replace(old, new));
        for verb in ["prepare", "rotate-keys", "disable"] {
            let refused = cluster.run(verb, &bench.path("out"), &["-f", "-w", "json"]).expect(4);
            assert!(message(&refused).contains(words), "{}", refused.out);
            assert_eq!(refused.json()["error"]["kind"], "configuration");
        }
        // What is in the snapshot is told all the same.
        let status = cluster_status(&cluster);
        assert!(status.contains("k3s could not rotate keys from here") && status.contains(words), "{status}");
        assert!(status.contains("RESOURCE"), "{status}");
        let status = cluster.status(&cluster.snapshot, &["-w", "json"]).json();
        assert!(status["snapshot"]["record"]["unsupported"].as_str().unwrap().contains(words));
    }
}

#[test]
fn a_missing_identity_is_written_as_k3s_writes_it() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh")
        .with_config(&bench, "start", |config| config.replace(",{\"identity\":{}}", ""));
    for verb in ["prepare", "rotate-keys", "enable"] {
        let out = bench.path(verb);
        cluster.run(verb, &out, &[]).expect(0);
        let config = cluster.config(&out);
        assert!(config.ends_with("]}},{\"identity\":{}}]}]}"), "{config}");
        cluster.verify(&out, &[]).expect(0);
    }
}

#[test]
fn a_clock_behind_the_snapshots_files_is_warned_of() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh");
    let told = |cluster: &Cluster, out: &str| {
        let ran = cluster.run("rotate-keys", &bench.path(out), &["-w", "json"]).expect(0);
        ran.json()["warnings"].to_string().contains("the clock of this machine says")
    };
    assert!(!told(&cluster, "right"));
    let ahead = cluster.with_files(&bench, |_, files| {
        files.get_mut("ClientCA").unwrap()["Timestamp"] = json!("2999-01-01T00:00:00Z");
    });
    assert!(told(&ahead, "behind"));
}

#[test]
fn an_rke2_cluster_is_rekeyed_under_its_own_names() {
    let bench = Bench::new();
    let k3s = Cluster::of("k3s-fresh");
    let state = k3s.records(&k3s.snapshot).pop().unwrap()["state"].as_str().unwrap().to_owned();
    let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "r1",
        "labels": {"node-role.kubernetes.io/control-plane": "true"},
        "annotations": {"rke2.io/encryption-config-hash": state}}});
    let cluster = k3s.with_more(&bench, |more| {
        more.record("rke2/apiaddresses", b"10.0.0.1:9345");
        more.record("/registry/minions/r1", node.to_string().as_bytes());
    });
    assert!(cluster_status(&cluster).contains("All hashes match"));
    let out = bench.path("out");
    let ran = cluster.run("rotate-keys", &out, &[]).expect(0);
    assert!(ran.out.contains("rke2 server --cluster-reset --cluster-reset-restore-path=/"), "{}", ran.out);
    assert!(ran.out.contains("/var/lib/rancher/rke2/server/db"), "{}", ran.out);
    assert!(!ran.out.contains("secrets-encryption: true"), "{}", ran.out);
    let raw = |snapshot: &Path| {
        let mut found = Vec::new();
        support::records(&std::fs::read(snapshot).unwrap(), |_, kv| {
            if ["k3s/", "rke2/"].iter().any(|start| kv.key.starts_with(start.as_bytes())) {
                found.push((kv.key.to_vec(), kv.value.to_vec()));
            }
        });
        found
    };
    assert_eq!(raw(&cluster.snapshot), raw(&out));
    assert!(raw(&out).len() >= 2);
}

#[test]
fn a_key_made_by_enable_never_has_the_name_of_one_that_was_lost() {
    let bench = Bench::new();
    // Sealed values, and a record whose keys are gone.
    let cluster = Cluster::of("k3s-fresh").with_files(&bench, |_, files| {
        let own = content(files, "EncryptionConfig");
        let start = own.find("[{\"aescbc\"").unwrap();
        let config = format!("{}[{{\"identity\":{{}}}}]}}]}}", &own[..start]);
        put(files, "EncryptionConfig", &config);
        let hash = etcd_rekey::k3s::stage::config_hash(config.as_bytes());
        put(files, "EncryptionHash", &format!("start-{hash}"));
    });
    let out = bench.path("out");
    let ran = cluster.run("enable", &out, &["--keep-unreadable"]).expect(7);
    assert!(ran.out.contains("NO KEY OPENS 59 CURRENT VALUES"), "{}", ran.out);
    let config = cluster.config(&out);
    assert_eq!(keys_of(&config).len(), 1);
    assert!(config.contains("\"aescbckey-20"), "{config}");
}

#[test]
fn old_tokens_open_what_they_sealed() {
    let bench = Bench::new();
    let old = Cluster::of("k3s-reencrypt_finished");
    let token = bench.file("new-token", "another token");
    let named = etcd_rekey::k3s::Token::parse("another token").unwrap_or_else(|e| panic!("{e}")).record_key();
    let rotated = old.with_more(&bench, |more| {
        let mut newest = None;
        support::records(&std::fs::read(&old.snapshot).unwrap(), |_, kv| {
            if kv.key.starts_with(b"/bootstrap/") {
                newest = Some((String::from_utf8(kv.key.to_vec()).unwrap(), kv.value.to_vec()));
            }
        });
        let (key, value) = newest.unwrap();
        let plain = bootstrap::open(&value, &old.passphrase()).unwrap();
        more.tombstone(&key);
        let sealed = bootstrap::seal(&plain, "another token").unwrap();
        more.record(std::str::from_utf8(&named).unwrap(), &sealed);
    });
    let cluster = Cluster { token: token.clone(), ..rotated.same() };
    let refused = cluster.run("rotate-keys", &bench.path("x"), &["-f", "-w", "json"]).expect(4);
    assert!(message(&refused).contains("sealed with another token: /bootstrap/"), "{}", refused.out);
    let status = cluster_status(&cluster);
    assert!(status.contains("no token given opens old revisions of /bootstrap/"), "{status}");

    // Whichever comes first.
    for (first, second) in [(&token, &old.token), (&old.token, &token)] {
        let out = bench.path(if first == &token { "a" } else { "b" });
        let snapshot = text(&rotated.snapshot);
        let tokens = ["--token-file", text(first), "--token-file", text(second)];
        run(&[&["rotate-keys", snapshot, "-o", text(&out), "-f"], &tokens[..]].concat()).expect(0);
        run(&[&["verify", text(&out), "--against", snapshot], &tokens[..]].concat()).expect(0);
        let after = Cluster { snapshot: out.clone(), ..old.same() };
        let status = run(&[&["status", text(&after.snapshot), "-w", "json"], &tokens[..]].concat()).expect(0);
        assert_eq!(status.json()["unreadable"], json!([]));
    }
    // One alone: what it does not open is carried over, or left out.
    let kept =
        cluster.run("rotate-keys", &bench.path("kept"), &["-f", "--keep-unreadable", "-w", "json"]).expect(7);
    assert_eq!(kept.json()["carriedOverRecords"].as_array().unwrap().len(), 1);
    assert!(!kept.json()["carriedOver"].as_array().unwrap().is_empty());
    cluster.run("rotate-keys", &bench.path("compact"), &["-f", "--compact"]).expect(0);
    // And none of them.
    let wrong = bench.file("wrong", "wrong");
    let args = ["status", text(&rotated.snapshot), "-w", "json", "--token-file", text(&wrong)];
    let mut none = command(&args);
    none.args(["--token-file", text(&old.token)]);
    let refused = message(&Ran::from(none.output().unwrap()).expect(4));
    assert_eq!(refused.matches("/bootstrap/").count(), 3, "{refused}");
}
