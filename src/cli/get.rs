//! `get`.

use super::args::{Get, WriteOut};
use super::{Exit, inputs, write_out};
use crate::etcd::{Record, escape};
use crate::kube::resource::key_prefix;
use crate::rekey::Error;
use crate::rekey::inventory::{Item, visit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use zeroize::Zeroizing;

/// What was found under the key.
struct Found {
    about: Value,
    plain: Result<Zeroizing<Vec<u8>>, String>,
}

/// Runs the command.
pub fn run(args: &Get) -> Exit {
    let how = args.common.write_out;
    match find(args) {
        Err(error) => write_out::error(&error, how),
        Ok(None) => complain(
            how,
            "not-found",
            &format!("no object {} there", escape(args.key.as_bytes())),
            "see `etcd-rekey list`",
            Exit::Usage,
        ),
        Ok(Some(found)) => print(args, &found),
    }
}

fn find(args: &Get) -> Result<Option<Found>, Error> {
    let wanted = if args.key.starts_with('/') {
        args.key.clone()
    } else {
        format!("{}secrets/{}", key_prefix(&args.keys.etcd_prefix), args.key)
    };
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = inputs::reading(args.encryption_config.as_deref(), &args.keys, &file, &source)?.rules;
    let mut found: Option<(i64, Found)> = None;
    visit(&file, &source, &rules, |item| {
        let revision = item.record.revision.revision.main;
        if item.record.kv.key == wanted.as_bytes()
            && args.revision.map_or(item.current, |asked| revision <= asked)
        {
            found = Some((revision, describe(&item)));
        }
        Ok(())
    })?;
    // It may have been deleted since.
    let deleted = |since: i64| -> Result<bool, Error> {
        let (_, keys) = source.keys().map_err(|e| file.error(e))?;
        for (number, entry) in (0..).zip(keys.entries()) {
            let record =
                entry.map_err(crate::etcd::Error::from).and_then(|entry| Record::parse(number, &entry));
            let record = record.map_err(|e| file.error(e))?;
            let main = record.revision.revision.main;
            let met = main > since && args.revision.is_none_or(|asked| main <= asked);
            if met && record.revision.tombstone && record.kv.key == wanted.as_bytes() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let found = match found {
        Some((since, found)) if !deleted(since)? => Some(found),
        _ => None,
    };
    file.unchanged()?;
    Ok(found)
}

fn describe(item: &Item<'_>) -> Found {
    let kv = &item.record.kv;
    let about = json!({
        "resource": item.resource.to_string(),
        "key": escape(kv.key),
        "revision": item.record.revision.revision.to_string(),
        "createRevision": kv.create_revision,
        "version": kv.version,
        "lease": kv.lease,
        "current": item.current,
        "provider": item.seal.provider,
        "keyName": item.seal.name,
        "storedBytes": kv.value.len(),
        "bytes": item.plain.as_ref().ok().map(|plain| plain.len()),
        "unreadable": item.plain.as_ref().err(),
    });
    Found { about, plain: item.plain.clone().map(|plain| Zeroizing::new(plain.to_vec())) }
}

fn print(args: &Get, found: &Found) -> Exit {
    let how = args.common.write_out;
    if args.reveal
        && let Err(why) = &found.plain
    {
        return complain(
            how,
            "unreadable",
            why,
            "give the configuration with its key as --encryption-config",
            Exit::Keys,
        );
    }
    if how == WriteOut::Json {
        let mut about = found.about.clone();
        if let (true, Ok(plain)) = (args.reveal, &found.plain) {
            about["value"] = STANDARD.encode(plain.as_slice()).into();
        }
        return write_out::json(&about);
    }
    match &found.plain {
        // Raw to a file or pipe; a terminal gets nothing that could steer it.
        Ok(plain) if args.reveal => {
            if std::io::stdout().is_terminal() {
                write_out::text(&format!("{}\n", plain.escape_ascii()))
            } else {
                write_out::bytes(plain)
            }
        }
        _ => {
            let rows: Vec<[String; 2]> = found
                .about
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| [name.clone(), value.as_str().map_or(value.to_string(), str::to_owned)])
                .collect();
            write_out::text(&write_out::table(how == WriteOut::Table, ["FIELD", "VALUE"], &rows))
        }
    }
}

/// An error of this command alone.
fn complain(how: WriteOut, kind: &str, message: &str, remedy: &str, exit: Exit) -> Exit {
    if how == WriteOut::Json {
        write_out::json(
            &json!({"error": {"kind": kind, "message": message, "remedy": remedy, "exitCode": exit.code()}}),
        );
    } else {
        let _ = writeln!(std::io::stderr().lock(), "error: {message}\n  {remedy}");
    }
    exit
}
