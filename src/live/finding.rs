//! What a comparison found.

use super::member::Member;
use crate::etcd::escape;
use crate::rekey::UnreadableValue;
use crate::rekey::report::SealReport;
use serde::Serialize;

/// Of each kind so many are listed; all are counted.
pub const LISTED: usize = 100;

/// A key that is not as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The etcd key, escaped.
    pub key: String,
    /// What is the matter, in words.
    pub what: String,
}

/// Things of one kind: the first of them, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Findings {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub listed: Vec<Finding>,
}

impl Findings {
    /// Takes note of one.
    pub fn add(&mut self, key: &[u8], what: impl FnOnce() -> String) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(Finding { key: escape(key), what: what() });
        }
    }
}

/// How the keys of the live etcd stand to those of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Current keys of the file.
    pub snapshot: u64,
    /// Those that are there, byte for byte, at the same revisions.
    pub equal: u64,
    /// Those that were written again since; what the file holds of them was
    /// there before that.
    pub changed_since: u64,
    /// Those that were deleted since; what the file holds was there before.
    pub deleted_since: u64,
    /// Of those that were written again, those of which nobody can tell what they
    /// held before: that revision is compacted.
    pub unproven: u64,
    /// Keys that were created since.
    pub new_since: u64,
    /// Keys of the file that were never there.
    pub missing: Findings,
    /// Keys that the file ought to have, and has not.
    pub extra: Findings,
    /// Keys that hold something else, or are of another revision.
    pub differing: Findings,
    /// Keys of the file that are not there, and nobody can tell any more
    /// whether they were: their revision is compacted.
    pub gone: Findings,
}

impl Keys {
    /// Whether there is nothing against them.
    #[must_use]
    pub fn equal(&self) -> bool {
        self.missing.count + self.extra.count + self.differing.count + self.gone.count == 0
    }
}

/// Live values, opened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Values {
    /// By resource and key.
    pub seals: Vec<ValuesRow>,
    /// Those that are not under the key that writes now.
    pub old_key: Findings,
    /// Those that no key opens.
    pub unreadable: Vec<UnreadableValue>,
    /// How many these are; a hundred are listed.
    pub unreadable_count: u64,
}

/// Live values of one resource under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValuesRow {
    /// The resource.
    pub resource: String,
    /// What seals them.
    #[serde(flatten)]
    pub seal: SealReport,
    /// How many.
    pub count: u64,
}

/// A member, and its HashKV.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberHash {
    /// The member; where it did not answer, its endpoint alone.
    #[serde(flatten)]
    pub member: Option<Member>,
    /// The endpoint.
    #[serde(rename = "asked")]
    pub endpoint: String,
    /// Its HashKV.
    #[serde(rename = "hashKV")]
    pub hash: Option<u32>,
    /// The revision it was computed at.
    pub hash_revision: Option<i64>,
    /// The compaction it was computed over; -1 before the first one.
    pub compact_revision: Option<i64>,
    /// Why it could not be asked.
    pub error: Option<String>,
}

/// HashKV over the members.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hashes {
    /// Each member that was to be asked.
    pub members: Vec<MemberHash>,
    /// Whether those that answered agree; `None` where fewer than one did, or
    /// they never stood still.
    pub agree: Option<bool>,
    /// Whether they have the file's; `None` where that cannot be compared,
    /// for the live history was compacted since.
    pub as_snapshot: Option<bool>,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Compared {
    /// Whether the live etcd holds what the file holds, under the key it should.
    pub equal: bool,
    /// Whether it holds what the file holds, under whatever key.
    #[serde(skip)]
    pub same: bool,
    /// The file.
    pub snapshot: SnapshotReport,
    /// The cluster.
    pub live: LiveReport,
    /// The keys.
    pub keys: Keys,
    /// HashKV.
    pub hashes: Hashes,
    /// The values, where keys were given.
    pub values: Option<Values>,
    /// How often a request was made again.
    pub retries: u64,
    /// Things to know.
    pub warnings: Vec<String>,
}

/// The file that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotReport {
    /// Where it lies.
    pub file: String,
    /// Its newest revision.
    pub revision: i64,
    /// The revision it was compacted at; -1 before the first compaction.
    pub compact_revision: i64,
    /// Its HashKV.
    #[serde(rename = "hashKV")]
    pub hash_kv: u32,
}

/// The cluster that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LiveReport {
    /// Its number, in hexadecimal.
    pub cluster: String,
    /// Its newest revision as the comparison ended.
    pub revision: i64,
    /// Its keys at the file's revision, as it counts them; `None` where that
    /// revision is compacted.
    pub keys_then: Option<i64>,
}

impl Compared {
    /// Whether every member that was to be asked was asked.
    #[must_use]
    pub fn all_asked(&self) -> bool {
        self.hashes.agree.is_some() && self.hashes.members.iter().all(|member| member.hash.is_some())
    }

    /// Whether values under an old key are all that is wrong.
    #[must_use]
    pub fn equal_but_old_keys(&self) -> bool {
        !self.equal && self.same && self.values.as_ref().is_some_and(|values| values.old_key.count > 0)
    }

    /// Whether some values open with no key, and nothing else is wrong.
    #[must_use]
    pub fn unreadable(&self) -> bool {
        self.values.as_ref().is_some_and(|values| values.unreadable_count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_a_hundred_listed() {
        let mut findings = Findings::default();
        for n in 0..250 {
            findings.add(b"a\x1bb", || format!("number {n}"));
        }
        assert_eq!((findings.count, findings.listed.len()), (250, LISTED));
        assert_eq!(findings.listed[99], Finding { key: "a\\x1bb".to_owned(), what: "number 99".to_owned() });
    }

    #[test]
    fn any_finding_is_against_being_equal() {
        assert!(Keys::default().equal());
        let found = || Findings { count: 1, listed: Vec::new() };
        let each = [
            Keys { missing: found(), ..Keys::default() },
            Keys { extra: found(), ..Keys::default() },
            Keys { differing: found(), ..Keys::default() },
            Keys { gone: found(), ..Keys::default() },
        ];
        assert!(each.iter().all(|keys| !keys.equal()));
    }
}
