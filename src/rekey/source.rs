//! A snapshot opened, surveyed and read through once.

use super::error::Error;
use crate::bolt::{Bucket, Database, Survey};
use crate::bolt::{Thoroughness, check::survey_while};
use crate::etcd::hash::{hash_kv, hash_kv_covers};
use crate::etcd::history::key_bucket;
use crate::etcd::zipped::{ZipError, is_zip, unpack};
use crate::etcd::{self, Checksum, Hashes, History, RevisionKey, Snapshot, status_hash};
use crate::map::{Map, open_regular};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A snapshot file, mapped.
#[derive(Debug)]
pub struct SnapshotFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes: of a zip archive, those of the snapshot inside.
    pub map: Map,
    /// The file itself, open.
    pub file: File,
    /// Its length and the time of its last change, as it was opened.
    opened: (u64, SystemTime),
    skip_hash_check: bool,
}

impl SnapshotFile {
    /// Maps a file. A zip archive is unpacked into a nameless file in
    /// `scratch`, which is mapped in its place.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Unpack`]; [`Error::Snapshot`] for a zip
    /// archive that holds none.
    pub fn open(path: &Path, skip_hash_check: bool, scratch: &Path) -> Result<Self, Error> {
        Self::open_while(path, skip_hash_check, scratch, &|| true)
    }

    /// The same, unpacked for as long as `go_on` says so.
    ///
    /// # Errors
    /// As [`SnapshotFile::open`]; [`Error::Interrupted`].
    pub fn open_while(
        path: &Path,
        skip_hash_check: bool,
        scratch: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let io = |source| Error::Open { file: path.to_owned(), source };
        let mut file = open_regular(path).map_err(io)?;
        let mapped = if is_zip(&mut file).map_err(io)? {
            unpack(&file, scratch, go_on).map_err(|error| match error {
                ZipError::Stopped => Error::Interrupted,
                ZipError::Io(source) => {
                    Error::Unpack { file: path.to_owned(), directory: scratch.to_owned(), source }
                }
                ZipError::Archive(source) => Error::Snapshot { file: path.to_owned(), source },
            })?
        } else {
            file.try_clone().map_err(io)?
        };
        let opened = state(&file).map_err(io)?;
        let map = Map::of(&mapped).map_err(io)?;
        Ok(Self { path: path.to_owned(), map, file, opened, skip_hash_check })
    }

    /// Whether the file is still as it was opened: what changed or shrank
    /// while it was read explains whatever else came of it.
    ///
    /// # Errors
    /// [`Error::InputChanged`], [`Error::Open`].
    pub fn unchanged(&self) -> Result<(), Error> {
        let changed = |what: &str| Err(Error::InputChanged { what: what.to_owned() });
        let now = state(&self.file).map_err(|source| Error::Open { file: self.path.clone(), source })?;
        if self.map.shrank() || now.0 < self.opened.0 {
            changed("it became shorter")
        } else if now == self.opened {
            Ok(())
        } else {
            changed("something wrote to it")
        }
    }

    /// Adds the file's name to an error.
    pub fn error<E: Into<etcd::Error>>(&self, source: E) -> Error {
        Error::Snapshot { file: self.path.clone(), source: source.into() }
    }

    /// The container.
    ///
    /// # Errors
    /// As [`Snapshot::open`].
    pub fn snapshot(&self) -> Result<Snapshot<'_>, Error> {
        Snapshot::open(&self.map, self.skip_hash_check).map_err(|e| self.error(e))
    }

    /// Walks the pages and reads through the records. Fails at the first
    /// thing that is wrong.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn read(&self, unused_bytes: bool) -> Result<Source<'_>, Error> {
        self.read_while(unused_bytes, &|| true)
    }

    /// The same, for as long as `go_on` says so.
    ///
    /// # Errors
    /// As [`SnapshotFile::read`]; [`Error::Interrupted`].
    pub fn read_while(&self, unused_bytes: bool, go_on: &dyn Fn() -> bool) -> Result<Source<'_>, Error> {
        Source::of(self, self.walk(unused_bytes, go_on)?, go_on)
    }

    /// Walks the pages, for as long as `go_on` says so.
    ///
    /// # Errors
    /// As [`SnapshotFile::read_while`].
    pub fn walk(&self, unused_bytes: bool, go_on: &dyn Fn() -> bool) -> Result<Survey<'_>, Error> {
        let db = self.snapshot()?.database().map_err(|e| self.error(e))?;
        let how = Thoroughness { unused_bytes, ..Thoroughness::STRICT };
        let survey = survey_while(&db, how, go_on).ok_or(Error::Interrupted)?;
        survey.sound().map_err(|e| self.error(e))
    }
}

fn state(file: &File) -> io::Result<(u64, SystemTime)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified()?))
}

/// A sound snapshot.
#[derive(Debug)]
pub struct Source<'a> {
    /// The file.
    pub db: Database<'a>,
    /// Its buckets.
    pub survey: Survey<'a>,
    /// Its revisions.
    pub history: History,
}

impl<'a> Source<'a> {
    /// Reads through the records of a walked file.
    ///
    /// # Errors
    /// As [`SnapshotFile::read_while`].
    pub fn of(file: &'a SnapshotFile, survey: Survey<'a>, go_on: &dyn Fn() -> bool) -> Result<Self, Error> {
        let db = file.snapshot()?.database().map_err(|e| file.error(e))?;
        let keys = key_bucket(&survey).map_err(|e| file.error(e))?;
        let history = History::read_while(&survey, keys, go_on).map_err(|e| file.error(e))?;
        Ok(Self { db, survey, history: history.ok_or(Error::Interrupted)? })
    }

    /// The `key` bucket, with its number.
    ///
    /// # Errors
    /// [`etcd::Error::NoKeyBucket`]; it was there when this was made.
    pub fn keys(&self) -> Result<(usize, &Bucket<'a>), etcd::Error> {
        self.survey.bucket(etcd::KEY_BUCKET).ok_or(etcd::Error::NoKeyBucket)
    }

    /// The hashes etcd prints of it.
    ///
    /// # Errors
    /// As [`Bucket::entries`].
    pub fn hashes(&self) -> Result<Hashes, etcd::Error> {
        let (_, keys) = self.keys()?;
        let (mut all, mut covered) = (Checksum::default(), Checksum::default());
        for (number, entry) in (0..).zip(keys.entries()) {
            let entry = entry?;
            all.entry(&entry);
            if RevisionKey::parse(entry.key).is_some_and(|key| hash_kv_covers(&self.history, number, key)) {
                covered.entry(&entry);
            }
        }
        Ok(Hashes { status: status_hash(&self.survey, &all)?, kv: hash_kv(&covered) })
    }
}
