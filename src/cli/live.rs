//! `snapshot save`, `snapshot compare`, `snapshot rehearse`.

use super::args::WriteOut;
use super::live_flags::{Compare, Connecting, Opening, Rehearse, Save, Snapshot};
use super::progress::Shown;
use super::write_out::Told;
use super::{Exit, inputs, live_text, signals, write_out};
use crate::kube::kms::sealer::Purpose;
use crate::live::compare::{Given, compare};
use crate::live::finding::Compared;
use crate::live::programs::Programs;
use crate::live::rehearse::{Stage, rehearse};
use crate::live::save::{Target, save};
use crate::live::{self, Error, cluster};
use crate::output::SystemDisk;
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{self, Rules, data_keys, proof};
use serde::Serialize;
use serde_json::json;

/// Runs a command.
pub fn run(args: &Snapshot) -> Exit {
    let (done, how) = match args {
        Snapshot::Save(args) => (saved(args), args.write_out),
        Snapshot::Compare(args) => (compared(args), args.common.write_out),
        Snapshot::Rehearse(args) => (rehearsed(args), args.common.write_out),
    };
    done.unwrap_or_else(|error| match error {
        // Some of these have more to tell.
        Error::Rekey(error) => write_out::error(&error, how),
        error => {
            let (message, exit) = (error.to_string(), Exit::from(&error));
            Told { kind: error.kind(), message: &message, remedy: error.remedy(), exit }.tell(
                how,
                json!({}),
                "",
            )
        }
    })
}

fn saved(args: &Save) -> Result<Exit, Error> {
    let Connecting { endpoints, dialer, .. } = args.connection.connecting()?;
    let [endpoint] = endpoints.as_slice() else { return Err(Error::OneEndpoint { given: endpoints.len() }) };
    signals::watch();
    let progress = Shown::counting(args.progress);
    let target = Target { output: args.output.clone(), replace: args.overwrite };
    let saved = live::run(save(&dialer, endpoint, &target, &SystemDisk, &progress));
    drop(progress);
    let saved = saved?;
    Ok(match args.write_out {
        WriteOut::Json => write_out::json(&saved),
        _ => write_out::text(&live_text::saved(&saved)),
    })
}

fn compared(args: &Compare) -> Result<Exit, Error> {
    let Connecting { mut endpoints, dialer, transport } = args.connection.connecting()?;
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = rules(&args.opening, &file, &source)?;
    signals::watch();
    let progress = Shown::counting(args.progress);
    let given = Given { file: &file, source: &source, rules: rules.as_ref() };
    let found = live::run(async {
        if args.cluster {
            endpoints = cluster::discover(&dialer, &endpoints, transport, &progress).await?;
        }
        compare(&dialer, &endpoints, given, &progress).await
    });
    drop(progress);
    Ok(tell(&found?, |found| found, &[], args.common.write_out))
}

fn rehearsed(args: &Rehearse) -> Result<Exit, Error> {
    let programs = Programs::find(args.etcd_bin_dir.as_deref())?;
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = rules(&args.opening, &file, &source)?;
    let user = args.who.user()?;
    signals::watch();
    let progress = Shown::counting(args.progress);
    let stage = Stage {
        programs: &programs,
        skip_hash_check: args.common.skip_hash_check,
        user,
        stall: args.who.stall_timeout,
        temporary: &std::env::temp_dir(),
    };
    let found = rehearse(stage, &file, &source, rules.as_ref(), &progress);
    drop(progress);
    let found = found?;
    let rows = live_text::rehearsal(&found);
    Ok(tell(&found, |found| &found.compared, &rows, args.common.write_out))
}

/// What opens live values, and is to seal them: the configuration given, or
/// the one in the snapshot's record; nothing where no key was given.
fn rules(opening: &Opening, file: &SnapshotFile, source: &Source<'_>) -> Result<Option<Rules>, rekey::Error> {
    let Opening { encryption_config, keys } = opening;
    if encryption_config.is_none() && keys.decryption_config.is_empty() && keys.token_file.is_empty() {
        return Ok(None);
    }
    let inputs::Configs { first, read } = inputs::configs(encryption_config.as_deref(), keys)?;
    let given = proof::Given {
        config: encryption_config.clone().zip(first),
        read,
        tokens: inputs::tokens(&keys.token_file)?.tokens,
        etcd_prefix: keys.etcd_prefix.clone(),
        compacted: false,
    };
    let rules = proof::of((file, source), (file, source), given)?.0;
    data_keys::prepare(&rules, Purpose::Prove)?;
    data_keys::fetch(file, source, &rules, false, &|| false)?;
    Ok(Some(rules))
}

/// Tells what a comparison found, and whether that is enough.
fn tell<T: Serialize>(
    whole: &T,
    compared: impl Fn(&T) -> &Compared,
    before: &[live_text::Row],
    how: WriteOut,
) -> Exit {
    let found = compared(whole);
    let (message, remedy, exit) = if found.equal_but_old_keys() {
        (
            "the live etcd holds values that are not under the key that writes",
            "see that every kube-apiserver has the new configuration, then have it write them again; or rekey another snapshot",
            Exit::Verification,
        )
    } else if !found.equal {
        (
            "the live etcd does not hold what the snapshot holds",
            "restore every member anew from this one file; if that was done, report this",
            Exit::Verification,
        )
    } else if !found.all_asked() {
        (
            "the keys are those of the snapshot, but not every member could be asked for its hash",
            "see to the members named above and run it again, or leave their endpoints away",
            Exit::Live,
        )
    } else if found.unreadable() {
        (
            "the live etcd holds what the snapshot holds, values that no key opens among them",
            "give the configuration with their keys as --decryption-config",
            Exit::CarriedOver,
        )
    } else {
        ("", "", Exit::Done)
    };
    if how == WriteOut::Json {
        // The result tells itself what is wrong; the code is that of the text.
        let written = write_out::json(whole);
        return if written == Exit::Done { exit } else { written };
    }
    let told = write_out::text(&live_text::compared(found, before, how == WriteOut::Table));
    if exit == Exit::Done {
        return told;
    }
    let kind = if exit == Exit::Live { "unreachable" } else { "verification" };
    Told { kind, message, remedy, exit }.tell(how, json!({}), "")
}
