//! Each error of the commands that talk to a live etcd is a line that says
//! what is wrong and where, and a line that says what to do; and each one is
//! written down in tests/transcripts, with its exit code.
//!
//! `SNAPSHOTS=overwrite cargo test --features live --test live errors` writes
//! the transcripts anew.

use crate::certificates::Authority;
use crate::support::program::Bench;
use crate::support::transcript::{is_written_down, told, variant, variants};
use etcd_rekey::cli::Exit;
use etcd_rekey::live::Error;
use etcd_rekey::live::refusal::Refusal;
use etcd_rekey::{etcd, output, rekey};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

const ENDPOINT: &str = "https://127.0.0.1:2379";

fn refusals() -> Vec<Refusal> {
    use Refusal as R;
    vec![
        R::Compacted,
        R::FutureRevision,
        R::TooLarge,
        R::NoUsers,
        R::Denied("etcdserver: permission denied".into()),
        R::Corrupt,
        R::Other("etcdserver: not capable".into()),
    ]
}

fn errors() -> Vec<Error> {
    use Error as E;
    let endpoint = || ENDPOINT.to_owned();
    let broken = || io::Error::from_raw_os_error(5);
    vec![
        E::Endpoint { endpoint: "ftp://a".into(), why: "it begins with neither https:// nor http://" },
        E::Transport {
            endpoint: "http://a".into(),
            why: "certificates were given, and http would not use them",
        },
        E::OneEndpoint { given: 2 },
        E::Usage {
            why: "a user was given, and no password".into(),
            remedy: "give the password in ETCDCTL_PASSWORD, or a file of it as --password-file",
        },
        E::NoCertificates { path: "/var/lib/rancher/k3s/server/tls/etcd/server-ca.crt".into() },
        E::HalfACertificate,
        E::Read { file: "ca.crt".into(), source: broken() },
        E::Pem { file: "ca.crt".into(), why: "there is no certificate in it".into() },
        E::NoRoots { why: "it has none".into() },
        E::Unreachable { endpoint: endpoint(), why: "Connection refused (os error 111)".into() },
        E::Tls { endpoint: endpoint(), why: "invalid peer certificate: UnknownIssuer".into() },
        E::Stalled { endpoint: endpoint(), what: "receiving the snapshot", seconds: 30 },
        E::Refused { endpoint: endpoint(), why: Refusal::NoUsers },
        E::Learner { endpoint: endpoint() },
        E::OtherCluster { endpoint: endpoint(), is: "cdf818194e3a8c32".into(), expected: "1".into() },
        E::Nonsense { endpoint: endpoint(), why: "the snapshot is empty" },
        E::CutShort { endpoint: endpoint(), received: 100_000, expected: 1_212_448 },
        E::NoProgram { name: "etcd", looked_in: "PATH".into() },
        E::Program {
            program: "/opt/etcd".into(),
            why: "asked for its version, it ended with exit status: 1".into(),
        },
        E::Scratch { directory: "/tmp".into(), source: broken() },
        E::NoSpace { directory: "/tmp".into(), need: 168_984_576, free: 512 },
        E::Restore { said: "expected sha256 [1 2], got [3 4]".into() },
        E::Start { said: "panic: freepages".into() },
        E::Runtime { source: broken() },
        E::Interrupted,
        E::Output(output::Error::Exists { path: "out.db".into() }),
        E::Rekey(rekey::Error::Snapshot { file: "out.db".into(), source: etcd::Error::NoKeyBucket }),
    ]
}

#[test]
fn every_error_is_written_down_in_one_line_with_a_remedy() {
    let names = |found: Vec<String>| found.into_iter().collect::<BTreeSet<_>>();
    let met = names(errors().iter().map(variant).collect());
    assert_eq!(met, variants("src/live/error.rs", "Error"));
    let met = names(refusals().iter().map(variant).collect());
    assert_eq!(met, variants("src/live/refusal.rs", "Refusal"));
    let mut text = String::new();
    let refused = refusals().into_iter().map(|why| {
        (format!("live::Refusal::{}", variant(&why)), Error::Refused { endpoint: ENDPOINT.into(), why })
    });
    let all = errors().into_iter().map(|error| (format!("live::Error::{}", variant(&error)), error));
    let document = crate::support::schema::document("json.md");
    for (name, error) in all.chain(refused) {
        let exit = Exit::from(&error).code();
        text += &told(&name, &error.to_string(), error.remedy(), error.kind(), exit);
        if !matches!(error, Error::Interrupted) {
            let row = document.lines().find(|line| line.starts_with(&format!("| {exit} |")));
            let row = row.expect("a row of this code");
            assert!(row.contains(&format!("`{}`", error.kind())), "{name}: {} is not in: {row}", error.kind());
        }
    }
    is_written_down("live-errors.txt", &text);
}

/// Command lines that fail without an etcd, each for a reason of its own.
const RUNS: &[&str] = &[
    "snapshot",
    "snapshot sav out.db",
    "snapshot restore snapshot.db",
    "snapshot save",
    "snapshot save out.db --endpoint http://127.0.0.1:1",
    "snapshot save out.db --dial-timeout 5",
    "snapshot save out.db --k3s --cacert ca.crt",
    "snapshot save out.db --endpoints ftp://127.0.0.1",
    "snapshot save out.db --endpoints http://127.0.0.1:port",
    "snapshot save out.db --endpoints http://root:secret@127.0.0.1:1",
    "snapshot save out.db --endpoints http://127.0.0.1:1,http://127.0.0.1:2",
    "snapshot save out.db --endpoints http://127.0.0.1:1",
    "snapshot save out.db --endpoints http://127.0.0.1:1 --dry-run",
    "snapshot save out.db --endpoints http://127.0.0.1:1 -w json",
    "snapshot save out.db --endpoints unix:///none.sock",
    "snapshot save snapshot.db --endpoints http://127.0.0.1:1",
    "snapshot save none/out.db --endpoints http://127.0.0.1:1",
    "snapshot save out.db --endpoints http://127.0.0.1:1 --cacert ca.crt",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --insecure-transport",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --cacert none.crt",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --cacert text",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --cacert ca.crt --cert client.crt",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --cacert ca.crt --cert client.crt --key text",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --cacert ca.crt --cert client.crt --key other.key",
    "snapshot save out.db --endpoints https://127.0.0.1:1 --cacert ca.crt",
    "snapshot save out.db --k3s=none",
    "snapshot save out.db --kubeadm=none",
    "snapshot save out.db --endpoints http://127.0.0.1:1 --user root",
    "snapshot save out.db --endpoints http://127.0.0.1:1 --user root:secret",
    "snapshot save out.db --endpoints http://127.0.0.1:1 --user root --password-file none",
    "snapshot compare snapshot.db --endpoints http://127.0.0.1:1 --stall-timeout 500ms",
    "snapshot compare snapshot.db --endpoints http://127.0.0.1:1 --stall-timeout 500ms -w json",
    "snapshot compare none.db --endpoints http://127.0.0.1:1",
    "snapshot compare text --endpoints http://127.0.0.1:1",
    "snapshot compare snapshot.db --endpoints http://127.0.0.1:1 --encryption-config text",
    "snapshot compare snapshot.db --endpoints http://127.0.0.1:1 --token-file token",
    "snapshot rehearse snapshot.db",
    "snapshot rehearse snapshot.db --etcd-bin-dir none",
    "snapshot rehearse snapshot.db --etcd-bin-dir only-etcd",
    "snapshot rehearse snapshot.db --etcd-bin-dir broken",
    "snapshot rehearse text --etcd-bin-dir refuses",
    "snapshot rehearse snapshot.db --etcd-bin-dir refuses",
];

/// A folder with files of every kind that is refused.
fn files() -> Bench {
    let bench = Bench::new();
    std::fs::copy(crate::snapshot(), bench.path("snapshot.db")).unwrap();
    bench.file("text", "no more than text\n".repeat(500));
    bench.file("token", "a password");
    let authority = Authority::new(&bench.path("tls"), "authority");
    let tls = authority.tls(&["127.0.0.1"], 2999);
    let other = Authority::new(&bench.path("other"), "other").tls(&["127.0.0.1"], 2999);
    for (from, to) in [
        (&tls.cacert, "ca.crt"),
        (&tls.client_cert, "client.crt"),
        (&tls.client_key, "client.key"),
        (&other.client_key, "other.key"),
    ] {
        std::fs::copy(from, bench.path(to)).unwrap();
    }
    let program = |path: PathBuf, script: &str| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(bench.path("only-etcd/etcd"), "echo etcd Version: 3.6.0");
    program(bench.path("broken/etcd"), "exit 3");
    program(bench.path("refuses/etcd"), "echo etcd Version: 3.6.0");
    program(bench.path("refuses/etcdutl"), "echo Error: it is too late for that >&2; exit 1");
    bench
}

#[test]
fn a_failure_says_what_and_where_and_what_to_do_and_leaves_nothing() {
    let bench = files();
    let before = bench.names();
    let mut text = String::new();
    for line in RUNS {
        let mut program = Command::new(env!("CARGO_BIN_EXE_etcd-rekey"));
        program.env_clear().env("PATH", "/nowhere").env("TMPDIR", "/tmp");
        let ran = program.args(line.split_whitespace()).current_dir(bench.dir.path()).output().unwrap();
        let (out, err) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        let code = ran.status.code().unwrap();
        assert_ne!(code, 0, "{line}");
        assert_eq!(bench.names(), before, "{line}");
        let last: Vec<_> = err.lines().rev().take(2).collect();
        assert!(
            out.starts_with('{') || (last[0].starts_with("  ") && last[1].starts_with("error: ")),
            "{line}: {err}"
        );
        assert!(!line.contains(":secret") || !(out.clone() + &err).contains(":secret"), "{line}");
        let told = format!("{out}{err}").replace(bench.dir.path().to_str().unwrap(), "/DIRECTORY");
        text += &format!("$ etcd-rekey {line}\n{told}exit code {code}\n\n");
    }
    is_written_down("live-failures.txt", &text);
}
