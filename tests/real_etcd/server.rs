//! A real etcd server of one member, on free loopback ports, that ends with its test.

use crate::release::{Release, succeeded};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const MEMBER: &str = "member-of-a-test";
const PATIENCE: Duration = Duration::from_secs(60);
const SIGTERM: i32 = 15;

/// A server and its data.
pub struct Server {
    pub(crate) release: Release,
    home: PathBuf,
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Server {
    /// Starts a server that has no data yet; `home` must not exist.
    pub fn fresh(release: Release, home: &Path) -> Self {
        let mut server = Self::new(release, home);
        server.start();
        server
    }

    /// Restores a snapshot as its users do, and starts a server on it; `home` must not exist.
    pub fn restored(release: Release, home: &Path, snapshot: &Path) -> Self {
        let mut server = Self::new(release, home);
        let [peer, cluster] = server.membership();
        let data = server.data();
        let arguments = [
            "restore".as_ref(),
            snapshot.as_os_str(),
            "--name".as_ref(),
            MEMBER.as_ref(),
            "--initial-cluster".as_ref(),
            cluster.as_ref(),
            "--initial-advertise-peer-urls".as_ref(),
            peer.as_ref(),
            "--data-dir".as_ref(),
            data.as_os_str(),
        ];
        succeeded("snapshot restore", release.snapshot(&arguments));
        server.start();
        server
    }

    /// Where its clients go.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    /// Starts the server and waits until it answers.
    pub fn start(&mut self) {
        let [peer, cluster] = self.membership();
        let client = self.endpoint();
        let process = self
            .release
            .command("etcd")
            .args(["--name", MEMBER, "--logger", "zap", "--log-level", "error"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &cluster])
            .arg("--data-dir")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(self.log())
            .stderr(self.log())
            .spawn()
            .expect("etcd starts");
        self.process = Some(process);
        self.wait_until_it_answers();
    }

    /// Stops the server the clean way, and waits for its end.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        let pid = process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill starts");
        assert!(sent.success(), "kill -TERM {pid} failed");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.try_wait().expect("the server is our child") {
                assert!(clean(status), "etcd ended with {status}:\n{}", self.logged());
                return;
            }
            if Instant::now() > deadline {
                drop(process.kill());
                drop(process.wait());
                panic!("etcd did not stop in {PATIENCE:?}:\n{}", self.logged());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn new(release: Release, home: &Path) -> Self {
        std::fs::create_dir(home).expect("a folder for the server");
        let (client, peer) = (free_port(), free_port());
        Self { release, home: home.to_owned(), client, peer, process: None }
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Its own peer URL, and the cluster as its only member sees it.
    fn membership(&self) -> [String; 2] {
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let cluster = format!("{MEMBER}={peer}");
        [peer, cluster]
    }

    fn log(&self) -> File {
        let path = self.home.join("log");
        OpenOptions::new().create(true).append(true).open(path).expect("a log for the server")
    }

    fn logged(&self) -> String {
        std::fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    /// A linearizable read succeeds only once the member leads its cluster.
    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let process = self.process.as_mut().expect("the server runs");
            if let Some(status) = process.try_wait().expect("the server is our child") {
                panic!("etcd ended with {status} as it started:\n{}", self.logged());
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.client)).is_ok()
                && self.etcdctl(&["get", "/is-anyone-there", "--keys-only"], b"").status.success()
            {
                return;
            }
            assert!(Instant::now() < deadline, "etcd did not answer in {PATIENCE:?}:\n{}", self.logged());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// etcd closes its files and then ends by the signal it was sent.
fn clean(status: ExitStatus) -> bool {
    status.success() || status.signal() == Some(SIGTERM)
}

/// A port that nothing listens on. The numbers lie below those the system gives
/// to outgoing connections, so that none of these takes it before the server
/// does, and the process id keeps test programs that run side by side apart.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).expect("below COUNT");
    for _ in 0..COUNT {
        let port = FIRST + (start + TAKEN.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free on the loopback address");
}
