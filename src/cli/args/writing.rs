//! Commands that write.
#![allow(missing_docs, reason = "a flattened field would show its text as a flag's")]

use super::flags::{CONTENT, FILES, Rewrite};
use clap::{Args as Flags, ValueEnum};
use std::path::PathBuf;

/// `reencrypt`.
#[derive(Debug, Flags)]
pub struct Reencrypt {
    /// The snapshot; it is not changed
    pub snapshot: PathBuf,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE", help_heading = FILES)]
    pub output: PathBuf,
    #[command(flatten)]
    pub rewrite: Rewrite,
    /// Let sealed values become plaintext
    ///
    /// Where the configuration writes a resource as plaintext, a run that meets sealed values of it is refused
    /// without this.
    #[arg(long, help_heading = CONTENT, hide_short_help = true)]
    pub allow_plaintext: bool,
    /// K3s, RKE2: keep the old key in the record
    #[arg(long, help_heading = CONTENT, hide_short_help = true)]
    pub skip: bool,
}

/// `rotate-keys`, `enable`.
#[derive(Debug, Flags)]
pub struct RotateKeys {
    /// The snapshot; it is not changed
    pub snapshot: PathBuf,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE", help_heading = FILES)]
    pub output: PathBuf,
    #[command(flatten)]
    pub rewrite: Rewrite,
    /// Of the new key: aescbc or secretbox; else as now
    ///
    /// The provider of the key that is made; without this, the one in use.
    #[arg(long, value_enum, value_name = "P", help_heading = CONTENT)]
    pub secrets_encryption_provider: Option<KeyProvider>,
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
    #[arg(short, long, value_name = "FILE", help_heading = FILES)]
    pub output: PathBuf,
    #[command(flatten)]
    pub rewrite: Rewrite,
}

/// `prepare`, `rotate`.
#[derive(Debug, Flags)]
pub struct Step {
    /// A K3s or RKE2 snapshot; it is not changed
    #[arg(requires = "output")]
    pub snapshot: Option<PathBuf>,
    /// The snapshot to write
    #[arg(short, long, value_name = "FILE", requires = "snapshot", help_heading = FILES)]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub rewrite: Rewrite,
}
