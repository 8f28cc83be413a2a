//! The command line's commands and flags.

pub use super::flags::{Common, Keys, ProgressMode, Rewrite, Running, WriteOut};
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
    /// Make a new key, write a snapshot with every value under it, prove it, drop the old keys
    #[command(
        after_help = "Examples:\n  K3s, RKE2: etcd-rekey rotate-keys on-demand-server-1-1764000000 --token-file token -o rekeyed\n  others:    etcd-rekey rotate-keys snapshot.db --encryption-config enc.yaml \\\n                 --write-config new.yaml -o rekeyed.db"
    )]
    RotateKeys(RotateKeys),
    /// Add a second key: to the record of a K3s snapshot, or to a configuration
    #[command(
        after_help = "Examples:\n  etcd-rekey prepare SNAPSHOT --token-file token -o prepared\n  etcd-rekey prepare --encryption-config enc.yaml --write-config prepared.yaml"
    )]
    Prepare(Step),
    /// Make the second key the one that writes: in the record of a K3s snapshot, or in a configuration
    #[command(
        after_help = "Examples:\n  etcd-rekey rotate prepared --token-file token -o rotated\n  etcd-rekey rotate --encryption-config prepared.yaml --write-config rotated.yaml"
    )]
    Rotate(Step),
    /// Seal what is plaintext, and write the configuration that says so
    #[command(after_help = "Example:\n  etcd-rekey enable SNAPSHOT --token-file token -o sealed")]
    Enable(RotateKeys),
    /// Make plaintext of everything, and write the configuration that says so
    #[command(after_help = "Example:\n  etcd-rekey disable SNAPSHOT --token-file token -o plain")]
    Disable(Disable),
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
    /// Save a snapshot from a live etcd, compare one with a restored cluster, rehearse a restore
    #[cfg(feature = "live")]
    #[command(subcommand)]
    Snapshot(super::live_flags::Snapshot),
    /// Not in this binary: it was built without the feature `live`
    #[cfg(not(feature = "live"))]
    Snapshot(super::without_live::Words),
}

/// `reencrypt`.
#[derive(Debug, Flags)]
pub struct Reencrypt {
    /// The snapshot; it is not changed
    pub snapshot: PathBuf,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// K3s, RKE2: keep the old key in the record
    #[arg(long)]
    pub skip: bool,
    /// Let sealed values become plaintext where the configuration says so
    #[arg(long)]
    pub allow_plaintext: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rewrite: Rewrite,
}

/// `rotate-keys`, `enable`.
#[derive(Debug, Flags)]
pub struct RotateKeys {
    /// The snapshot; it is not changed
    pub snapshot: PathBuf,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The provider of the key; the one in use otherwise
    #[arg(long, value_enum, value_name = "PROVIDER")]
    pub secrets_encryption_provider: Option<KeyProvider>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rewrite: Rewrite,
}

/// Providers K3s makes keys of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyProvider {
    /// AES-CBC.
    Aescbc,
    /// XSalsa20 and Poly1305.
    Secretbox,
}

/// `disable`.
#[derive(Debug, Flags)]
pub struct Disable {
    /// The snapshot; it is not changed
    pub snapshot: PathBuf,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rewrite: Rewrite,
}

/// `prepare`, `rotate`.
#[derive(Debug, Flags)]
pub struct Step {
    /// A K3s or RKE2 snapshot; it is not changed
    #[arg(requires = "output")]
    pub snapshot: Option<PathBuf>,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE", requires = "snapshot")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub rewrite: Rewrite,
}

/// `verify`.
#[derive(Debug, Flags)]
pub struct Verify {
    /// The rekeyed snapshot
    pub snapshot: PathBuf,
    /// The snapshot it was made from
    #[arg(long, value_name = "FILE")]
    pub against: PathBuf,
    /// The EncryptionConfiguration it was made with; a K3s or RKE2 snapshot holds its own
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    pub encryption_config: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: Keys,
    /// Values no key opens were carried over on purpose
    #[arg(long)]
    pub keep_unreadable: bool,
    /// Sealed values became plaintext on purpose
    #[arg(long)]
    pub allow_plaintext: bool,
    /// Superseded revisions and deleted keys were left out on purpose
    #[arg(long)]
    pub compact: bool,
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
    /// K3s, RKE2: encryption-config.json of a server, to be compared with the record; may be given several times
    #[arg(long, value_name = "FILE")]
    pub server_config: Vec<PathBuf>,
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
