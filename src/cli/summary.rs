//! What a run that writes a snapshot says of itself when it is done.

use super::args::flags::{Rewrite, WriteOut};
use super::{next_steps, write_out};
use crate::k3s::Verb;
use crate::rekey::Report;
use crate::rekey::report::SealReport;
use crate::rekey::residue::Residue;
use std::fmt::Write;
use std::path::Path;

/// The summary of a run, with what to do next.
pub fn text(report: &Report, args: &Rewrite, verb: Verb, output: &Path) -> String {
    let mut out = headline(report, verb) + "\n";
    out += &values(report, args.common.write_out == WriteOut::Table);
    for line in remarks(report, args) {
        out += &(line + "\n");
    }
    out += &outcome(report, args, output);
    if report.output.is_some() {
        out += &next_steps::text(report, args, verb);
    }
    out
}

fn headline(report: &Report, verb: Verb) -> String {
    let unit = if report.only_secrets { "secrets" } else { "values" };
    let did = if report.dry_run { "would reencrypt" } else { "reencrypted" };
    let Report { rewritten, rewritten_old, unchanged, .. } = report;
    if !verb.rewrites() {
        format!("{unchanged} values were left as they are")
    } else if rewritten + rewritten_old > 0 {
        format!(
            "{did} {rewritten} {unit} and {rewritten_old} old revisions; {unchanged} values were under the right key already"
        )
    } else if *unchanged > 0 {
        format!("nothing to reencrypt: all {unchanged} values are under the right key already")
    } else {
        "nothing to reencrypt: there is no value that a key opens or that should be sealed".to_owned()
    }
}

fn values(report: &Report, boxed: bool) -> String {
    let seal = |seal: &SealReport| format!("{} {}", seal.provider, seal.key).trim_end().to_owned();
    let rows = report.values.iter().map(|row| {
        let other = if row.rewritten && row.from == row.to { " (another key of this name)" } else { "" };
        let to = seal(&row.to) + other;
        [row.resource.clone(), seal(&row.from), to, row.current.to_string(), row.old.to_string()]
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    write_out::table(boxed, ["RESOURCE", "FROM", "TO", "CURRENT", "OLD"], &rows)
}

fn remarks(report: &Report, args: &Rewrite) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.carried_over.is_empty() {
        lines.push(format!("carried over unchanged, for no key opens them: {}", report.carried_over.len()));
        lines.push(write_out::unreadable(&report.carried_over).trim_end().to_owned());
    }
    if !report.carried_over_records.is_empty() {
        let records = report.carried_over_records.join(", ");
        lines.push(format!(
            "carried over unchanged, for no token opens them or they are damaged: old revisions of {records}, with the keys in them"
        ));
    }
    if report.residue.values > 0 {
        let Residue { values, plaintext, .. } = report.residue;
        lines.push(format!(
            "free pages of the input still hold {values} old values, {plaintext} of them plaintext; the output has no free pages"
        ));
    }
    if report.foreign_sealed > 0 {
        lines.push(format!(
            "{} keys outside {} have values that look sealed; they were copied as they are",
            report.foreign_sealed, args.keys.etcd_prefix
        ));
    }
    if report.compacted {
        lines.push(format!(
            "left out {} superseded revisions and deletions: compacted at revision {}",
            report.dropped, report.input.revision
        ));
    }
    for plugin in &report.kms {
        let calls = if report.dry_run { "it would be called" } else { "it was called" };
        let keys =
            crate::rekey::error::count(usize::try_from(plugin.data_keys).unwrap_or(usize::MAX), "data key");
        let times = crate::rekey::error::count(usize::try_from(plugin.calls).unwrap_or(usize::MAX), "time");
        lines.push(format!("KMS plugin {} at {}: {keys}; {calls} {times}", plugin.name, plugin.endpoint));
    }
    if let Some(k3s) = &report.k3s {
        let did = if report.dry_run { "would rewrite" } else { "rewrote" };
        let revisions = crate::rekey::error::count(k3s.rewritten, "revision");
        lines.push(format!("{did} {} in {revisions}: stage {}", k3s.record, k3s.stage));
    }
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}

/// What a dry run says at its end.
fn would(report: &Report, args: &Rewrite, output: &Path) -> String {
    let mut out = format!("would write {}", output.display());
    if let Some(config) = &args.write_config {
        let _ = write!(out, ", {} (its configuration, mode 0600)", config.display());
    }
    if let Some(record) = &args.report {
        let record = record.display();
        let _ = write!(out, ", {record} (the audit record), {record}.sha256");
    }
    let _ = write!(out, "\nthe output would be {} bytes long", report.output_bytes);
    if let Some(disk) = &report.disk {
        out += &format!("; {} are free in {}", disk.free, disk.directory);
    }
    if let Some(seconds) = report.estimated_seconds {
        out += &format!("\nthe run would take about {seconds} s");
    }
    out + "\nnothing was refused, and nothing was written\n"
}

fn outcome(report: &Report, args: &Rewrite, output: &Path) -> String {
    let Some(output) = &report.output else { return would(report, args, output) };
    let mut out = String::new();
    if report.verified {
        let hex = |hash: Option<u32>| hash.map_or(String::new(), |hash| format!("{hash:x}"));
        let _ = writeln!(
            out,
            "verified: {} records read back and compared; status hash {}, HashKV {} at revision {}",
            report.records,
            hex(output.status_hash),
            output.hash_kv.unwrap_or_default(),
            output.revision
        );
    } else {
        out += "NOT VERIFIED, as --no-verify asked: run `etcd-rekey verify` on it before you restore it\n";
    }
    let _ = writeln!(out, "SHA-256 trailer {}", output.sha256);
    let _ = writeln!(out, "wrote {} ({} bytes)", output.file, report.output_bytes);
    if let Some(path) = &args.report {
        let record = path.display();
        let _ = writeln!(
            out,
            "wrote {record} (mode 0600), the audit record, and {record}.sha256, for `sha256sum -c` in its folder"
        );
    }
    out
}
