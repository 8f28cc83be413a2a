//! `verify`.

use super::args::Verify;
use super::args::flags::WriteOut;
use super::progress::Shown;
use super::{Exit, inputs, write_out};
use crate::kube::kms::sealer::Purpose;
use crate::rekey::audit::{AuditRecord, AuditedFile};
use crate::rekey::source::SnapshotFile;
use crate::rekey::suspicion::Suspicion;
use crate::rekey::verified::Verified;
use crate::rekey::verify::{Allowed, verify};
use crate::rekey::{Error, Phase, Progress, data_keys};
use serde_json::json;

/// What was found of two files.
struct Found {
    /// What the second reader found, where keys were given.
    opened: Option<Verified>,
    /// Where that is no proof: what is likely to be wrong.
    suspicion: Suspicion,
    /// Where there is a record: what is not as it says.
    recorded: Option<Vec<String>>,
}

impl Found {
    fn holds(&self) -> bool {
        self.opened.as_ref().is_none_or(Verified::proven) && self.recorded.as_ref().is_none_or(Vec::is_empty)
    }
}

/// Runs the command.
pub fn run(args: &Verify) -> Exit {
    let how = args.common.write_out;
    match look(args) {
        Err(error) => write_out::error(&error, how),
        Ok(found) if how == WriteOut::Json => {
            let written = write_out::json(&as_json(args, &found));
            if found.holds() { written } else { Exit::Verification }
        }
        Ok(found) => match differences(found) {
            Err(error) => write_out::error(&error, how),
            Ok(_) if args.messages.quiet => Exit::Done,
            Ok(found) => write_out::text(&as_text(args, &found)),
        },
    }
}

fn as_json(args: &Verify, found: &Found) -> serde_json::Value {
    let opened = found.opened.as_ref();
    let differences = opened.into_iter().flat_map(|opened| &opened.differences);
    let differences: Vec<_> = differences.chain(found.recorded.iter().flatten()).collect();
    json!({
        "verified": found.holds(),
        "opened": opened.is_some(),
        "records": opened.map_or(0, |opened| opened.records),
        "values": opened.map_or(0, |opened| opened.values),
        "carriedOver": opened.map_or(0, |opened| opened.carried_over),
        "report": args.report.as_ref().map(|path| path.display().to_string()),
        "differences": differences,
    })
}

/// What does not hold, as an error.
fn differences(found: Found) -> Result<Found, Error> {
    match found {
        Found { opened: Some(opened), suspicion, .. } if !opened.proven() => {
            Err(Error::NotProven { differences: opened.differences, suspicion })
        }
        Found { recorded: Some(differences), .. } if !differences.is_empty() => {
            Err(Error::NotAsRecorded { differences })
        }
        found => Ok(found),
    }
}

fn as_text(args: &Verify, found: &Found) -> String {
    let mut text = String::new();
    if let Some(opened) = &found.opened {
        text += &format!(
            "verified: {} records are equal, {} values opened with the keys that write now\n",
            opened.records, opened.values
        );
        if opened.carried_over > 0 {
            text += &format!("{} values open with no key and are the same in both\n", opened.carried_over);
        }
        if let Some((_, output)) = opened.hashes {
            text += &format!("status hash {:x}, HashKV {}\n", output.status, output.kv);
        }
    }
    if let Some(path) = &args.report {
        text += &format!(
            "both files are those of {}: length, SHA-256, trailer, revision, status hash, HashKV, values by resource and key\n",
            path.display()
        );
    }
    if found.opened.is_none() {
        text += "no key was given: no value was opened\n";
    }
    text
}

fn look(args: &Verify) -> Result<Found, Error> {
    let record = args.report.as_deref().map(AuditRecord::read).transpose()?;
    let output = inputs::snapshot(&args.snapshot, false)?;
    let input = inputs::snapshot(&args.against, args.common.skip_hash_check)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.running.threads)
        .build()
        .map_err(|e| Error::Threads(e.to_string()))?;
    let progress = Shown::new(&args.running, args.messages, "values");
    let source = inputs::explained(&input, input.read(false))?;
    let written = inputs::explained(&output, output.read(true))?;
    // Who has a record needs no key; who gives one wants it used.
    let keys = record.is_none()
        || args.encryption_config.is_some()
        || !args.keys.token_file.is_empty()
        || !args.keys.decryption_config.is_empty();
    let pair = ((&input, &source), (&output, &written));
    let opened = keys.then(|| prove(args, pair, &pool, &progress)).transpose()?;
    let swapped = || {
        let tried = prove(args, (pair.1, pair.0), &pool, &progress);
        tried.is_ok_and(|tried| tried.proven())
    };
    let suspicion = match &opened {
        Some(opened) if !opened.proven() => Suspicion::of(pair.0, pair.1, args.compact, swapped),
        _ => Suspicion::None,
    };
    let recorded = record.map(|record| {
        let prefix = record.etcd_prefix.clone();
        let look = |file: &SnapshotFile, source| AuditedFile::of(file, source, &file.path, &prefix, &progress);
        let (before, after) =
            pool.install(|| rayon::join(|| look(&input, &source), || look(&output, &written)));
        Ok::<_, Error>(record.differences(&before?, &after?))
    });
    let recorded = recorded.transpose()?;
    input.unchanged()?;
    output.unchanged()?;
    Ok(Found { opened, suspicion, recorded })
}

fn prove(
    args: &Verify,
    (input, output): (inputs::Side<'_>, inputs::Side<'_>),
    pool: &rayon::ThreadPool,
    progress: &dyn Progress,
) -> Result<Verified, Error> {
    let config = args.encryption_config.as_ref();
    let (rules, proof) = inputs::proof((input, output), config, &args.keys, args.compact)?;
    if rules.keyring().plugins().next().is_some() {
        progress.phase(Phase::Asking, 0);
        let stop = || progress.stop();
        data_keys::prepare(&rules, Purpose::Prove)?;
        data_keys::fetch(input.0, input.1, &rules, args.compact, &stop)?;
        data_keys::fetch(output.0, output.1, &rules, false, &stop)?;
    }
    let allowed = Allowed {
        unreadable: args.keep_unreadable,
        plaintext: args.allow_plaintext,
        compacted: args.compact,
        record: proof.as_ref(),
    };
    let found = pool.install(|| verify(input, output, &rules, allowed, progress));
    // A file that changed explains whatever was found.
    input.0.unchanged()?;
    output.0.unchanged()?;
    data_keys::reached(&rules)?;
    found
}
