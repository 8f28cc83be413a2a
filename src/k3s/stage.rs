//! The stages of a rotation, and the text that keeps one.
//!
//! Source: K3s `pkg/secretsencrypt/config.go`.

use crate::etcd::snapshot::hex;
use sha2::{Digest, Sha256};
use std::fmt;

/// Where a cluster stands between two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was ever rotated.
    Start,
    /// A second key is there.
    Prepare,
    /// The second key writes.
    Rotate,
    /// Secrets are being written anew.
    ReencryptActive,
    /// All secrets are under the new key.
    ReencryptFinished,
}

impl Stage {
    const ALL: [Self; 5] =
        [Self::Start, Self::Prepare, Self::Rotate, Self::ReencryptActive, Self::ReencryptFinished];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Prepare => "prepare",
            Self::Rotate => "rotate",
            Self::ReencryptActive => "reencrypt_active",
            Self::ReencryptFinished => "reencrypt_finished",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A stage, and the hash of the configuration it was reached with:
/// `<stage>-<SHA-256 of the file in hexadecimal>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The stage's name as it was found; perhaps none of [`Stage`]'s.
    pub stage: String,
    /// The hash.
    pub hash: String,
}

impl State {
    /// The state of a configuration file at a stage.
    #[must_use]
    pub fn of(stage: Stage, config: &[u8]) -> Self {
        Self { stage: stage.name().to_owned(), hash: config_hash(config) }
    }

    /// Parses the text; K3s wants exactly one hyphen in it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (stage, hash) = text.split_once('-')?;
        (!hash.contains('-')).then(|| Self { stage: stage.to_owned(), hash: hash.to_owned() })
    }

    /// Reads what a file says. A text of another form is a stage nobody knows.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|| Self { stage: text.to_owned(), hash: String::new() })
    }

    /// The stage, where it is a known one.
    #[must_use]
    pub fn known(&self) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.name() == self.stage)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.stage, self.hash)
    }
}

/// The hash K3s knows a configuration file by.
#[must_use]
pub fn config_hash(config: &[u8]) -> String {
    hex(&Sha256::digest(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_its_text() {
        for stage in Stage::ALL {
            let state = State::of(stage, b"config");
            assert_eq!(State::parse(&state.to_string()), Some(state.clone()));
            assert_eq!(state.known(), Some(stage));
            assert_eq!(stage.to_string(), stage.name());
        }
        assert_eq!(State::parse("start"), None);
        assert_eq!(State::parse("a-b-c"), None);
        assert_eq!(State::parse("other-1").unwrap().known(), None);
        for text in ["start", "start-1-2", ""] {
            assert_eq!(State::read(text).hash, "");
        }
    }
}
