//! The command line's commands and flags.

use clap::{Args as Flags, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Re-encrypts every Kubernetes secret in an etcd snapshot with a new key,
/// offline, and proves it.
#[derive(Debug, Parser)]
#[command(name = "etcd-rekey", version, about, propagate_version = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a snapshot with every value under the first key of a configuration
    #[command(
        after_help = "Example:\n  etcd-rekey reencrypt snapshot.db --encryption-config new.yaml \\\n      --decryption-config old.yaml -o rekeyed.db"
    )]
    Reencrypt(Reencrypt),
    /// Prove that a snapshot holds what another one holds, under the key that writes now
    #[command(
        after_help = "Example:\n  etcd-rekey verify rekeyed.db --against snapshot.db \\\n      --encryption-config new.yaml --decryption-config old.yaml"
    )]
    Verify(Verify),
    /// Check trailer and structure, more strictly than bbolt does
    #[command(after_help = "Example:\n  etcd-rekey check snapshot.db")]
    Check(Check),
    /// Tell what is in a snapshot: values by resource, provider and key; old data in free pages
    #[command(after_help = "Example:\n  etcd-rekey status snapshot.db --encryption-config enc.yaml")]
    Status(Status),
    /// List the objects of a snapshot, and what seals them
    #[command(after_help = "Example:\n  etcd-rekey list snapshot.db --resource secrets")]
    List(List),
    /// Show one object of a snapshot; its content only with --reveal
    #[command(
        after_help = "Example:\n  etcd-rekey get snapshot.db default/my-secret --encryption-config enc.yaml --reveal"
    )]
    Get(Get),
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WriteOut {
    /// Text for people.
    Simple,
    /// Tables for people.
    Table,
    /// One JSON object on standard output.
    Json,
}

/// How progress is shown, on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, lines elsewhere.
    Auto,
    /// A bar.
    Bar,
    /// Lines.
    Plain,
    /// JSON, an event a line.
    Json,
    /// Nothing.
    None,
}

/// Flags of every command.
#[derive(Debug, Flags)]
pub struct Common {
    /// How to print the result
    #[arg(short = 'w', long, value_enum, default_value = "simple")]
    pub write_out: WriteOut,
    /// Take a file without a SHA-256 trailer: a copy of member/snap/db
    #[arg(long)]
    pub skip_hash_check: bool,
}

/// Where keys come from.
#[derive(Debug, Flags)]
pub struct Keys {
    /// EncryptionConfiguration with further keys for reading; may be given several times
    #[arg(long, value_name = "FILE")]
    pub decryption_config: Vec<PathBuf>,
    /// Prefix of Kubernetes' keys, as kube-apiserver's --etcd-prefix
    #[arg(long, value_name = "PREFIX", default_value = "/registry")]
    pub etcd_prefix: String,
}

/// How a long run behaves.
#[derive(Debug, Flags)]
pub struct Running {
    /// How to show progress
    #[arg(long, value_enum, default_value = "auto")]
    pub progress: ProgressMode,
    /// In plain mode, a line every so many values
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u64).range(1..))]
    pub progress_every: u64,
    /// Threads for opening and sealing values; 0 is one a core
    #[arg(long, value_name = "N", default_value = "0", value_parser = threads)]
    pub threads: usize,
}

/// More threads than this serve nothing.
fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= 1024 => Ok(n),
        _ => Err("a number from 0 to 1024".to_owned()),
    }
}

/// `reencrypt`.
#[derive(Debug, Flags)]
pub struct Reencrypt {
    /// The snapshot; it is not changed
    pub snapshot: PathBuf,
    /// The EncryptionConfiguration kube-apiserver will run with: its first keys write, all its keys read
    #[arg(long, value_name = "FILE")]
    pub encryption_config: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the output if it exists
    #[arg(long)]
    pub force: bool,
    /// Say what would be done, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Carry over values that no key opens, unchanged; exit code 7 then
    #[arg(long)]
    pub keep_unreadable: bool,
    /// Let sealed values become plaintext where the configuration says so
    #[arg(long)]
    pub allow_plaintext: bool,
    /// Do not prove the output; run `verify` on it yourself
    #[arg(long)]
    pub no_verify: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub running: Running,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `verify`.
#[derive(Debug, Flags)]
pub struct Verify {
    /// The rekeyed snapshot
    pub snapshot: PathBuf,
    /// The snapshot it was made from
    #[arg(long, value_name = "FILE")]
    pub against: PathBuf,
    /// The EncryptionConfiguration it was made with
    #[arg(long, value_name = "FILE")]
    pub encryption_config: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    /// Values no key opens were carried over on purpose
    #[arg(long)]
    pub keep_unreadable: bool,
    /// Sealed values became plaintext on purpose
    #[arg(long)]
    pub allow_plaintext: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub running: Running,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `check`.
#[derive(Debug, Flags)]
pub struct Check {
    /// The snapshot
    pub snapshot: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `status`.
#[derive(Debug, Flags)]
pub struct Status {
    /// The snapshot
    pub snapshot: PathBuf,
    /// EncryptionConfiguration whose keys are tried on every value
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `list`.
#[derive(Debug, Flags)]
pub struct List {
    /// The snapshot
    pub snapshot: PathBuf,
    /// EncryptionConfiguration whose keys are tried on every value
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    /// Only objects of this resource (secrets, deployments.apps …)
    #[arg(long, value_name = "RESOURCE")]
    pub resource: Option<String>,
    /// Superseded revisions as well
    #[arg(long)]
    pub revisions: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// `get`.
#[derive(Debug, Flags)]
pub struct Get {
    /// The snapshot
    pub snapshot: PathBuf,
    /// NAMESPACE/NAME of a secret, or a whole etcd key
    pub key: String,
    /// EncryptionConfiguration whose keys open it
    #[arg(long, value_name = "FILE")]
    pub encryption_config: Option<PathBuf>,
    /// The object as it was at this revision; the newest otherwise
    #[arg(long, value_name = "N")]
    pub revision: Option<i64>,
    /// Show the content: this prints a secret
    #[arg(long)]
    pub reveal: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
