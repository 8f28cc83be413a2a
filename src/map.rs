//! The memory map of a snapshot: the only unsafe code of the program.

use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A file, mapped for reading.
#[derive(Debug)]
pub struct Map {
    map: Mmap,
}

impl Map {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// When it cannot be opened or mapped, or is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::of(&open_regular(path)?)
    }

    /// Maps an open file.
    ///
    /// # Errors
    /// When it cannot be mapped.
    pub fn of(file: &File) -> io::Result<Self> {
        #[allow(unsafe_code, reason = "a memory map cannot be had without")]
        // SAFETY: the map is read-only and private to this value, and lives
        // no longer than it. What remains is that the file may change or
        // shrink under the map, which no program can rule out for a file it
        // does not own:
        // * Changed bytes: every parser reads through bounds checks and takes
        //   no bytes on trust, and the verifying pass reads both files anew;
        //   nothing in the program relies on two reads of a byte agreeing
        //   for its memory safety.
        // * A shrunk file: touching a lost page raises SIGBUS, which ends the
        //   process; it reads nothing wrong. The input is never written to,
        //   and the output does not yet have its name then.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self { map })
    }
}

/// Opens a file for reading, if it is a regular one.
///
/// # Errors
/// As the file system's.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for whoever writes to it.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_refused() {
        assert!(Map::open(Path::new("/")).is_err());
    }
}
