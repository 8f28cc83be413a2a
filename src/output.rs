//! The one seam through which bytes reach the disk.
//!
//! A file appears under its name only complete: it is written under a
//! temporary name in the same directory, mode 0600, made durable, and then
//! renamed; the directory is made durable after that. What is dropped before
//! leaves nothing. Tests put a failing [`Disk`] in the real one's place.

mod disk;
mod error;

use rustix::fs::{Dir, FlockOperation, Mode, OFlags, flock, open};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use disk::{Disk, DiskFile, SystemDisk};
pub use error::Error;

/// An output on its way. Dropped before [`Output::publish`], it leaves nothing.
pub struct Output<'d> {
    disk: &'d dyn Disk,
    file: Option<Box<dyn DiskFile>>,
    temporary: PathBuf,
    directory: PathBuf,
    path: PathBuf,
    replace: bool,
    finished: bool,
    published: bool,
}

impl<'d> Output<'d> {
    /// Looks whether `path` may be written, given what the inputs are (not
    /// opened: a pipe would wait for ever), and whether `need` bytes fit.
    /// Returns the directory it lies in, and the bytes free there.
    ///
    /// # Errors
    /// [`Error::Exists`] without `replace`, [`Error::SameFile`] through links
    /// as well, [`Error::NoSpace`] when `need` bytes do not fit, else
    /// [`Error::Io`].
    pub fn look(
        disk: &dyn Disk,
        path: &Path,
        inputs: &[Metadata],
        need: u64,
        replace: bool,
    ) -> Result<(PathBuf, u64), Error> {
        let directory = allowed(path, inputs, replace)?;
        let io = |step| move |source| Error::Io { path: path.to_owned(), step, source };
        // What would make the name durable at the end must be allowed now.
        disk.sync_directory(&directory).map_err(io("looking at its directory"))?;
        let free = disk.free_bytes(&directory).map_err(io("asking for free space"))?;
        if free < need { Err(Error::NoSpace { directory, need, free }) } else { Ok((directory, free)) }
    }

    /// Begins a temporary file beside `path`, of `need` bytes.
    ///
    /// # Errors
    /// As [`Output::look`].
    pub fn begin(
        disk: &'d dyn Disk,
        path: &Path,
        inputs: &[Metadata],
        need: u64,
        replace: bool,
    ) -> Result<Self, Error> {
        let (directory, _) = Self::look(disk, path, inputs, need, replace)?;
        let io = |step| move |source| Error::Io { path: path.to_owned(), step, source };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        remove_stale(&directory, &name);
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|e| io("asking for a random name")(io::Error::other(e.to_string())))?;
        let temporary = directory.join(format!(".{name}.{:016x}.tmp", u64::from_le_bytes(random)));
        let file = disk.create(&temporary).map_err(io("creating a temporary file beside it"))?;
        // From here on it is removed again, whatever happens.
        let output = Self {
            disk,
            file: Some(file),
            temporary,
            directory,
            path: path.to_owned(),
            replace,
            finished: false,
            published: false,
        };
        if let Some(file) = &output.file {
            file.reserve(need).map_err(output.error("taking room for it"))?;
        }
        Ok(output)
    }

    fn error(&self, step: &'static str) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Io { path, step, source }
    }

    fn with_file<T>(
        &self,
        step: &'static str,
        action: impl FnOnce(&dyn DiskFile) -> io::Result<T>,
    ) -> Result<T, Error> {
        match &self.file {
            Some(file) => action(&**file),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
        .map_err(self.error(step))
    }

    /// Writes bytes at a place.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_all_at(&self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.with_file("writing", |file| file.write_all_at(bytes, at))
    }

    /// Makes durable what has been written to `bytes` bytes from `at` on,
    /// while more is written behind them.
    ///
    /// # Errors
    /// [`Error::Io`]. The system tells an error of the disk once, and that
    /// may be here.
    pub fn sync_range(&self, at: u64, bytes: u64) -> Result<(), Error> {
        self.with_file("making it durable", |file| file.sync_range(at, bytes))
    }

    /// Where it lies until it has its name.
    #[must_use]
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Makes what was written durable, still under its temporary name.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(&mut self) -> Result<(), Error> {
        if !self.finished {
            self.with_file("making it durable", |file| file.sync())?;
            self.finished = true;
        }
        Ok(())
    }

    /// Gives the finished file its name and makes that durable.
    ///
    /// # Errors
    /// [`Error::Exists`] when a file of that name has appeared meanwhile,
    /// [`Error::Io`].
    pub fn publish(&mut self) -> Result<(), Error> {
        self.finish()?;
        match self.disk.rename(&self.temporary, &self.path, self.replace) {
            Ok(()) => self.published = true,
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { path: self.path.clone() });
            }
            Err(source) => return Err(self.error("renaming")(source)),
        }
        let path = self.path.clone();
        self.disk.sync_directory(&self.directory).map_err(|source| Error::NameNotDurable { path, source })
    }

    /// Whether the file has its name.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// Takes a published file away again, unless it has replaced another one:
    /// what it was made for has failed. Returns the name of one that stays.
    #[must_use]
    pub fn withdraw(self) -> Option<PathBuf> {
        let stays = self.published && (self.replace || self.disk.remove(&self.path).is_err());
        stays.then(|| self.path.clone())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done here than to try; the error that led
            // here is the one that is told.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

/// Removes what runs for the same name left behind when they were killed. Who
/// still writes holds a lock. What cannot be looked at, or removed, stays.
fn remove_stale(directory: &Path, name: &str) {
    let stale = |file_name: &str| {
        let number = file_name.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?;
        let number = number.strip_suffix(".tmp")?;
        (number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(())?;
        // Where others may write, anything may stand there: no link is followed, no pipe waited for.
        let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits()).ok()?;
        let path = directory.join(file_name);
        let file = File::options().read(true).custom_flags(flags).open(&path).ok()?;
        file.metadata().ok()?.is_file().then_some(())?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(path)
    };
    // The standard library's own listing panics when its folder cannot be closed.
    let listed = open(directory, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    for entry in listed.and_then(Dir::new).into_iter().flatten().flatten() {
        if let Some(path) = entry.file_name().to_str().ok().and_then(stale) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Whether `path` may be written; returns the directory it lies in.
fn allowed(path: &Path, inputs: &[Metadata], replace: bool) -> Result<PathBuf, Error> {
    let no_name = || Error::NoName { path: path.to_owned() };
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    if path.file_name().is_none() || bytes.ends_with(b"/") || bytes == b"-" {
        return Err(no_name());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    // The link itself, too: replacing one would not replace what it names.
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(directory),
        Err(source) => Err(Error::Io { path: path.to_owned(), step: "looking at it", source }),
        Ok(link) => {
            for input in inputs {
                let same = |m: &Metadata| m.dev() == input.dev() && m.ino() == input.ino();
                if same(&link) || std::fs::metadata(path).is_ok_and(|target| same(&target)) {
                    return Err(Error::SameFile { path: path.to_owned() });
                }
            }
            if link.is_dir() {
                return Err(no_name());
            }
            if !link.is_file() {
                return Err(Error::NotAFile { path: path.to_owned() });
            }
            if replace { Ok(directory) } else { Err(Error::Exists { path: path.to_owned() }) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin<'a>(dir: &Path, name: &str, replace: bool) -> Result<Output<'a>, Error> {
        let input = dir.join("input");
        std::fs::write(&input, b"input").unwrap();
        Output::begin(&SystemDisk, &dir.join(name), &[std::fs::metadata(input).unwrap()], 10, replace)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_output_appears_only_when_published() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = begin(dir.path(), "out", false).unwrap();
        output.write_all_at(b"bytes", 0).unwrap();
        assert!(!dir.path().join("out").exists());
        output.publish().unwrap();
        assert_eq!(names(dir.path()), ["input", "out"]);
        let meta = std::fs::metadata(dir.path().join("out")).unwrap();
        assert_eq!(meta.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_dropped_output_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let output = begin(dir.path(), "out", false).unwrap();
        output.write_all_at(b"bytes", 0).unwrap();
        drop(output);
        assert_eq!(names(dir.path()), ["input"]);
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("out"), b"old").unwrap();
        assert!(matches!(begin(dir.path(), "out", false), Err(Error::Exists { .. })));
        begin(dir.path(), "out", true).unwrap().publish().unwrap();
        assert_eq!(std::fs::read(dir.path().join("out")).unwrap(), [0; 10]);
    }

    #[test]
    fn a_file_that_appears_meanwhile_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = begin(dir.path(), "out", false).unwrap();
        std::fs::write(dir.path().join("out"), b"other").unwrap();
        assert!(matches!(output.publish(), Err(Error::Exists { .. })));
        drop(output);
        assert_eq!(names(dir.path()), ["input", "out"]);
    }

    #[test]
    fn the_input_is_refused_through_links_too() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("input"), b"input").unwrap();
        std::os::unix::fs::symlink("input", dir.path().join("soft")).unwrap();
        std::fs::hard_link(dir.path().join("input"), dir.path().join("hard")).unwrap();
        for name in ["input", "soft", "hard", "../".to_owned().as_str()] {
            let error = begin(dir.path(), name, true).err().unwrap();
            assert!(matches!(error, Error::SameFile { .. } | Error::NoName { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_another_writes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::write(dir.path().join(name), b"left").unwrap();
        file(".out.0123456789abcdef.tmp");
        for other in
            [".out.0123456789abcdef", ".out.x.tmp", "out.0123456789abcdef.tmp", ".other.0123456789abcdef.tmp"]
        {
            file(other);
        }
        let first = begin(dir.path(), "out", false).unwrap();
        let second = begin(dir.path(), "out", false).unwrap();
        let left = names(dir.path());
        assert!(!left.contains(&".out.0123456789abcdef.tmp".to_owned()));
        assert_eq!(left.len(), 7, "{left:?}");
        drop((first, second));
        assert_eq!(names(dir.path()).len(), 5);
    }

    #[test]
    fn too_little_space_is_told_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("input"), b"").unwrap();
        let input = std::fs::metadata(dir.path().join("input")).unwrap();
        let refused = Output::begin(&SystemDisk, &dir.path().join("out"), &[input], u64::MAX, false);
        assert!(matches!(refused, Err(Error::NoSpace { .. })));
        assert_eq!(names(dir.path()), ["input"]);
    }
}
