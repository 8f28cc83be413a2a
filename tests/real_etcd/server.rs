//! Real etcd servers on free loopback ports, that end with their test: mostly of
//! one member, or several of one cluster.

#![allow(dead_code, reason = "each test file uses its own part")]

use crate::release::{Release, succeeded};
use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(180);
const SIGTERM: i32 = 15;

/// A server and its data.
pub struct Server {
    pub(crate) release: Release,
    home: PathBuf,
    name: String,
    client: u16,
    peer: u16,
    /// Every member of the cluster, as flags have it.
    cluster: String,
    /// Further flags to start it with.
    flags: Vec<String>,
    /// How its clients connect, where that is by TLS.
    pub(crate) tls: Option<Tls>,
    process: Option<Child>,
}

/// Files of connections by TLS, on both sides.
#[derive(Clone)]
pub struct Tls {
    pub cacert: PathBuf,
    pub server_cert: PathBuf,
    pub server_key: PathBuf,
    pub client_cert: PathBuf,
    pub client_key: PathBuf,
}

impl Tls {
    fn flags(&self) -> Vec<String> {
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        vec![
            flag("cert-file", &self.server_cert),
            flag("key-file", &self.server_key),
            flag("trusted-ca-file", &self.cacert),
            "--client-cert-auth".to_owned(),
        ]
    }

    /// What etcdctl is told.
    pub fn for_clients(&self) -> Vec<String> {
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        vec![flag("cacert", &self.cacert), flag("cert", &self.client_cert), flag("key", &self.client_key)]
    }
}

impl Server {
    /// Starts a server that has no data yet; `home` must not exist.
    pub fn fresh(release: Release, home: &Path) -> Self {
        let mut server = Self::new(release, home);
        server.start();
        server
    }

    /// The same, with further flags.
    pub fn fresh_with(release: Release, home: &Path, flags: &[&str]) -> Self {
        let mut server = Self::new(release, home);
        server.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        server.start();
        server
    }

    /// Restores a snapshot, and starts a server on it that wants TLS and
    /// certificates of its clients.
    pub fn restored_by_tls(release: Release, home: &Path, snapshot: &Path, tls: &Tls) -> Self {
        let mut server = Self::new(release, home);
        server.tls = Some(tls.clone());
        server.restore(snapshot, &[]);
        server.start();
        server
    }

    /// Adds a learner to a cluster of one, and starts it.
    pub fn learner(&self, home: &Path) -> Self {
        let mut learner = Self::named(self.release, home, "learner");
        let peer = format!("--peer-urls={}", learner.peer_url());
        succeeded("member add", self.etcdctl(&["member", "add", "learner", "--learner", &peer], b""));
        learner.cluster = format!("{},{}", self.cluster, learner.cluster);
        learner.flags = vec!["--initial-cluster-state=existing".to_owned()];
        learner.spawn();
        let deadline = Instant::now() + PATIENCE;
        // It answers for nobody, but that it is there.
        while !learner.etcdctl(&["endpoint", "status"], b"").status.success() {
            assert!(Instant::now() < deadline, "the learner did not answer:\n{}", learner.logged());
            std::thread::sleep(Duration::from_millis(50));
        }
        learner
    }

    /// Restores a snapshot as its users do, and starts a server on it; `home` must not exist.
    pub fn restored(release: Release, home: &Path, snapshot: &Path) -> Self {
        Self::restored_with(release, home, snapshot, &[])
    }

    /// The same, with further flags for the restore.
    pub fn restored_with(release: Release, home: &Path, snapshot: &Path, flags: &[&str]) -> Self {
        let mut server = Self::new(release, home);
        server.restore(snapshot, flags);
        server.start();
        server
    }

    /// Restores every member of a cluster from one snapshot and starts them
    /// with further flags; `home` must not exist.
    pub fn cluster(
        release: Release,
        home: &Path,
        snapshot: &Path,
        members: usize,
        flags: &[&str],
    ) -> Vec<Self> {
        Self::cluster_of(release, home, &vec![snapshot; members], flags)
    }

    /// The same, each member from a snapshot of its own.
    pub fn cluster_of(release: Release, home: &Path, snapshots: &[&Path], flags: &[&str]) -> Vec<Self> {
        let mut servers = Self::members(release, home, snapshots.len(), flags);
        for (server, snapshot) in servers.iter().zip(snapshots) {
            server.restore(snapshot, &[]);
        }
        Self::start_together(&mut servers);
        servers
    }

    /// The members of a cluster, without data as yet; `home` must not exist.
    pub fn members(release: Release, home: &Path, members: usize, flags: &[&str]) -> Vec<Self> {
        std::fs::create_dir(home).expect("a folder for the cluster");
        let names = (0..members).map(|number| format!("member-{number}"));
        let mut servers: Vec<Self> = names.map(|name| Self::named(release, &home.join(&name), &name)).collect();
        let cluster: Vec<String> = servers.iter().map(|server| server.cluster.clone()).collect();
        for server in &mut servers {
            server.cluster = cluster.join(",");
            server.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        }
        servers
    }

    /// Starts the members of a cluster, none of which answers before most run.
    pub fn start_together(servers: &mut [Self]) {
        for server in servers.iter_mut() {
            server.spawn();
        }
        for server in servers {
            server.wait_until_it_answers();
        }
    }

    fn restore(&self, snapshot: &Path, flags: &[&str]) {
        let peer = self.peer_url();
        let data = self.data();
        let mut arguments = vec![
            "restore".as_ref(),
            snapshot.as_os_str(),
            "--name".as_ref(),
            self.name().as_ref(),
            "--initial-cluster".as_ref(),
            self.initial_cluster().as_ref(),
            "--initial-advertise-peer-urls".as_ref(),
            peer.as_ref(),
            "--data-dir".as_ref(),
            data.as_os_str(),
        ];
        arguments.extend(flags.iter().map(std::ffi::OsStr::new));
        succeeded("snapshot restore", self.release.snapshot(&arguments));
    }

    /// Where its clients go.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client)
    }

    /// The port of its clients.
    pub fn port(&self) -> u16 {
        self.client
    }

    /// Ends the server at once, as a machine that fails.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        process.kill().expect("the server is our child");
        process.wait().expect("the server is our child");
    }

    /// Starts the server and waits until it answers.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_until_it_answers();
    }

    /// Starts the server without waiting for it: its clients may not be able
    /// to reach it.
    pub fn start_unseen(&mut self) -> Child {
        self.spawn();
        self.process.take().expect("it was just started")
    }

    fn spawn(&mut self) {
        let peer = self.peer_url();
        let client = self.endpoint();
        let process = self
            .release
            .command("etcd")
            .args(["--name", &self.name, "--logger", "zap", "--log-level", "error"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.cluster])
            .args(&self.flags)
            .args(self.tls.iter().flat_map(Tls::flags))
            .arg("--data-dir")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(self.log())
            .stderr(self.log())
            .spawn()
            .expect("etcd starts");
        self.process = Some(process);
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
        Self::named(release, home, "member-of-a-test")
    }

    fn named(release: Release, home: &Path, name: &str) -> Self {
        std::fs::create_dir(home).expect("a folder for the server");
        let (client, peer) = (free_port(), free_port());
        let cluster = format!("{name}=http://127.0.0.1:{peer}");
        let (home, name) = (home.to_owned(), name.to_owned());
        Self { release, home, name, client, peer, cluster, flags: Vec::new(), tls: None, process: None }
    }

    /// Its name in its cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every member of its cluster, as flags have it.
    pub fn initial_cluster(&self) -> &str {
        &self.cluster
    }

    /// Where its data lie.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Where its peers go.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
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
