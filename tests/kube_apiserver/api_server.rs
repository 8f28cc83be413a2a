//! A real kube-apiserver on a loopback port, that ends with its test.

use crate::server::free_port;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
const TOKEN: &str = "token-of-a-test";

/// A server, its certificates and its log.
pub struct ApiServer {
    port: u16,
    home: PathBuf,
    process: Child,
}

impl ApiServer {
    /// Starts a server on an etcd and waits until it is ready, which it is only
    /// when it could read every secret. `home` must not exist.
    pub fn start(home: &Path, etcd: &str, encryption: &Path) -> Self {
        let program = std::env::var_os("KUBE_APISERVER")
            .expect("KUBE_APISERVER is not set: run the tests with scripts/test");
        std::fs::create_dir(home).unwrap();
        std::fs::write(home.join("tokens"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
        let key = home.join("service-accounts.key");
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output();
        assert!(made.expect("openssl starts").status.success());
        let port = free_port();
        let log = File::create(home.join("log")).unwrap();
        let process = Command::new(program)
            .args(["--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", &port.to_string()])
            .args(["--advertise-address", "127.0.0.1", "--service-cluster-ip-range", "10.0.0.0/24"])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args(["--disable-admission-plugins", "ServiceAccount", "--authorization-mode", "RBAC"])
            .arg("--service-account-key-file")
            .arg(&key)
            .arg("--service-account-signing-key-file")
            .arg(&key)
            .arg("--token-auth-file")
            .arg(home.join("tokens"))
            .arg("--cert-dir")
            .arg(home.join("certificates"))
            .arg("--encryption-provider-config")
            .arg(encryption)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("kube-apiserver starts");
        let mut server = Self { port, home: home.to_owned(), process };
        server.wait_until_ready();
        server
    }

    /// Stops the server the clean way.
    pub fn stop(&mut self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill starts");
        assert!(sent.success());
        self.process.wait().unwrap();
    }

    /// The objects at several paths, in order.
    pub fn get(&self, paths: &[&str]) -> Vec<Value> {
        let mut command = Self::curl();
        command.args(paths.iter().map(|path| self.url(path)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::Deserializer::from_slice(&output.stdout).into_iter().map(Result::unwrap).collect()
    }

    /// Sends an object; returns the answer, which must not be a failure.
    pub fn send(&self, method: &str, path: &str, object: &Value) -> Value {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let output = Self::curl()
            .args(["-X", method, "-H", &format!("Content-Type: {kind}"), "-d", &object.to_string()])
            .arg(self.url(path))
            .output()
            .unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(answer["status"] != "Failure", "{method} {path}: {answer}");
        answer
    }

    /// Sends a document as kubectl would; returns the answer, whatever it is.
    pub fn post_yaml(&self, path: &str, document: &str) -> Value {
        let output = Self::curl()
            .args(["-X", "POST", "-H", "Content-Type: application/yaml", "-H", "Accept: application/json"])
            .args(["--data-binary", document])
            .arg(self.url(path))
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn curl() -> Command {
        let mut command = Command::new("curl");
        // Its certificate is its own; the address is the loopback's.
        command.args(["--silent", "--show-error", "--insecure", "--globoff", "--max-time", "60"]);
        command.args(["-H", &format!("Authorization: Bearer {TOKEN}")]);
        command
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("kube-apiserver ended with {status} as it started:\n{}", self.logged());
            }
            let answer = Self::curl().arg(self.url("/readyz")).output().expect("curl starts");
            if answer.stdout == b"ok" {
                return;
            }
            assert!(Instant::now() < deadline, "kube-apiserver is not ready:\n{}", self.logged());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of its log.
    fn logged(&self) -> String {
        let log = std::fs::read_to_string(self.home.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
