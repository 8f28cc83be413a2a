//! What the program asks of a file system, and the real one.

use memmap2::MmapOptions;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A file being written, by several threads at once.
pub trait DiskFile: Send + Sync {
    /// Gives the file its length and takes the room for it, before anything
    /// is written.
    ///
    /// # Errors
    /// As the file system's.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Writes bytes at a place.
    ///
    /// # Errors
    /// As the file system's.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Makes what has been written to `bytes` bytes from `at` on durable, ahead
    /// of [`DiskFile::sync`], while other threads go on writing elsewhere.
    ///
    /// # Errors
    /// As the file system's.
    fn sync_range(&self, at: u64, bytes: u64) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// As the file system's.
    fn sync(&self) -> io::Result<()>;
}

/// What the program asks of a file system for its outputs.
pub trait Disk: Sync {
    /// Creates a file that must not exist, mode 0600.
    ///
    /// # Errors
    /// As the file system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file; without `replace`, never over one that is there.
    ///
    /// # Errors
    /// As the file system's; `AlreadyExists` when one is there.
    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// As the file system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As the file system's.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Bytes an ordinary user may still write there.
    ///
    /// # Errors
    /// As the file system's.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;
}

/// The real file system.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemDisk;

impl DiskFile for File {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(self, FallocateFlags::empty(), 0, bytes) {
            // File systems that cannot take room ahead.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.set_len(bytes),
            Err(Errno::INTR) => self.reserve(bytes),
            result => Ok(result?),
        }
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn sync_range(&self, at: u64, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).unwrap_or(usize::MAX);
        if length == 0 {
            return Ok(());
        }
        // The system takes a stretch of a file only as that of a map, which nobody looks into.
        let map = MmapOptions::new().offset(at).len(length).map_raw_read_only(self)?;
        loop {
            match map.flush() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Disk for SystemDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        // For as long as it is written; a file system without locks goes without.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if replace {
            return std::fs::rename(from, to);
        }
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // File systems that do not know the flag. What cannot be looked at may be there.
            Err(Errno::INVAL | Errno::NOSYS) => match std::fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
                Err(error) => Err(error),
            },
            result => Ok(result?),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let stat = rustix::io::retry_on_intr(|| rustix::fs::statvfs(directory))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
