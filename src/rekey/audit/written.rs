//! The record as it is written.

use super::super::error::{Error, UnreadableValue};
use super::super::options::Options;
use super::super::report::{KeysReport, RecordReport, Report, ValuesReport};
use super::super::task::Task;
use super::{AuditedFile, KIND, VERSION};
use jiff::Timestamp;
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'r> {
    kind: &'static str,
    version: u32,
    tool: Tool,
    command: &'static str,
    started: Timestamp,
    ended: Timestamp,
    etcd_prefix: &'r str,
    options: Chosen,
    input: &'r AuditedFile,
    output: &'r AuditedFile,
    changes: &'r [ValuesReport],
    keys: &'r KeysReport,
    unreadable: &'r [UnreadableValue],
    unreadable_records: &'r [String],
    superseded_left_out: u64,
    verified: Shown,
    #[serde(skip_serializing_if = "Option::is_none")]
    k3s: &'r Option<RecordReport>,
    warnings: &'r [String],
}

#[derive(Debug, Serialize)]
struct Tool {
    name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Chosen {
    keep_unreadable: bool,
    allow_plaintext: bool,
    compact: bool,
    skip_hash_check: bool,
    force: bool,
}

/// What was proven.
#[derive(Debug, Serialize)]
struct Shown {
    records: u64,
    what: &'static [&'static str],
}

const SHOWN: &[&str] = &[
    "the input's pages, trees and records are sound, and its trailer, where it has one",
    "the output's pages, trees, records and trailer are sound, with no free page and no unused byte",
    "both have the same buckets, sequences and records; of those that were rewritten the value alone differs",
    "every rewritten value opens with the key that writes its resource, to the plaintext the input holds",
    "no value is left under another key, but those listed as unreadable",
];

/// The record of a run, as bytes.
///
/// # Errors
/// [`Error::Unexpected`] where JSON cannot be made of it.
pub fn written(
    (task, options): (&Task, &Options),
    report: &Report,
    (input, output): (&AuditedFile, &AuditedFile),
    started: Timestamp,
) -> Result<Vec<u8>, Error> {
    let record = Written {
        kind: KIND,
        version: VERSION,
        tool: Tool { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") },
        command: task.request.verb.name(),
        started,
        ended: Timestamp::now(),
        etcd_prefix: &task.etcd_prefix,
        options: Chosen {
            keep_unreadable: options.keep_unreadable,
            allow_plaintext: options.allow_plaintext,
            compact: options.compact,
            skip_hash_check: options.skip_hash_check,
            force: task.request.force,
        },
        input,
        output,
        changes: &report.values,
        keys: &report.keys,
        unreadable: &report.carried_over,
        unreadable_records: &report.carried_over_records,
        superseded_left_out: report.dropped,
        verified: Shown { records: report.records, what: SHOWN },
        k3s: &report.k3s,
        warnings: &report.warnings,
    };
    let mut bytes = serde_json::to_vec_pretty(&record).map_err(|e| Error::Unexpected(e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
