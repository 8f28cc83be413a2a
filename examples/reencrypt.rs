//! Rekeys a snapshot from a program of your own: what `etcd-rekey reencrypt`
//! does, through the library.
//!
//! ```text
//! reencrypt SNAPSHOT NEW-CONFIGURATION OLD-CONFIGURATION OUTPUT
//! ```

use etcd_rekey::k3s::{Verb, change::Request};
use etcd_rekey::kube::EncryptionConfiguration;
use etcd_rekey::output::SystemDisk;
use etcd_rekey::rekey::{Options, Phase, Progress, Task, reencrypt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Tells each phase, and lets the run go on.
struct Told;

impl Progress for Told {
    fn phase(&self, phase: Phase, _: u64) {
        eprintln!("{} …", phase.name());
    }

    fn rewritten(&self, _: u64) {}
}

fn configuration(path: &Path) -> Result<EncryptionConfiguration, Box<dyn std::error::Error>> {
    // The text holds keys.
    let text = Zeroizing::new(std::fs::read_to_string(path)?);
    Ok(EncryptionConfiguration::parse(&text)?)
}

fn rekey([snapshot, new, old, output]: [PathBuf; 4]) -> Result<(), Box<dyn std::error::Error>> {
    let task = Task {
        request: Request {
            verb: Verb::Reencrypt { skip: false },
            force: false,
            provider: None,
            now: jiff::Timestamp::now(),
        },
        read: vec![configuration(&old)?],
        config: Some((new.clone(), configuration(&new)?)),
        tokens: Ok(Vec::new()),
        record_expected: false,
        etcd_prefix: "/registry".to_owned(),
    };
    // What was read must not be written over.
    let options = Options { output, sources: vec![new, old], ..Options::default() };
    let report = reencrypt(&snapshot, &task, &options, &SystemDisk, &Told)?;
    println!("{} current values and {} old revisions, proven", report.rewritten, report.rewritten_old);
    Ok(())
}

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let Ok(paths) = <[PathBuf; 4]>::try_from(paths) else {
        eprintln!("usage: reencrypt SNAPSHOT NEW-CONFIGURATION OLD-CONFIGURATION OUTPUT");
        return ExitCode::from(2);
    };
    match rekey(paths) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
