//! What a verb makes of the record.
//!
//! Source: K3s `pkg/server/handlers/secrets-encrypt.go`.

use super::bootstrap;
use super::cluster::{Cluster, Current};
use super::error::Error;
use super::record::Record;
use super::stage::{Stage, State, config_hash};
use crate::kube::config::Element;
use crate::kube::rotation::{NewKeys, RotationError};
use crate::kube::{EncryptionConfiguration, Provider};
use jiff::Timestamp;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Add a second key.
    Prepare,
    /// Make the second key the first.
    Rotate,
    /// Write every value with the first key, and drop the others.
    Reencrypt {
        /// Keep the others.
        skip: bool,
    },
    /// All three at once.
    RotateKeys,
    /// Seal what is plaintext.
    Enable,
    /// Make plaintext of everything.
    Disable,
}

impl Verb {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Rotate => "rotate",
            Self::Reencrypt { .. } => "reencrypt",
            Self::RotateKeys => "rotate-keys",
            Self::Enable => "enable",
            Self::Disable => "disable",
        }
    }

    /// Whether values are written anew.
    #[must_use]
    pub fn rewrites(self) -> bool {
        !matches!(self, Self::Prepare | Self::Rotate)
    }

    /// The stages it follows, and how to name them.
    fn follows(self) -> Option<(&'static [Stage], &'static str)> {
        match self {
            Self::Prepare | Self::RotateKeys => {
                Some((&[Stage::Start, Stage::ReencryptFinished], "start or reencrypt_finished"))
            }
            Self::Rotate => Some((&[Stage::Prepare], "prepare")),
            Self::Reencrypt { .. } => Some((&[Stage::Rotate], "rotate")),
            Self::Enable | Self::Disable => None,
        }
    }

    /// What the steps make of a configuration.
    ///
    /// # Errors
    /// As the steps themselves.
    pub fn applied(
        self,
        config: &EncryptionConfiguration,
        new: &mut NewKeys<'_>,
        provider: Option<Provider>,
    ) -> Result<EncryptionConfiguration, crate::kube::rotation::RotationError> {
        Ok(match self {
            Self::Prepare => config.prepare(new)?,
            Self::Rotate => config.rotate()?,
            Self::Reencrypt { skip: true } => config.clone(),
            Self::Reencrypt { skip: false } => config.only_writing_keys(),
            Self::RotateKeys => config.rotate_keys(new, provider)?,
            Self::Enable => config.enable(new, provider)?.only_writing_keys(),
            Self::Disable => config.disable()?,
        })
    }
}

/// What is asked of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The verb.
    pub verb: Verb,
    /// Go on whatever the stage.
    pub force: bool,
    /// The provider of new keys; `None` for the one that writes now.
    pub provider: Option<Provider>,
    /// The time new keys and files bear.
    pub now: Timestamp,
}

/// The record's new content.
pub struct Change {
    /// The configuration.
    pub config: EncryptionConfiguration,
    /// Its bytes, as K3s writes them.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The state.
    pub state: State,
}

impl Cluster {
    /// Works out what a request makes of the configuration and the stage.
    ///
    /// # Errors
    /// [`Error`], where K3s would refuse it, too.
    pub fn change(&self, request: &Request) -> Result<Change, Error> {
        let current = self.current()?;
        if !request.force {
            self.allows(request.verb, &current)?;
        }
        let verb = request.verb;
        let config = match (&current.config, verb) {
            (Some(config), _) => config.clone(),
            (None, Verb::Enable) => EncryptionConfiguration::identity_only(),
            (None, _) => return Err(Error::Disabled { stage: self.stage_name(&current) }),
        };
        if writes_with(&config) == Some(Provider::Secretbox)
            && matches!(verb, Verb::Prepare | Verb::Rotate | Verb::Reencrypt { .. })
        {
            return Err(Error::Secretbox { verb: verb.name(), stage: self.stage_name(&current) });
        }
        let name = |provider| key_name(&config, provider, request.now);
        let config = verb.applied(&config, &mut NewKeys::named(&name), request.provider);
        let config = config.map_err(|error| match error {
            RotationError::Disabled => Error::Disabled { stage: self.stage_name(&current) },
            RotationError::NoSecondKey => Error::NoSecondKey { stage: self.stage_name(&current) },
            other => other.into(),
        })?;
        let config = config.with_identity();
        let bytes = Zeroizing::new(config.to_json().as_bytes().to_vec());
        let stage = match verb {
            Verb::Prepare => Stage::Prepare,
            Verb::Rotate => Stage::Rotate,
            // As K3s: the keys are still those of the stage before.
            Verb::Reencrypt { skip: true } => {
                current.state.as_ref().and_then(State::known).unwrap_or(Stage::Rotate)
            }
            _ => Stage::ReencryptFinished,
        };
        Ok(Change { config, state: State::of(stage, &bytes), bytes })
    }

    /// The checks K3s makes before it does as told.
    fn allows(&self, verb: Verb, current: &Current) -> Result<(), Error> {
        let needs_key = matches!(verb, Verb::Prepare | Verb::Rotate | Verb::RotateKeys);
        if needs_key && current.enabled() != Some(true) {
            return Err(Error::Disabled { stage: self.stage_name(current) });
        }
        let node = self.answering(current);
        let place = node.map_or_else(
            || "the snapshot's record".to_owned(),
            |node| format!("node {}", crate::etcd::escape(node.name.as_bytes())),
        );
        let Some(said) = self.stage(current) else { return Ok(()) };
        let stage = crate::etcd::escape(said.stage.as_bytes());
        let Some((allowed, named)) = verb.follows() else {
            let under_way =
                matches!(said.known(), Some(Stage::Prepare | Stage::Rotate | Stage::ReencryptActive));
            return if under_way { Err(Error::UnderWay { verb: verb.name(), stage }) } else { Ok(()) };
        };
        if let Some(mismatch) = self.mismatch() {
            return Err(Error::HashMismatch { mismatch, stage });
        }
        if !said.known().is_some_and(|stage| allowed.contains(&stage)) {
            return Err(Error::IncorrectStage { verb: verb.name(), stage, allowed: named, place });
        }
        if said.hash != config_hash(&current.bytes) {
            return Err(Error::InvalidHash { hash: crate::etcd::escape(said.hash.as_bytes()), place, stage });
        }
        Ok(())
    }

    /// The stage as it is told in a refusal.
    fn stage_name(&self, current: &Current) -> String {
        self.stage(current).map_or_else(|| "none".to_owned(), |said| crate::etcd::escape(said.stage.as_bytes()))
    }

    /// The new values of the record, by the number of their entries: of all
    /// its revisions when values are written anew, for then no older key is
    /// needed any more; else of the current one, for the history still needs
    /// the keys in the others.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn rewritten(&self, change: &Change, request: &Request) -> Result<BTreeMap<u64, Vec<u8>>, Error> {
        let all = request.verb.rewrites();
        let from = if all { 0 } else { self.revisions.len().saturating_sub(1) };
        let mut values = BTreeMap::new();
        for revision in &self.revisions[from..] {
            let Some(record) = Record::parse(&revision.plain) else { continue };
            let plain = record.with(&change.bytes, &change.state, request.now);
            let sealed = bootstrap::seal(&plain, &revision.passphrase);
            values.insert(revision.entry, sealed.map_err(|e| Error::Random(e.to_string()))?);
        }
        Ok(values)
    }
}

/// The provider that writes secrets, or would once encryption is enabled.
fn writes_with(config: &EncryptionConfiguration) -> Option<Provider> {
    config.keys().next().map(|key| key.provider())
}

/// A key's name as K3s makes it: the provider's and the time; where that is
/// taken, the next second. The name without a time, which K3s gives a first
/// key, may stand on values that are carried over.
fn key_name(config: &EncryptionConfiguration, provider: Provider, now: Timestamp) -> String {
    let plain = format!("{provider}key");
    let taken = |name: &String| config.keys().any(|key| key.name() == name);
    let names = (0..).map(|seconds| {
        let at = Timestamp::from_second(now.as_second() + seconds).unwrap_or(now);
        format!("{plain}-{at}")
    });
    names.into_iter().find(|name| !taken(name)).unwrap_or(plain)
}

impl Current {
    /// Whether secrets are written with a key.
    #[must_use]
    pub fn enabled(&self) -> Option<bool> {
        let block = self.config.as_ref()?.blocks().first()?;
        Some(matches!(block.providers.first(), Some(Element::Keys(_))))
    }
}
