//! What seals values: a key of a configuration, or a KMS plugin.

use super::cipher::NotOpened;
use super::key::{Provider, SealingKey};
use super::kms::{PluginSealer, Version};
use super::object::Object;
use super::resource::KeyPath;
use std::sync::Arc;

/// A key, or a plugin.
#[derive(Clone)]
pub enum Sealer {
    /// A key of a configuration.
    Key(Arc<SealingKey>),
    /// A KMS plugin.
    Plugin(Arc<PluginSealer>),
}

impl Sealer {
    /// The key, where it is one.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<SealingKey>> {
        match self {
            Self::Key(key) => Some(key),
            Self::Plugin(_) => None,
        }
    }

    /// The plugin, where it is one.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<PluginSealer>> {
        match self {
            Self::Key(_) => None,
            Self::Plugin(plugin) => Some(plugin),
        }
    }

    /// Its provider, of KMS with the version, as it is told to people.
    #[must_use]
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Key(key) => key.provider().name(),
            Self::Plugin(plugin) => match plugin.remote().plugin().version {
                Version::V1 => "kms-v1",
                Version::V2 => "kms-v2",
            },
        }
    }

    /// The name of the key or plugin, which may hold colons.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Key(key) => key.name(),
            Self::Plugin(plugin) => &plugin.remote().plugin().name,
        }
    }

    /// Whether it is a key of this provider.
    #[must_use]
    pub fn is_of(&self, provider: Provider) -> bool {
        self.key().is_some_and(|key| key.provider() == provider)
    }

    /// Whether what it opens needs no other opener to be tried: its cipher
    /// vouches for it, or its plugin gave the very key of the value.
    pub(super) fn decides(&self) -> bool {
        self.key().is_none_or(|key| key.provider().authenticates())
    }

    /// What stands behind the prefix of a value that may be its own.
    #[must_use]
    pub fn payload<'v>(&self, value: &'v [u8]) -> Option<&'v [u8]> {
        match self {
            Self::Key(key) => value.strip_prefix(key.prefix()),
            Self::Plugin(plugin) => {
                value.strip_prefix(plugin.prefix()).filter(|payload| plugin.claims(payload))
            }
        }
    }

    /// Opens what stands behind the prefix into `out`. Where the cipher does
    /// not vouch for what comes out, it must be the object the path names.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open_object(
        &self,
        payload: &[u8],
        etcd_key: &[u8],
        path: &KeyPath<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), NotOpened> {
        match self {
            Self::Key(key) => {
                key.open(payload, etcd_key, out)?;
                let fits = || Object::parse(out).is_some_and(|object| object.fits(path));
                if key.provider().authenticates() || fits() { Ok(()) } else { Err(NotOpened::OtherObject) }
            }
            Self::Plugin(plugin) => plugin.open(payload, etcd_key, Some(path), out),
        }
    }

    /// Opens a whole value that was written with it just now.
    ///
    /// # Errors
    /// [`NotOpened`]; of a value it would not have written, too.
    pub fn open_written(&self, value: &[u8], etcd_key: &[u8], out: &mut Vec<u8>) -> Result<(), NotOpened> {
        match self {
            Self::Key(key) => {
                let payload = value.strip_prefix(key.prefix()).ok_or(NotOpened::OtherPrefix)?;
                key.open(payload, etcd_key, out)
            }
            Self::Plugin(plugin) => {
                let payload = value.strip_prefix(plugin.prefix()).ok_or(NotOpened::OtherPrefix)?;
                plugin.open(payload, etcd_key, None, out)
            }
        }
    }

    /// How long the plaintext of what stands behind the prefix is, without
    /// opening it; `None` where that does not tell.
    #[must_use]
    pub fn opened_len(&self, payload: &[u8]) -> Option<usize> {
        match self {
            Self::Key(key) => key.opened_len(payload),
            Self::Plugin(plugin) => plugin.opened_len(payload),
        }
    }

    /// How long the whole value will be when what this one sealed is sealed
    /// by another one.
    #[must_use]
    pub fn resealed_len(&self, payload: &[u8], to: &Self) -> Option<usize> {
        match (self, to) {
            (Self::Key(from), Self::Key(to)) => from.resealed_len(payload, to),
            _ => self.opened_len(payload).map(|plain| to.sealed_len(plain)),
        }
    }

    /// Length of a whole value, prefix included, for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(&self, plain: usize) -> usize {
        match self {
            Self::Key(key) => key.sealed_len(plain),
            Self::Plugin(plugin) => plugin.sealed_len(plain),
        }
    }

    /// Random bytes a value takes.
    #[must_use]
    pub fn nonce_len(&self) -> usize {
        match self {
            Self::Key(key) => key.provider().nonce_len(),
            Self::Plugin(plugin) => plugin.nonce_len(),
        }
    }

    /// As [`SealingKey::place`].
    pub fn place(&self, out: &mut Vec<u8>, nonce: &[u8], plain: &[u8]) -> Option<usize> {
        match self {
            Self::Key(key) => key.place(out, nonce, plain),
            Self::Plugin(plugin) => plugin.place(out, nonce, plain),
        }
    }

    /// As [`SealingKey::seal`].
    ///
    /// # Errors
    /// [`NotOpened`]; the values are then not to be used.
    pub fn seal(&self, placed: Vec<(&mut [u8], &[u8])>) -> Result<(), NotOpened> {
        match self {
            Self::Key(key) => key.seal(placed),
            Self::Plugin(plugin) => placed.into_iter().try_for_each(|(value, key)| plugin.seal(value, key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn key(provider: Provider) -> Sealer {
        Sealer::Key(Arc::new(SealingKey::new(provider, "k", Zeroizing::new(vec![7; 32])).unwrap()))
    }

    #[test]
    fn a_key_is_of_its_own_provider_alone() {
        for one in Provider::ALL {
            for other in Provider::ALL {
                assert_eq!(key(one).is_of(other), one == other);
            }
        }
    }

    #[test]
    fn lengths_are_told_before_anything_is_opened() {
        let etcd_key = b"/registry/secrets/default/a";
        for from in Provider::ALL.map(key) {
            for plain in [0, 1, 15, 16, 17, 1000] {
                let mut value = Vec::new();
                let start = from.place(&mut value, &vec![3; from.nonce_len()], &vec![9; plain]).unwrap();
                from.seal(vec![(&mut value[start..], etcd_key)]).unwrap();
                assert_eq!(value.len(), from.sealed_len(plain));
                let payload = from.payload(&value).unwrap();
                assert_eq!(from.opened_len(payload), Some(plain));
                for to in Provider::ALL.map(key) {
                    assert_eq!(from.resealed_len(payload, &to), Some(to.sealed_len(plain)));
                }
                let mut opened = Vec::new();
                from.open_written(&value, etcd_key, &mut opened).unwrap();
                assert_eq!(opened.len(), plain);
            }
        }
        // From CBC to CBC no padding is looked at, which only its own key can read.
        let cbc = key(Provider::Aescbc);
        let (no_value, empty) = ([0; 48], cbc.sealed_len(0));
        assert_eq!(cbc.opened_len(&no_value), None);
        assert_eq!(cbc.resealed_len(&no_value, &cbc), Some(empty + 16));
    }
}
