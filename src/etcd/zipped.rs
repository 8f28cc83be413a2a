//! Snapshots K3s has compressed: a zip archive with the snapshot as its one
//! entry. Source: K3s `pkg/etcd/snapshot.go`.

use super::Error;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// What a zip archive begins with.
const MAGIC: [u8; 4] = *b"PK\x03\x04";

/// No deflated stream is longer than so many times its length (258 bytes in
/// two bits and a little).
const MOST_DEFLATED: u64 = 1033;
/// Bytes between two looks around.
const STEP: u64 = 8 << 20;

/// Why an archive gives no snapshot.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages tell")]
pub enum ZipError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Archive(#[from] Error),
    #[error("interrupted")]
    Stopped,
}

/// Whether a file begins as a zip archive does.
///
/// # Errors
/// As the file system's.
pub fn is_zip(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(4).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head == MAGIC)
}

/// Unpacks the one entry of an archive into a file without a name in
/// `directory`, which is gone when it is closed. The name the entry has plays
/// no part.
///
/// # Errors
/// [`Error::Zip`] when the archive is damaged, or holds anything but one
/// snapshot; as the file system's; [`ZipError::Stopped`] when `go_on` said so.
pub fn unpack(file: &File, directory: &Path, go_on: &dyn Fn() -> bool) -> Result<File, ZipError> {
    let broken = |what: &str| Error::Zip { why: what.to_owned() };
    let damaged = |error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(source) => ZipError::Io(source),
        other => ZipError::Archive(Error::Zip { why: super::escape(other.to_string().as_bytes()) }),
    };
    let mut archive = zip::ZipArchive::new(file.try_clone()?).map_err(damaged)?;
    if archive.len() != 1 {
        return Err(broken(&format!("it holds {} files, not one snapshot", archive.len())).into());
    }
    let mut entry = archive.by_index(0).map_err(damaged)?;
    if entry.is_dir() {
        return Err(broken("it holds a folder, not a snapshot").into());
    }
    let size = entry.size();
    let lies = || broken("its entry has another length than it says");
    if entry.compressed_size() > file.metadata()?.len() {
        return Err(broken("it is damaged").into());
    }
    if size > entry.compressed_size().saturating_mul(MOST_DEFLATED) {
        return Err(lies().into());
    }
    let mut out = tempfile::tempfile_in(directory)?;
    // What does not fit is not begun. File systems that cannot tell go without.
    match retry_on_intr(|| fallocate(&out, FallocateFlags::KEEP_SIZE, 0, size.max(1))) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
        taken => taken.map_err(io::Error::from)?,
    }
    let mut copied = 0;
    while go_on() {
        let part = io::copy(&mut entry.by_ref().take(STEP), &mut out).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
            | io::ErrorKind::UnexpectedEof => ZipError::Archive(broken("it is damaged")),
            _ => ZipError::Io(error),
        })?;
        copied += part;
        if part == 0 || copied > size {
            return if copied == size { Ok(out) } else { Err(lies().into()) };
        }
    }
    Err(ZipError::Stopped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, bytes) in files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, ZipError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert!(is_zip(&mut file).unwrap());
        let mut out = unpack(&file, &std::env::temp_dir(), &|| true)?;
        let mut all = Vec::new();
        out.seek(SeekFrom::Start(0))?;
        out.read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn one_file_is_unpacked() {
        let content = b"snapshot".repeat(10_000);
        assert_eq!(unpacked(&archive(&[("a", &content)])).unwrap(), content);
    }

    #[test]
    fn what_takes_several_steps_is_unpacked_to_its_end() {
        let step = usize::try_from(STEP).unwrap();
        for length in [step - 1, step, 2 * step + 5] {
            let content = vec![7; length];
            let good = archive(&[("a", &content)]);
            assert!(unpacked(&good).unwrap() == content, "{length}");
            // Its sum is looked at, wherever a step ends.
            let mut bad = good.clone();
            for at in [14, central(&good) + 16] {
                bad[at] ^= 1;
            }
            assert!(matches!(unpacked(&bad), Err(ZipError::Archive(Error::Zip { .. }))), "{length}");
        }
    }

    /// Where the one entry of an archive is described again.
    fn central(archive: &[u8]) -> usize {
        archive.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap()
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_unpacked() {
        let good = archive(&[("a", &b"snapshot".repeat(10_000))]);
        let number = |at: usize| u32::from_le_bytes(good[at..at + 4].try_into().unwrap());
        let (length, compressed) = (u32::try_from(good.len()).unwrap(), number(18));
        // Whether unpacking begins for an archive that says so of its entry.
        let begins = |compressed: u32, size: u32| {
            let mut bytes = good.clone();
            for at in [18, central(&good) + 20] {
                bytes[at..at + 4].copy_from_slice(&compressed.to_le_bytes());
                bytes[at + 4..at + 8].copy_from_slice(&size.to_le_bytes());
            }
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let begun = std::cell::Cell::new(false);
            let go_on = || {
                begun.set(true);
                true
            };
            let unpacked = unpack(&file, &std::env::temp_dir(), &go_on);
            assert!(begun.get() || matches!(unpacked, Err(ZipError::Archive(Error::Zip { .. }))));
            begun.get()
        };
        assert!(begins(compressed, 79_999) && begins(compressed, 80_001));
        assert!(begins(compressed, compressed * 1033) && !begins(compressed, compressed * 1033 + 1));
        assert!(begins(length, 80_000) && !begins(length + 1, 80_000));
    }

    #[test]
    fn damage_and_company_are_refused() {
        let refused = |bytes: &[u8]| matches!(unpacked(bytes), Err(ZipError::Archive(Error::Zip { .. })));
        assert!(refused(&archive(&[("a", b"x"), ("b", b"y")])));
        assert!(refused(&archive(&[("folder/", b"")])));
        // Sealed with a password.
        let mut sealed = archive(&[("a", b"x")]);
        let at = central(&sealed) + 8;
        (sealed[6], sealed[at]) = (1, 1);
        assert!(refused(&sealed));
        // Another method of compression, in both headers: the user's archive
        // is what is wrong, not the disk.
        let mut other = archive(&[("a", b"x")]);
        for at in [8, central(&other) + 10] {
            other[at..at + 2].copy_from_slice(&98u16.to_le_bytes());
        }
        assert!(refused(&other));
        let good = archive(&[("a", &b"snapshot".repeat(10_000))]);
        for at in (4..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            // Names and times are nobody's concern; bytes of the content are.
            if let Ok(content) = unpacked(&bad) {
                assert_eq!(content, b"snapshot".repeat(10_000));
            }
            assert!(refused(&good[..at]));
        }
    }
}
