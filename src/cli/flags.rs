//! Flags that several commands have.

use clap::{Args as Flags, ValueEnum};
use std::path::PathBuf;

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
    /// K3s, RKE2: file with the server token, - for standard input; further ones open what earlier tokens sealed. Else `K3S_TOKEN_FILE`, `K3S_TOKEN`, `RKE2_TOKEN_FILE` or `RKE2_TOKEN`
    #[arg(long, value_name = "FILE")]
    pub token_file: Vec<PathBuf>,
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

/// Flags of every command that writes a snapshot.
#[derive(Debug, Flags)]
pub struct Rewrite {
    /// The `EncryptionConfiguration` of kube-apiserver; a K3s or RKE2 snapshot holds its own
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    pub encryption_config: Option<PathBuf>,
    /// Leave the configuration the output needs here, mode 0600
    #[arg(long, value_name = "FILE")]
    pub write_config: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    /// K3s, RKE2: go on whatever the stage; outputs that exist stay. With --encryption-config, where there is no stage, the same as --overwrite
    #[arg(short, long)]
    pub force: bool,
    /// Replace outputs that exist
    #[arg(long)]
    pub overwrite: bool,
    /// Say what would be done, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Carry over values that no key opens, unchanged; exit code 7 then
    #[arg(long)]
    pub keep_unreadable: bool,
    /// Leave out superseded revisions and deleted keys, as a compaction by etcd would
    #[arg(long)]
    pub compact: bool,
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

impl Rewrite {
    /// Whether outputs that exist are replaced. Who goes on whatever a
    /// cluster's stage has not said so; without a stage nothing else is meant.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.overwrite || (self.force && self.encryption_config.is_some())
    }
}
