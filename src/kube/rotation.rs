//! What the steps of a key rotation make of a configuration.
//!
//! The steps and what they do to the order of keys and providers are K3s's
//! (`prepare`, `rotate`, `reencrypt`, `rotate-keys`, `enable`, `disable`);
//! they serve any configuration. Source: K3s
//! `pkg/server/handlers/secrets-encrypt.go`, `pkg/secretsencrypt/config.go`.

use super::config::{Block, Element, EncryptionConfiguration};
use super::key::{Provider, SealingKey};
use std::sync::Arc;
use thiserror::Error;

/// Why a step cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages tell")]
pub enum RotationError {
    #[error("encryption is disabled: the configuration writes nothing with a key")]
    Disabled,
    #[error("the configuration has one key only, so there is none to rotate to")]
    NoSecondKey,
    #[error("the configuration names the KMS plugin {0}, whose keys live elsewhere")]
    Kms(String),
    #[error("the operating system gives no random numbers: {0}")]
    Random(String),
}

impl RotationError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Disabled => "`enable` first, then `rotate-keys` on its output",
            Self::NoSecondKey => "run `prepare` first, or `rotate-keys`, which does all of it",
            Self::Kms(_) => {
                "`reencrypt` with a configuration that has the plugin, or the new key, where it should be (docs/kms.md)"
            }
            Self::Random(_) => "see to the machine, and run it again",
        }
    }
}

/// Makes new keys: one a provider, shared by all blocks.
pub struct NewKeys<'n> {
    name: &'n dyn Fn(Provider) -> String,
    made: Vec<Arc<SealingKey>>,
}

impl<'n> NewKeys<'n> {
    /// Names are given by `name`.
    pub fn named(name: &'n dyn Fn(Provider) -> String) -> Self {
        Self { name, made: Vec::new() }
    }

    fn get(&mut self, provider: Provider) -> Result<Arc<SealingKey>, RotationError> {
        if let Some(key) = self.made.iter().find(|key| key.provider() == provider) {
            return Ok(Arc::clone(key));
        }
        let key = SealingKey::generate(provider, &(self.name)(provider));
        let key = Arc::new(key.map_err(|e| RotationError::Random(e.to_string()))?);
        self.made.push(Arc::clone(&key));
        Ok(key)
    }
}

impl Block {
    /// The first key provider, wherever it stands.
    fn first_keys(&mut self) -> Option<&mut Vec<Arc<SealingKey>>> {
        self.providers.iter_mut().find_map(|element| match element {
            Element::Keys(keys) => Some(keys),
            _ => None,
        })
    }

    /// The keys that write.
    fn writing(&mut self) -> Option<&mut Vec<Arc<SealingKey>>> {
        match self.providers.first_mut() {
            Some(Element::Keys(keys)) => Some(keys),
            _ => None,
        }
    }

    /// Takes the elements of one kind out.
    fn take(&mut self, which: impl Fn(&Element) -> bool) -> Vec<Element> {
        let (taken, rest) = std::mem::take(&mut self.providers).into_iter().partition(which);
        self.providers = rest;
        taken
    }
}

fn is_identity(element: &Element) -> bool {
    matches!(element, Element::Identity)
}

fn is_of(element: &Element, provider: Provider) -> bool {
    matches!(element, Element::Keys(keys) if keys.first().is_some_and(|key| key.provider() == provider))
}

impl EncryptionConfiguration {
    /// A configuration for secrets alone: nothing is sealed yet.
    #[must_use]
    pub fn identity_only() -> Self {
        let resources = vec![super::GroupResource::new("", "secrets")];
        Self::of(vec![Block { resources, providers: vec![Element::Identity] }])
    }

    /// Adds a new key behind the others of each provider that writes.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn prepare(&self, new: &mut NewKeys<'_>) -> Result<Self, RotationError> {
        self.each_writing(|keys| {
            if let Some(first) = keys.first() {
                keys.push(new.get(first.provider())?);
            }
            Ok(())
        })
    }

    /// Makes the last key of each provider that writes its first.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn rotate(&self) -> Result<Self, RotationError> {
        self.each_writing(|keys| {
            if keys.len() < 2 {
                return Err(RotationError::NoSecondKey);
            }
            keys.rotate_right(1);
            Ok(())
        })
    }

    /// Puts a new key in front: of `provider`, or of the one that writes. It
    /// is the only key left; the others are for those who still need them.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn rotate_keys(
        &self,
        new: &mut NewKeys<'_>,
        provider: Option<Provider>,
    ) -> Result<Self, RotationError> {
        self.each_writing(|keys| {
            let Some(written) = keys.first().map(|key| key.provider()) else { return Ok(()) };
            *keys = vec![new.get(provider.unwrap_or(written))?];
            Ok(())
        })
        .map(|changed| changed.only_writing_keys())
    }

    /// Drops every key but those that write: nothing is sealed with the
    /// others any more.
    #[must_use]
    pub fn only_writing_keys(&self) -> Self {
        let blocks = self.blocks().iter().cloned().map(|mut block| {
            if !block.providers.first().is_none_or(is_identity) {
                let mut first = true;
                block.providers.retain(|element| is_identity(element) || std::mem::take(&mut first));
                if let Some(keys) = block.writing() {
                    keys.truncate(1);
                }
            }
            block
        });
        Self::of(blocks.collect())
    }

    /// Puts `identity` last in every block that writes with a key, and there
    /// where it is missing.
    #[must_use]
    pub fn with_identity(&self) -> Self {
        let blocks = self.blocks().iter().cloned().map(|mut block| {
            if !block.providers.first().is_some_and(is_identity) {
                block.take(is_identity);
                block.providers.push(Element::Identity);
            }
            block
        });
        Self::of(blocks.collect())
    }

    /// Puts keys first in every block, those of `provider` or the first there
    /// are, or a new one; `identity` goes last.
    ///
    /// # Errors
    /// [`RotationError`].
    pub fn enable(&self, new: &mut NewKeys<'_>, provider: Option<Provider>) -> Result<Self, RotationError> {
        let mut blocks = self.blocks().to_vec();
        for block in &mut blocks {
            no_kms(block)?;
            let identity = block.take(is_identity);
            let wanted = provider
                .or_else(|| block.first_keys()?.first().map(|key| key.provider()))
                .unwrap_or(Provider::Aescbc);
            let mut first = block.take(|element| is_of(element, wanted));
            if first.is_empty() {
                first.push(Element::Keys(vec![new.get(wanted)?]));
            }
            block.providers.splice(0..0, first);
            block.providers.extend(identity.into_iter().take(1));
        }
        Ok(Self::of(blocks))
    }

    /// Puts `identity` first in every block, and keeps the keys of the first
    /// key provider behind it.
    ///
    /// # Errors
    /// [`RotationError::Kms`].
    pub fn disable(&self) -> Result<Self, RotationError> {
        let mut blocks = self.blocks().to_vec();
        for block in &mut blocks {
            no_kms(block)?;
            let keys = block.first_keys().map(std::mem::take);
            block.providers = std::iter::once(Element::Identity).chain(keys.map(Element::Keys)).collect();
        }
        Ok(Self::of(blocks))
    }

    /// Changes the keys of each block that writes with some.
    fn each_writing(
        &self,
        mut change: impl FnMut(&mut Vec<Arc<SealingKey>>) -> Result<(), RotationError>,
    ) -> Result<Self, RotationError> {
        let mut blocks = self.blocks().to_vec();
        let mut writing = false;
        for block in &mut blocks {
            no_kms(block)?;
            if let Some(keys) = block.writing() {
                writing = true;
                change(keys)?;
            }
        }
        if writing { Ok(Self::of(blocks)) } else { Err(RotationError::Disabled) }
    }
}

fn no_kms(block: &Block) -> Result<(), RotationError> {
    let plugin = block.providers.iter().find_map(|element| match element {
        Element::Kms(plugin) => Some(super::error::quoted(&plugin.name)),
        _ => None,
    });
    plugin.map_or(Ok(()), |name| Err(RotationError::Kms(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn key(provider: Provider, name: &str) -> Arc<SealingKey> {
        Arc::new(SealingKey::new(provider, name, Zeroizing::new(vec![1; 32])).unwrap())
    }

    fn config(providers: Vec<Element>) -> EncryptionConfiguration {
        let resources = vec![crate::kube::GroupResource::new("", "secrets")];
        EncryptionConfiguration::of(vec![Block { resources, providers }])
    }

    fn told(config: &EncryptionConfiguration) -> Vec<String> {
        let told = config.blocks()[0].providers.iter().map(|element| match element {
            Element::Identity => "identity".to_owned(),
            Element::Kms(plugin) => plugin.name.clone(),
            Element::Keys(keys) => {
                let names: Vec<_> = keys.iter().map(|key| key.name()).collect();
                format!("{}:{}", keys[0].provider(), names.join(","))
            }
        });
        told.collect()
    }

    fn cbc(names: &[&str]) -> Element {
        Element::Keys(names.iter().map(|name| key(Provider::Aescbc, name)).collect())
    }

    fn names(provider: Provider) -> String {
        format!("new-{provider}")
    }

    #[test]
    fn the_steps_order_keys_as_k3s_does() {
        let mut new = NewKeys::named(&names);
        let start = config(vec![cbc(&["old"]), Element::Identity]);
        let prepared = start.prepare(&mut new).unwrap();
        assert_eq!(told(&prepared), ["aescbc:old,new-aescbc", "identity"]);
        let rotated = prepared.rotate().unwrap();
        assert_eq!(told(&rotated), ["aescbc:new-aescbc,old", "identity"]);
        assert_eq!(told(&rotated.only_writing_keys()), ["aescbc:new-aescbc", "identity"]);
        let changed = start.rotate_keys(&mut new, Some(Provider::Secretbox)).unwrap();
        assert_eq!(told(&changed), ["secretbox:new-secretbox", "identity"]);
        assert_eq!(start.rotate().err(), Some(RotationError::NoSecondKey));
    }

    #[test]
    fn enabling_and_disabling_move_identity() {
        let mut new = NewKeys::named(&names);
        let disabled = config(vec![Element::Identity, cbc(&["a"])]);
        let enabled = disabled.enable(&mut new, None).unwrap();
        assert_eq!(told(&enabled), ["aescbc:a", "identity"]);
        assert_eq!(told(&enabled.disable().unwrap()), ["identity", "aescbc:a"]);
        let other = disabled.enable(&mut new, Some(Provider::Secretbox)).unwrap();
        assert_eq!(told(&other), ["secretbox:new-secretbox", "aescbc:a", "identity"]);
        assert_eq!(told(&other.disable().unwrap()), ["identity", "secretbox:new-secretbox"]);
        let fresh = EncryptionConfiguration::identity_only().enable(&mut new, None).unwrap();
        assert_eq!(told(&fresh), ["aescbc:new-aescbc", "identity"]);
        assert_eq!(disabled.prepare(&mut new).err(), Some(RotationError::Disabled));
    }

    #[test]
    fn identity_goes_last_where_a_key_writes() {
        let same = |providers| told(&config(providers).with_identity());
        assert_eq!(same(vec![cbc(&["a"])]), ["aescbc:a", "identity"]);
        assert_eq!(
            same(vec![cbc(&["a"]), Element::Identity, cbc(&["b"])]),
            ["aescbc:a", "aescbc:b", "identity"]
        );
        assert_eq!(same(vec![Element::Identity, cbc(&["a"])]), ["identity", "aescbc:a"]);
    }

    #[test]
    fn a_kms_plugin_is_refused_by_name() {
        use crate::kube::kms::{Plugin, Version};
        let plugin = Plugin::new(Version::V2, "vault", "unix:///vault.sock");
        let config = config(vec![Element::Kms(plugin), cbc(&["a"])]);
        assert_eq!(config.rotate().err(), Some(RotationError::Kms("\"vault\"".to_owned())));
    }
}
