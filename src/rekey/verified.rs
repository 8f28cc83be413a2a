//! What a verification found.

use super::rules::State;
use super::sums::Sums;
use super::tally::{Count, Tally};
use crate::bolt::{Bucket, Defect, Entry};
use crate::etcd::{Hashes, escape};
use crate::kube::GroupResource;

/// At most so many differences are listed.
const LISTED: usize = 100;

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Entries compared, all buckets.
    pub records: u64,
    /// Values opened in the output.
    pub values: u64,
    /// What is in the output: by resource and seal.
    pub sealed: Tally<State>,
    /// Current and old values under the key that writes them.
    pub under_write_key: Count,
    /// Values carried over unread.
    pub carried_over: u64,
    /// Values under the prefix of Kubernetes' keys, and sealed ones elsewhere.
    pub(super) under_prefix: (u64, u64),
    /// Differences, the first hundred.
    pub differences: Vec<String>,
    /// Hashes of input and output.
    pub hashes: Option<(Hashes, Hashes)>,
    /// SHA-256 of the output's file, which its trailer holds.
    pub trailer: Option<[u8; 32]>,
    pub(super) sums: Sums,
}

impl Verified {
    /// Whether nothing differs, and the trailer is right.
    #[must_use]
    pub fn proven(&self) -> bool {
        self.equal() && self.trailer.is_some()
    }

    /// Whether nothing differs; the trailer is another matter.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.differences.is_empty() && self.hashes.is_some()
    }

    pub(super) fn note(&mut self, difference: String) {
        if self.differences.len() < LISTED {
            self.differences.push(difference);
        }
    }

    pub(super) fn require(&mut self, holds: bool, difference: impl FnOnce() -> String) {
        if !holds {
            self.note(difference());
        }
    }

    pub(super) fn found(&mut self, resource: Option<GroupResource>, state: State, current: bool) {
        let Some(resource) = resource else { return };
        if state != State::Plain {
            self.under_write_key.add(current);
        }
        self.sealed.add(resource, state, current);
    }

    pub(super) fn same_entries<'a>(
        &mut self,
        ours: impl Iterator<Item = Result<Entry<'a>, Defect>>,
        theirs: &Bucket<'_>,
    ) -> Result<(), Defect> {
        for (ours, theirs) in ours.zip(theirs.entries()) {
            let (ours, theirs) = (ours?, theirs?);
            self.records += 1;
            // A nested bucket's value is the place of its pages.
            let same = ours.key == theirs.key
                && ours.flags == theirs.flags
                && (ours.is_bucket() || ours.value == theirs.value);
            self.require(same, || format!("the entry {} of another bucket differs", escape(ours.key)));
        }
        Ok(())
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.values += other.values;
        self.sealed.merge(other.sealed);
        self.under_write_key.merge(other.under_write_key);
        self.carried_over += other.carried_over;
        self.under_prefix.0 += other.under_prefix.0;
        self.under_prefix.1 += other.under_prefix.1;
        self.sums.append(&other.sums);
        for difference in other.differences {
            self.note(difference);
        }
    }
}
