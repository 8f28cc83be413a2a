//! What can go wrong with a live etcd, and what to do about it.

use super::refusal::Refusal;
use crate::{output, rekey};
use std::path::PathBuf;
use thiserror::Error;

/// Why nothing could be shown of a live etcd, or saved from it.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Error {
    #[error("{endpoint:?} is no endpoint: {why}")]
    Endpoint { endpoint: String, why: &'static str },
    #[error("{endpoint}: {why}")]
    Transport { endpoint: String, why: &'static str },
    #[error("one endpoint is asked for a snapshot, and {given} were given")]
    OneEndpoint { given: usize },
    #[error("{why}")]
    Usage { why: String, remedy: &'static str },
    #[error("{}: there is no such file, or it may not be looked at", path.display())]
    NoCertificates { path: PathBuf },
    #[error("a certificate of the client goes with its key, and one of them was not given")]
    HalfACertificate,
    #[error("{}: {source}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{}: {why}", file.display())]
    Pem { file: PathBuf, why: String },
    #[error("this system names no authority to trust: {why}")]
    NoRoots { why: String },
    #[error("{endpoint}: {why}")]
    Unreachable { endpoint: String, why: String },
    #[error("{endpoint}: no TLS: {why}")]
    Tls { endpoint: String, why: String },
    #[error("{endpoint}: nothing came for {seconds} seconds while {what}")]
    Stalled { endpoint: String, what: &'static str, seconds: u64 },
    #[error("{endpoint}: {why}")]
    Refused { endpoint: String, why: Refusal },
    #[error("{endpoint}: it is a learner, which may lack what the cluster has")]
    Learner { endpoint: String },
    #[error("{endpoint}: it belongs to the cluster {is}, and others that were given to {expected}")]
    OtherCluster { endpoint: String, is: String, expected: String },
    #[error("{endpoint}: it answered what no etcd does: {why}")]
    Nonsense { endpoint: String, why: &'static str },
    #[error("{endpoint}: the snapshot was cut short: {received} of {expected} bytes came")]
    CutShort { endpoint: String, received: u64, expected: u64 },
    #[error("no {name} was found in {looked_in}")]
    NoProgram { name: &'static str, looked_in: String },
    #[error("{}: {why}", program.display())]
    Program { program: PathBuf, why: String },
    #[error("{}: {source}", directory.display())]
    Scratch { directory: PathBuf, source: std::io::Error },
    #[error("{}: {need} bytes are needed for the rehearsal, {free} are free", directory.display())]
    NoSpace { directory: PathBuf, need: u64, free: u64 },
    #[error("the snapshot cannot be restored: {said}")]
    Restore { said: String },
    #[error("etcd did not start on the restored snapshot: {said}")]
    Start { said: String },
    #[error("the runtime does not start: {source}")]
    Runtime { source: std::io::Error },
    #[error("interrupted")]
    Interrupted,
    #[error("{0}")]
    Output(#[from] output::Error),
    #[error("{0}")]
    Rekey(#[from] rekey::Error),
}

impl Error {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Endpoint { .. }
            | Self::Transport { .. }
            | Self::OneEndpoint { .. }
            | Self::Usage { .. }
            | Self::HalfACertificate => "usage",
            Self::NoCertificates { .. } | Self::Pem { .. } | Self::NoRoots { .. } => "certificate",
            Self::Read { .. } | Self::Scratch { .. } => "io",
            Self::NoSpace { .. } => "no-space",
            Self::Unreachable { .. } => "unreachable",
            Self::Stalled { .. } => "stalled",
            Self::Tls { .. } => "tls",
            Self::Refused { why, .. } => why.kind(),
            Self::Learner { .. } => "learner",
            Self::OtherCluster { .. } => "other-cluster",
            Self::Nonsense { .. } => "no-etcd",
            Self::CutShort { .. } => "cut-short",
            Self::NoProgram { .. } | Self::Program { .. } => "program",
            Self::Restore { .. } => "restore",
            Self::Start { .. } => "start",
            Self::Runtime { .. } => "unexpected",
            Self::Interrupted => "interrupted",
            Self::Output(error) => error.kind(),
            Self::Rekey(error) => error.kind(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => {
                "give https://HOST:PORT, or http://HOST:PORT where etcd serves without TLS"
            }
            Self::Transport { .. } => "give the endpoint as etcd serves it, or leave one of the two away",
            Self::OneEndpoint { .. } => "name the member the snapshot is to come from: one that is healthy",
            Self::Usage { remedy, .. } => remedy,
            Self::NoCertificates { .. } => {
                "run it on a server of the control plane, as root; or give the directory (--k3s=DIR), or the files as --cacert, --cert and --key"
            }
            Self::HalfACertificate => "give both --cert and --key, or none",
            Self::Read { .. } => "see whether the file is there and may be read",
            Self::Pem { .. } => {
                "give certificates and the key that belongs to them in PEM, as etcdctl takes them"
            }
            Self::NoRoots { .. } => "give the cluster's authority as --cacert",
            Self::Unreachable { .. } => {
                "see that etcd runs, and that address, port and scheme (https, http) are right; then run it again"
            }
            Self::Tls { .. } => {
                "give the authority that signed the server's certificate as --cacert, and --cert and --key where it asks for them; the name in the certificate must be the endpoint's, and its time must not be over"
            }
            Self::Stalled { .. } => "see to the member and the network; --stall-timeout gives it more time",
            Self::Refused { why, .. } => why.remedy(),
            Self::Learner { .. } => "ask a voting member",
            Self::OtherCluster { .. } => "give endpoints of one cluster",
            Self::Nonsense { .. } => "see that the endpoint is etcd's client port",
            Self::CutShort { .. } => "run it again, or ask another member",
            Self::NoProgram { .. } => {
                "give the directory of etcd and etcdutl, those you will restore with, as --etcd-bin-dir"
            }
            Self::Program { .. } => "give programs that run on this machine",
            Self::Scratch { .. } | Self::NoSpace { .. } => {
                "set TMPDIR to a directory of your own with room in it"
            }
            Self::Restore { .. } => {
                "do not restore it in production; run `etcd-rekey check` on it, and try the etcdutl of the release your cluster runs"
            }
            Self::Start { .. } => {
                "do not restore it in production; try the etcd of the release your cluster runs"
            }
            Self::Runtime { .. } => "see to the machine, and run it again",
            Self::Interrupted => "run it again",
            Self::Output(error) => error.remedy(),
            Self::Rekey(error) => error.remedy(),
        }
    }
}
