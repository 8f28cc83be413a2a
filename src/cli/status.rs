//! `status`.

use super::args::{Status, WriteOut};
use super::{Exit, inputs, signals, write_out};
use crate::etcd::hash::{hash_kv, hash_kv_covers};
use crate::etcd::{Checksum, RevisionKey, status_hash};
use crate::rekey::Error;
use crate::rekey::inventory::Inventory;
use crate::rekey::residue::{self, Residue};
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::verify::Hashes;
use serde_json::{Value, json};
use std::fmt::Write;

/// Runs the command.
pub fn run(args: &Status) -> Exit {
    signals::watch();
    match status(args) {
        Ok(exit) => exit,
        Err(error) => write_out::error(&error, args.common.write_out),
    }
}

fn status(args: &Status) -> Result<Exit, Error> {
    let rules = inputs::reading(args.encryption_config.as_deref(), &args.keys)?;
    let file = SnapshotFile::open(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let inventory = Inventory::take(&file, &source, &rules)?;
    let residue = residue::scan(&source.db, &source.survey.used);
    let hashes = hashes(&file, &source)?;
    let trailer = if file.snapshot()?.trailer.is_some() { "ok" } else { "missing" };
    if args.common.write_out == WriteOut::Json {
        return Ok(write_out::json(&as_json(&source, &inventory, residue, hashes, trailer)));
    }
    let boxed = args.common.write_out == WriteOut::Table;
    write_out::text(&as_text(&source, &inventory, residue, hashes, trailer, boxed));
    Ok(Exit::Done)
}

fn hashes(file: &SnapshotFile, source: &Source<'_>) -> Result<Hashes, Error> {
    let (_, keys) = source.keys().map_err(|e| file.error(e))?;
    let (mut all, mut covered) = (Checksum::default(), Checksum::default());
    for (number, entry) in (0..).zip(keys.entries()) {
        let entry = entry.map_err(|e| file.error(e))?;
        all.entry(&entry);
        if RevisionKey::parse(entry.key).is_some_and(|key| hash_kv_covers(&source.history, number, key)) {
            covered.entry(&entry);
        }
    }
    let status = status_hash(&source.survey, &all).map_err(|e| file.error(e))?;
    Ok(Hashes { status, kv: hash_kv(&covered) })
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
