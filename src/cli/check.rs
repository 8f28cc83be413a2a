//! `check`.

use super::args::{Check, WriteOut};
use super::{Exit, inputs, write_out};
use crate::bolt::check::Thoroughness;
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
            "errors": errors,
        }));
        return if written == Exit::Done { exit } else { written };
    }
    let name = args.snapshot.display();
    match found.errors.split_first() {
        None => write_out::text(&format!(
            "{name}: sound; {} pages ({} free), {} buckets, {} entries\n",
            found.pages, found.free, found.buckets, found.entries
        )),
        Some((first, _)) => {
            let lines: String = found.errors.iter().map(|error| format!("{name}: {error}\n")).collect();
            let told = write_out::text(&lines);
            let exit = write_out::error(&file.error(first.clone()), how);
            if told == Exit::Done { exit } else { told }
        }
    }
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
    if let Err(error) = snapshot.verify_trailer(|| true) {
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
            if let Err(error) = records(&survey) {
                found.errors.push(error);
            }
        }
    }
    found
}

/// What etcd itself must be able to read.
fn records(survey: &Survey<'_>) -> Result<(), etcd::Error> {
    History::read(survey, key_bucket(survey)?).map(|_| ())
}
