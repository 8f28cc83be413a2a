//! What can be wrong with an EncryptionConfiguration. No message holds a key.

use thiserror::Error;

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum ConfigError {
    /// Line and column only: the scalar there may be a key.
    #[error("line {line}, column {column}: {what}")]
    Syntax { line: u64, column: u64, what: &'static str },
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind { api_version: String, kind: String },
    #[error("it is no text in UTF-8")]
    NotText,
    /// Every rule that is broken, each with the path of the field.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    #[error("resource {resource:?} is masked by earlier rule {earlier:?}")]
    Masked { resource: String, earlier: String },
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Syntax { .. } | Self::Kind { .. } => {
                "give the file that kube-apiserver takes as --encryption-provider-config (kind EncryptionConfiguration)"
            }
            Self::NotText => "save it as UTF-8 (some editors write UTF-16)",
            Self::Invalid(_) => "kube-apiserver would refuse this configuration too: mend the fields named",
            Self::Masked { .. } => "put the wildcard rule last: kube-apiserver would refuse this order too",
        }
    }
}

/// A name out of a configuration, fit for a terminal.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", crate::etcd::escape(text.as_bytes()))
}
