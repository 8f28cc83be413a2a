//! Promise: tokens are read from where K3s reads them, when they are needed,
//! and what they were read from is never written over.

mod support;

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::clusters::Cluster;
use support::fixture;
use support::program::{Bench, Ran, command, text};

const VARIABLES: [&str; 4] = ["K3S_TOKEN", "K3S_TOKEN_FILE", "RKE2_TOKEN", "RKE2_TOKEN_FILE"];

fn with(variables: &[(&str, &OsStr)], args: &[&str]) -> Ran {
    let mut command = command(args);
    for name in VARIABLES {
        command.env_remove(name);
    }
    Ran::from(command.envs(variables.iter().copied()).output().unwrap())
}

/// A named pipe into which a text goes once.
fn pipe(bench: &Bench, name: &str, content: Vec<u8>) -> std::path::PathBuf {
    let path = bench.path(name);
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let into = path.clone();
    // It ends with the test where nobody reads.
    std::thread::spawn(move || std::fs::write(into, content));
    path
}

#[track_caller]
fn ends(mut child: Child) -> Ran {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ran::from(child.wait_with_output().unwrap())
}

fn started(args: &[&str]) -> Child {
    command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn keys_and_tokens_may_come_through_named_pipes() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh");
    let token = pipe(&bench, "token", std::fs::read(&cluster.token).unwrap());
    let disk = std::fs::read(fixture("k3s-fresh", "encryption-config.json")).unwrap();
    let disk = pipe(&bench, "disk", disk);
    let (out, escrow) = (bench.path("out"), bench.path("escrow"));
    let args = ["rotate-keys", text(&cluster.snapshot), "-o", text(&out), "--write-config", text(&escrow)];
    let keys = ["--token-file", text(&token), "--decryption-config", text(&disk)];
    ends(started(&[&args[..], &keys].concat())).expect(0);
    assert!(out.exists() && escrow.exists());

    let kube = fixture("kube-aescbc256", "snapshot.db");
    let config = std::fs::read(fixture("kube-aescbc256", "encryption-config.yaml")).unwrap();
    let piped = pipe(&bench, "config", config.clone());
    let (out, new) = (bench.path("kube"), bench.path("new.yaml"));
    let args = ["rotate-keys", text(&kube), "-o", text(&out), "--write-config", text(&new)];
    ends(started(&[&args[..], &["--encryption-config", text(&piped)]].concat())).expect(0);
    let piped = pipe(&bench, "alone", config);
    let args = ["prepare", "--write-config", text(&bench.path("prepared.yaml")), "--encryption-config"]
        .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).chain([text(&piped)]).collect();
    ends(started(&args)).expect(0);
}

#[test]
fn a_token_file_named_by_a_variable_is_not_written_over() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-fresh");
    let token = bench.file("token", cluster.passphrase());
    let other = bench.path("out");
    for variable in ["K3S_TOKEN_FILE", "RKE2_TOKEN_FILE"] {
        let set = [(variable, token.as_os_str())];
        for targets in [[&token, &other], [&other, &token]] {
            let [out, config] = targets.map(|path| text(path));
            let snapshot = text(&cluster.snapshot);
            let args = ["rotate-keys", snapshot, "-o", out, "--write-config", config, "-f", "--overwrite"];
            assert!(with(&set, &args).expect(2).err.contains("another file of this run"));
        }
        assert_eq!(std::fs::read_to_string(&token).unwrap(), cluster.passphrase());
    }
}

#[test]
fn variables_are_for_snapshots_with_a_record_alone() {
    let bench = Bench::new();
    let kube = fixture("kube-aescbc256", "snapshot.db");
    let config = fixture("kube-aescbc256", "encryption-config.yaml");
    let new = bench.file("new.yaml", support::config(&[&["secrets"]], "secretbox", "new", 7));
    let k3s = Cluster::of("k3s-fresh");
    let missing = bench.path("missing");
    for (number, set) in [
        ("K3S_TOKEN", OsStr::new("K10abc")),
        ("K3S_TOKEN_FILE", missing.as_os_str()),
        ("RKE2_TOKEN_FILE", bench.dir.path().as_os_str()),
    ]
    .into_iter()
    .enumerate()
    {
        let out = bench.path(&format!("out{number}"));
        let args = ["reencrypt", text(&kube), "-o", text(&out), "--encryption-config", text(&new)];
        let old = ["--decryption-config", text(&config)];
        with(&[set], &[&args[..], &old].concat()).expect(0);
        with(&[set], &["status", text(&kube)]).expect(0);
        with(&[set], &["list", text(&kube)]).expect(0);
        let args = ["verify", text(&out), "--against", text(&kube), "--encryption-config", text(&new)];
        with(&[set], &[&args[..], &old].concat()).expect(0);
        // With a record the variable is asked, and named.
        for command in ["status", "rotate-keys"] {
            let mut args = vec![command, text(&k3s.snapshot), "-w", "json"];
            let out = bench.path("x");
            if command == "rotate-keys" {
                args.extend(["-o", text(&out)]);
            }
            let refused = with(&[set], &args).expect(4).json();
            assert!(refused["error"]["message"].as_str().unwrap().starts_with(set.0), "{refused}");
            assert!(!refused.to_string().contains("K10abc"));
        }
    }
}

#[test]
fn the_token_file_goes_before_the_token() {
    let cluster = Cluster::of("k3s-fresh");
    let status = |set: &[(&str, &OsStr)]| with(set, &["status", text(&cluster.snapshot)]).code;
    let (right, wrong) = (cluster.passphrase(), OsStr::new("wrong"));
    assert_eq!(status(&[("K3S_TOKEN", wrong), ("K3S_TOKEN_FILE", cluster.token.as_os_str())]), 0);
    assert_eq!(status(&[("K3S_TOKEN", OsStr::new(&right))]), 0);
    assert_eq!(status(&[("K3S_TOKEN", wrong)]), 4);
}

#[test]
fn a_step_with_a_token_asks_for_the_snapshot() {
    let token = fixture("k3s-fresh", "token");
    for verb in ["prepare", "rotate"] {
        let ran = with(&[], &[verb, "--token-file", text(&token)]).expect(2);
        assert!(ran.err.contains("no snapshot was given"), "{}", ran.err);
    }
    assert!(Path::new(&token).exists());
}

#[test]
fn tokens_come_from_files_standard_input_and_the_environment_but_not_from_the_command_line() {
    let cluster = Cluster::of("k3s-secretbox-rotated");
    let bench = Bench::new();
    let token = cluster.passphrase();
    let whole = format!("  K10{}::server:{token}\n", "ab".repeat(32));
    let file = bench.file("whole", &whole);
    let status = |files: &[&str], variable: Option<(&str, &str)>, input: &str| {
        let mut command = command(&["status", text(&cluster.snapshot), "-w", "json"]);
        for file in files {
            command.args(["--token-file", file]);
        }
        for name in ["K3S_TOKEN", "K3S_TOKEN_FILE", "RKE2_TOKEN", "RKE2_TOKEN_FILE"] {
            command.env_remove(name);
        }
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may not ask for it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    };
    let opened = |ran: Ran| ran.expect(0).json()["activekey"].as_str().is_some();
    assert!(opened(status(&[text(&file)], None, "")));
    assert!(opened(status(&["-"], None, &whole)));
    for name in ["K3S_TOKEN", "RKE2_TOKEN"] {
        assert!(opened(status(&[], Some((name, &token)), "")));
        assert!(opened(status(&[], Some((&format!("{name}_FILE"), text(&file))), "")));
    }
    assert!(!opened(status(&[], None, "")));
    let wrong = bench.file("wrong", "another");
    let refused = status(&[text(&wrong)], None, "").expect(4).json();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("encrypted with different token") && message.contains("/bootstrap/"), "{message}");
    assert!(!message.contains("another"));
    for (text_of_token, words) in [
        ("", "token must not be empty"),
        ("K10abc::server:x", "invalid token CA hash length"),
        ("K10abc", "invalid token format"),
        ("abcdef.0123456789abcdef", "failed to normalize server token"),
    ] {
        let file = bench.file("bad", text_of_token);
        let refused = status(&[text(&file)], None, "").expect(4).json();
        assert!(refused["error"]["message"].as_str().unwrap().contains(words));
    }
}

#[test]
fn a_snapshot_without_the_token_is_refused_with_the_record_named() {
    let cluster = Cluster::of("k3s-fresh");
    let bench = Bench::new();
    let output = bench.path("out");
    let new = bench.file("new.yaml", support::config(&[&["secrets"]], "aescbc", "fresh", 0x42));
    let refused = |args: &[&str]| {
        let mut command = command(args);
        command.args(["-w", "json"]).env_remove("K3S_TOKEN").env_remove("K3S_TOKEN_FILE");
        Ran::from(command.output().unwrap())
    };
    let snapshot = text(&cluster.snapshot);
    let ran = refused(&["rotate-keys", snapshot, "-o", text(&output)]).expect(4).json();
    assert_eq!(ran["error"]["kind"], "no-token");
    assert!(ran["error"]["message"].as_str().unwrap().contains("/bootstrap/3a137d5ec4da"));
    // Rekeyed by another configuration, the restored cluster could read nothing.
    let ran = refused(&["reencrypt", snapshot, "-o", text(&output), "--encryption-config", text(&new)]);
    assert!(ran.expect(2).json()["error"]["remedy"].as_str().unwrap().contains("--token-file"));
    // And the other way round.
    let kube = fixture("kube-rotated", "snapshot.db");
    let ran = refused(&["rotate-keys", text(&kube), "-o", text(&output), "--token-file", text(&cluster.token)]);
    assert_eq!(ran.expect(4).json()["error"]["kind"], "no-k3s-record");
    assert_eq!(bench.names(), ["new.yaml"]);
}
