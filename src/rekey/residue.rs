//! Old values in free pages: what a snapshot still holds besides its entries.

use crate::bolt::{Database, PageSet};
use crate::kube::key::SEALED;
use serde::Serialize;

/// What free pages hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Residue {
    /// Pages below the high-water mark that are in no tree.
    pub free_pages: u64,
    /// Secrets in plaintext, and sealed values, found in them.
    pub values: u64,
    /// Of these the plaintext ones.
    pub plaintext: u64,
}

/// How a Secret in protobuf begins, behind `k8s\0`.
const SECRET: &[u8] = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret";

/// Looks through every stretch of pages that are not in use.
#[must_use]
pub fn scan(db: &Database<'_>, used: &PageSet) -> Residue {
    let mut residue = Residue::default();
    let mut page = 2;
    while page < db.pages() {
        let start = page;
        while page < db.pages() && !used.contains(page) {
            page += 1;
        }
        if let Some(bytes) = db.physical(start, page - start) {
            residue.free_pages += page - start;
            residue.plaintext += count(bytes, SECRET);
            residue.values += count(bytes, SEALED) + count(bytes, SECRET);
        }
        page += 1;
    }
    residue
}

/// How often `pattern` occurs.
fn count(bytes: &[u8], pattern: &[u8]) -> u64 {
    let Some((first, rest)) = pattern.split_first() else { return 0 };
    let mut found = 0;
    let mut at = 0;
    while let Some(step) = bytes[at..].iter().position(|byte| byte == first) {
        at += step + 1;
        found += u64::from(bytes[at..].starts_with(rest));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_counted() {
        assert_eq!(count(b"k8s:enc:k8s:enck8s:enc:", SEALED), 2);
        assert_eq!(count(b"", SEALED), 0);
    }
}
