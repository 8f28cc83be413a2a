//! The command line: the only room that talks to a terminal.

mod args;
mod check;
mod core_dumps;
mod exit;
mod flags;
mod get;
mod inputs;
mod list;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "live")]
mod live_flags;
#[cfg(feature = "live")]
mod live_text;
mod next_steps;
mod progress;
mod record_status;
mod rewrite;
mod signals;
mod status;
mod summary;
mod verify;
#[cfg(not(feature = "live"))]
mod without_live;
mod write_out;

use crate::k3s::Verb;
pub use args::Args;
use args::Command;
use clap::Parser;
pub use exit::Exit;
use serde_json::json;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a command line.
#[must_use]
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    match Args::try_parse_from(&words) {
        Ok(args) => command(&args),
        // Whoever asked for JSON gets it, also of this.
        Err(error) if error.use_stderr() && asks_for_json(&words) => {
            let message = error.render().to_string();
            let message = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let object = json!({ "error": {
                "kind": "usage", "message": message, "remedy": "see --help", "exitCode": Exit::Usage.code(),
            }});
            let told = write_out::json(&object);
            if told == Exit::Done { Exit::Usage.into() } else { told.into() }
        }
        Err(error) => error.exit(),
    }
}

/// Whether a command line that could not be parsed asks for JSON.
fn asks_for_json(words: &[OsString]) -> bool {
    let joined = ["-wjson", "-w=json", "--write-out=json"];
    let apart = |pair: &[OsString]| (pair[0] == "-w" || pair[0] == "--write-out") && pair[1] == "json";
    words.iter().any(|word| joined.iter().any(|json| word == json)) || words.windows(2).any(apart)
}

fn command(args: &Args) -> ExitCode {
    core_dumps::switch_off();
    let exit = match &args.command {
        Command::Reencrypt(args) => rewrite::reencrypt(args),
        Command::RotateKeys(args) => rewrite::with_key(Verb::RotateKeys, args),
        Command::Prepare(args) => rewrite::step(Verb::Prepare, args),
        Command::Rotate(args) => rewrite::step(Verb::Rotate, args),
        Command::Enable(args) => rewrite::with_key(Verb::Enable, args),
        Command::Disable(args) => rewrite::disable(args),
        Command::Verify(args) => verify::run(args),
        Command::Check(args) => check::run(args),
        Command::Status(args) => status::run(args),
        Command::List(args) => list::run(args),
        Command::Get(args) => get::run(args),
        #[cfg(feature = "live")]
        Command::Snapshot(args) => live::run(args),
        #[cfg(not(feature = "live"))]
        Command::Snapshot(args) => without_live::run(args),
    };
    exit.into()
}
