//! `snapshot save`, `snapshot compare`, `snapshot rehearse`.

use super::args::flags::WriteOut;
use super::live_flags::{Compare, Connecting, Opening, Rehearse, Save, Snapshot};
use super::write_out::Told;
use super::{Exit, inputs, live_text, signals, write_out};
use crate::kube::kms::sealer::Purpose;
use crate::live::compare::{Given, compare};
use crate::live::finding::Compared;
use crate::live::programs::Programs;
use crate::live::rehearse::{Stage, rehearse};
use crate::live::save::{Target, plan, save};
use crate::live::{self, Error, cluster};
use crate::output::SystemDisk;
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{self, Rules, data_keys};
use serde::Serialize;
use serde_json::json;

/// Runs a command.
pub fn run(args: &Snapshot) -> Exit {
    match args {
        Snapshot::Save(args) => saved(args).unwrap_or_else(|error| told(error, args.write_out, true)),
        Snapshot::Compare(args) => {
            compared(args).unwrap_or_else(|error| told(error, args.common.write_out, false))
        }
        Snapshot::Rehearse(args) => {
            rehearsed(args).unwrap_or_else(|error| told(error, args.common.write_out, false))
        }
    }
}

/// Tells an error, of a command that writes or of one that does not.
fn told(error: Error, how: WriteOut, writes: bool) -> Exit {
    let error = match error {
        // Some of these have more to tell.
        Error::Rekey(error) if writes => return write_out::unwritten(&error, how),
        Error::Rekey(error) => return write_out::error(&error, how),
        error => error,
    };
    let there = matches!(&error, Error::Output(error) if error.is_there());
    let remedy = write_out::remedy_of_unwritten(error.remedy(), there || !writes);
    let (message, exit) = (error.to_string(), Exit::from(&error));
    Told { kind: error.kind(), message: &message, remedy: &remedy, exit }.tell(how, json!({}), "")
}

fn saved(args: &Save) -> Result<Exit, Error> {
    let Connecting { endpoints, dialer, .. } = args.connection.connecting()?;
    let [endpoint] = endpoints.as_slice() else { return Err(Error::OneEndpoint { given: endpoints.len() }) };
    signals::watch();
    let progress = args.telling.shown();
    let target = Target { output: args.output.clone(), replace: args.overwrite };
    let json = args.write_out == WriteOut::Json;
    if args.dry_run {
        let planned = live::run(plan(&dialer, endpoint, &target, &SystemDisk, &progress))?;
        drop(progress);
        return Ok(if json {
            write_out::json(&planned)
        } else {
            write_out::text(&live_text::planned(&planned, &target.output))
        });
    }
    let saved = live::run(save(&dialer, endpoint, &target, &SystemDisk, &progress));
    drop(progress);
    let saved = saved?;
    Ok(if json {
        write_out::json(&saved)
    } else if args.telling.messages.quiet {
        write_out::warn(&saved.member.alarms)
    } else {
        write_out::text(&live_text::saved(&saved))
    })
}

fn compared(args: &Compare) -> Result<Exit, Error> {
    let Connecting { mut endpoints, dialer, transport } = args.connection.connecting()?;
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = rules(&args.opening, &file, &source)?;
    signals::watch();
    let progress = args.telling.shown();
    let given = Given { file: &file, source: &source, rules: rules.as_ref() };
    let found = live::run(async {
        if args.cluster {
            endpoints = cluster::discover(&dialer, &endpoints, transport, &progress).await?;
        }
        compare(&dialer, &endpoints, given, &progress).await
    });
    drop(progress);
    let found = found?;
    let said = Said { how: args.common.write_out, quiet: args.telling.messages.quiet, before: &[] };
    Ok(said.tell(&found, &found))
}

fn rehearsed(args: &Rehearse) -> Result<Exit, Error> {
    let programs = Programs::find(args.etcd_bin_dir.as_deref())?;
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = rules(&args.opening, &file, &source)?;
    let user = args.who.user()?;
    signals::watch();
    let progress = args.telling.shown();
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
    let before = live_text::rehearsal(&found);
    let said = Said { how: args.common.write_out, quiet: args.telling.messages.quiet, before: &before };
    Ok(said.tell(&found, &found.compared))
}

/// What opens live values, and is to seal them: the configuration given, or
/// the one in the snapshot's record; nothing where no key was given.
fn rules(opening: &Opening, file: &SnapshotFile, source: &Source<'_>) -> Result<Option<Rules>, rekey::Error> {
    let Opening { encryption_config, keys } = opening;
    if encryption_config.is_none() && keys.decryption_config.is_empty() && keys.token_file.is_empty() {
        return Ok(None);
    }
    let pair = ((file, source), (file, source));
    let rules = inputs::proof(pair, encryption_config.as_ref(), keys, false)?.0;
    data_keys::prepare(&rules, Purpose::Prove)?;
    data_keys::fetch(file, source, &rules, false, &|| false)?;
    Ok(Some(rules))
}

/// How a comparison is told.
struct Said<'s> {
    how: WriteOut,
    quiet: bool,
    /// Rows before those of the comparison.
    before: &'s [live_text::Row],
}

impl Said<'_> {
    /// Tells what a comparison found, `whole` as JSON, and whether that is
    /// enough.
    fn tell(&self, whole: &impl Serialize, found: &Compared) -> Exit {
        let wrong = wrong(found);
        let exit = wrong.map_or(Exit::Done, |told| told.exit);
        if self.how == WriteOut::Json {
            // The result tells itself what is wrong; the code is that of the text.
            let written = write_out::json(whole);
            return if written == Exit::Done { exit } else { written };
        }
        if self.quiet && exit == Exit::Done {
            return write_out::warn(&found.warnings);
        }
        let written = write_out::text(&live_text::compared(found, self.before, self.how == WriteOut::Table));
        wrong.map_or(written, |told| told.tell(self.how, json!({}), ""))
    }
}

/// What is wrong with what a comparison found.
fn wrong(found: &Compared) -> Option<Told<'static>> {
    let (kind, exit) = ("verification", Exit::Verification);
    if found.equal_but_old_keys() {
        Some(Told {
            message: "the live etcd holds values that are not under the key that writes",
            remedy: "see that every kube-apiserver has the new configuration, then have it write them again; or rekey another snapshot",
            kind,
            exit,
        })
    } else if !found.equal {
        Some(Told {
            message: "the live etcd does not hold what the snapshot holds",
            remedy: "restore every member anew from this one file; if that was done, report this",
            kind,
            exit,
        })
    } else if !found.all_asked() {
        Some(Told {
            message: "the keys are those of the snapshot, but not every member could be asked for its hash",
            remedy: "see to the members named above and run it again, or leave their endpoints away",
            kind: "unreachable",
            exit: Exit::Live,
        })
    } else if found.unreadable() {
        Some(Told {
            message: "the live etcd holds what the snapshot holds, values that no key opens among them",
            remedy: "give the configuration with their keys as --decryption-config",
            kind: "unreadable",
            exit: Exit::CarriedOver,
        })
    } else {
        None
    }
}
