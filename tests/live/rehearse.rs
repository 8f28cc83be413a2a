//! A rehearsal shows what a restore would be, and leaves nothing.

use crate::support::builder::mapped;
use crate::support::clusters::Cluster;
use crate::support::program::{Bench, Ran, command, heeding, text};
use crate::{RELEASES, Release, snapshot};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

fn bin(release: Release) -> PathBuf {
    release.program("etcd").parent().unwrap().to_owned()
}

/// Temporary files of a rehearsal go to a folder of the bench.
fn begin(bench: &Bench, file: &Path, bin: &Path, more: &[&str]) -> Child {
    let scratch = bench.path("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let args = ["snapshot", "rehearse", text(file), "--etcd-bin-dir", text(bin), "--progress", "plain"];
    let mut command = heeding(&[&args, more].concat());
    command.env("TMPDIR", &scratch);
    // Meant for production; each would be a flag.
    command.env("ETCD_NAME", "production").env("ETCD_LISTEN_CLIENT_URLS", "http://0.0.0.0:2379");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn rehearse(bench: &Bench, file: &Path, bin: &Path, more: &[&str]) -> Ran {
    let ran = Ran::from(begin(bench, file, bin, more).wait_with_output().unwrap());
    nothing_is_left(bench);
    ran
}

/// Processes that run in the folder of temporary files.
fn processes(bench: &Bench) -> Vec<PathBuf> {
    let scratch = bench.path("scratch").canonicalize().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let in_it = |entry: &std::fs::DirEntry| {
        std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&scratch))
    };
    all.filter(in_it).map(|entry| entry.path()).collect()
}

#[track_caller]
fn nothing_is_left(bench: &Bench) {
    let running = processes(bench);
    assert!(running.is_empty(), "{running:?}");
    let left: Vec<_> = std::fs::read_dir(bench.path("scratch")).unwrap().flatten().map(|e| e.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_restore_is_rehearsed_by_each_etcd() {
    let (new, old) = (
        crate::support::fixture("kube-rotated", "new.yaml"),
        crate::support::fixture("kube-rotated", "old.yaml"),
    );
    let keys = ["--encryption-config", text(&new), "--decryption-config", text(&old)];
    for release in [&RELEASES[..], &[Release::V35, Release::V37]].concat() {
        let bench = Bench::new();
        let out = bench.path("rekeyed.db");
        let original = snapshot();
        let words = [&["reencrypt", text(&original), "-o", text(&out)], &keys[..]].concat();
        crate::run(&words).expect(0);
        let ran = rehearse(&bench, &out, &bin(release), &["-w", "json", "--encryption-config", text(&new)]);
        let found = ran.expect(0).json();
        assert_eq!((&found["equal"], &found["hashes"]["asSnapshot"]), (&true.into(), &true.into()), "{found}");
        assert_eq!(found["keys"]["equal"], found["keys"]["snapshot"]);
        assert_eq!(
            (&found["values"]["oldKey"]["count"], &found["values"]["unreadableCount"]),
            (&0.into(), &0.into())
        );
        let tool = if release == Release::V34 { "etcdctl" } else { "etcdutl" };
        assert!(found["restoredBy"].as_str().unwrap().ends_with(tool), "{found}");
        let told = rehearse(&bench, &out, &bin(release), &["-w", "table"]).expect(0);
        assert!(
            told.out.contains("started") && told.out.contains("equal: the live etcd holds"),
            "{}",
            told.out
        );
    }
}

#[test]
fn paths_may_be_relative() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("scratch")).unwrap();
    std::fs::copy(snapshot(), bench.path("in.db")).unwrap();
    std::os::unix::fs::symlink(bin(Release::V36), bench.path("bin")).unwrap();
    let mut command = command(&["snapshot", "rehearse", "in.db", "--etcd-bin-dir", "bin"]);
    let ran = command.current_dir(bench.dir.path()).env("TMPDIR", "scratch").output();
    Ran::from(ran.unwrap()).expect(0);
    nothing_is_left(&bench);
}

#[test]
fn what_a_snapshot_holds_besides_is_no_obstacle() {
    let bench = Bench::new();
    for (fixture, file) in [
        ("kube-leases-auth-alarm", "snapshot.db"),
        ("kube-page16k", "snapshot.db"),
        ("kube-etcd34", "snapshot.db"),
        ("k3s-compressed", "snapshot.zip"),
    ] {
        let path = crate::support::fixture(fixture, file);
        rehearse(&bench, &path, &bin(Release::V36), &[]).expect(0);
    }
}

#[test]
fn without_keys_it_is_said_that_no_value_was_opened() {
    let bench = Bench::new();
    let told = rehearse(&bench, &snapshot(), &bin(Release::V36), &[]).expect(0).out;
    assert!(told.contains("values opened") && told.contains("neither a configuration nor a token"), "{told}");
}

#[test]
fn the_values_of_a_k3s_cluster_are_opened_by_its_token() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-reencrypt_finished");
    let output = bench.path("rekeyed");
    cluster.run("rotate-keys", &output, &[]).expect(0);
    let flags = ["-w", "json", "--token-file", text(&cluster.token)];
    let found = rehearse(&bench, &output, &bin(Release::V36), &flags).expect(0).json();
    let rows = found["values"]["seals"].as_array().unwrap();
    let secrets: Vec<_> = rows.iter().filter(|row| row["resource"] == "secrets").collect();
    assert_eq!(secrets.len(), 1, "{found}");
    assert!(secrets[0]["count"].as_u64().unwrap() > 0);
    assert_eq!(
        (&found["values"]["oldKey"]["count"], &found["values"]["unreadableCount"]),
        (&0.into(), &0.into())
    );
}

#[test]
fn values_under_another_key_than_the_configurations_are_told() {
    let bench = Bench::new();
    let (new, old) = (
        crate::support::fixture("kube-rotated", "new.yaml"),
        crate::support::fixture("kube-rotated", "old.yaml"),
    );
    let keys = ["-w", "json", "--encryption-config", text(&new), "--decryption-config", text(&old)];
    let found = rehearse(&bench, &snapshot(), &bin(Release::V35New), &keys).expect(6).json();
    assert_eq!((&found["equal"], &found["values"]["oldKey"]["count"]), (&false.into(), &47.into()));
    assert_eq!(found["keys"]["equal"], found["keys"]["snapshot"]);
}

/// A folder with programs of our own beside a real etcd.
fn programs(bench: &Bench, scripts: &[(&str, String)]) -> PathBuf {
    let dir = bench.path("bin");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, script) in scripts {
        std::fs::write(dir.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    dir
}

fn runs(release: Release, name: &str) -> String {
    format!("exec '{}' \"$@\"", release.program(name).display())
}

#[test]
fn what_cannot_be_restored_or_started_is_told_with_what_was_said() {
    let bench = Bench::new();
    let etcd = ("etcd", runs(Release::V36, "etcd"));
    let refuses = programs(&bench, &[etcd, ("etcdutl", "echo 'no \u{1b}[31mspace'; exit 1".to_owned())]);
    let told = rehearse(&bench, &snapshot(), &refuses, &["-w", "json"]).expect(6).json();
    assert_eq!(told["error"]["kind"], "restore");
    assert!(told["error"]["message"].as_str().unwrap().contains("no \\x1b[31mspace"), "{told}");
    let ends = "case $1 in --version) echo 'etcd Version: 3.6.0';; *) echo 'bad data'; exit 1;; esac";
    let ends = programs(&bench, &[("etcd", ends.to_owned()), ("etcdutl", runs(Release::V36, "etcdutl"))]);
    let told = rehearse(&bench, &snapshot(), &ends, &["-w", "json"]).expect(6).json();
    assert_eq!(told["error"]["kind"], "start");
    let none = rehearse(&bench, &snapshot(), &bench.path("nowhere"), &["-w", "json"]).expect(2).json();
    assert_eq!(none["error"]["kind"], "program");
    // A damaged file is not even restored.
    let mut bytes = std::fs::read(snapshot()).unwrap();
    bytes[9000] ^= 1;
    let damaged = bench.file("damaged.db", bytes);
    rehearse(&bench, &damaged, &bin(Release::V36), &[]).expect(3);
}

#[test]
fn an_etcd_that_holds_something_else_is_told() {
    let bench = Bench::new();
    // A tool that restores another file than the one it is given.
    let secret = crate::secrets().remove(0);
    let other = mapped(&std::fs::read(snapshot()).unwrap(), |kv| {
        (kv.key == secret.as_bytes()).then(|| b"other".to_vec())
    });
    let other = bench.file("other.db", other);
    let real = Release::V36.program("etcdutl");
    let script = format!(
        "case $1 in snapshot) shift 3; exec '{}' snapshot restore '{}' \"$@\";; esac; exec '{0}' \"$@\"",
        real.display(),
        text(&other)
    );
    let bin = programs(&bench, &[("etcd", runs(Release::V36, "etcd")), ("etcdutl", script)]);
    let found = rehearse(&bench, &snapshot(), &bin, &["-w", "json"]).expect(6).json();
    assert_eq!(found["keys"]["differing"]["count"], 1);
    assert_eq!(found["hashes"]["asSnapshot"], false);
}

#[test]
fn a_signal_ends_it_at_any_time_and_leaves_nothing() {
    let bench = Bench::new();
    let slow = programs(
        &bench,
        &[
            ("etcd", format!("case $1 in --version) ;; *) sleep 4;; esac\n{}", runs(Release::V36, "etcd"))),
            ("etcdutl", format!("sleep 1\n{}", runs(Release::V36, "etcdutl"))),
        ],
    );
    for (signal, code, millis) in [("INT", 130, 900), ("TERM", 143, 1600), ("HUP", 129, 2400)] {
        let mut child = begin(&bench, &snapshot(), &slow, &[]);
        // It cannot be done before five seconds are over.
        std::thread::sleep(Duration::from_millis(millis));
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code), "{signal}");
        nothing_is_left(&bench);
    }
}
