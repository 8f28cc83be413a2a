//! The command line: the only room that talks to a terminal.

mod args;
mod check;
mod core_dumps;
mod exit;
mod flags;
mod get;
mod inputs;
mod list;
mod next_steps;
mod progress;
mod record_status;
mod rewrite;
mod signals;
mod status;
mod summary;
mod verify;
mod write_out;

use crate::k3s::Verb;
pub use args::Args;
use args::Command;
pub use exit::Exit;
use std::process::ExitCode;

/// Runs a parsed command line.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
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
    };
    exit.into()
}
