//! The verbs that write a snapshot: `reencrypt`, `rotate-keys`, `prepare`,
//! `rotate`, `enable`, `disable`.

use super::args::flags::{Rewrite, WriteOut};
use super::args::{Disable, KeyProvider, Reencrypt, RotateKeys, Step};
use super::progress::Shown;
use super::{Exit, inputs, signals, summary, write_out};
use crate::k3s::Verb;
use crate::k3s::change::Request;
use crate::kube::Provider;
use crate::output::{Output, SystemDisk};
use crate::rekey::{Error, Options, Report, Task, reencrypt as rekey, task};
use jiff::Timestamp;
use serde::Serialize;
use std::path::Path;
use zeroize::Zeroizing;

/// `reencrypt`.
pub fn reencrypt(args: &Reencrypt) -> Exit {
    let how = How { allow_plaintext: args.allow_plaintext, ..How::of(Verb::Reencrypt { skip: args.skip }) };
    how.run(&args.snapshot, &args.output, &args.rewrite)
}

/// `rotate-keys` and `enable`.
pub fn with_key(verb: Verb, args: &RotateKeys) -> Exit {
    let provider = args.secrets_encryption_provider.map(|provider| match provider {
        KeyProvider::Aescbc => Provider::Aescbc,
        KeyProvider::Secretbox => Provider::Secretbox,
    });
    How { provider, ..How::of(verb) }.run(&args.snapshot, &args.output, &args.rewrite)
}

/// `disable`: plaintext is what was asked for.
pub fn disable(args: &Disable) -> Exit {
    let how = How { allow_plaintext: true, ..How::of(Verb::Disable) };
    how.run(&args.snapshot, &args.output, &args.rewrite)
}

/// `prepare` and `rotate`, of a snapshot's record or of a configuration alone.
pub fn step(verb: Verb, args: &Step) -> Exit {
    match (&args.snapshot, &args.output) {
        (Some(snapshot), Some(output)) => How::of(verb).run(snapshot, output, &args.rewrite),
        _ => match configuration(verb, &args.rewrite) {
            Ok(done) if args.rewrite.common.write_out == WriteOut::Json => write_out::json(&done),
            Ok(_) if args.rewrite.messages.quiet => Exit::Done,
            Ok(done) => write_out::text(&done.text()),
            Err(error) => write_out::unwritten(&error, args.rewrite.common.write_out),
        },
    }
}

/// A step taken in a configuration file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configured {
    verb: &'static str,
    config: String,
    dry_run: bool,
    #[serde(skip)]
    next: &'static str,
}

impl Configured {
    fn text(&self) -> String {
        let did = if self.dry_run { "would write" } else { "wrote" };
        format!("{did} {}: {}\n", self.config, self.next)
    }
}

/// Takes a step in a configuration file.
fn configuration(verb: Verb, args: &Rewrite) -> Result<Configured, Error> {
    let Some(path) = &args.encryption_config else {
        // A token is for a snapshot: that is what is missing.
        let token = !args.keys.token_file.is_empty();
        return Err(if token { Error::NoSnapshot { verb: verb.name() } } else { Error::NoConfig });
    };
    let to = args.write_config.as_ref().ok_or(Error::NoWriteConfig { verb: verb.name() })?;
    let changed = task::changed(&inputs::config(path)?, &How::of(verb).request(args))?;
    let text = Zeroizing::new(changed.to_yaml().as_bytes().to_vec());
    let source = std::fs::metadata(path).map_err(|source| Error::Open { file: path.clone(), source })?;
    let need = u64::try_from(text.len()).unwrap_or(0);
    if args.dry_run {
        Output::look(&SystemDisk, to, &[source], need, args.replaces())?;
    } else {
        let mut output = Output::begin(&SystemDisk, to, &[source], need, args.replaces())?;
        output.write_all_at(&text, 0)?;
        output.publish()?;
    }
    let next = match verb {
        Verb::Prepare => {
            "with a new key behind the one that writes\nNext: put it in place on every control plane and restart each kube-apiserver; then `etcd-rekey rotate`"
        }
        _ => {
            "the new key writes now, the old one still reads\nNext: put it in place on every control plane and restart each kube-apiserver; then take a snapshot and `etcd-rekey reencrypt` it"
        }
    };
    Ok(Configured { verb: verb.name(), config: to.display().to_string(), dry_run: args.dry_run, next })
}

/// How a verb is to be done.
struct How {
    verb: Verb,
    provider: Option<Provider>,
    allow_plaintext: bool,
}

impl How {
    fn of(verb: Verb) -> Self {
        Self { verb, provider: None, allow_plaintext: false }
    }

    fn request(&self, args: &Rewrite) -> Request {
        Request { verb: self.verb, force: args.force, provider: self.provider, now: Timestamp::now() }
    }

    fn run(&self, snapshot: &Path, output: &Path, args: &Rewrite) -> Exit {
        let write_out = args.common.write_out;
        match self.rekey(snapshot, output, args) {
            Ok(report) => {
                let carried_over = !report.carried_over.is_empty() || !report.carried_over_records.is_empty();
                let exit = if write_out == WriteOut::Json {
                    write_out::json(&report)
                } else if args.messages.quiet {
                    write_out::warn(&report.warnings)
                } else {
                    write_out::text(&summary::text(&report, args, self.verb, output))
                };
                if exit == Exit::Done && carried_over { Exit::CarriedOver } else { exit }
            }
            Err(error) => write_out::unwritten(&error, write_out),
        }
    }

    fn rekey(&self, snapshot: &Path, output: &Path, args: &Rewrite) -> Result<Report, Error> {
        // K3s goes by the name alone.
        if output.extension().is_some_and(|extension| extension == "zip") {
            return Err(Error::NamedAsArchive { file: output.to_owned() });
        }
        let inputs::Configs { first, read } = inputs::configs(args.encryption_config.as_deref(), &args.keys)?;
        let config = args.encryption_config.clone().zip(first);
        // Without a record the new configuration has to go somewhere.
        let plain = matches!(self.verb, Verb::Reencrypt { .. });
        if config.is_some() && !plain && args.write_config.is_none() {
            return Err(Error::NoWriteConfig { verb: self.verb.name() });
        }
        let only_secrets = config.as_ref().is_none_or(|(_, config)| {
            crate::kube::Precedence::of(config).is_ok_and(|precedence| precedence.only_secrets())
        });
        let inputs::Tokens { tokens, files } = inputs::tokens(&args.keys.token_file)?;
        let task = Task {
            request: self.request(args),
            config,
            read,
            tokens,
            record_expected: !args.keys.token_file.is_empty(),
            etcd_prefix: args.keys.etcd_prefix.clone(),
        };
        let configs = args.encryption_config.iter().chain(&args.keys.decryption_config);
        // A variable may name a file that nobody can look at.
        let given = !args.keys.token_file.is_empty();
        let token_files = files.iter().filter(|path| given || path.exists());
        let options = Options {
            output: output.to_owned(),
            force: args.replaces(),
            skip_hash_check: args.common.skip_hash_check,
            allow_plaintext: self.allow_plaintext,
            keep_unreadable: args.keep_unreadable,
            dry_run: args.dry_run,
            no_verify: args.no_verify,
            compact: args.compact,
            write_config: args.write_config.clone(),
            report: args.report.clone(),
            sources: configs.chain(token_files).cloned().collect(),
            threads: args.running.threads,
        };
        // What was read so far may have been a pipe, where only a signal that
        // ends the program helps; from here on a run cleans up behind itself.
        signals::watch();
        let progress =
            Shown::new(&args.running, args.messages, if only_secrets { "secrets" } else { "values" });
        rekey(snapshot, &task, &options, &SystemDisk, &progress)
    }
}
