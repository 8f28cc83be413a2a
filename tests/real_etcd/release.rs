//! The etcds the tests run on: where their programs are, and how one is run
//! so that nothing of this machine's environment reaches it.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// An etcd release line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 3.4: `etcdctl` restores snapshots.
    V34,
    /// 3.5.1: `etcdutl` restores snapshots, and checks their structure first.
    V35,
    /// 3.5.35, whose bbolt checks more, and which bumps revisions.
    V35New,
    /// 3.6, which keeps the storage version.
    V36,
    /// 3.7.
    V37,
}

impl Release {
    /// The path of one of its programs.
    ///
    /// A missing etcd is a failure and never a skipped test: a run without real
    /// etcds would prove nothing.
    pub fn program(self, name: &str) -> PathBuf {
        let variable = match self {
            Self::V34 => "ETCD34_BIN",
            Self::V35 => "ETCD35_BIN",
            Self::V35New => "ETCD35NEW_BIN",
            Self::V36 => "ETCD36_BIN",
            Self::V37 => "ETCD37_BIN",
        };
        let remedy = "run the tests with scripts/test, which installs the etcds and sets it";
        let Some(folder) = std::env::var_os(variable) else {
            panic!("{variable} is not set: {remedy}");
        };
        let program = PathBuf::from(folder).join(name);
        assert!(program.is_file(), "{variable} has no {}: {remedy}", program.display());
        program
    }

    /// Runs `etcdctl` on a server.
    pub fn etcdctl(self, endpoint: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command("etcdctl");
        command.args(["--endpoints", endpoint, "--command-timeout=60s", "--dial-timeout=5s"]);
        finish(command.args(arguments), input)
    }

    /// Runs the `snapshot` subcommand of the program that this release has for it.
    pub fn snapshot<A: AsRef<OsStr>>(self, arguments: &[A]) -> Output {
        let mut command = self.command(match self {
            Self::V34 => "etcdctl",
            _ => "etcdutl",
        });
        // Asks a restore of 3.5 to verify what it wrote; 3.4 does not know it.
        command.env("ETCD_VERIFY", "all");
        finish(command.arg("snapshot").args(arguments), b"")
    }

    /// A command for one of its programs, with an environment of its own.
    pub fn command(self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command.env_clear().env("ETCDCTL_API", "3");
        command
    }
}

/// Runs a command to its end.
pub fn finish(command: &mut Command, input: &[u8]) -> Output {
    let program = command.get_program().to_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    std::thread::scope(|scope| {
        // A program that ends without reading everything closes the pipe: no concern of ours.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("a started program can be waited for")
    })
}

/// What a program printed, once it is known to have succeeded.
pub fn succeeded(what: &str, output: Output) -> String {
    assert!(
        output.status.success(),
        "{what} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).expect("programs print UTF-8")
}

/// What a program printed as one JSON value.
pub fn json(what: &str, output: Output) -> serde_json::Value {
    let text = succeeded(what, output);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what} printed no JSON ({error}):\n{text}"))
}
