//! The sums of two `key` buckets, computed in parts beside their comparison.

use crate::bolt::Entry;
use crate::etcd::Checksum;

/// The CRCs of the `key` buckets, in part or whole.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sums {
    /// Of the input.
    pub input: CheckSums,
    /// Of the output.
    pub output: CheckSums,
}

impl Sums {
    /// Takes in what came behind.
    pub fn append(&mut self, other: &Self) {
        self.input.append(other.input);
        self.output.append(other.output);
    }
}

/// The CRC of all entries, and of those that HashKV covers. Most entries
/// count in both: those of one stretch are summed once.
#[derive(Debug, Default, Clone, Copy)]
pub struct CheckSums {
    /// Of all entries, once settled.
    pub all: Checksum,
    /// Of those HashKV covers, once settled.
    pub covered: Checksum,
    stretch: Checksum,
}

impl CheckSums {
    /// Takes in the next entry.
    pub fn add(&mut self, entry: &Entry<'_>, covered: bool) {
        if covered {
            return self.stretch.entry(entry);
        }
        self.settle();
        self.all.entry(entry);
    }

    /// Has every entry in both sums.
    pub fn settle(&mut self) {
        let stretch = std::mem::take(&mut self.stretch);
        self.all.append(&stretch);
        self.covered.append(&stretch);
    }

    /// Takes in what came behind.
    pub fn append(&mut self, mut next: Self) {
        if next.all.is_empty() {
            return self.stretch.append(&next.stretch);
        }
        self.settle();
        next.settle();
        self.all.append(&next.all);
        self.covered.append(&next.covered);
    }
}
