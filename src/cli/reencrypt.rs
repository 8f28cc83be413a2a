//! `reencrypt`.

use super::args::{Reencrypt, WriteOut};
use super::progress::Shown;
use super::{Exit, inputs, signals, write_out};
use crate::output::SystemDisk;
use crate::rekey::residue::Residue;
use crate::rekey::{Error, Options, Report, reencrypt};
use std::fmt::Write;

/// Runs the command.
pub fn run(args: &Reencrypt) -> Exit {
    signals::watch();
    match rekey(args) {
        Ok(report) => {
            let carried_over = !report.carried_over.is_empty();
            let exit = match args.common.write_out {
                WriteOut::Json => write_out::json(&report),
                how => {
                    write_out::text(&text(&report, args, how == WriteOut::Table));
                    Exit::Done
                }
            };
            if exit == Exit::Done && carried_over { Exit::CarriedOver } else { exit }
        }
        Err(error) => write_out::error(&error, args.common.write_out),
    }
}

fn rekey(args: &Reencrypt) -> Result<Report, Error> {
    let rules = inputs::writing(&args.encryption_config, &args.keys)?;
    let options = Options {
        output: args.output.clone(),
        force: args.force,
        skip_hash_check: args.common.skip_hash_check,
        allow_plaintext: args.allow_plaintext,
        keep_unreadable: args.keep_unreadable,
        dry_run: args.dry_run,
        no_verify: args.no_verify,
        threads: args.running.threads,
    };
    let unit = if rules.only_secrets() { "secrets" } else { "values" };
    let progress = Shown::new(&args.running, unit);
    reencrypt(&args.snapshot, &rules, &options, &SystemDisk, &progress)
}

fn text(report: &Report, args: &Reencrypt, boxed: bool) -> String {
    let mut out = String::new();
    let unit = if report.only_secrets { "secrets" } else { "values" };
    let verb = if report.dry_run { "would reencrypt" } else { "reencrypted" };
    if report.rewritten + report.rewritten_old == 0 {
        let _ = writeln!(
            out,
            "nothing to reencrypt: all {} values are under the right key already",
            report.unchanged
        );
    } else {
        let _ = writeln!(
            out,
            "{verb} {} {unit} and {} old revisions; {} values were under the right key already",
            report.rewritten, report.rewritten_old, report.unchanged
        );
    }
    let seal = |seal: &crate::rekey::report::SealReport| {
        format!("{} {}", seal.provider, seal.key).trim_end().to_owned()
    };
    let rows: Vec<_> = report
        .values
        .iter()
        .map(|row| {
            [row.resource.clone(), seal(&row.from), seal(&row.to), row.current.to_string(), row.old.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        out += &write_out::table(boxed, ["RESOURCE", "FROM", "TO", "CURRENT", "OLD"], &rows);
    }
    if !report.carried_over.is_empty() {
        let _ = writeln!(out, "carried over unchanged, for no key opens them: {}", report.carried_over.len());
        out += &write_out::unreadable(&report.carried_over);
    }
    if report.residue.values > 0 {
        let Residue { values, plaintext, .. } = report.residue;
        let _ = writeln!(
            out,
            "free pages of the input still hold {values} old values, {plaintext} of them plaintext; the output has no free pages"
        );
    }
    if report.foreign_sealed > 0 {
        let _ = writeln!(
            out,
            "{} keys outside {} have values that look sealed; they were copied as they are",
            report.foreign_sealed, args.keys.etcd_prefix
        );
    }
    for warning in &report.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    match &report.output {
        None => {
            let _ =
                writeln!(out, "nothing was written; the output would be {} bytes long", report.output_bytes);
        }
        Some(output) => {
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
                out += "not verified: run `etcd-rekey verify` on it before you restore it\n";
            }
            let _ = writeln!(out, "SHA-256 trailer {}", output.sha256);
            out += &next_steps(report, args);
        }
    }
    out
}

/// What to do with the output, with this run's names in it.
fn next_steps(report: &Report, args: &Reencrypt) -> String {
    let output = args.output.display();
    let config = args.encryption_config.display();
    let mut out = format!("wrote {output} ({} bytes)\n", report.output_bytes);
    let _ = write!(
        out,
        "\nNext, with every kube-apiserver stopped:\n  \
         1. on every control plane, put {config} in place as --encryption-provider-config\n  \
         2. restore every etcd member from this one file (members restored from different files would differ):\n     \
         etcdutl snapshot restore {output} --data-dir NEW_DATA_DIR --name NAME --initial-cluster … --initial-advertise-peer-urls …\n  \
         3. start etcd, then kube-apiserver\n\
         The old key still lies in the input, in other snapshots and in the old data directories.\n"
    );
    out
}
