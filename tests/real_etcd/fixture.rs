//! The snapshots of a real API server, and what Kubernetes itself read in them.

use crate::key_space::{Expected, KeySpace};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A folder of fixtures/.
pub struct Fixture {
    folder: PathBuf,
    records: Vec<Record>,
}

/// One revision of one key, as the oracle opened it.
pub struct Record {
    /// The key.
    pub key: String,
    /// Its revision, main and sub.
    pub revision: (u64, u64),
    /// What it held; `None` where it says that the key was deleted.
    pub expected: Option<Expected>,
}

impl Fixture {
    /// Reads the oracle of a fixture.
    pub fn named(name: &str) -> Self {
        let folder = crate::fixtures::folder(name);
        let path = folder.join("oracle.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut records: Vec<Record> = text.lines().map(Record::parse).collect();
        records.sort_by_key(|record| record.revision);
        Self { folder, records }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshot.db")
    }

    /// A configuration of the folder, if it has one of that name.
    pub fn configuration(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(name);
        path.exists().then_some(path)
    }

    /// What is current at the last revision.
    pub fn live(&self) -> KeySpace {
        let mut live = KeySpace::default();
        for record in self.latest().values() {
            if let Some(expected) = &record.expected {
                live.insert(&record.key, expected.clone());
            }
        }
        live
    }

    /// Sealed values that a later revision replaced or deleted.
    pub fn superseded(&self) -> Vec<&Record> {
        let latest = self.latest();
        let is_current = |record: &Record| latest[record.key.as_str()].revision == record.revision;
        self.sealed().filter(|record| !is_current(record)).collect()
    }

    /// A revision in the middle of the history of the secrets: one that wrote one.
    pub fn middle(&self) -> u64 {
        let sealed: Vec<&Record> = self.sealed().collect();
        sealed[sealed.len() / 2].revision.0
    }

    fn sealed(&self) -> impl Iterator<Item = &Record> {
        let is_sealed = |record: &&Record| record.expected.as_ref().is_some_and(|it| it.sealed);
        self.records.iter().filter(is_sealed)
    }

    fn latest(&self) -> BTreeMap<&str, &Record> {
        self.records.iter().map(|record| (record.key.as_str(), record)).collect()
    }
}

impl Record {
    fn parse(line: &str) -> Self {
        let record: Value = serde_json::from_str(line).expect("a line of JSON");
        let number = |field: &str| record[field].as_u64().expect("a number");
        let text = |field: &str| record[field].as_str().expect("a text").to_owned();
        let expected = (record["tombstone"] != true).then(|| Expected {
            mod_revision: number("mod_revision"),
            sealed: text("prefix").starts_with("k8s:enc:aescbc:"),
            plain_sha256: text("plain_sha256"),
        });
        Self { key: text("key"), revision: (number("rev"), number("sub")), expected }
    }
}
