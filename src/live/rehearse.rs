//! The restore, rehearsed on this machine before production is touched: by
//! the operator's own etcd, in a directory that goes again.

use super::compare::{Given, compare};
use super::dialer::User;
use super::finding::Compared;
use super::programs::Programs;
use super::server::Scratch;
use super::{Dialer, Error};
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{Phase, Progress, Rules};
use serde::Serialize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// What was rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rehearsed {
    /// The release of etcd.
    pub etcd: String,
    /// The server.
    pub etcd_path: String,
    /// What restored.
    pub restored_by: String,
    /// What a comparison found.
    #[serde(flatten)]
    pub compared: Compared,
}

/// How it is rehearsed.
pub struct Stage<'s> {
    /// The programs.
    pub programs: &'s Programs,
    /// The snapshot has no trailer.
    pub skip_hash_check: bool,
    /// Who asks, where the snapshot holds users of etcd's.
    pub user: Option<User>,
    /// How long nothing may come.
    pub stall: Duration,
    /// Where temporary files go.
    pub temporary: &'s Path,
}

/// Restores a snapshot into a temporary directory, starts an etcd on it,
/// compares, and takes all of it away again.
///
/// # Errors
/// [`Error::Restore`], [`Error::Start`]; as [`compare`].
pub fn rehearse(
    stage: Stage<'_>,
    file: &SnapshotFile,
    source: &Source<'_>,
    rules: Option<&Rules>,
    progress: &dyn Progress,
) -> Result<Rehearsed, Error> {
    let Stage { programs, skip_hash_check, user, stall, temporary } = stage;
    // Programs are run in it, and take paths from there.
    let temporary = std::path::absolute(temporary)
        .map_err(|source| Error::Scratch { directory: temporary.to_owned(), source })?;
    let temporary = temporary.as_path();
    let io = |source| Error::Scratch { directory: temporary.to_owned(), source };
    // The file, and the log etcd takes room for before it writes any.
    let need = u64::try_from(source.db.bytes().len()).unwrap_or(u64::MAX).saturating_add(160 << 20);
    let room = rustix::fs::statvfs(temporary).map_err(|error| io(error.into()))?;
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if free < need {
        return Err(Error::NoSpace { directory: temporary.to_owned(), need, free });
    }
    let owner = std::fs::Permissions::from_mode(0o700);
    let directory = tempfile::Builder::new().prefix("etcd-rekey-").permissions(owner).tempdir_in(temporary);
    let directory = directory.map_err(io)?;
    let scratch = Scratch::new(directory.path());
    let endpoint = scratch.endpoint()?;
    progress.phase(Phase::Restoring, 0);
    // A zip archive is restored as what was in it.
    let plain = directory.path().join("snapshot.db");
    let given = if file.map.len() == usize::try_from(file.file.metadata().map_err(io)?.len()).unwrap_or(0) {
        file.path.clone()
    } else {
        std::fs::write(&plain, &file.map[..]).map_err(io)?;
        plain
    };
    scratch.restore(programs, &given, skip_hash_check, progress)?;
    progress.phase(Phase::Starting, 0);
    let mut server = scratch.serve(programs, progress)?;
    let dialer = Dialer { tls: None, user, dial: stall, stall };
    let endpoints = [endpoint];
    let compared = super::run(compare(&dialer, &endpoints, Given { file, source, rules }, progress));
    let compared = match compared {
        Ok(compared) => compared,
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => {
            // What it said explains why nobody answers.
            server.runs()?;
            return Err(error);
        }
    };
    drop(server);
    directory.close().map_err(io)?;
    Ok(Rehearsed {
        etcd: programs.version.clone(),
        etcd_path: programs.etcd.display().to_string(),
        restored_by: programs.restorer.display().to_string(),
        compared,
    })
}
