//! What a server must hold: every key with the revision that wrote it and the
//! SHA-256 of its plaintext, whoever sealed it and under which key.

use crate::client::KeyValue;
use crate::sealing::{Key, sha256};
use crate::server::Server;
use std::collections::BTreeMap;

/// Where secrets are.
pub const SECRETS: &str = "/registry/secrets/";

/// What is expected of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The revision that wrote it.
    pub mod_revision: u64,
    /// Whether it is sealed; if not, it is there byte by byte.
    pub sealed: bool,
    /// SHA-256 of the plaintext.
    pub plain_sha256: String,
}

/// All that is expected.
#[derive(Debug, Clone, Default)]
pub struct KeySpace(BTreeMap<String, Expected>);

impl KeySpace {
    /// A sealed value is at this key now.
    pub fn sealed(&mut self, key: &str, mod_revision: u64, plain: &[u8]) {
        let plain_sha256 = sha256(plain);
        self.insert(key, Expected { mod_revision, sealed: true, plain_sha256 });
    }

    /// An unsealed value is at this key now.
    pub fn plain(&mut self, key: &str, mod_revision: u64, value: &[u8]) {
        let plain_sha256 = sha256(value);
        self.insert(key, Expected { mod_revision, sealed: false, plain_sha256 });
    }

    /// This is at the key now.
    pub fn insert(&mut self, key: &str, expected: Expected) {
        self.0.insert(key.to_owned(), expected);
    }

    /// Nothing is at this key any more.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key).expect("the key was there");
    }

    /// The revision that wrote a key.
    pub fn revision_of(&self, key: &str) -> u64 {
        self.0[key].mod_revision
    }

    /// The keys that are sealed: in these tests, all secrets and nothing else.
    pub fn secrets(&self) -> Vec<String> {
        let sealed = self.0.iter().filter(|(_, expected)| expected.sealed);
        sealed.map(|(key, _)| key.clone()).collect()
    }

    /// Reads the whole server and compares: nothing more, nothing less, all secrets under this key.
    pub fn assert_held_by(&self, server: &Server, key: &Key) {
        let found = server.everything();
        let names: Vec<&str> = found.iter().map(|kv| kv.key.as_str()).collect();
        let expected: Vec<&str> = self.0.keys().map(String::as_str).collect();
        assert_eq!(names, expected, "the keys of the server");
        for kv in &found {
            let expected = &self.0[&kv.key];
            assert_eq!(kv.key.starts_with(SECRETS), expected.sealed, "{}", kv.key);
            expected.assert_is(kv, key);
        }
    }
}

impl Expected {
    /// Compares one value with what is expected of it.
    pub fn assert_is(&self, found: &KeyValue, key: &Key) {
        let KeyValue { key: name, value, mod_revision, .. } = found;
        assert_eq!(*mod_revision, self.mod_revision, "mod_revision of {name}");
        let sum = if self.sealed {
            sha256(&key.open(value).unwrap_or_else(|wrong| panic!("{name} {wrong}")))
        } else {
            sha256(value)
        };
        assert_eq!(sum, self.plain_sha256, "plaintext of {name} at revision {mod_revision}");
    }
}
