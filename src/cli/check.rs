//! `check`.

use super::args::Check;
use super::args::flags::WriteOut;
use super::{Exit, inputs, write_out};
use crate::bolt::Thoroughness;
use crate::bolt::{Survey, survey};
use crate::etcd::history::key_bucket;
use crate::etcd::{self, History, Snapshot};
use crate::rekey::source::SnapshotFile;
use serde_json::json;

/// What a check found.
#[derive(Default)]
struct Found {
    errors: Vec<etcd::Error>,
    pages: u64,
    free: u64,
    buckets: usize,
    entries: u64,
    bytes: usize,
    page_size: usize,
    trailer: Option<bool>,
    history: Option<History>,
    revisions: u64,
}

/// Runs the command.
pub fn run(args: &Check) -> Exit {
    let how = args.common.write_out;
    let file = match inputs::snapshot(&args.snapshot, args.common.skip_hash_check) {
        Ok(file) => file,
        Err(error) => return write_out::error(&error, how),
    };
    let found = check(&file, args.common.skip_hash_check);
    if let Err(error) = file.unchanged() {
        return write_out::error(&error, how);
    }
    let exit = if found.errors.is_empty() { Exit::Done } else { Exit::Snapshot };
    if how == WriteOut::Json {
        let errors: Vec<_> = found
            .errors
            .iter()
            .map(|error| {
                let page = match error {
                    etcd::Error::Structure(defect) => defect.page(),
                    _ => None,
                };
                json!({"kind": error.kind(), "page": page, "message": error.to_string()})
            })
            .collect();
        let written = write_out::json(&json!({
            "ok": found.errors.is_empty(),
            "pages": found.pages,
            "freePages": found.free,
            "buckets": found.buckets,
            "entries": found.entries,
            "bytes": found.bytes,
            "pageSize": found.page_size,
            "trailer": match found.trailer { Some(true) => "ok", Some(false) => "wrong", None => "missing" },
            "revisions": found.history.as_ref().map(|_| found.revisions),
            "keys": found.history.as_ref().map(History::live_count),
            "revision": found.history.as_ref().map(|history| history.revision),
            "errors": errors,
        }));
        return if written == Exit::Done { exit } else { written };
    }
    let name = args.snapshot.display();
    match found.errors.split_first() {
        None if args.messages.quiet => Exit::Done,
        None => {
            let boxed = how == WriteOut::Table;
            let rows = checked(&found);
            let table = write_out::table(boxed, ["CHECKED", "COUNT", "FOUND"], &rows);
            write_out::text(&format!("{table}{name}: sound\n"))
        }
        Some((first, others)) => {
            // The first is told as the error; there may be more to know.
            let lines: String = others.iter().map(|error| format!("{name}: also: {error}\n")).collect();
            let told = write_out::text(&lines);
            let exit = write_out::error(&file.error(first.clone()), how);
            if told == Exit::Done { exit } else { told }
        }
    }
}

/// What was checked of a sound snapshot, with counts.
fn checked(found: &Found) -> Vec<[String; 3]> {
    let keys = found.history.as_ref().map_or(0, History::live_count);
    let newest = found.history.as_ref().map_or(0, |history| history.revision);
    let trailer = match found.trailer {
        None => "there is none, as --skip-hash-check allows",
        Some(_) => "SHA-256 fits the trailer",
    };
    let rows = [
        ("bytes", found.bytes.to_string(), trailer.to_owned()),
        ("metas", "2".to_owned(), "both name pages of the file".to_owned()),
        ("pages", found.pages.to_string(), format!("each reached once; {} free", found.free)),
        ("buckets", found.buckets.to_string(), "depth, order and separators of their trees hold".to_owned()),
        ("entries", found.entries.to_string(), "keys ascend; none shares bytes with another".to_owned()),
        ("revisions", found.revisions.to_string(), format!("each is a record; the newest is {newest}")),
        ("keys", keys.to_string(), "with a current revision".to_owned()),
    ];
    rows.map(|(what, count, found)| [what.to_owned(), count, found]).to_vec()
}

/// Everything that can be told at once.
fn check(file: &SnapshotFile, skip_hash_check: bool) -> Found {
    let mut found = Found::default();
    let snapshot = match Snapshot::open(&file.map, skip_hash_check) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            found.errors.push(error);
            return found;
        }
    };
    found.bytes = snapshot.file.len();
    found.trailer = snapshot.trailer.map(|_| true);
    if let Err(error) = snapshot.verify_trailer(|| true) {
        found.trailer = Some(false);
        found.errors.push(error);
    }
    match snapshot.database() {
        Err(error) => found.errors.push(error),
        Ok(db) => {
            let survey = survey(&db, Thoroughness::FULL);
            found.pages = db.pages();
            found.free = survey.free_pages;
            found.buckets = survey.buckets.len().saturating_sub(1);
            found.entries = survey.buckets.iter().skip(1).map(|bucket| bucket.entries).sum();
            found.errors.extend(survey.defects.iter().cloned().map(etcd::Error::from));
            found.page_size = db.page_size();
            match records(&survey) {
                Ok((history, revisions)) => (found.history, found.revisions) = (Some(history), revisions),
                Err(error) => found.errors.push(error),
            }
        }
    }
    found
}

/// What etcd itself must be able to read, and how many entries that are.
fn records(survey: &Survey<'_>) -> Result<(History, u64), etcd::Error> {
    let keys = key_bucket(survey)?;
    Ok((History::read(survey, keys)?, keys.entries))
}
