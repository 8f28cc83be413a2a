//! The K3s clusters of the fixtures, as they are and with other records.

#![allow(dead_code, reason = "each test file uses its own part")]

use super::builder::{Builder, mapped};
use super::fixture;
use super::judge::judge;
use super::program::{Bench, Ran, run, text};
use etcd_rekey::k3s::bootstrap;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const FIXTURES: [&str; 11] = [
    "k3s-compacted",
    "k3s-compressed",
    "k3s-disabled",
    "k3s-disabled-norestart",
    "k3s-fresh",
    "k3s-ha-mismatch",
    "k3s-midrotatekeys",
    "k3s-partial",
    "k3s-reencrypt_finished",
    "k3s-rotated",
    "k3s-secretbox-rotated",
];
/// A K3s snapshot with its token.
pub struct Cluster {
    pub name: &'static str,
    pub snapshot: PathBuf,
    pub token: PathBuf,
}

impl Cluster {
    pub fn of(name: &'static str) -> Self {
        let file = if name == "k3s-compressed" { "snapshot.zip" } else { "snapshot.db" };
        Self { name, snapshot: fixture(name, file), token: fixture(name, "token") }
    }

    pub fn passphrase(&self) -> String {
        std::fs::read_to_string(&self.token).unwrap()
    }

    pub fn recorded(&self, file: &str) -> String {
        std::fs::read_to_string(fixture(self.name, file)).unwrap()
    }

    /// `verb snapshot -o output --token-file token`, and more.
    pub fn run(&self, verb: &str, output: &Path, more: &[&str]) -> Ran {
        let args = [verb, text(&self.snapshot), "-o", text(output), "--token-file", text(&self.token)];
        run(&[&args, more].concat())
    }

    pub fn status(&self, snapshot: &Path, more: &[&str]) -> Ran {
        run(&[&["status", text(snapshot), "--token-file", text(&self.token)], more].concat()).expect(0)
    }

    /// The record as Go opens it, oldest revision first.
    pub fn records(&self, snapshot: &Path) -> Vec<Value> {
        judge("records", &[text(snapshot)], self.passphrase().as_bytes()).unwrap()
    }

    /// The current secrets as the API server would serve them with the
    /// configuration that lies in the snapshot.
    pub fn secrets(&self, bench: &Bench, snapshot: &Path) -> BTreeMap<String, Value> {
        let records = self.records(snapshot);
        let config = records.last().unwrap()["config"].as_str().unwrap();
        let config = bench.file("judged.json", config);
        let served = judge("secrets", &[text(snapshot), text(&config)], b"").unwrap();
        let named = |mut secret: Value| {
            let name = secret.as_object_mut().unwrap().remove("name").unwrap();
            (name.as_str().unwrap().to_owned(), secret)
        };
        served.into_iter().map(named).collect()
    }

    /// What the manifest of the fixture says of the secrets.
    pub fn manifest(&self) -> BTreeMap<String, Value> {
        let manifest: Value = serde_json::from_str(&self.recorded("manifest.json")).unwrap();
        serde_json::from_value(manifest["secrets"].clone()).unwrap()
    }
}

impl Cluster {
    /// The manifest; of the clusters of three servers, whose manifest leaves
    /// out K3s's own secrets, what the input serves.
    pub fn manifest_or_served(&self, bench: &Bench) -> BTreeMap<String, Value> {
        let manifest = self.manifest();
        let served = self.secrets(bench, &unzipped(self, bench));
        for (name, secret) in &manifest {
            // K3s rewrites this one when it likes.
            if name != "kube-system/k3s-serving" {
                assert_eq!(served.get(name), Some(secret), "{}: {name}", self.name);
            }
        }
        served
    }
}

/// The snapshot, taken out of its archive where it is in one.
pub fn unzipped(cluster: &Cluster, bench: &Bench) -> PathBuf {
    if cluster.name != "k3s-compressed" {
        return cluster.snapshot.clone();
    }
    let path = bench.path("unzipped.db");
    let file = std::fs::File::open(&cluster.snapshot).unwrap();
    let mut archive = zip::ZipArchive::new(file).unwrap();
    std::io::copy(&mut archive.by_index(0).unwrap(), &mut std::fs::File::create(&path).unwrap()).unwrap();
    path
}

/// Keys in any of the encodings they might be left in.
pub fn encodings(secret_base64: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let raw = base64::engine::general_purpose::STANDARD.decode(secret_base64).unwrap();
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![secret_base64.as_bytes().to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), raw]
}

/// The first of several texts that some bytes hold, looked for in one pass.
pub fn held<'n>(bytes: &[u8], needles: &'n [Vec<u8>]) -> Option<&'n Vec<u8>> {
    let place = |two: &[u8]| usize::from(two[0]) << 8 | usize::from(two[1]);
    let mut begins = vec![false; 1 << 16];
    for needle in needles {
        begins[place(needle)] = true;
    }
    let mut at = bytes.windows(2).enumerate().filter(|(_, two)| begins[place(two)]);
    at.find_map(|(at, _)| needles.iter().find(|needle| bytes[at..].starts_with(needle)))
}

pub fn holds(bytes: &[u8], what: &[u8]) -> bool {
    held(bytes, &[what.to_vec()]).is_some()
}

pub fn keys_of(config: &str) -> Vec<String> {
    let parts = config.split("\"secret\":\"").skip(1);
    parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

/// The files in a record.
pub type Files = BTreeMap<String, Value>;

impl Cluster {
    /// The same cluster, with another value of each revision of its record:
    /// `new` is handed how many newer ones there are, and the value.
    pub fn with_values(&self, bench: &Bench, new: impl Fn(usize, &[u8]) -> Vec<u8>) -> Self {
        let newer = Cell::new(self.records(&self.snapshot).len());
        let snapshot = mapped(&std::fs::read(&self.snapshot).unwrap(), |kv| {
            kv.key.starts_with(b"/bootstrap/").then(|| {
                newer.set(newer.get() - 1);
                new(newer.get(), kv.value)
            })
        });
        self.in_file(bench, snapshot)
    }

    /// The same cluster, with other files in each revision of its record.
    pub fn with_files(&self, bench: &Bench, change: impl Fn(usize, &mut Files)) -> Self {
        self.with_values(bench, |newer, value| {
            let passphrase = self.passphrase();
            let plain = bootstrap::open(value, &passphrase).unwrap();
            let mut files: Files = serde_json::from_slice(&plain).unwrap();
            let before = files.clone();
            change(newer, &mut files);
            if files == before {
                return value.to_vec();
            }
            let plain = serde_json::to_string(&files).unwrap() + "\n";
            bootstrap::seal(plain.as_bytes(), &passphrase).unwrap()
        })
    }

    /// The same cluster, with another configuration in its current record,
    /// and the stage that goes with it.
    pub fn with_config(&self, bench: &Bench, stage: &str, change: impl Fn(&str) -> String) -> Self {
        self.with_files(bench, |newer, files| {
            if newer == 0 {
                let config = change(&content(files, "EncryptionConfig"));
                let hash = etcd_rekey::k3s::stage::config_hash(config.as_bytes());
                put(files, "EncryptionConfig", &config);
                put(files, "EncryptionHash", &format!("{stage}-{hash}"));
            }
        })
    }

    /// The same cluster, with more in its snapshot.
    pub fn with_more(&self, bench: &Bench, more: impl Fn(&mut Builder)) -> Self {
        let mut builder = Builder::of(&std::fs::read(&self.snapshot).unwrap());
        more(&mut builder);
        self.in_file(bench, builder.snapshot())
    }

    /// Another handle of it.
    pub fn same(&self) -> Self {
        Self { name: self.name, snapshot: self.snapshot.clone(), token: self.token.clone() }
    }

    fn in_file(&self, bench: &Bench, snapshot: Vec<u8>) -> Self {
        let (_, path) = tempfile::NamedTempFile::new_in(bench.dir.path()).unwrap().keep().unwrap();
        std::fs::write(&path, snapshot).unwrap();
        Self { name: self.name, snapshot: path, token: self.token.clone() }
    }

    /// The current record's configuration.
    pub fn config(&self, snapshot: &Path) -> String {
        self.records(snapshot).pop().unwrap()["config"].as_str().unwrap().to_owned()
    }

    /// The stage in the current record.
    pub fn stage(&self, snapshot: &Path) -> String {
        let state = self.records(snapshot).pop().unwrap()["state"].as_str().unwrap().to_owned();
        state.split('-').next().unwrap().to_owned()
    }

    /// `verify output --against snapshot --token-file token`, and more.
    pub fn verify(&self, output: &Path, more: &[&str]) -> Ran {
        let args =
            ["verify", text(output), "--against", text(&self.snapshot), "--token-file", text(&self.token)];
        run(&[&args, more].concat())
    }
}

/// A file's content, as text.
pub fn content(files: &Files, name: &str) -> String {
    use base64::Engine;
    let content = files[name]["Content"].as_str().unwrap();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(content).unwrap()).unwrap()
}

/// Puts a file into a record, with a time long gone.
pub fn put(files: &mut Files, name: &str, content: &str) {
    use base64::Engine;
    let content = base64::engine::general_purpose::STANDARD.encode(content);
    files.insert(name.to_owned(), json!({"Timestamp": "2026-01-01T00:00:00Z", "Content": content}));
}
