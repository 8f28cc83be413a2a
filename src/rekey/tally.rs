//! Counts of values, by resource and by what seals them.

use crate::kube::GroupResource;
use std::collections::BTreeMap;

/// How many values, current and old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Newest of their keys.
    pub current: u64,
    /// Superseded.
    pub old: u64,
}

impl Count {
    /// Adds one value.
    pub fn add(&mut self, current: bool) {
        self.current += u64::from(current);
        self.old += u64::from(!current);
    }

    /// Adds another count.
    pub fn merge(&mut self, other: Self) {
        self.current += other.current;
        self.old += other.old;
    }

    /// Both together.
    #[must_use]
    pub fn all(self) -> u64 {
        self.current + self.old
    }
}

/// Counts by resource and by some other property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally<K: Ord>(BTreeMap<(GroupResource, K), Count>);

impl<K: Ord> Default for Tally<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Tally<K> {
    /// Adds one value.
    pub fn add(&mut self, resource: GroupResource, key: K, current: bool) {
        self.0.entry((resource, key)).or_default().add(current);
    }

    /// Adds another tally.
    pub fn merge(&mut self, other: Self) {
        for (key, count) in other.0 {
            self.0.entry(key).or_default().merge(count);
        }
    }

    /// The rows, ordered.
    pub fn rows(&self) -> impl Iterator<Item = (&GroupResource, &K, Count)> {
        self.0.iter().map(|((resource, key), count)| (resource, key, *count))
    }
}
