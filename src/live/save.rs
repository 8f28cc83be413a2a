//! A snapshot, streamed from one member, checked, then named.
//!
//! The stream is the member's file and, last, the SHA-256 of it. Source: etcd
//! `server/etcdserver/api/v3rpc/maintenance.go`. The first message tells how
//! long the file is, so that a stream that ends early is known to have done
//! so, whatever its end looks like.

use super::cluster::watched;
use super::member::Member;
use super::refusal::Failure;
use super::{Dialer, Endpoint, Error};
use crate::etcd::snapshot::{TRAILER, hex};
use crate::etcd::{self};
use crate::output::{Disk, Output};
use crate::rekey::report::{FileReport, RoomReport};
use crate::rekey::source::SnapshotFile;
use crate::rekey::{self, Phase, Progress};
use etcd_client::{Client, SnapshotStreaming};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Bytes that are gathered before they are written.
const PART: usize = 1 << 20;

/// A snapshot that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// The file.
    pub snapshot: FileReport,
    /// How many keys are current in it.
    pub keys: u64,
    /// etcd's storage version, from 3.6 on.
    pub storage_version: Option<String>,
    /// The member it came from.
    pub member: Member,
}

/// A snapshot that could be saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// Always: nothing was written.
    pub dry_run: bool,
    /// The room it would need, about: the file goes on changing.
    pub disk: RoomReport,
    /// The member it would come from.
    pub member: Member,
}

/// What is to be saved, and where.
#[derive(Debug, Clone)]
pub struct Target {
    /// The file to write.
    pub output: PathBuf,
    /// Whether one that is there is replaced.
    pub replace: bool,
}

/// Saves a snapshot of one member. The file has no name before its trailer
/// fits, it is durable, and it has passed the check.
///
/// # Errors
/// [`Error::Learner`]; what a connection meets; [`Error::CutShort`];
/// [`rekey::Error::Snapshot`] for a file that is damaged.
pub async fn save(
    dialer: &Dialer,
    endpoint: &Endpoint,
    target: &Target,
    disk: &dyn Disk,
    progress: &dyn Progress,
) -> Result<Saved, Error> {
    // Before anything is asked: what is not allowed will not be at the end.
    Output::look(disk, &target.output, &[], 0, target.replace)?;
    let (mut client, member) = asked(dialer, endpoint, progress).await?;
    let (mut output, sha256, bytes) = receive(dialer, endpoint, &mut client, target, disk, progress).await?;
    progress.phase(Phase::Syncing, 0);
    output.finish()?;
    progress.phase(Phase::Checking, 0);
    let (snapshot, keys, storage_version) = checked(output.temporary(), target, &sha256, bytes)?;
    if progress.stop() {
        return Err(Error::Interrupted);
    }
    output.publish()?;
    Ok(Saved { snapshot, keys, storage_version, member })
}

/// Asks the member, and looks whether there is room; saves nothing.
///
/// # Errors
/// As [`save`], as far as it goes.
pub async fn plan(
    dialer: &Dialer,
    endpoint: &Endpoint,
    target: &Target,
    disk: &dyn Disk,
    progress: &dyn Progress,
) -> Result<Planned, Error> {
    Output::look(disk, &target.output, &[], 0, target.replace)?;
    let (_, member) = asked(dialer, endpoint, progress).await?;
    let needed = u64::try_from(member.db_bytes).unwrap_or(0) + length(&[0; TRAILER]);
    let (directory, free) = Output::look(disk, &target.output, &[], needed, target.replace)?;
    let directory = std::path::absolute(&directory).unwrap_or(directory).display().to_string();
    Ok(Planned { dry_run: true, disk: RoomReport { directory, needed, free }, member })
}

/// A connection, and what the member at its other end says of itself.
async fn asked(
    dialer: &Dialer,
    endpoint: &Endpoint,
    progress: &dyn Progress,
) -> Result<(Client, Member), Error> {
    let stalled =
        |what| Error::Stalled { endpoint: endpoint.to_string(), what, seconds: dialer.stall.as_secs() };
    let failed = |failure: Failure| failure.at(endpoint);
    let connected = watched(progress, dialer.stall, Box::pin(dialer.connect(endpoint))).await?;
    let mut client = connected.ok_or_else(|| stalled("connecting"))?.map_err(failed)?;
    let name = endpoint.to_string();
    let told = watched(progress, dialer.stall, Member::ask(&mut client, &name)).await?;
    let member = told.ok_or_else(|| stalled("asking for its status"))?.map_err(failed)?;
    if member.learner {
        return Err(Error::Learner { endpoint: name });
    }
    Ok((client, member))
}

/// The stream, written to a file without its name; the sum of what came
/// before the trailer, and the length of all.
async fn receive<'d>(
    dialer: &Dialer,
    endpoint: &Endpoint,
    client: &mut Client,
    target: &Target,
    disk: &'d dyn Disk,
    progress: &dyn Progress,
) -> Result<(Output<'d>, String, u64), Error> {
    let mut stream = Stream { dialer, endpoint, progress, inner: None };
    let (first, remaining) = stream.open(client).await?;
    let expected = remaining + length(&first) + length(&[0; TRAILER]);
    let output = Output::begin(disk, &target.output, &[], expected, target.replace)?;
    progress.phase(Phase::Receiving, expected);
    let cut = |received| Error::CutShort { endpoint: endpoint.to_string(), received, expected };
    let mut sum = Sha256::new();
    let (mut part, mut written, mut held) = (first, 0, Vec::new());
    loop {
        progress.counted(length(&part));
        held.append(&mut part);
        if held.len() >= PART + TRAILER {
            // The last 32 bytes may be the trailer, which is no part of its sum.
            let rest = held.split_off(held.len() - TRAILER);
            sum.update(&held);
            output.write_all_at(&held, written)?;
            written += length(&held);
            held = rest;
        }
        if written + length(&held) > expected {
            return Err(Error::Nonsense { endpoint: endpoint.to_string(), why: "it sent more than it said" });
        }
        match stream.next().await {
            Ok(Some(more)) => part = more,
            Ok(None) => break,
            Err(Error::Unreachable { .. }) => return Err(cut(written + length(&held))),
            Err(error) => return Err(error),
        }
    }
    let received = written + length(&held);
    if received != expected || held.len() < TRAILER {
        return Err(cut(received));
    }
    let trailer = held.split_off(held.len() - TRAILER);
    sum.update(&held);
    let found = sum.finalize();
    if found[..] != trailer[..] {
        let source = etcd::Error::TrailerMismatch { expected: hex(&trailer), found: hex(&found) };
        return Err(rekey::Error::Snapshot { file: target.output.clone(), source }.into());
    }
    output.write_all_at(&held, written)?;
    output.write_all_at(&trailer, written + length(&held))?;
    Ok((output, hex(&trailer), expected))
}

/// The messages of a stream.
struct Stream<'s> {
    dialer: &'s Dialer,
    endpoint: &'s Endpoint,
    progress: &'s dyn Progress,
    inner: Option<SnapshotStreaming>,
}

impl Stream<'_> {
    fn stalled(&self) -> Error {
        let seconds = self.dialer.stall.as_secs();
        Error::Stalled { endpoint: self.endpoint.to_string(), what: "receiving the snapshot", seconds }
    }

    /// The first message, and how many bytes of the file it says remain.
    async fn open(&mut self, client: &mut Client) -> Result<(Vec<u8>, u64), Error> {
        let opened = watched(self.progress, self.dialer.stall, client.snapshot()).await?;
        let opened = opened.ok_or_else(|| self.stalled())?;
        self.inner = Some(opened.map_err(|error| Failure::of(&error).at(self.endpoint))?);
        let nothing = Error::Nonsense { endpoint: self.endpoint.to_string(), why: "the snapshot is empty" };
        let (blob, remaining) = self.message().await?.ok_or(nothing)?;
        Ok((blob, remaining))
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.message().await?.map(|(blob, _)| blob))
    }

    async fn message(&mut self) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let Some(inner) = &mut self.inner else { return Ok(None) };
        let message = watched(self.progress, self.dialer.stall, inner.message()).await?;
        let message = message.ok_or_else(|| self.stalled())?;
        let message = message.map_err(|error| Failure::of(&error).at(self.endpoint))?;
        Ok(message.map(|message| (message.blob().to_vec(), message.remaining_bytes())))
    }
}

/// The file, read as it will be: pages, trees and records.
fn checked(
    temporary: &Path,
    target: &Target,
    sha256: &str,
    bytes: u64,
) -> Result<(FileReport, u64, Option<String>), Error> {
    // It is told under the name it would have had.
    let named = |error| match error {
        rekey::Error::Snapshot { source, .. } => rekey::Error::Snapshot { file: target.output.clone(), source },
        other => other,
    };
    let file = SnapshotFile::open(temporary, false, &std::env::temp_dir()).map_err(named)?;
    let source = file.read(false).map_err(named)?;
    let hashes = source.hashes().map_err(|error| named(file.error(error)))?;
    let report = FileReport {
        file: target.output.display().to_string(),
        bytes,
        sha256: sha256.to_owned(),
        revision: source.history.revision,
        status_hash: Some(hashes.status),
        hash_kv: Some(hashes.kv),
    };
    Ok((report, source.history.live_count(), source.history.storage_version.clone()))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
