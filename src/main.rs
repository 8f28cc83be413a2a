//! Parses the command line, runs it, and ends with its exit code.

use etcd_rekey::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
