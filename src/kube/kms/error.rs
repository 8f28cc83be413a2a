//! What can be wrong with a KMS plugin.

use super::plugin::Plugin;
use std::time::Duration;
use thiserror::Error;

/// A plugin that does not do its part, by name and socket.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the KMS plugin {name} at {endpoint} {problem}")]
pub struct Error {
    /// Its name, quoted.
    pub name: String,
    /// The endpoint it is reached at, escaped.
    pub endpoint: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Problem {
    #[error("cannot be reached, or does not answer {call} within {timeout:?}: {why}")]
    Unreachable { call: &'static str, timeout: Duration, why: String },
    #[error("refuses {call}: {why}")]
    Refused { call: &'static str, why: String },
    #[error("answers {call} with nonsense: {what}")]
    Nonsense { call: &'static str, what: String },
    #[error("says that it is not healthy: {0}")]
    Unhealthy(String),
    #[error("has changed its key from {before} to {after} while it was used")]
    KeyChanged { before: String, after: String },
    #[error("could not be asked, for no thread could be started: {0}")]
    Threads(String),
}

impl Error {
    /// A problem of a plugin.
    pub(super) fn of(plugin: &Plugin, problem: Problem) -> Self {
        Self {
            name: super::super::error::quoted(&plugin.name),
            endpoint: crate::etcd::escape(plugin.reached_at().as_bytes()),
            problem,
        }
    }

    /// Whether no answer came at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self.problem, Problem::Unreachable { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self.problem {
            Problem::Unreachable { .. } => {
                "start it, or say where it is with --kms-endpoint NAME=unix:///PATH; if it is slow, give it a longer timeout in the configuration"
            }
            Problem::Refused { .. } => {
                "see to the plugin's own log, its credentials and its key; --keep-unreadable carries over the values whose data keys it refuses"
            }
            Problem::Nonsense { .. } => {
                "see whether this is the socket of the right plugin, with the apiVersion of the configuration"
            }
            Problem::Unhealthy(_) => "see to the plugin's own log, and run it again",
            Problem::KeyChanged { .. } => "run it again once its key stays the same",
            Problem::Threads(_) => "see to the machine, and run it again",
        }
    }
}
