//! What can be wrong with a K3s or RKE2 cluster's part of a snapshot. No
//! message holds a token or a key.

use super::token::TokenError;
use crate::kube::rotation::RotationError;
use crate::kube::{ConfigError, Provider};
use thiserror::Error;

/// Why a step is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Error {
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("{variable}: {why}")]
    Variable { variable: String, why: String },
    #[error(
        "the snapshot holds the record of a K3s or RKE2 cluster ({}), and no server token was given",
        list(held)
    )]
    NoToken { held: Vec<String> },
    #[error(
        "bootstrap data already found and encrypted with different token: the token given names {}, the snapshot holds {}{}",
        list(given),
        list(held),
        if *marked { "; the token begins with a byte order mark (BOM)" } else { "" }
    )]
    WrongToken { given: Vec<String>, held: Vec<String>, marked: bool },
    #[error("the snapshot holds no record of a K3s or RKE2 cluster, and a server token was given")]
    NoRecord,
    #[error(
        "the record of the K3s or RKE2 cluster was deleted; only old revisions of it are left ({})",
        list(held)
    )]
    Deleted { held: Vec<String> },
    #[error("found multiple bootstrap keys in storage: {}", list(held))]
    SeveralRecords { held: Vec<String> },
    #[error("the bootstrap key lock is held: the record {key} is empty")]
    Locked { key: String },
    #[error("the record {key} at revision {revision} does not open, or is none")]
    Damaged { key: String, revision: String },
    #[error("old revisions of records are sealed with another token: {}", list(keys))]
    Unopened { keys: Vec<String> },
    #[error("old revisions of the record are damaged: {}", list(revisions))]
    DamagedOld { revisions: Vec<String> },
    #[error("the record's encryption configuration: {0}")]
    Config(ConfigError),
    #[error(
        "the record's encryption configuration has {0} blocks of resources; K3s knows of one, and would drop the others"
    )]
    Blocks(usize),
    #[error(
        "the record's encryption configuration seals more than secrets ({}), which K3s would drop",
        list(.0)
    )]
    Resources(Vec<String>),
    #[error("the record's encryption configuration has {0} twice; K3s knows of one")]
    Twice(Provider),
    #[error("more than 3 providers ({0}) found in secrets encryption")]
    Providers(usize),
    #[error("unsupported encryption keys found: {0}")]
    UnsupportedKeys(String),
    #[error("incorrect stage: {stage} found on {place}; {verb} follows {allowed}")]
    IncorrectStage { verb: &'static str, stage: String, allowed: &'static str, place: String },
    #[error("invalid hash: {hash} found on {place}, whose stage is {stage}")]
    InvalidHash { hash: String, place: String, stage: String },
    #[error("{mismatch}; the stage is {stage}")]
    HashMismatch { mismatch: String, stage: String },
    #[error("{verb} does not support secretbox key type, use rotate-keys instead; the stage is {stage}")]
    Secretbox { verb: &'static str, stage: String },
    #[error("encryption is disabled (stage {stage}): the configuration writes nothing with a key")]
    Disabled { stage: String },
    #[error("the configuration has one key only, so there is none to rotate to; the stage is {stage}")]
    NoSecondKey { stage: String },
    #[error("a rotation is under way (stage {stage}): {verb} would break it off")]
    UnderWay { verb: &'static str, stage: String },
    #[error("{0}")]
    Rotation(#[from] RotationError),
    #[error("the record has more than 65534 revisions")]
    TooManyRevisions,
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}

fn list(names: &[String]) -> String {
    names.join(", ")
}

impl Error {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) | Self::Variable { .. } => "token",
            Self::NoToken { .. } => "no-token",
            Self::WrongToken { .. } => "wrong-token",
            Self::NoRecord => "no-k3s-record",
            Self::Deleted { .. }
            | Self::SeveralRecords { .. }
            | Self::Locked { .. }
            | Self::Damaged { .. }
            | Self::Unopened { .. }
            | Self::DamagedOld { .. }
            | Self::TooManyRevisions => "k3s-record",
            Self::Config(_)
            | Self::Blocks(_)
            | Self::Resources(_)
            | Self::Twice(_)
            | Self::Providers(_)
            | Self::UnsupportedKeys(_) => "configuration",
            Self::IncorrectStage { .. }
            | Self::InvalidHash { .. }
            | Self::HashMismatch { .. }
            | Self::Secretbox { .. }
            | Self::UnderWay { .. } => "stage",
            Self::Disabled { .. } | Self::NoSecondKey { .. } | Self::Rotation(_) => "rotation",
            Self::Random(_) => "unexpected",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Variable { .. } => "set it right, or give the token as --token-file FILE",
            Self::Token(_) => {
                "give a server's own file /var/lib/rancher/k3s/server/token (RKE2: /var/lib/rancher/rke2/server/token), or the password the servers were started with"
            }
            Self::NoToken { .. } => {
                "give it as --token-file FILE (server/token of any server), - for standard input, or in K3S_TOKEN_FILE, K3S_TOKEN, RKE2_TOKEN_FILE or RKE2_TOKEN"
            }
            Self::WrongToken { marked: true, .. } => {
                "save the file without the mark: as UTF-8, not as \"UTF-8 with BOM\"; the mark counts as a part of the token"
            }
            Self::WrongToken { .. } => {
                "give the token the servers ran with when the snapshot was taken; for one taken before `token rotate`, that is the old one"
            }
            Self::NoRecord => "leave the token away, and give the configuration as --encryption-config",
            Self::Deleted { .. } | Self::Locked { .. } => "take another snapshot once every server has started",
            Self::SeveralRecords { .. } => {
                "K3s refuses to go on too: delete the one whose token is out of use (etcdctl del KEY) and take another snapshot"
            }
            Self::Damaged { .. } => "take another snapshot: K3s could not restore this one",
            Self::Unopened { .. } => {
                "give the earlier token as another --token-file; or drop old revisions with --compact; or carry them over with --keep-unreadable"
            }
            Self::DamagedOld { .. } => {
                "K3s does without them: drop old revisions with --compact, or carry these over with --keep-unreadable"
            }
            Self::Config(source) => source.remedy(),
            Self::Blocks(_)
            | Self::Resources(_)
            | Self::Twice(_)
            | Self::Providers(_)
            | Self::UnsupportedKeys(_) => {
                "K3s does not rotate keys of such a configuration: mend it on a running server first"
            }
            Self::IncorrectStage { .. } | Self::InvalidHash { .. } => {
                "finish what was begun, or go on from here with --force: `rotate-keys --force` ends every stage with one new key"
            }
            Self::HashMismatch { .. } => {
                "servers disagree. A restore makes the first server's files those of the snapshot and the others follow: go on with --force; delete the Node of a server that is gone (kubectl delete node NAME)"
            }
            Self::Secretbox { .. } => "run `rotate-keys`",
            Self::UnderWay { .. } => {
                "end it first: with one new key by `rotate-keys --force`, with the key that writes now by `enable --force`"
            }
            Self::Disabled { .. } => "`enable` first, then `rotate-keys` on its output",
            Self::NoSecondKey { .. } => {
                "`rotate-keys --force` does all of it; `prepare --force` makes a second key"
            }
            Self::Rotation(source) => source.remedy(),
            Self::TooManyRevisions => "drop old revisions with --compact",
            Self::Random(_) => "see to the machine, and run it again",
        }
    }
}
