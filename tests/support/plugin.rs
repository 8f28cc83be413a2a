//! A KMS plugin, played by the judge with Kubernetes' own service library.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A configuration whose blocks are each written by a plugin.
pub fn by_plugins(plugins: &[(&str, &str, &str, &str)]) -> String {
    let mut out =
        String::from("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n");
    for (resource, version, name, endpoint) in plugins {
        out += &format!(
            "- resources: [{resource}]\n  providers:\n  - kms: {{apiVersion: {version}, name: '{name}', endpoint: '{endpoint}', timeout: 3s}}\n  - identity: {{}}\n"
        );
    }
    out
}

/// A running plugin; it ends with this.
pub struct Plugin {
    child: Child,
    reader: Option<JoinHandle<()>>,
    told: Arc<(Mutex<Vec<Value>>, Condvar)>,
    socket: String,
}

impl Plugin {
    /// Starts one of version `v1` or `v2` on a socket (`@name`: an abstract
    /// one), and waits until it answers.
    pub fn start(version: &str, socket: &str, flags: &[&str]) -> Self {
        let program = std::env::var_os("JUDGE").expect("JUDGE is not set: run the tests with scripts/test");
        let mut child = Command::new(program)
            .args(["plugin", version, socket])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the judge starts");
        let told = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let sink = Arc::clone(&told);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sink.0.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                sink.1.notify_all();
            }
        });
        let plugin = Self { child, reader: Some(reader), told, socket: socket.to_owned() };
        plugin.wait(|lines| !lines.is_empty());
        plugin
    }

    /// Its endpoint, as configurations have it.
    pub fn endpoint(&self) -> String {
        if self.socket.starts_with('@') {
            format!("unix:///{}", self.socket)
        } else {
            format!("unix://{}", self.socket)
        }
    }

    fn wait(&self, until: impl Fn(&[Value]) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        let mut lines = self.told.0.lock().unwrap();
        while !until(&lines) && Instant::now() < end {
            lines = self.told.1.wait_timeout(lines, Duration::from_millis(100)).unwrap().0;
        }
        assert!(until(&lines), "the plugin said {lines:?}");
    }

    /// Ends it; what it was called for.
    pub fn ended(mut self) -> Calls {
        self.end();
        let lines = std::mem::take(&mut *self.told.0.lock().unwrap());
        Calls(lines.into_iter().filter(|line| line["call"].is_string()).collect())
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Calls a plugin has met.
pub struct Calls(pub Vec<Value>);

impl Calls {
    /// How many there were of one method.
    pub fn of(&self, method: &str) -> usize {
        self.0.iter().filter(|call| call["call"] == method).count()
    }

    /// How many there were of each, in the order of their names.
    pub fn all(&self) -> [(&'static str, usize); 4] {
        ["Decrypt", "Encrypt", "Status", "Version"].map(|method| (method, self.of(method)))
    }

    /// How many were under way at once at most.
    pub fn at_once(&self) -> u64 {
        self.0.iter().filter_map(|call| call["under"].as_u64()).max().unwrap_or(0)
    }
}
