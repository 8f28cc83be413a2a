//! What a finished run says of itself.

use super::error::UnreadableValue;
use super::residue::Residue;
use crate::kube::{EncryptionConfiguration, Keyring, Sealer, SealingKey};
use serde::Serialize;

/// A snapshot file, as etcd's own tools would print it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileReport {
    /// Where it lies.
    pub file: String,
    /// Its length, trailer included.
    pub bytes: u64,
    /// SHA-256 of its pages: its trailer.
    pub sha256: String,
    /// Its newest revision.
    pub revision: i64,
    /// As `snapshot status` prints it; `None` before it was computed.
    pub status_hash: Option<u32>,
    /// As `endpoint hashkv` prints it.
    #[serde(rename = "hashKV")]
    pub hash_kv: Option<u32>,
}

/// A provider and the name of its key; of plaintext `identity` and none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SealReport {
    /// The provider.
    pub provider: String,
    /// The key's name.
    pub key: String,
}

impl SealReport {
    /// Of a key.
    #[must_use]
    pub fn of(key: &SealingKey) -> Self {
        Self { provider: key.provider().to_string(), key: crate::etcd::escape(key.name().as_bytes()) }
    }
}

/// Values of one resource that went from one seal to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValuesReport {
    /// The resource.
    pub resource: String,
    /// What sealed them.
    pub from: SealReport,
    /// What seals them now.
    pub to: SealReport,
    /// Whether they were sealed anew; the keys may have one name.
    pub rewritten: bool,
    /// Current ones.
    pub current: u64,
    /// Superseded ones.
    pub old: u64,
}

/// What became of the keys that seal values, by provider and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct KeysReport {
    /// Made by this run: the output's configuration alone has them.
    pub made: Vec<SealReport>,
    /// Those the output does without.
    pub dropped: Vec<SealReport>,
}

impl KeysReport {
    /// What a change makes of the keys of the configurations there were.
    #[must_use]
    pub fn of(before: &[EncryptionConfiguration], now: &EncryptionConfiguration) -> Self {
        let (mut old, mut new) = (Keyring::default(), Keyring::default());
        before.iter().flat_map(EncryptionConfiguration::keys).for_each(|key| old.add(key));
        now.keys().for_each(|key| new.add(key));
        let missing = |of: &Keyring, from: &Keyring| {
            let keys = of.keys().iter().filter_map(Sealer::key).filter(|key| from.number_of(key).is_none());
            keys.map(|key| SealReport::of(key)).collect()
        };
        Self { made: missing(&new, &old), dropped: missing(&old, &new) }
    }
}

/// A K3s or RKE2 cluster's part in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordReport {
    /// `k3s` or `rke2`.
    pub program: &'static str,
    /// The record's etcd key.
    pub record: String,
    /// How many of its revisions were rewritten.
    pub rewritten: usize,
    /// The stage it says now.
    pub stage: String,
    /// The hash of the configuration in it.
    pub config_hash: String,
    /// The provider of its keys.
    pub provider: Option<String>,
    /// The first of its keys, by provider and name.
    #[serde(skip)]
    pub first_key: Option<SealReport>,
    /// The provider there was.
    pub provider_before: Option<String>,
    /// Control-plane servers whose Nodes are in the snapshot.
    pub servers: Vec<String>,
}

/// The room an output needs, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomReport {
    /// The directory.
    pub directory: String,
    /// Bytes needed there, all outputs together.
    pub needed: u64,
    /// Bytes free there.
    pub free: u64,
}

/// A KMS plugin's part in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginReport {
    /// Its name, escaped.
    pub name: String,
    /// `v1` or `v2`.
    pub version: &'static str,
    /// The endpoint it was reached at, escaped.
    pub endpoint: String,
    /// Data keys it was asked to open.
    pub data_keys: u64,
    /// Calls made to it; of a dry run, those the run would make.
    pub calls: u64,
}

/// A finished run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The input.
    pub input: FileReport,
    /// The output; `None` of a dry run.
    pub output: Option<FileReport>,
    /// Sealed values by resource and seal.
    pub values: Vec<ValuesReport>,
    /// Current values under the key that writes, now; of `prepare` and
    /// `rotate` all current sealed ones.
    pub secrets: u64,
    /// Whether `secrets` counts secrets only.
    #[serde(skip)]
    pub only_secrets: bool,
    /// Current values sealed anew.
    pub rewritten: u64,
    /// Old revisions sealed anew.
    pub rewritten_old: u64,
    /// Values, current and old, that were under the right key already.
    pub unchanged: u64,
    /// Unreadable values carried over.
    pub carried_over: Vec<UnreadableValue>,
    /// Records of K3s whose old revisions no token opens, carried over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub carried_over_records: Vec<String>,
    /// The keys.
    pub keys: KeysReport,
    /// Keys of other tenants whose values look sealed.
    pub foreign_sealed: u64,
    /// What the input's free pages held, and the output's do not.
    pub residue: Residue,
    /// Whether the output was proven.
    pub verified: bool,
    /// Records compared to prove it.
    pub records: u64,
    /// Whether nothing was to be written.
    pub dry_run: bool,
    /// Bytes the output has, or would have.
    pub output_bytes: u64,
    /// Of a dry run: the room the output needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<RoomReport>,
    /// Of a dry run: about how long the run would take, in seconds, from how
    /// long reading took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_seconds: Option<u64>,
    /// Superseded revisions and deletions left out.
    pub dropped: u64,
    /// Whether they were to be.
    pub compacted: bool,
    /// The stage a K3s cluster is in now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The hash K3s knows the configuration by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// More of a K3s or RKE2 cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k3s: Option<RecordReport>,
    /// KMS plugins that were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kms: Vec<PluginReport>,
    /// Things to know.
    pub warnings: Vec<String>,
}
