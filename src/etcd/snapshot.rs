//! The snapshot container: a bbolt file, and 32 bytes of SHA-256 over it.
//!
//! A trailer is there when the file's length is a multiple of 512 plus 32.
//! Source: etcd `etcdutl/snapshot/v3_snapshot.go`.

use super::Error;
use crate::bolt::{Database, Defect, MetaDefect};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of the trailer.
pub const TRAILER: usize = 32;

/// A snapshot in memory.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The bbolt file, without the trailer.
    pub file: &'a [u8],
    /// The trailer.
    pub trailer: Option<[u8; TRAILER]>,
}

impl<'a> Snapshot<'a> {
    /// Parts a snapshot into file and trailer. With `skip_hash_check` a file
    /// without one is taken too: a copy of `member/snap/db`.
    ///
    /// # Errors
    /// [`Error::NotASnapshot`] for files of other known kinds,
    /// [`Error::MissingTrailer`].
    pub fn open(bytes: &'a [u8], skip_hash_check: bool) -> Result<Self, Error> {
        if let Some(what) = other_kind(bytes) {
            return Err(Error::NotASnapshot { what });
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if bytes.len() % 512 == TRAILER
            && let Some((file, trailer)) = bytes.split_last_chunk::<TRAILER>()
        {
            return Ok(Self { file, trailer: Some(*trailer) });
        }
        if no_bbolt(bytes) {
            return Err(Error::NotASnapshot { what: "no bbolt file" });
        }
        if !skip_hash_check {
            return Err(Error::MissingTrailer { bytes: length });
        }
        Ok(Self { file: bytes, trailer: None })
    }

    /// The bbolt file inside.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn database(&self) -> Result<Database<'a>, Error> {
        Ok(Database::open(self.file)?)
    }

    /// Computes the SHA-256 of the file and compares it with the trailer,
    /// where there is one. Asks `go_on` every few MiB.
    ///
    /// # Errors
    /// [`Error::TrailerMismatch`].
    ///
    /// Returns `None` when told to stop.
    pub fn verify_trailer(&self, go_on: impl Fn() -> bool) -> Result<Option<[u8; TRAILER]>, Error> {
        let mut hasher = Sha256::new();
        for chunk in self.file.chunks(4 << 20) {
            if !go_on() {
                return Ok(None);
            }
            hasher.update(chunk);
        }
        let found: [u8; TRAILER] = hasher.finalize().into();
        self.compare_trailer(&found).map(|()| Some(found))
    }

    /// Compares the SHA-256 of the file with the trailer, where there is one.
    ///
    /// # Errors
    /// [`Error::TrailerMismatch`].
    pub fn compare_trailer(&self, found: &[u8; TRAILER]) -> Result<(), Error> {
        match self.trailer {
            Some(expected) if expected != *found => {
                Err(Error::TrailerMismatch { expected: hex(&expected), found: hex(found) })
            }
            _ => Ok(()),
        }
    }
}

/// Whether the file has no trace of a bbolt meta.
fn no_bbolt(bytes: &[u8]) -> bool {
    matches!(
        Database::open(bytes),
        Err(Defect::TooShort { .. }
            | Defect::NoValidMeta {
                first: MetaDefect::Magic(_),
                second: MetaDefect::Magic(_) | MetaDefect::Truncated,
            })
    )
}

/// Names files people give by mistake.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "a zip archive inside another"),
        (b"\x1f\x8b", "a gzip file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"\xfd7zXZ\x00", "an xz file"),
        (b"SQLite format 3\x00", "an SQLite database (K3s without etcd)"),
        (b"\x7fELF", "a program"),
    ];
    if bytes.is_empty() {
        return Some("empty");
    }
    KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, what)| *what)
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(file: &[u8]) -> Vec<u8> {
        [file, &Sha256::digest(file)].concat()
    }

    #[test]
    fn a_trailer_is_found_and_verified() {
        let bytes = sealed(&[7; 4096]);
        let snapshot = Snapshot::open(&bytes, false).unwrap();
        assert_eq!(snapshot.file.len(), 4096);
        assert!(snapshot.verify_trailer(|| true).unwrap().is_some());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let good = sealed(&[7; 512]);
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            let snapshot = Snapshot::open(&bad, false).unwrap();
            assert!(matches!(snapshot.verify_trailer(|| true), Err(Error::TrailerMismatch { .. })));
        }
    }

    #[test]
    fn a_raw_database_needs_skip_hash_check() {
        let raw = crate::bolt::writer::metas(4096, 2, 0, 2, 1);
        assert_eq!(Snapshot::open(&raw, false).unwrap_err(), Error::MissingTrailer { bytes: 8192 });
        assert_eq!(Snapshot::open(&raw, true).unwrap().trailer, None);
    }

    #[test]
    fn text_is_no_snapshot() {
        for skip in [false, true] {
            let refused = Snapshot::open(&vec![b'x'; 100_000], skip).unwrap_err();
            assert_eq!(refused, Error::NotASnapshot { what: "no bbolt file" });
        }
    }

    #[test]
    fn a_zip_inside_a_zip_is_named() {
        assert_eq!(
            Snapshot::open(b"PK\x03\x04rest", true).unwrap_err(),
            Error::NotASnapshot { what: "a zip archive inside another" }
        );
    }
}
