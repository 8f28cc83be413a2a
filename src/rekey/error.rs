//! What can go wrong with a run.

use super::suspicion::Suspicion;
use crate::kube::rotation::RotationError;
use crate::{etcd, k3s, kube, output};
use serde::Serialize;
use std::path::PathBuf;
use thiserror::Error;

/// A sealed value that no known key opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UnreadableValue {
    /// Its etcd key, escaped.
    pub key: String,
    /// Its revision.
    pub revision: String,
    /// Whether it is the newest of its key.
    pub current: bool,
    /// The provider named in its prefix.
    pub provider: String,
    /// The key named in its prefix.
    pub key_name: String,
    /// Why it does not open.
    pub error: String,
}

/// Why a run ended without an output, or without having proven one.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Error {
    #[error("{}: {source}", file.display())]
    Open { file: PathBuf, source: std::io::Error },
    #[error("{}: unpacking it in {}: {source}", file.display(), directory.display())]
    Unpack { file: PathBuf, directory: PathBuf, source: std::io::Error },
    #[error("{}: {source}", file.display())]
    Snapshot { file: PathBuf, source: etcd::Error },
    #[error("{}: {source}", file.display())]
    Config { file: PathBuf, source: kube::ConfigError },
    #[error("{} of the snapshot's values cannot be opened, {current} of them current", values.len())]
    Unreadable { values: Vec<UnreadableValue>, current: u64 },
    #[error(
        "{} of the snapshot's values, {current} of them current, could not be read by the restored cluster: no key of its record opens them",
        values.len()
    )]
    NotForCluster { values: Vec<UnreadableValue>, current: u64 },
    #[error("{}: a file of this name is unpacked before it is restored, and the output is no archive", file.display())]
    NamedAsArchive { file: PathBuf },
    #[error(
        "{count} sealed values would be stored as plaintext: the configuration has no key to write {resource} with (first: {first})"
    )]
    WouldBePlaintext { count: u64, resource: String, first: String },
    #[error("--kms-endpoint names the plugin {name:?}, which no configuration given has")]
    NoSuchPlugin { name: String },
    #[error("{0}")]
    Kms(#[from] kube::kms::Error),
    #[error("{0}")]
    K3s(#[from] k3s::Error),
    #[error("{0}")]
    Rotation(#[from] RotationError),
    #[error("no encryption configuration was given, and the snapshot holds no record of a K3s or RKE2 cluster")]
    NoConfig,
    #[error(
        "the snapshot holds the record of a K3s or RKE2 cluster with its configuration, and another one was given"
    )]
    ConfigBesideRecord,
    #[error("{verb} changes the configuration alone, and this snapshot does not hold it")]
    NothingToWrite { verb: &'static str },
    #[error("no snapshot was given: {verb} with a server token changes the record in one")]
    NoSnapshot { verb: &'static str },
    #[error("{verb} changes the configuration, and there is no place to write it")]
    NoWriteConfig { verb: &'static str },
    #[error("{0}")]
    Output(#[from] output::Error),
    #[error("{source}; what was made before that has replaced {}", names(files))]
    Replaced { files: Vec<PathBuf>, source: output::Error },
    #[error("{}: reading it back: {source}", file.display())]
    ReadBack { file: PathBuf, source: std::io::Error },
    #[error("verification failed: {} in all; the first: {}", count(differences.len(), "difference"), first(differences))]
    Verification { differences: Vec<String> },
    #[error("the output is not proven: {} in all; the first: {}", count(differences.len(), "difference"), first(differences))]
    NotProven { differences: Vec<String>, suspicion: Suspicion },
    #[error("the input changed while it was read: {what}")]
    InputChanged { what: String },
    #[error(
        "no key of the snapshot is Kubernetes' (under {prefix}), but there are sealed values; the first: {first}"
    )]
    NothingUnderPrefix { prefix: String, first: String },
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
    #[error("no threads could be started: {0}")]
    Threads(String),
    #[error("{}: it is no audit record that this version can read: {why}", file.display())]
    AuditRecord { file: PathBuf, why: String },
    #[error("the files are not those of the audit record: {} in all; the first: {}", count(differences.len(), "difference"), first(differences))]
    NotAsRecorded { differences: Vec<String> },
    #[error("no object {key} there{}", others(elsewhere))]
    NoSuchObject { key: String, elsewhere: Vec<String> },
    #[error("{key} is {} objects: {}", keys.len(), keys.join(", "))]
    SeveralObjects { key: String, keys: Vec<String> },
    #[error("the snapshot holds no {typed}: {}", instead(nearest.as_deref(), there))]
    NoSuchResource { typed: String, nearest: Option<String>, there: Vec<String> },
    #[error("{key} does not open: {why}")]
    NotOpened { key: String, why: String, record: bool },
    #[error("there is no command {name}")]
    NoSuchCommand { name: String },
    #[error("{0}")]
    Unexpected(String),
    #[error("interrupted")]
    Interrupted,
}

/// A number of things, in words.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// So many names a message has room for.
const NAMED: usize = 24;

/// The first of these names, and how many more there are.
fn some(names: &[String]) -> String {
    let (first, rest) = names.split_at(names.len().min(NAMED));
    match (first.is_empty(), rest.len()) {
        (true, _) => "no object of Kubernetes'".to_owned(),
        (false, 0) => first.join(", "),
        (false, more) => format!("{} and {more} more", first.join(", ")),
    }
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    names.join(", ")
}

/// What may have been meant, else what there is.
fn instead(nearest: Option<&str>, there: &[String]) -> String {
    nearest.map_or_else(|| format!("it holds {}", some(there)), |name| format!("did you mean {name}?"))
}

/// Objects of that name elsewhere.
fn others(elsewhere: &[String]) -> String {
    if elsewhere.is_empty() { String::new() } else { format!("; did you mean {}?", some(elsewhere)) }
}

fn first(differences: &[String]) -> &str {
    differences.first().map_or("none", String::as_str)
}

impl Error {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Open { .. } | Self::Unpack { .. } | Self::ReadBack { .. } => "io",
            Self::Snapshot { source, .. } => source.kind(),
            Self::Config { .. } => "configuration",
            Self::Unreadable { .. } | Self::NotOpened { .. } => "unreadable",
            Self::NotForCluster { .. } => "cluster-cannot-read",
            Self::NamedAsArchive { .. } => "output-name",
            Self::WouldBePlaintext { .. } => "would-be-plaintext",
            Self::Kms(error) if error.is_unreachable() => "kms-unreachable",
            Self::K3s(source) => source.kind(),
            Self::Random(_)
            | Self::Threads(_)
            | Self::Unexpected(_)
            | Self::Kms(kube::kms::Error { problem: kube::kms::Problem::Threads(_), .. })
            | Self::Rotation(RotationError::Random(_)) => "unexpected",
            Self::Kms(_) => "kms",
            Self::Rotation(_) => "rotation",
            Self::NoConfig
            | Self::ConfigBesideRecord
            | Self::NothingToWrite { .. }
            | Self::NoSnapshot { .. }
            | Self::NoSuchPlugin { .. }
            | Self::NoWriteConfig { .. }
            | Self::NoSuchCommand { .. } => "usage",
            Self::AuditRecord { .. } => "audit-record",
            Self::NoSuchObject { .. } | Self::SeveralObjects { .. } | Self::NoSuchResource { .. } => {
                "not-found"
            }
            Self::Output(error) | Self::Replaced { source: error, .. } => error.kind(),
            Self::Verification { .. } | Self::NotProven { .. } | Self::NotAsRecorded { .. } => "verification",
            Self::InputChanged { .. } => "input-changed",
            Self::NothingUnderPrefix { .. } => "etcd-prefix",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether a run that ended so has written something all the same.
    #[must_use]
    pub fn left_something(&self) -> bool {
        match self {
            Self::Output(error) => error.is_there(),
            Self::Replaced { .. } => true,
            _ => false,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Open { .. } => "see whether the file is there and may be read",
            Self::Unpack { .. } => {
                "free some space there, or unpack it elsewhere and give the snapshot that was in it"
            }
            Self::Snapshot { source, .. } => source.remedy(),
            Self::Config { source, .. } => source.remedy(),
            Self::Unreadable { values, .. }
                if values.iter().all(|value| value.provider.starts_with("kms-")) =>
            {
                "give the configuration that names their plugin as --decryption-config, with the plugin running and its key at hand (docs/kms.md); or carry them over unchanged with --keep-unreadable"
            }
            Self::Unreadable { .. } => {
                "give the configuration with their keys as --decryption-config (K3s, RKE2: also the server/cred/encryption-config.json of each server); or, where old revisions alone do not open, drop those with --compact; or carry them over unchanged with --keep-unreadable"
            }
            Self::NotForCluster { .. } => {
                "`rotate-keys --force` writes all of them anew, with the same --decryption-config where one was given"
            }
            Self::NamedAsArchive { .. } => "give the output another name",
            Self::WouldBePlaintext { .. } => {
                "name the resource in the new configuration with a key first (K3s, RKE2: run `enable`, or `disable`, which makes plaintext of everything); or, if plaintext is wanted, give --allow-plaintext"
            }
            Self::Kms(error) => error.remedy(),
            Self::NoSuchPlugin { .. } => "give the name that the configuration has for it",
            Self::K3s(source) => source.remedy(),
            Self::Rotation(source) => source.remedy(),
            Self::NoConfig => "give kube-apiserver's --encryption-provider-config as --encryption-config",
            Self::ConfigBesideRecord => {
                "a restore brings back the configuration in the record: leave --encryption-config away, and give the server token as --token-file"
            }
            Self::NothingToWrite { .. } => {
                "leave the snapshot and --output away: --encryption-config FILE --write-config NEW is all it takes"
            }
            Self::NoSnapshot { .. } => "name the snapshot, and the one to write as --output",
            Self::NoWriteConfig { .. } => "name a new file with --write-config",
            Self::Output(error) => error.remedy(),
            Self::Replaced { .. } => {
                "the files named are complete, and what they have replaced is gone; the others were not written: see to the cause and run it again"
            }
            Self::ReadBack { .. } => {
                "what was written cannot be read: see to the disk, or to the memory the program may use"
            }
            Self::Verification { .. } => "run it again, and report this if it happens again",
            Self::NotProven { suspicion, .. } => suspicion.remedy(),
            Self::InputChanged { .. } => {
                "copy the snapshot to a place where nothing writes to it, and run it again"
            }
            Self::NothingUnderPrefix { .. } => "give kube-apiserver's --etcd-prefix (OpenShift: kubernetes.io)",
            Self::Unexpected(_) => "report this",
            Self::Random(_) | Self::Threads(_) => "see to the machine, and run it again",
            Self::AuditRecord { .. } => "give the file that --report of the run wrote",
            Self::NotAsRecorded { .. } => {
                "find the files the record tells of; if these should be they, one was changed or damaged since: do not restore the output"
            }
            Self::NoSuchObject { elsewhere, .. } if !elsewhere.is_empty() => {
                "name its namespace, as NAMESPACE/NAME"
            }
            Self::NoSuchObject { .. } => {
                "name it NAMESPACE/NAME (of a secret), RESOURCE/NAMESPACE/NAME, or by its whole etcd key; `etcd-rekey list` shows what there is"
            }
            Self::SeveralObjects { .. } => "give the whole etcd key of the one that is meant",
            Self::NoSuchResource { .. } => {
                "name it as kubectl takes it: plural, singular or short, with or without its group (deployments.apps)"
            }
            Self::NotOpened { record: true, .. } => {
                "give the server token as --token-file (server/token of any server): the record of the K3s or RKE2 cluster holds the keys"
            }
            Self::NotOpened { .. } => {
                "give the configuration with its key as --encryption-config or --decryption-config"
            }
            Self::NoSuchCommand { .. } => "`etcd-rekey --help` lists the commands",
            Self::Interrupted => "run it again",
        }
    }
}
