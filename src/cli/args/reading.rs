//! Commands that read.
#![allow(missing_docs, reason = "a flattened field would show its text as a flag's")]

use super::flags::{Common, FILES, FILTERS, KEYS, Keys, Messages, Reading, Running};
use clap::Args as Flags;
use std::path::PathBuf;

/// `verify`.
#[derive(Debug, Flags)]
pub struct Verify {
    /// The rekeyed snapshot
    pub snapshot: PathBuf,
    /// The snapshot it was made from
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub against: PathBuf,
    /// The record of the run, to hold both files against
    ///
    /// What --report of the run that wrote the snapshot left: both files must be the ones it tells of, and hold
    /// what it says they hold. Without --encryption-config and --token-file nothing is opened, and no key is needed.
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub report: Option<PathBuf>,
    /// The configuration the run was given or wrote
    ///
    /// A K3s or RKE2 snapshot holds its own.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file", help_heading = KEYS)]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    pub keys: Keys,
    /// Values no key opens were carried over
    #[arg(long, help_heading = "On purpose")]
    pub keep_unreadable: bool,
    /// Sealed values became plaintext
    #[arg(long, help_heading = "On purpose")]
    pub allow_plaintext: bool,
    /// Superseded revisions and deleted keys were left out
    #[arg(long, help_heading = "On purpose")]
    pub compact: bool,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub running: Running,
    #[command(flatten)]
    pub messages: Messages,
}

/// `check`.
#[derive(Debug, Flags)]
pub struct Check {
    /// The snapshot
    pub snapshot: PathBuf,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub messages: Messages,
}

/// `status`.
#[derive(Debug, Flags)]
pub struct Status {
    /// The snapshot
    pub snapshot: PathBuf,
    /// K3s, RKE2: a server's file to compare; repeatable
    ///
    /// The server/cred/encryption-config.json of a server, which is compared with the record. May be given several
    /// times.
    #[arg(long, value_name = "FILE", help_heading = KEYS)]
    pub server_config: Vec<PathBuf>,
    #[command(flatten)]
    pub reading: Reading,
}

/// `list`.
#[derive(Debug, Flags)]
pub struct List {
    /// The snapshot
    pub snapshot: PathBuf,
    /// Objects of this resource (secrets, deployments.apps …)
    #[arg(short, long, value_name = "RESOURCE", help_heading = FILTERS)]
    pub resource: Option<String>,
    /// Objects of this namespace
    #[arg(short, long, value_name = "NAMESPACE", help_heading = FILTERS)]
    pub namespace: Option<String>,
    /// Objects whose name fits, with * and ?
    #[arg(long, value_name = "PATTERN", help_heading = FILTERS)]
    pub name: Option<String>,
    /// Objects whose etcd key fits, with * and ?
    #[arg(long, value_name = "PATTERN", help_heading = FILTERS)]
    pub key: Option<String>,
    /// Values sealed with this key or provider
    ///
    /// The name of a key (aescbckey), of a provider (aescbc; identity for plaintext), or both with a slash between
    /// (aescbc/aescbckey).
    #[arg(long, value_name = "KEY", help_heading = FILTERS)]
    pub sealed_by: Option<String>,
    /// Superseded revisions as well
    #[arg(long, help_heading = FILTERS)]
    pub revisions: bool,
    #[command(flatten)]
    pub reading: Reading,
}

/// `get`.
#[derive(Debug, Flags)]
pub struct Get {
    /// The snapshot
    pub snapshot: PathBuf,
    /// NS/NAME of a secret, RESOURCE/NS/NAME, or a whole etcd key
    #[arg(value_name = "OBJECT")]
    pub key: String,
    /// As it was at this revision; the newest otherwise
    #[arg(long, value_name = "N")]
    pub revision: Option<i64>,
    /// Show the content: this prints a secret
    ///
    /// A Secret, and what is stored as JSON, is shown as YAML, as `kubectl get -o yaml` does; all else as it is
    /// stored.
    #[arg(long)]
    pub reveal: bool,
    /// With --reveal: the bytes as they are stored
    #[arg(long, requires = "reveal")]
    pub raw: bool,
    #[command(flatten)]
    pub reading: Reading,
}
