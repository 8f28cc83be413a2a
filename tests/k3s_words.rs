//! Promise: what a run says fits what it did, and what is left to do.

mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::clusters::{Cluster, put};
use support::fixture;
use support::program::{Bench, command, run, text};

/// The closing lines of a verb on a fixture.
fn said(bench: &Bench, name: &'static str, verb: &str, more: &[&str]) -> String {
    let out = bench.path(&format!("{name}-{verb}{}", more.concat().replace('/', "_")));
    Cluster::of(name).run(verb, &out, more).expect(0).out
}

const OLD_KEY: &str = "The old key still lies in ";
const NONE_RETIRED: &str = "No key was retired";
const NO_OTHER_COPY: &str = "there is no other copy";

#[test]
fn an_old_key_is_to_be_destroyed_only_where_one_was_retired() {
    let bench = Bench::new();
    for (name, verb, more, retired) in [
        ("k3s-fresh", "rotate-keys", &[][..], true),
        ("k3s-rotated", "reencrypt", &[], true),
        ("k3s-fresh", "prepare", &[], false),
        ("k3s-rotated", "reencrypt", &["--skip"], false),
        ("k3s-fresh", "enable", &[], false),
        ("k3s-fresh", "reencrypt", &["-f"], false),
    ] {
        let out = said(&bench, name, verb, more);
        assert_eq!(out.contains(OLD_KEY), retired, "{name} {verb}: {out}");
        assert_eq!(out.contains(NONE_RETIRED), !retired, "{name} {verb}: {out}");
    }
}

#[test]
fn a_copy_is_the_only_one_only_where_a_key_was_made() {
    let bench = Bench::new();
    for (name, verb, more, made) in [
        ("k3s-fresh", "rotate-keys", &[][..], true),
        ("k3s-fresh", "prepare", &[], true),
        ("k3s-rotated", "reencrypt", &[], false),
        ("k3s-disabled", "enable", &[], false),
    ] {
        let out = said(&bench, name, verb, more);
        assert_eq!(out.contains(NO_OTHER_COPY), made, "{name} {verb}: {out}");
    }
}

#[test]
fn enabled_with_a_key_that_was_there_it_says_so_and_how_to_get_a_new_one() {
    let bench = Bench::new();
    for name in ["k3s-disabled", "k3s-disabled-norestart"] {
        let cluster = Cluster::of(name);
        let to = bench.path(name);
        let out = cluster.run("enable", &to, &[]).expect(0).out;
        assert!(out.contains("Sealed with the key that was there already, aescbc aescbckey"), "{out}");
        assert!(out.contains(&format!("etcd-rekey rotate-keys {} --token-file", text(&to))), "{out}");
        assert!(!out.contains(OLD_KEY), "{out}");
        let enabled = Cluster { snapshot: to, ..cluster.same() };
        let out = enabled.run("rotate-keys", &bench.path(&format!("{name}-new")), &[]).expect(0).out;
        assert!(out.contains(OLD_KEY) && !out.contains("that was there already"), "{out}");
        // What is disabled has no keys to rotate, and is told the way.
        if name == "k3s-disabled" {
            let refused = cluster.run("rotate-keys", &bench.path("x"), &[]).expect(4).err;
            assert!(refused.contains("`enable` first, then `rotate-keys` on its output"), "{refused}");
        }
    }
}

#[test]
fn an_unfinished_rotation_is_told_with_its_next_step() {
    let bench = Bench::new();
    let start = Cluster::of("k3s-fresh");
    let mut from = start.same();
    for (verb, more, next) in [
        ("prepare", &[][..], "`rotate`"),
        ("rotate", &[], "`reencrypt`"),
        ("reencrypt", &["--skip"], "`reencrypt`"),
        ("reencrypt", &[], ""),
    ] {
        let to = bench.path(&format!("{verb}{}", more.concat()));
        let out = from.run(verb, &to, more).expect(0).out;
        assert_eq!(out.contains("The rotation is not finished: "), !next.is_empty(), "{out}");
        if !next.is_empty() {
            assert!(out.contains(&format!("Its next step is {next}")), "{out}");
            let command = next.trim_matches('`');
            assert!(out.contains(&format!("etcd-rekey {command} {} --token-file", text(&to))), "{out}");
        }
        from = Cluster { snapshot: to, ..start.same() };
    }
}

#[test]
fn a_changed_provider_is_to_be_configured_both_ways() {
    let bench = Bench::new();
    for (name, from, to) in
        [("k3s-fresh", "aescbc", "secretbox"), ("k3s-secretbox-rotated", "secretbox", "aescbc")]
    {
        let out = said(&bench, name, "rotate-keys", &["--secrets-encryption-provider", to]);
        assert!(out.contains(&format!("the provider of keys changes from {from} to {to}")), "{out}");
        assert!(
            out.contains(&format!("(with secrets-encryption: true, secrets-encryption-provider: {to})")),
            "{out}"
        );
        let same = said(&bench, name, "rotate-keys", &["--dry-run"]);
        assert!(!same.contains("the provider of keys changes"), "{same}");
    }
}

#[test]
fn plaintext_is_told_of() {
    let bench = Bench::new();
    let out = said(&bench, "k3s-compacted", "disable", &[]);
    assert!(out.contains("holds every secret as plaintext"), "{out}");
    assert!(out.contains("The key stays in the record") && !out.contains(OLD_KEY), "{out}");
    let out = said(&bench, "k3s-disabled", "enable", &[]);
    assert!(out.contains("Secrets still lie as plaintext in "), "{out}");
}

#[test]
fn the_restore_command_can_be_pasted_anywhere() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh");
    std::fs::create_dir(bench.path("it's here")).unwrap();
    let mut command = command(&["rotate-keys", text(&cluster.snapshot), "--token-file", text(&cluster.token)]);
    let ran =
        command.args(["-o", "it's here/../it's here/re keyed"]).current_dir(bench.dir.path()).output().unwrap();
    let out = String::from_utf8(ran.stdout).unwrap();
    let start = "k3s server --cluster-reset --cluster-reset-restore-path=";
    let line = out.lines().find_map(|line| line.trim().strip_prefix(start)).unwrap_or_else(|| panic!("{out}"));
    let echoed = std::process::Command::new("sh").args(["-c", &format!("printf %s {line}")]).output().unwrap();
    let path = String::from_utf8(echoed.stdout).unwrap();
    assert!(path.starts_with('/') && Path::new(&path).exists(), "{line}: {path}");
    assert!(!path.contains(".."), "{path}");
}

#[test]
fn an_output_named_as_an_archive_is_refused() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh");
    let refused = cluster.run("rotate-keys", &bench.path("rekeyed.zip"), &["-w", "json"]).expect(2).json();
    assert!(refused["error"]["remedy"].as_str().unwrap().contains("another name"), "{refused}");
    assert!(bench.names().is_empty());
}

#[test]
fn a_current_value_that_stays_unreadable_is_told_aloud() {
    let bench = Bench::new();
    let fresh = Cluster::of("k3s-fresh");
    let config = fresh.config(&fresh.snapshot);
    let cluster = Cluster::of("k3s-partial").with_files(&bench, |_, files| {
        put(files, "EncryptionConfig", &config);
    });
    let ran = cluster.run("rotate-keys", &bench.path("out"), &["-f", "--keep-unreadable"]).expect(7);
    assert!(ran.out.contains("NO KEY OPENS 7 CURRENT VALUES OF THE OUTPUT"), "{}", ran.out);
    assert!(ran.out.contains("does not become ready"), "{}", ran.out);
}

#[test]
fn other_clusters_are_told_what_fits_them() {
    let bench = Bench::new();
    let snapshot = fixture("kube-aescbc256", "snapshot.db");
    let config = fixture("kube-aescbc256", "encryption-config.yaml");
    let verb = |verb: &str, from: &Path, config: &Path, name: &str| {
        let (out, new) = (bench.path(name), bench.path(&format!("{name}.yaml")));
        let args = [verb, text(from), "-o", text(&out), "--encryption-config", text(config)];
        let ran = run(&[&args[..], &["--write-config", text(&new)]].concat()).expect(0);
        (ran.out, out, new)
    };
    let only = "the only copy of the key";
    let (said, rotated, new) = verb("rotate-keys", &snapshot, &config, "rotated");
    assert!(said.contains(only) && said.contains("The old key still lies in the input"), "{said}");
    // Under the right key already: no key was made, and none is old.
    let (said, _, _) = verb("reencrypt", &rotated, &new, "again");
    assert!(!said.contains(only) && !said.contains("old key"), "{said}");
    let (said, plain, off) = verb("disable", &rotated, &new, "plain");
    assert!(said.contains("holds every secret as plaintext") && !said.contains(only), "{said}");
    let (said, _, _) = verb("enable", &plain, &off, "sealed");
    assert!(said.contains("The values still lie as plaintext in the input"), "{said}");
}

#[test]
fn force_goes_on_whatever_the_stage_and_replaces_nothing_of_a_cluster_with_stages() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-rotated");
    let (out, escrow) = (bench.file("out", "older"), bench.file("escrow", "older"));
    let keep = |path: &Path| assert_eq!(std::fs::read(path).unwrap(), b"older");
    let refused = cluster.run("rotate-keys", &out, &["--force"]).expect(2);
    assert!(refused.err.contains("the file exists") && refused.err.contains("--overwrite"), "{}", refused.err);
    keep(&out);
    let escrowed = ["--force", "--write-config", text(&escrow)];
    assert!(cluster.run("rotate-keys", &bench.path("x"), &escrowed).expect(2).err.contains("--overwrite"));
    keep(&escrow);
    // Replacing is not going on.
    assert_eq!(cluster.run("rotate-keys", &out, &["--overwrite"]).code, 4);
    keep(&out);
    cluster.run("rotate-keys", &out, &["--overwrite", "--force", "--write-config", text(&escrow)]).expect(0);
    cluster.verify(&out, &[]).expect(0);
    // Without stages, it is as it was.
    let config = fixture("kube-aescbc256", "encryption-config.yaml");
    for flag in ["--force", "--overwrite"] {
        let to = bench.file("prepared", "older");
        let args = ["prepare", "--encryption-config", text(&config), "--write-config", text(&to)];
        run(&args).expect(2);
        keep(&to);
        run(&[&args[..], &[flag]].concat()).expect(0);
    }
    let help = run(&["rotate-keys", "--help"]).expect(0).out;
    assert!(help.contains("--overwrite") && help.contains("whatever the stage"), "{help}");
}

#[test]
fn a_step_of_a_configuration_is_told_in_json_as_well() {
    let bench = Bench::new();
    let config = fixture("kube-aescbc256", "encryption-config.yaml");
    let to = bench.path("prepared.yaml");
    let args = ["prepare", "--encryption-config", text(&config), "--write-config", text(&to), "-w", "json"];
    assert_eq!(run(&args).expect(0).json(), json!({"verb": "prepare", "config": text(&to), "dryRun": false}));
}

#[test]
fn status_names_every_server_and_file_that_differs() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-ha-mismatch");
    let out = cluster.status(&cluster.snapshot, &[]).out;
    assert!(out.starts_with(&cluster.recorded("status.txt")), "{out}");
    assert!(out.contains("servers whose Node says other than n1's: n2, n3\n"), "{out}");
    assert!(out.contains("kubectl delete node NAME"), "{out}");
    // Files are compared although Nodes disagree already.
    let other = bench.file("other.json", "{}");
    let differs = ["--server-config", text(&other)];
    let out = cluster.status(&cluster.snapshot, &differs).out;
    assert!(out.contains(&format!("files that are not the record's: {}\n", other.display())), "{out}");
    let status = cluster.status(&cluster.snapshot, &[&differs[..], &["-w", "json"]].concat()).json();
    let record = &status["snapshot"]["record"];
    assert_eq!(record["differingNodes"], json!(["n2", "n3"]));
    assert_eq!(record["differingFiles"], json!([text(&other)]));
    assert!(record["remedies"][0].as_str().unwrap().contains("kubectl delete node NAME"), "{record}");
    // Without disagreement there is nothing to do.
    let fresh = Cluster::of("k3s-fresh");
    let status = fresh.status(&fresh.snapshot, &["-w", "json"]).json();
    assert_eq!(status["snapshot"]["record"]["remedies"], Value::Array(Vec::new()));
}

#[test]
fn status_without_a_token_tells_of_the_record() {
    let cluster = Cluster::of("k3s-fresh");
    let own = fixture("k3s-fresh", "encryption-config.json");
    let status = |snapshot: &Path, more: &[&str]| {
        let mut command = command(&[&["status", text(snapshot)], more].concat());
        for name in ["K3S_TOKEN", "K3S_TOKEN_FILE", "RKE2_TOKEN", "RKE2_TOKEN_FILE"] {
            command.env_remove(name);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let out = status(&cluster.snapshot, &[]);
    assert!(out.contains("the record of a K3s or RKE2 cluster (/bootstrap/3a137d5ec4da)"), "{out}");
    assert!(out.contains("--token-file"), "{out}");
    let out = status(&cluster.snapshot, &["--server-config", text(&own)]);
    assert!(out.contains("--server-config was compared with nothing"), "{out}");
    let json: Value = serde_json::from_str(&status(&cluster.snapshot, &["-w", "json"])).unwrap();
    assert_eq!(json["snapshot"]["record"]["keys"], json!(["/bootstrap/3a137d5ec4da"]));
    let kube = fixture("kube-aescbc256", "snapshot.db");
    assert!(!status(&kube, &[]).contains("record"));
    assert!(status(&kube, &["--server-config", text(&own)]).contains("there is no record"));
}
