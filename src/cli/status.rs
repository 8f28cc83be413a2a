//! `status`.

use super::args::{self, WriteOut};
use super::record_status::RecordStatus;
use super::{Exit, inputs, write_out};
use crate::etcd::Hashes;
use crate::k3s::status::Status;
use crate::rekey::Error;
use crate::rekey::inventory::Inventory;
use crate::rekey::residue::{self, Residue};
use crate::rekey::source::Source;
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// Runs the command.
pub fn run(args: &args::Status) -> Exit {
    match status(args) {
        Ok(exit) => exit,
        Err(error) => write_out::error(&error, args.common.write_out),
    }
}

fn status(args: &args::Status) -> Result<Exit, Error> {
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let reading = inputs::reading(args.encryption_config.as_deref(), &args.keys, &file, &source)?;
    let files = server_configs(&args.server_config)?;
    let (k3s, record) = RecordStatus::of(&reading, &files);
    let inventory = Inventory::take(&file, &source, &reading.rules)?;
    let residue = residue::scan(&source.db, &source.survey.used);
    let hashes = source.hashes().map_err(|e| file.error(e))?;
    file.unchanged()?;
    let trailer = if file.snapshot()?.trailer.is_some() { "ok" } else { "missing" };
    if args.common.write_out == WriteOut::Json {
        let mut ours = as_json(&source, &inventory, residue, hashes, trailer);
        if !record.is_empty() {
            ours["snapshot"]["record"] = json!(record);
        }
        return Ok(write_out::json(&Both { k3s: k3s.as_ref(), ours: &ours }));
    }
    let boxed = args.common.write_out == WriteOut::Table;
    let mut text = k3s.as_ref().map(Status::text).unwrap_or_default();
    text += &as_text(&source, &inventory, residue, hashes, trailer, boxed);
    text += &record.text(!files.is_empty());
    Ok(write_out::text(&text))
}

/// K3s's fields at the top, ours beside them.
#[derive(Serialize)]
struct Both<'s> {
    #[serde(flatten)]
    k3s: Option<&'s Status>,
    #[serde(flatten)]
    ours: &'s Value,
}

/// The configuration files of servers, by name.
fn server_configs(paths: &[PathBuf]) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|source| Error::Open { file: path.clone(), source })?;
        Ok((path.display().to_string(), bytes))
    };
    paths.iter().map(read).collect()
}

fn as_json(
    source: &Source<'_>,
    inventory: &Inventory,
    residue: Residue,
    hashes: Hashes,
    trailer: &str,
) -> Value {
    let history = &source.history;
    let values: Vec<_> = inventory
        .values
        .rows()
        .map(|(resource, seal, count)| {
            json!({
                "resource": resource.to_string(),
                "provider": seal.provider,
                "key": seal.name,
                "current": count.current,
                "old": count.old,
            })
        })
        .collect();
    json!({
        "snapshot": {
            "bytes": source.db.bytes().len(),
            "pageSize": source.db.page_size(),
            "revision": history.revision,
            "compactRevision": history.compact_revision,
            "keys": history.live_count(),
            "revisions": source.keys().map(|(_, keys)| keys.entries).unwrap_or_default(),
            "storageVersion": history.storage_version,
            "statusHash": hashes.status,
            "hashKV": hashes.kv,
            "trailer": trailer,
        },
        "values": values,
        "unreadable": inventory.unreadable,
        "residue": residue,
    })
}

fn as_text(
    source: &Source<'_>,
    inventory: &Inventory,
    residue: Residue,
    hashes: Hashes,
    trailer: &str,
    boxed: bool,
) -> String {
    let history = &source.history;
    let mut out = format!(
        "revision {}, {} keys, {} bytes in pages of {}\nstatus hash {:x}, HashKV {}, SHA-256 trailer {trailer}\n",
        history.revision,
        history.live_count(),
        source.db.bytes().len(),
        source.db.page_size(),
        hashes.status,
        hashes.kv,
    );
    if history.compact_revision >= 0 {
        let _ = writeln!(out, "compacted at revision {}", history.compact_revision);
    }
    let rows: Vec<_> = inventory
        .values
        .rows()
        .map(|(resource, seal, count)| {
            [
                resource.to_string(),
                seal.provider.clone(),
                seal.name.clone(),
                count.current.to_string(),
                count.old.to_string(),
            ]
        })
        .collect();
    out += &write_out::table(boxed, ["RESOURCE", "PROVIDER", "KEY", "CURRENT", "OLD"], &rows);
    if !inventory.unreadable.is_empty() {
        let _ = writeln!(out, "no key given opens these:");
        out += &write_out::unreadable(&inventory.unreadable);
    }
    let _ = writeln!(
        out,
        "{} free pages, which still hold {} old values, {} of them plaintext",
        residue.free_pages, residue.values, residue.plaintext
    );
    out
}
