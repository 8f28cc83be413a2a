//! The command line: the only room that talks to a terminal.

mod args;
mod check;
mod core_dumps;
mod exit;
mod filter;
mod get;
mod inputs;
mod list;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "live")]
mod live_flags;
#[cfg(feature = "live")]
mod live_text;
mod manual;
mod next_steps;
mod progress;
mod record_status;
mod rewrite;
mod signals;
mod status;
mod summary;
mod table;
mod usage;
mod verify;
mod wanted;
#[cfg(not(feature = "live"))]
mod without_live;
mod write_out;

use crate::k3s::Verb;
pub use args::Args;
use args::Command;
use clap::{CommandFactory, FromArgMatches};
pub use exit::Exit;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a command line.
#[must_use]
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words = usage::of_other_programs(words.collect());
    if let Some(exit) = usage::elsewhere(&words) {
        return exit.into();
    }
    let brief = words.iter().any(|word| word == "-h");
    let parser = args::help::for_terminal(Args::command(), brief);
    let parsed = parser.try_get_matches_from(&words).and_then(|found| Args::from_arg_matches(&found));
    match parsed {
        Ok(args) => command(&args),
        Err(error) if error.use_stderr() => usage::error(&error, &words).into(),
        // Help, or the version: that is what was asked for.
        Err(text) => write_out::text(&text.render().to_string()).into(),
    }
}

fn command(args: &Args) -> ExitCode {
    core_dumps::switch_off();
    signals::outlive_size_limit();
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
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::man(args),
    };
    exit.into()
}
