//! Parses the command line, runs it, and ends with its exit code.

use clap::Parser;
use etcd_rekey::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(&cli::Args::parse())
}
