//! The command line: the only room that talks to a terminal.

mod args;
mod check;
mod exit;
mod get;
mod inputs;
mod list;
mod progress;
mod reencrypt;
mod signals;
mod status;
mod verify;
mod write_out;

pub use args::Args;
use args::Command;
pub use exit::Exit;
use std::process::ExitCode;

/// Runs a parsed command line.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let exit = match &args.command {
        Command::Reencrypt(args) => reencrypt::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Check(args) => check::run(args),
        Command::Status(args) => status::run(args),
        Command::List(args) => list::run(args),
        Command::Get(args) => get::run(args),
    };
    exit.into()
}
