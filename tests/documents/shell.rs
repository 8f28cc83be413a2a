//! A shell that is told one command after another, as someone at a terminal
//! does.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than any command of a document takes.
const PATIENCE: Duration = Duration::from_secs(180);
/// Begins the line that ends what a command printed.
const END: &str = "\u{1e}end ";

/// Where the published program is.
pub fn packages() -> PathBuf {
    std::env::var_os("PACKAGES").expect("PACKAGES is not set: run the tests with scripts/test").into()
}

pub struct Shell {
    process: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    last: i32,
}

impl Shell {
    /// A shell in a folder, that finds the published program and etcd 3.6.
    pub fn start(home: &Path) -> Self {
        let program = packages();
        let etcd = std::env::var("ETCD36_BIN").expect("ETCD36_BIN is not set: run the tests with scripts/test");
        let path = format!("{}:{etcd}:{}", program.display(), std::env::var("PATH").unwrap());
        let mut process = Command::new("bash")
            .args(["--norc", "--noprofile"])
            .env_clear()
            .envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8"), ("HOME", home.to_str().unwrap())])
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let mut input = process.stdin.take().unwrap();
        writeln!(input, "exec 2>&1").unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, input, lines, last: 0 }
    }

    /// Runs a command; returns what it printed, and its exit code. `$?` is
    /// that of the command before.
    pub fn run(&mut self, command: &str) -> (Vec<String>, i32) {
        let last = self.last;
        write!(self.input, "(exit {last})\n{{ {command}\n}} </dev/null\nprintf '\\n{END}%d\\n' $?\n").unwrap();
        self.input.flush().unwrap();
        let mut printed: Vec<String> = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no end of: {command}"));
            if let Some(code) = line.strip_prefix(END) {
                // The line break before the end is ours, where the output had one.
                if printed.last().is_some_and(String::is_empty) {
                    printed.pop();
                }
                self.last = code.parse().unwrap();
                return (printed, self.last);
            }
            printed.push(line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
