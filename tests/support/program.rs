//! The program, run as a user runs it.

use super::builder::{Builder, key};
use super::config;
use etcd_rekey::kube::Provider;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A directory of its own for a test's files.
pub struct Bench {
    pub dir: TempDir,
}

/// What a run printed, and its exit code.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Bench {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With `in.db`, of so many secrets under the key that is in `old.yaml`.
    pub fn with_secrets(secrets: u32) -> Self {
        let bench = Self::new();
        let mut builder = Builder::default();
        for i in 0..secrets {
            builder.sealed(&key(Provider::Aescbc, "old", 1), &format!("s{i}"));
        }
        bench.file("in.db", builder.snapshot());
        bench.file("old.yaml", config(&[&["secrets"]], "aescbc", "old", 1));
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Names of the files, hidden ones too.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `reencrypt input --encryption-config new --decryption-config old -o out`, and more.
    pub fn reencrypt(&self, input: &Path, new: &Path, old: Option<&Path>, more: &[&str]) -> Ran {
        let output = self.path("out.db");
        let mut args = vec!["reencrypt", text(input), "--encryption-config", text(new), "-o", text(&output)];
        if let Some(old) = old {
            args.extend(["--decryption-config", text(old)]);
        }
        args.extend(more);
        run(&args)
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs scripts/make-snapshot.
pub fn make_snapshot(args: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/make-snapshot");
    let made = Command::new(script).args(args).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-rekey"));
    command.args(args);
    command
}

/// A command that heeds signals, also where what started the tests has them
/// ignored, as shells do in the background.
pub fn heeding(args: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_etcd-rekey")]).args(args);
    command
}

pub fn run(args: &[&str]) -> Ran {
    Ran::from(command(args).output().unwrap())
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The JSON object on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.err))
    }

    /// Expects an exit code, and shows what was printed when it was another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let short = |text: &str| text.chars().take(1500).collect::<String>();
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", short(&self.out), short(&self.err));
        self
    }
}
