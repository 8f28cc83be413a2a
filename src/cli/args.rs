//! The command line's commands.

pub mod flags;
pub mod help;
mod reading;
mod writing;

pub use reading::{Check, Get, List, Status, Verify};
pub use writing::{Disable, KeyProvider, Reencrypt, RotateKeys, Step};

use clap::{Args as Flags, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;

/// Re-encrypt every Kubernetes secret in an etcd snapshot with a new key,
/// offline, and prove it
#[derive(Debug, Parser)]
#[command(name = "etcd-rekey", version, about, after_help = help::PROGRAM)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a snapshot sealed with the first key of a configuration
    #[command(after_help = help::REENCRYPT, alias = "re-encrypt", disable_help_flag = true)]
    Reencrypt(Reencrypt),
    /// Make a new key, seal every value with it, drop the old keys
    #[command(after_help = help::ROTATE_KEYS, alias = "rotate-key", disable_help_flag = true)]
    RotateKeys(RotateKeys),
    /// Add a second key to the record of a K3s snapshot, or to a configuration
    #[command(after_help = help::PREPARE, disable_help_flag = true)]
    Prepare(Step),
    /// Make the second key the one that writes
    #[command(after_help = help::ROTATE, disable_help_flag = true)]
    Rotate(Step),
    /// Seal what is plaintext, and write the configuration that says so
    #[command(after_help = help::ENABLE, disable_help_flag = true)]
    Enable(RotateKeys),
    /// Make plaintext of everything, and write the configuration that says so
    #[command(after_help = help::DISABLE, disable_help_flag = true)]
    Disable(Disable),
    /// Prove that a snapshot holds what the one it was made from holds
    #[command(after_help = help::VERIFY, disable_help_flag = true)]
    Verify(Verify),
    /// Check trailer, pages, trees and records of a snapshot
    #[command(after_help = help::CHECK, disable_help_flag = true)]
    Check(Check),
    /// Tell what a snapshot holds, and which keys seal it
    #[command(after_help = help::STATUS, disable_help_flag = true)]
    Status(Status),
    /// List the objects of a snapshot, and what seals each
    #[command(after_help = help::LIST, alias = "ls", disable_help_flag = true)]
    List(List),
    /// Show one object of a snapshot; its content only with --reveal
    #[command(after_help = help::GET, disable_help_flag = true)]
    Get(Get),
    /// Save from a live etcd, compare one with a snapshot, rehearse a restore
    #[cfg(feature = "live")]
    #[command(subcommand, after_help = help::SNAPSHOT)]
    Snapshot(super::live_flags::Snapshot),
    /// Not in this binary: it was built without the feature `live`
    #[cfg(not(feature = "live"))]
    Snapshot(super::without_live::Words),
    /// Print the completions of a shell
    #[command(after_help = help::COMPLETIONS, alias = "completion")]
    Completions(Completions),
    /// Print a manual page, or write all of them
    #[command(after_help = help::MAN)]
    Man(Man),
}

/// `completions`.
#[derive(Debug, Flags)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `man`.
#[derive(Debug, Flags)]
pub struct Man {
    /// The command whose page is printed; without one, the program's
    #[arg(conflicts_with = "dir")]
    pub of: Option<String>,
    /// Write a page a command into this directory instead
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
