//! An etcd of one member, on a restored snapshot, for as long as a rehearsal
//! takes. It listens on sockets in its own directory, which nobody else may
//! enter, and on no port: what the snapshot holds is open to nobody.

use super::programs::{Programs, command};
use super::{Endpoint, Error};
use crate::etcd::escape;
use crate::live::endpoint::Transport;
use crate::rekey::Progress;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The name of the member, and what its peers would call it; there are none.
const NAME: &str = "rehearsal";
const PEER: &str = "http://127.0.0.1:2380";
/// What clients would call it, who are told where it really is.
const CLIENT: &str = "http://127.0.0.1:2379";
/// A socket's name; older releases want it to look like a host and a port.
const SOCKET: &str = "client:0";
/// How often a process is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(15);

/// A directory of a rehearsal.
pub struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    /// In this directory, which is empty.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self, name: &str) -> Result<File, Error> {
        let file = File::options().create(true).append(true).open(self.directory.join(name));
        file.map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Scratch { directory: self.directory.clone(), source }
    }

    /// The end of what a program said.
    fn said(&self, name: &str) -> String {
        let text = std::fs::read(self.directory.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(3)..];
        let short = |line: &&str| escape(line.trim().as_bytes()).chars().take(400).collect::<String>();
        let last: Vec<String> = last.iter().map(short).collect();
        if last.is_empty() { "it said nothing".to_owned() } else { last.join("; ") }
    }

    fn start(&self, mut command: Command, log: &str) -> io::Result<Child> {
        let output = |_| io::Error::other("its log cannot be written");
        command
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(self.log(log).map_err(output)?)
            .stderr(self.log(log).map_err(output)?)
            // What a terminal sends to this program is not for that one: this one stops it.
            .process_group(0)
            .spawn()
    }

    /// Restores a snapshot, as its users do.
    ///
    /// # Errors
    /// [`Error::Restore`], [`Error::Program`], [`Error::Interrupted`].
    pub fn restore(
        &self,
        programs: &Programs,
        snapshot: &Path,
        skip_hash_check: bool,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let program = &programs.restorer;
        let failed = |why: String| Error::Program { program: program.clone(), why };
        let snapshot = std::path::absolute(snapshot).map_err(|source| self.io(source))?;
        let mut restore = command(program);
        // 3.4 would take the other API where nobody says which.
        restore.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot);
        restore.arg("--data-dir").arg(self.data());
        restore.args(["--name", NAME, "--initial-cluster", &format!("{NAME}={PEER}")]);
        restore.args(["--initial-advertise-peer-urls", PEER]);
        if skip_hash_check {
            restore.arg("--skip-hash-check");
        }
        let child = self.start(restore, "restore.log").map_err(|error| failed(error.to_string()))?;
        let mut process = Process { child, ended: None };
        while process.ended()?.is_none() {
            if progress.stop() {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(TICK);
        }
        match process.ended {
            Some(status) if status.success() => Ok(()),
            _ => Err(Error::Restore { said: self.said("restore.log") }),
        }
    }

    /// Starts a server on what was restored. Whether it answers is seen when
    /// it is asked.
    ///
    /// # Errors
    /// [`Error::Start`], [`Error::Program`], [`Error::Interrupted`].
    pub fn serve(&self, programs: &Programs, progress: &dyn Progress) -> Result<Server<'_>, Error> {
        let mut serve = command(&programs.etcd);
        serve.args(["--name", NAME, "--logger", "zap", "--log-level", "warn"]);
        serve.arg("--data-dir").arg(self.data());
        serve.args(["--listen-client-urls", &format!("unix://{SOCKET}"), "--advertise-client-urls", CLIENT]);
        serve.args(["--listen-peer-urls", "unix://peer:0", "--initial-advertise-peer-urls", PEER]);
        serve.args(["--initial-cluster", &format!("{NAME}={PEER}")]);
        let failed =
            |error: io::Error| Error::Program { program: programs.etcd.clone(), why: error.to_string() };
        let child = self.start(serve, "etcd.log").map_err(failed)?;
        let mut server = Server { scratch: self, process: Process { child, ended: None } };
        let socket = self.directory.join(SOCKET);
        while !socket.exists() {
            server.runs()?;
            if progress.stop() {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(TICK);
        }
        Ok(server)
    }

    /// Where the server listens.
    ///
    /// # Errors
    /// [`Error::Endpoint`], [`Error::Scratch`] when the directory has too long
    /// a name for a socket in it.
    pub fn endpoint(&self) -> Result<Endpoint, Error> {
        let socket = self.directory.join(SOCKET);
        // The system's limit, with the zero at the end.
        let text = socket.to_str().filter(|text| text.len() < 108);
        let too_long = || self.io(io::Error::other("its name is too long for a socket in it, or no text"));
        Endpoint::parse(&format!("unix://{}", text.ok_or_else(too_long)?), Transport::default())
    }
}

/// A process of ours, that ends with this.
struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().map_err(|source| Error::Runtime { source })?;
        }
        Ok(self.ended)
    }
}

impl Drop for Process {
    /// By the number of its group, which is its own and no other's: a program
    /// may be a script that starts the real one.
    fn drop(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        let gone = |process: &mut Self| {
            process.ended().is_ok_and(|ended| ended.is_some()) && test_kill_process_group(group).is_err()
        };
        if gone(self) {
            return;
        }
        // What is just ending cannot be asked; it is waited for all the same.
        let _ = kill_process_group(group, Signal::TERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if gone(self) {
                return;
            }
            std::thread::sleep(TICK);
        }
        // What does not end when asked is ended; then there is nothing to tell.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A running server; dropped, it ends.
pub struct Server<'s> {
    scratch: &'s Scratch,
    process: Process,
}

impl Server<'_> {
    /// Whether it still runs.
    ///
    /// # Errors
    /// [`Error::Start`], with what it said.
    pub fn runs(&mut self) -> Result<(), Error> {
        match self.process.ended()? {
            None => Ok(()),
            Some(_) => Err(Error::Start { said: self.scratch.said("etcd.log") }),
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_owner() {
        // A script that starts another program, and would leave it.
        let mut command = Command::new("sh");
        let child = command.args(["-c", "sleep 60; true"]).process_group(0).spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        drop(Process { child, ended: None });
        assert!(test_kill_process_group(group).is_err());
    }

    #[test]
    fn a_directory_of_too_long_a_name_is_refused() {
        assert!(matches!(
            Scratch::new(Path::new(&format!("/{}", "x".repeat(120)))).endpoint(),
            Err(Error::Scratch { .. })
        ));
        assert!(Scratch::new(Path::new("/tmp/x")).endpoint().is_ok());
    }
}
