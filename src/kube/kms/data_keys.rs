//! The data keys that are known, up to a bound.

use super::data_key::DataKey;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// So many are kept at most: about 100 bytes each. Those that come later are
/// asked for each time they are needed, which costs time, and no memory.
pub const MOST: usize = 1 << 20;

/// A data key, or why its plugin does not give it.
pub type Known = Result<Arc<DataKey>, Arc<str>>;

/// Data keys by [`super::envelope::Wrapped::fingerprint`].
pub struct DataKeys {
    keys: RwLock<HashMap<[u8; 32], Known>>,
    most: usize,
}

impl DataKeys {
    /// None as yet, and never more than `most`.
    #[must_use]
    pub fn up_to(most: usize) -> Self {
        Self { keys: RwLock::default(), most }
    }

    /// What is known of a data key.
    #[must_use]
    pub fn get(&self, fingerprint: &[u8; 32]) -> Option<Known> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).get(fingerprint).cloned()
    }

    /// Keeps what is known, where there is room: whoever came first stays, for
    /// values are gone through in the same order each time. Tells whether it
    /// is kept, and was not before.
    pub fn keep(&self, fingerprint: [u8; 32], known: Known) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.len() < self.most && keys.insert(fingerprint, known).is_none()
    }

    /// How many are kept at most.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether there is room for more.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len() < self.most
    }
}
