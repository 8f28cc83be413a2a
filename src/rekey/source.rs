//! A snapshot opened, surveyed and read through once.

use super::error::Error;
use crate::bolt::check::Thoroughness;
use crate::bolt::{Bucket, Database, Survey, survey};
use crate::etcd::history::key_bucket;
use crate::etcd::{self, History, Snapshot};
use crate::map::Map;
use std::path::{Path, PathBuf};

/// A snapshot file, mapped.
#[derive(Debug)]
pub struct SnapshotFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its bytes.
    pub map: Map,
    skip_hash_check: bool,
}

impl SnapshotFile {
    /// Maps a file.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(path: &Path, skip_hash_check: bool) -> Result<Self, Error> {
        let map = Map::open(path).map_err(|source| Error::Open { file: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), map, skip_hash_check })
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
        let db = self.snapshot()?.database().map_err(|e| self.error(e))?;
        let how = Thoroughness { unused_bytes, ..Thoroughness::STRICT };
        let survey = survey(&db, how).sound().map_err(|e| self.error(e))?;
        let keys = key_bucket(&survey).map_err(|e| self.error(e))?;
        let history = History::read(&survey, keys).map_err(|e| self.error(e))?;
        Ok(Source { db, survey, history })
    }
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
    /// The `key` bucket, with its number.
    ///
    /// # Errors
    /// [`etcd::Error::NoKeyBucket`]; it was there when this was made.
    pub fn keys(&self) -> Result<(usize, &Bucket<'a>), etcd::Error> {
        self.survey.bucket(etcd::KEY_BUCKET).ok_or(etcd::Error::NoKeyBucket)
    }
}
