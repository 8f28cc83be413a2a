//! Which key opens a sealed value.
//!
//! ```text
//! k8s:enc:<provider>:v<N>:<key or plugin name>:<payload>
//! ```
//!
//! Names may hold colons, so a value is never parted at them: every known
//! key's prefix is tried as bytes, in order, going on after a failure, as
//! kube-apiserver does. Source: kubernetes `pkg/storage/value/transformer.go`.

use super::cipher::NotOpened;
use super::key::{SEALED, SealingKey};
use super::kms::{Plugin, PluginSealer, Remote};
use super::resource::KeyPath;
use super::sealer::Sealer;
use std::sync::Arc;
use thiserror::Error;

/// Why no key opens a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unreadable {
    /// No key of that provider and name is known.
    #[error("no key of this name was given")]
    NoSuchKey,
    /// A key of that name is known, but does not open it.
    #[error("{0}")]
    NotOpened(NotOpened),
    /// Sealed by a KMS plugin nobody named.
    #[error("it is sealed by a KMS plugin that no configuration given names")]
    Kms,
    /// A provider Kubernetes does not have.
    #[error("Kubernetes has no such provider")]
    UnknownProvider,
    /// Its etcd key is no path of an object.
    #[error("its etcd key names no object of Kubernetes")]
    NoObject,
    /// Several keys open it, each to an object that fits.
    #[error("the keys number {0} and {1} of this name both open it: which one is right cannot be told")]
    Ambiguous(usize, usize),
}

/// All keys and plugins that are known.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: Vec<Sealer>,
}

impl Keyring {
    /// Adds a key, unless it is there already.
    pub fn add(&mut self, key: &Arc<SealingKey>) {
        if !self.keys.iter().filter_map(Sealer::key).any(|known| known.same(key)) {
            self.keys.push(Sealer::Key(Arc::clone(key)));
        }
    }

    /// Adds a plugin, unless it is there already; one that `writes` comes as a
    /// [pair](PluginSealer::writing).
    pub fn add_plugin(&mut self, plugin: &Plugin, writes: bool) {
        if !self.plugins().any(|known| known.remote().plugin() == plugin) {
            self.add_remote(&Arc::new(Remote::of(plugin.clone())), writes);
        }
    }

    /// Adds a plugin that is asked by other means than its socket.
    pub fn add_remote(&mut self, remote: &Arc<Remote>, writes: bool) {
        if writes {
            let pair = PluginSealer::writing(remote).map(|sealer| Sealer::Plugin(Arc::new(sealer)));
            self.keys.extend(pair);
        } else {
            self.keys.push(Sealer::Plugin(Arc::new(PluginSealer::reading(remote))));
        }
    }

    /// The plugins; of a pair both.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<PluginSealer>> {
        self.keys.iter().filter_map(Sealer::plugin)
    }

    /// The number of a plugin that writes in [`Keyring::keys`].
    #[must_use]
    pub fn number_of_writer(&self, plugin: &Plugin) -> Option<usize> {
        let writes = |sealer: &PluginSealer| sealer.writes() && sealer.remote().plugin() == plugin;
        self.keys.iter().position(|known| known.plugin().is_some_and(|sealer| writes(sealer)))
    }

    /// Keys and plugins, in the order they were added.
    #[must_use]
    pub fn keys(&self) -> &[Sealer] {
        &self.keys
    }

    /// The number of a key in [`Keyring::keys`].
    #[must_use]
    pub fn number_of(&self, key: &Arc<SealingKey>) -> Option<usize> {
        // Most often it is the very same: that need not be compared in constant time.
        let find = |same: &dyn Fn(&Arc<SealingKey>) -> bool| {
            self.keys.iter().position(|known| known.key().is_some_and(same))
        };
        find(&|known| Arc::ptr_eq(known, key)).or_else(|| find(&|known| known.same(key)))
    }

    /// The number of the key that seals a value, as far as can be told
    /// without opening it: where one key alone has its prefix. With what
    /// stands behind the prefix.
    #[must_use]
    pub fn foresee<'v>(&self, value: &'v [u8]) -> Option<(usize, &'v [u8])> {
        let mut fitting = self.keys.iter().enumerate().filter_map(|(n, key)| Some((n, key.payload(value)?)));
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }

    /// Opens a sealed value into `out` and tells the number of the key that
    /// did. An opening without authentication counts only when the object
    /// that came out is the one its etcd key names.
    ///
    /// # Errors
    /// [`Unreadable`]; `out` then holds nothing of use.
    pub fn open(
        &self,
        value: &[u8],
        etcd_key: &[u8],
        path: &KeyPath<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Unreadable> {
        let mut failure = None;
        let mut found: Option<usize> = None;
        for (number, key) in self.keys.iter().enumerate() {
            let Some(payload) = key.payload(value) else { continue };
            let opened = key.open_object(payload, etcd_key, path, out);
            match (opened, found) {
                (Ok(()), Some(first)) => return Err(Unreadable::Ambiguous(first + 1, number + 1)),
                (Ok(()), None) if key.decides() => return Ok(number),
                (Ok(()), None) => found = Some(number),
                (Err(why), _) => failure = Some(worse(failure, why)),
            }
        }
        if let Some(number) = found {
            // A later candidate may have written over it.
            let key = &self.keys[number];
            let payload = key.payload(value).unwrap_or_default();
            let opened = key.open_object(payload, etcd_key, path, out);
            return opened.map(|()| number).map_err(Unreadable::NotOpened);
        }
        Err(match failure {
            Some(why) => Unreadable::NotOpened(why),
            None => unknown(value),
        })
    }
}

/// Of two failures the one that tells more: a key whose text came out wrong
/// was closer than one that did not pass its own check.
fn worse(earlier: Option<NotOpened>, later: NotOpened) -> NotOpened {
    match earlier {
        Some(earlier @ NotOpened::OtherObject) => earlier,
        _ => later,
    }
}

fn unknown(value: &[u8]) -> Unreadable {
    let rest = value.strip_prefix(SEALED).unwrap_or_default();
    let known = [&b"aescbc:v1:"[..], b"aesgcm:v1:", b"secretbox:v1:"];
    if rest.starts_with(b"kms:v1:") || rest.starts_with(b"kms:v2:") {
        Unreadable::Kms
    } else if known.iter().any(|prefix| rest.starts_with(prefix)) {
        Unreadable::NoSuchKey
    } else {
        Unreadable::UnknownProvider
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kube::Provider;
    use zeroize::Zeroizing;

    const PLAIN: &[u8] =
        b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x07\x0a\x05\x0a\x01s\x1a\x00\x1a\x00\x22\x00";
    const ETCD_KEY: &[u8] = b"/registry/secrets/s";

    fn key(provider: Provider, name: &str, byte: u8) -> Arc<SealingKey> {
        Arc::new(SealingKey::new(provider, name, Zeroizing::new(vec![byte; 32])).unwrap())
    }

    fn seal(key: &SealingKey, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let nonce = vec![1; key.provider().nonce_len()];
        let start = key.place(&mut out, &nonce, plain).unwrap();
        key.seal(vec![(&mut out[start..], ETCD_KEY)]).unwrap();
        assert_eq!(out.len(), key.sealed_len(plain.len()));
        out
    }

    fn open(keys: &[&Arc<SealingKey>], value: &[u8]) -> Result<usize, Unreadable> {
        let mut ring = Keyring::default();
        for key in keys {
            ring.add(key);
        }
        let path = KeyPath::parse("/registry/", ETCD_KEY).unwrap();
        let mut out = Vec::new();
        let number = ring.open(value, ETCD_KEY, &path, &mut out)?;
        assert_eq!(out, PLAIN);
        Ok(number)
    }

    #[test]
    fn colons_equal_names_and_names_that_begin_alike_all_open() {
        for provider in Provider::ALL {
            let keys = [
                key(provider, "a", 1),
                key(provider, "a:b", 2),
                key(provider, "a:b", 3),
                key(provider, "a:", 4),
            ];
            for (number, sealing) in keys.iter().enumerate() {
                assert_eq!(open(&keys.each_ref(), &seal(sealing, PLAIN)), Ok(number), "{provider}");
            }
            // Without opening it only the first can be told: the others share their prefixes' beginnings.
            let mut ring = Keyring::default();
            for key in &keys {
                ring.add(key);
            }
            assert_eq!(ring.foresee(&seal(&keys[1], PLAIN)), None);
            let mut ring = Keyring::default();
            ring.add(&keys[1]);
            let value = seal(&keys[1], PLAIN);
            let (number, payload) = ring.foresee(&value).unwrap();
            assert_eq!((number, keys[1].opened_len(payload)), (0, Some(PLAIN.len())));
        }
    }

    #[test]
    fn a_wrong_key_never_opens_a_cbc_value() {
        // About four of a thousand pass the padding check; none is the object.
        let value = seal(&key(Provider::Aescbc, "k", 0), PLAIN);
        let mut accidents = 0;
        let (mut accident, mut refused) = (None, None);
        for number in 1..2000u16 {
            let mut bytes = vec![7; 32];
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            let wrong = Arc::new(SealingKey::new(Provider::Aescbc, "k", Zeroizing::new(bytes)).unwrap());
            match open(&[&wrong], &value) {
                Err(Unreadable::NotOpened(NotOpened::OtherObject)) => {
                    accidents += 1;
                    accident = Some(wrong);
                }
                Err(Unreadable::NotOpened(NotOpened::Padding)) => refused = Some(wrong),
                other => panic!("{other:?}"),
            }
        }
        assert!(accidents > 0);
        // Of several failures the one that came closest is told.
        let (accident, refused) = (accident.unwrap(), refused.unwrap());
        for keys in [[&accident, &refused], [&refused, &accident]] {
            assert_eq!(open(&keys, &value), Err(Unreadable::NotOpened(NotOpened::OtherObject)));
        }
    }

    #[test]
    fn what_a_cipher_vouches_for_need_be_no_object() {
        let path = KeyPath::parse("/registry/", ETCD_KEY).unwrap();
        for provider in Provider::ALL {
            let key = key(provider, "k", 1);
            let mut ring = Keyring::default();
            ring.add(&key);
            let mut out = Vec::new();
            let opened = ring.open(&seal(&key, b"no object"), ETCD_KEY, &path, &mut out);
            if provider == Provider::Aescbc {
                assert_eq!(opened, Err(Unreadable::NotOpened(NotOpened::OtherObject)));
            } else {
                assert_eq!((opened, out.as_slice()), (Ok(0), &b"no object"[..]));
            }
        }
    }

    #[test]
    fn how_long_a_value_will_be_is_known_before_it_is_sealed_anew() {
        for from in Provider::ALL {
            for to in Provider::ALL {
                let (old, new) = (key(from, "old", 1), key(to, "another", 2));
                for length in [0, 1, 15, 16, 17, 300] {
                    let (before, after) = (seal(&old, &vec![7; length]), seal(&new, &vec![7; length]));
                    let payload = before.strip_prefix(old.prefix()).unwrap();
                    assert_eq!(old.resealed_len(payload, &new), Some(after.len()));
                }
            }
        }
        // From CBC to CBC it stays what it is, whatever it opens to.
        let (old, new) = (key(Provider::Aescbc, "old", 1), key(Provider::Aescbc, "another", 2));
        assert_eq!(old.resealed_len(&[0; 48], &new), Some(new.prefix().len() + 48));
    }

    #[test]
    fn why_a_value_does_not_open_is_told() {
        let known = key(Provider::Aesgcm, "k", 1);
        let value = |prefix: &str| [prefix.as_bytes(), &[0; 64]].concat();
        for (prefix, expected) in [
            ("k8s:enc:aesgcm:v1:k:", Unreadable::NotOpened(NotOpened::Authentication)),
            ("k8s:enc:aesgcm:v1:other:", Unreadable::NoSuchKey),
            ("k8s:enc:kms:v2:plugin:", Unreadable::Kms),
            ("k8s:enc:unknown:v9:zzz", Unreadable::UnknownProvider),
        ] {
            assert_eq!(open(&[&known], &value(prefix)), Err(expected));
        }
    }

    #[test]
    fn keys_are_counted_in_the_order_they_were_added_and_once() {
        let keys =
            [key(Provider::Aescbc, "a", 1), key(Provider::Aescbc, "a", 2), key(Provider::Aesgcm, "a", 1)];
        let mut ring = Keyring::default();
        for key in keys.iter().chain([&key(Provider::Aescbc, "a", 1)]) {
            ring.add(key);
        }
        assert_eq!(ring.keys().len(), 3);
        for (number, one) in keys.iter().enumerate() {
            assert_eq!(ring.number_of(one), Some(number));
        }
        // Another copy of the same key is the same key.
        assert_eq!(ring.number_of(&key(Provider::Aesgcm, "a", 1)), Some(2));
        assert_eq!(ring.number_of(&key(Provider::Aescbc, "a", 3)), None);
    }

    #[test]
    fn two_keys_that_both_open_a_value_are_told_by_their_numbers() {
        // One secret under two names, of which one is the beginning of the other and a block shorter: what
        // ends the longer name is the IV of the shorter. The longer's own IV is chosen so that the block in
        // front of the object opens to protobuf, in which the object's first bytes are part of a field.
        let (short, long) = (key(Provider::Aescbc, "k", 1), key(Provider::Aescbc, "k:fifteen-letters", 1));
        let mut in_front = Vec::new();
        let at = short.place(&mut in_front, b"fifteen-letters:", b"k8s\0\x1a\x0e0123456789").unwrap();
        short.seal(vec![(&mut in_front[at..], ETCD_KEY)]).unwrap();
        let mut value = Vec::new();
        let start = long.place(&mut value, &in_front[at + 16..at + 32], PLAIN).unwrap();
        long.seal(vec![(&mut value[start..], ETCD_KEY)]).unwrap();
        let other = key(Provider::Aescbc, "none", 3);
        assert_eq!(open(&[&other, &short, &long], &value), Err(Unreadable::Ambiguous(2, 3)));
        assert_eq!(open(&[&other, &long], &value), Ok(1));
    }
}
