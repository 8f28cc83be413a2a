//! `status`.

use super::args;
use super::args::flags::WriteOut;
use super::record_status::RecordStatus;
use super::{Exit, inputs, write_out};
use crate::etcd::{Hashes, escape};
use crate::k3s::status::Status;
use crate::rekey::Error;
use crate::rekey::inventory::Inventory;
use crate::rekey::residue::{self, Residue};
use crate::rekey::source::Source;
use crate::rekey::tally::Count;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Runs the command.
pub fn run(args: &args::Status) -> Exit {
    match status(args) {
        Ok(exit) => exit,
        Err(error) => write_out::error(&error, args.reading.common.write_out),
    }
}

fn status(args: &args::Status) -> Result<Exit, Error> {
    let file = inputs::snapshot(&args.snapshot, args.reading.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let opened = inputs::opened(&args.reading, &file, &source)?;
    inputs::data_keys(&opened.rules, &file, &source)?;
    let files = inputs::server_configs(&args.server_config)?;
    let (k3s, record) = RecordStatus::of(&opened, &files);
    let inventory = Inventory::take(&file, &source, &opened.rules)?;
    let residue = residue::scan(&source.db, &source.survey.used);
    let hashes = source.hashes().map_err(|e| file.error(e))?;
    file.unchanged()?;
    let trailer = if file.snapshot()?.trailer.is_some() { "ok" } else { "missing" };
    if args.reading.common.write_out == WriteOut::Json {
        let mut ours = as_json(&source, &inventory, residue, hashes, trailer);
        if !record.is_empty() {
            ours["snapshot"]["record"] = json!(record);
        }
        return Ok(write_out::json(&Both { k3s: k3s.as_ref(), ours: &ours }));
    }
    let mut text = k3s.as_ref().map(Status::text).unwrap_or_default();
    text += &as_text(args, &source, &inventory, residue, hashes, trailer);
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
    args: &args::Status,
    source: &Source<'_>,
    inventory: &Inventory,
    residue: Residue,
    hashes: Hashes,
    trailer: &str,
) -> String {
    let history = &source.history;
    let revisions = source.keys().map(|(_, keys)| keys.entries).unwrap_or_default();
    let compacted = match history.compact_revision {
        -1 => String::new(),
        at => format!(", compacted at {at}"),
    };
    let version = history.storage_version.as_ref().map_or("before 3.6", String::as_str);
    let facts = [
        ("revision", format!("{}{compacted}", history.revision)),
        ("keys", format!("{} in {revisions} revisions", history.live_count())),
        ("bytes", format!("{} in pages of {}", source.db.bytes().len(), source.db.page_size())),
        ("status hash", format!("{:x}", hashes.status)),
        ("HashKV", hashes.kv.to_string()),
        ("trailer", format!("{trailer} (SHA-256)")),
        ("storage version", version.to_owned()),
    ];
    let facts = facts.map(|(name, value)| [name.to_owned(), escape(value.as_bytes())]);
    let boxed = args.reading.common.write_out == WriteOut::Table;
    let mut out = write_out::table(boxed, ["SNAPSHOT", ""], &facts) + "\n";
    out += &values(inventory, boxed, args.reading.messages.verbose);
    if !inventory.unreadable.is_empty() {
        let _ = writeln!(out, "\n{} values that no key given opens:", inventory.unreadable.len());
        out += &write_out::unreadable(&inventory.unreadable);
    }
    let Residue { free_pages, values, plaintext } = residue;
    let _ = match values {
        0 => writeln!(out, "\n{free_pages} free pages, with no old value in them"),
        _ => writeln!(
            out,
            "\n{free_pages} free pages, which still hold {values} old values, {plaintext} of them plaintext"
        ),
    };
    out
}

/// Values by resource and seal. Resources of which nothing is sealed are told
/// together, unless all was asked for; secrets always are by themselves.
fn values(inventory: &Inventory, boxed: bool, all: bool) -> String {
    let sealed: BTreeSet<_> = inventory
        .values
        .rows()
        .filter(|(_, seal, _)| seal.provider != "identity")
        .map(|(resource, ..)| resource.to_string())
        .collect();
    let (mut rows, mut others, mut count) = (Vec::new(), BTreeSet::new(), Count::default());
    for (resource, seal, found) in inventory.values.rows() {
        let resource = resource.to_string();
        if all || resource == "secrets" || sealed.contains(&resource) {
            let (current, old) = (found.current.to_string(), found.old.to_string());
            rows.push([resource, seal.provider.clone(), seal.name.clone(), current, old]);
        } else {
            count.merge(found);
            others.insert(resource);
        }
    }
    if !others.is_empty() {
        let (name, current, old) = (
            format!("{} others (-v lists them)", others.len()),
            count.current.to_string(),
            count.old.to_string(),
        );
        rows.push([name, "identity".to_owned(), String::new(), current, old]);
    }
    write_out::table(boxed, ["RESOURCE", "PROVIDER", "KEY", "CURRENT", "OLD"], &rows)
}
