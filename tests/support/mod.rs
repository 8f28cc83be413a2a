//! What tests share: fixtures, snapshots made to order, a second opener of
//! sealed values, and the program run as a user runs it.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod builder;
pub mod clusters;
pub mod fixtures;
pub mod judge;
pub mod opener;
pub mod plugin;
pub mod program;
pub mod schema;
pub mod screen;
pub mod task;
pub mod transcript;

use base64::Engine;
use etcd_rekey::bolt::Thoroughness;
use etcd_rekey::bolt::{Database, survey};
use etcd_rekey::etcd::history::Record;
use etcd_rekey::etcd::{KeyValue, RevisionKey, Snapshot};
#[allow(unused_imports, reason = "each test file uses its own part")]
pub use fixtures::{fixture, folder};

/// Every fixture made by kube-apiserver.
pub const KUBE_FIXTURES: [&str; 12] = [
    "kube-aes128-192",
    "kube-aescbc256",
    "kube-aesgcm",
    "kube-compacted-residue",
    "kube-etcd34",
    "kube-identity-then-aescbc",
    "kube-kms",
    "kube-leases-auth-alarm",
    "kube-multi",
    "kube-page16k",
    "kube-rotated",
    "kube-secretbox",
];

/// Everything in a snapshot: bucket, key, value.
pub fn contents(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let db = Database::open(Snapshot::open(bytes, true).unwrap().file).unwrap();
    let found = survey(&db, Thoroughness::FULL).sound().unwrap();
    let mut out = Vec::new();
    for bucket in &found.buckets {
        for entry in bucket.entries() {
            let entry = entry.unwrap();
            if !entry.is_bucket() {
                out.push((bucket.name.to_vec(), entry.key.to_vec(), entry.value.to_vec()));
            }
        }
    }
    out
}

/// The records of bucket `key`, handed on one by one.
pub fn records(bytes: &[u8], mut each: impl FnMut(RevisionKey, KeyValue<'_>)) {
    for (number, (_, key, value)) in
        (0..).zip(contents(bytes).into_iter().filter(|(bucket, _, _)| bucket == b"key"))
    {
        let entry = etcd_rekey::bolt::Entry { flags: 0, key: &key, value: &value };
        let record = Record::parse(number, &entry).unwrap();
        each(record.revision, record.kv);
    }
}

/// A configuration with one block a list of resources, each with one key of
/// `provider`, named `name` and made of `byte`; of `identity` with none.
pub fn config(blocks: &[&[&str]], provider: &str, name: &str, byte: u8) -> String {
    let secret = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    let mut out =
        String::from("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n");
    for resources in blocks {
        let resources: Vec<String> = resources.iter().map(|resource| format!("'{resource}'")).collect();
        out += &format!("- resources: [{}]\n  providers:\n", resources.join(", "));
        if provider != "identity" {
            out += &format!("  - {provider}: {{keys: [{{name: '{name}', secret: '{secret}'}}]}}\n");
        }
        out += "  - identity: {}\n";
    }
    out
}

/// The resources each block of a fixture's configuration is about.
pub fn blocks(fixture: &str) -> &'static [&'static [&'static str]] {
    match fixture {
        "kube-multi" => {
            &[&["secrets"], &["configmaps"], &["events"], &["widgets.example.com"], &["*.apps"], &["*.*"]]
        }
        "kube-aes128-192" => &[&["secrets"], &["configmaps"], &["widgets.example.com"], &["events"]],
        "kube-kms" => &[&["secrets"], &["configmaps"]],
        _ => &[&["secrets"]],
    }
}
