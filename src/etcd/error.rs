//! What can be wrong with a snapshot, above the level of pages.

use crate::bolt::Defect;
use thiserror::Error;

/// Why a snapshot, or a record in it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Error {
    #[error("the file is not an etcd snapshot: it is {what}")]
    NotASnapshot { what: &'static str },
    #[error("the snapshot has no SHA-256 trailer: its length of {bytes} bytes is no multiple of 512 plus 32")]
    MissingTrailer { bytes: u64 },
    #[error("the SHA-256 trailer does not fit: the file says {expected}, its bytes are {found}")]
    TrailerMismatch { expected: String, found: String },
    #[error("the zip archive is no compressed snapshot: {why}")]
    Zip { why: String },
    #[error("{0}")]
    Structure(#[from] Defect),
    #[error("the file has no bucket \"key\": it is a bbolt file, but not etcd's")]
    NoKeyBucket,
    #[error("the file has no bucket \"meta\", where a compaction is noted")]
    NoMetaBucket,
    #[error("entry {entry} of bucket \"key\" has the key {key}, which is no revision")]
    RevisionKey { entry: u64, key: String },
    #[error("the entry at revision {revision} is no KeyValue record: {why}")]
    Record { revision: String, why: &'static str },
    #[error("bucket \"key\" has more entries than can be numbered: {entries} and more")]
    TooManyEntries { entries: u64 },
    #[error("bucket \"meta\": {key} is no revision")]
    CompactRevision { key: &'static str },
}

impl Error {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotASnapshot { .. } => "not-a-snapshot",
            Self::MissingTrailer { .. } => "missing-trailer",
            Self::TrailerMismatch { .. } => "trailer-mismatch",
            Self::Zip { .. } => "zip",
            Self::Structure(defect) => defect.kind(),
            Self::NoKeyBucket => "no-key-bucket",
            Self::NoMetaBucket => "no-meta-bucket",
            Self::RevisionKey { .. } => "revision-key",
            Self::Record { .. } => "record",
            Self::CompactRevision { .. } => "compact-revision",
            Self::TooManyEntries { .. } => "too-many-entries",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotASnapshot { .. } | Self::NoKeyBucket => {
                "give the file that `etcdctl snapshot save` or `k3s etcd-snapshot save` wrote"
            }
            Self::Zip { .. } => "give the archive K3s wrote, or unpack it and give the snapshot in it",
            Self::NoMetaBucket => "no etcd wrote it so: take another snapshot, or leave out --compact",
            Self::TooManyEntries { .. } => "compact and defragment the store, and take another snapshot",
            Self::MissingTrailer { .. } => {
                "it was cut short: copy it again, and compare `sha256sum` at both ends; only a copy of member/snap/db never had a trailer: give --skip-hash-check for one"
            }
            Self::TrailerMismatch { .. } => {
                "the file was damaged or changed after it was saved: take another snapshot or another copy of this one"
            }
            Self::Structure(Defect::BigEndian) => {
                "use it on a machine of the kind it was made on; this tool reads little-endian files"
            }
            Self::Structure(_)
            | Self::RevisionKey { .. }
            | Self::Record { .. }
            | Self::CompactRevision { .. } => {
                "the snapshot is corrupt: take another one, from another member if need be"
            }
        }
    }
}

/// Bytes an attacker may have chosen, fit for a terminal: printable ASCII as
/// it is, all else as `\xNN`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        // Names in Kubernetes are ASCII, but other tenants' need not be.
        Ok(text) if text.chars().all(|c| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ') => {
            text.replace('\\', "\\\\")
        }
        _ => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(escape(b"/registry/a b:c"), "/registry/a b:c");
        assert_eq!(escape(b"a\x1b[31m\n\r"), "a\\x1b[31m\\n\\r");
        assert_eq!(escape("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
        assert_eq!(escape(b"\xff"), "\\xff");
        assert_eq!(escape("\u{e9}".as_bytes()), "\u{e9}");
        assert_eq!(escape("/a b/\u{e9}".as_bytes()), "/a b/\u{e9}");
    }
}
