//! Flags that several commands have.
#![allow(missing_docs, reason = "a flattened field would show its text as a flag's")]

use clap::{ArgAction, Args as Flags, ValueEnum};
use std::path::PathBuf;

/// Heading of the flags that name files.
pub const FILES: &str = "Files";
/// Heading of the flags that bring keys.
pub const KEYS: &str = "Keys";
/// Heading of the flags that say what an output holds.
pub const CONTENT: &str = "What goes into it";
/// Heading of the flags that choose among objects.
pub const FILTERS: &str = "Filters";
/// Heading of the flags that say how a command runs and speaks.
pub const RUNNING: &str = "Running";

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WriteOut {
    /// Text for people.
    #[value(alias = "text", alias = "fields")]
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

/// Flags of every command on a snapshot.
#[derive(Debug, Flags)]
pub struct Common {
    /// Result as simple, table or json
    #[arg(short = 'w', long, value_enum, value_name = "HOW", default_value = "simple", help_heading = RUNNING)]
    pub write_out: WriteOut,
    /// Take a copy of member/snap/db: it has no trailer
    #[arg(long, help_heading = RUNNING, hide_short_help = true)]
    pub skip_hash_check: bool,
}

/// How much is said.
#[derive(Debug, Clone, Copy, Flags)]
pub struct Messages {
    /// Tell each step, and how long it took
    #[arg(short, long, help_heading = RUNNING)]
    pub verbose: bool,
    /// Say nothing but results, warnings and errors
    ///
    /// No progress; of a run that goes well, no text either. -w json is printed all the same.
    #[arg(short, long, conflicts_with = "verbose", help_heading = RUNNING)]
    pub quiet: bool,
    /// Print help: -h short, --help with every flag
    #[arg(short, long, action = ArgAction::Help, help_heading = RUNNING)]
    pub help: Option<bool>,
}

/// Where keys come from.
#[derive(Debug, Flags)]
pub struct Keys {
    /// One more whose keys read; repeatable
    ///
    /// An EncryptionConfiguration with further keys for reading. May be given several times.
    #[arg(long, value_name = "FILE", help_heading = KEYS)]
    pub decryption_config: Vec<PathBuf>,
    /// K3s, RKE2: token, - is stdin; repeatable
    ///
    /// The file with the server token; further ones open what earlier tokens sealed. Without it K3S_TOKEN_FILE,
    /// K3S_TOKEN, RKE2_TOKEN_FILE and RKE2_TOKEN are looked at.
    #[arg(long, value_name = "FILE", help_heading = KEYS)]
    pub token_file: Vec<PathBuf>,
    /// A KMS plugin's socket here; repeatable
    ///
    /// NAME=unix:///PATH: where the KMS plugin of that name in a configuration is reached from here, if not at
    /// its endpoint. May be given several times.
    #[arg(long, value_name = "NAME=SOCKET", value_parser = kms_endpoint, help_heading = KEYS)]
    pub kms_endpoint: Vec<(String, String)>,
    /// As kube-apiserver's
    ///
    /// The prefix of Kubernetes' keys. Keys of other tenants are left alone.
    #[arg(long, value_name = "PREFIX", default_value = "/registry", help_heading = KEYS, hide_short_help = true)]
    pub etcd_prefix: String,
}

/// A plugin's name and its socket. A name may hold an equals sign.
fn kms_endpoint(text: &str) -> Result<(String, String), String> {
    let parts = text.rfind("=unix:").map(|at| (&text[..at], &text[at + 1..]));
    match parts {
        Some((name, endpoint)) if !name.is_empty() && crate::kube::kms::plugin::socket(endpoint).is_some() => {
            Ok((name.to_owned(), endpoint.to_owned()))
        }
        _ => Err("the name of a plugin, an equals sign and unix:///PATH".to_owned()),
    }
}

/// Flags of the commands that show what is in a snapshot.
#[derive(Debug, Flags)]
pub struct Reading {
    /// Configuration whose keys are tried on every value
    #[arg(long, value_name = "FILE", help_heading = KEYS)]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub messages: Messages,
}

/// How a long run behaves.
#[derive(Debug, Flags)]
pub struct Running {
    /// auto, bar, plain, json or none
    #[arg(long, value_enum, value_name = "HOW", default_value = "auto", help_heading = RUNNING)]
    pub progress: ProgressMode,
    /// Plain and json: a line every N values
    #[arg(
        long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u64).range(1..),
        help_heading = RUNNING, hide_short_help = true
    )]
    pub progress_every: u64,
    /// Threads; 0 is one a core
    #[arg(
        long, value_name = "N", default_value = "0", value_parser = threads,
        help_heading = RUNNING, hide_short_help = true
    )]
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
    /// Also write the configuration it needs
    ///
    /// The EncryptionConfiguration the output needs, mode 0600. Where a key is made and the snapshot holds no record
    /// of a K3s or RKE2 cluster, this is the only copy of the key.
    #[arg(long, value_name = "FILE", help_heading = FILES)]
    pub write_config: Option<PathBuf>,
    /// Also write an audit record, and FILE.sha256
    ///
    /// What was read, done, written and proven, as JSON, mode 0600; no secret is in it. `etcd-rekey verify --report
    /// FILE` holds the files against it, and so does `sha256sum -c FILE.sha256`, run in the folder FILE lies in.
    #[arg(long, value_name = "FILE", requires = "output", conflicts_with = "no_verify", help_heading = FILES)]
    pub report: Option<PathBuf>,
    /// Replace files that exist
    #[arg(long, help_heading = FILES)]
    pub overwrite: bool,
    /// Tell what would be done, and write nothing
    ///
    /// What would be rewritten, from which key to which, how many bytes, on which disk, in about how much time. What
    /// the run would refuse is refused.
    #[arg(long, help_heading = FILES)]
    pub dry_run: bool,
    /// kube-apiserver's EncryptionConfiguration
    ///
    /// A K3s or RKE2 snapshot holds its own.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file", help_heading = KEYS)]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    pub keys: Keys,
    /// Leave out superseded revisions and deleted keys
    ///
    /// As a compaction by etcd at the newest revision would.
    #[arg(long, requires = "output", help_heading = CONTENT)]
    pub compact: bool,
    /// Carry over what no key opens; exit code 7
    #[arg(long, requires = "output", help_heading = CONTENT)]
    pub keep_unreadable: bool,
    /// Leave the proof to a later `verify`
    #[arg(long, requires = "output", help_heading = CONTENT, hide_short_help = true)]
    pub no_verify: bool,
    /// K3s, RKE2: whatever the stage; else --overwrite
    ///
    /// Outputs that exist stay, unless --overwrite is given. With --encryption-config, where there is no stage, the
    /// same as --overwrite.
    #[arg(short, long, help_heading = CONTENT)]
    pub force: bool,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub running: Running,
    #[command(flatten)]
    pub messages: Messages,
}

impl Rewrite {
    /// Whether outputs that exist are replaced. Who goes on whatever a
    /// cluster's stage has not said so; without a stage nothing else is meant.
    #[must_use]
    pub fn replaces(&self) -> bool {
        self.overwrite || (self.force && self.encryption_config.is_some())
    }
}
