//! Configurations and snapshots, read from the files the flags name.

use super::args::Keys;
use crate::kube::EncryptionConfiguration;
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{Error, Rules};
use std::path::Path;
use zeroize::Zeroizing;

/// Reads an EncryptionConfiguration.
///
/// # Errors
/// [`Error::Open`], [`Error::Config`].
pub fn config(path: &Path) -> Result<EncryptionConfiguration, Error> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| Error::Open { file: path.to_owned(), source })?;
    let parsed = EncryptionConfiguration::parse(&text);
    let parsed = parsed.map_err(|source| Error::Config { file: path.to_owned(), source })?;
    // The precedence rules are part of what upstream refuses to load.
    crate::kube::Precedence::of(&parsed)
        .map(|_| parsed)
        .map_err(|source| Error::Config { file: path.to_owned(), source })
}

/// Rules for a rewrite.
///
/// # Errors
/// As [`config`].
pub fn writing(write: &Path, keys: &Keys) -> Result<Rules, Error> {
    let written = config(write)?;
    let read = keys.decryption_config.iter().map(|path| config(path)).collect::<Result<Vec<_>, _>>()?;
    Rules::writing(&written, &read, &keys.etcd_prefix)
        .map_err(|source| Error::Config { file: write.to_owned(), source })
}

/// Rules for reading alone.
///
/// # Errors
/// As [`config`].
pub fn reading(config_file: Option<&Path>, keys: &Keys) -> Result<Rules, Error> {
    let files = config_file.into_iter().chain(keys.decryption_config.iter().map(AsRef::as_ref));
    let read = files.map(config).collect::<Result<Vec<_>, _>>()?;
    Rules::reading(&read, &keys.etcd_prefix)
        .map_err(|source| Error::Config { file: config_file.unwrap_or(Path::new("-")).to_owned(), source })
}

/// Reads a snapshot whose trailer is verified first.
///
/// # Errors
/// [`Error::Snapshot`], [`Error::Interrupted`].
pub fn verified(file: &SnapshotFile, unused_bytes: bool) -> Result<Source<'_>, Error> {
    let go_on = || super::signals::received().is_none();
    match file.snapshot()?.verify_trailer(go_on) {
        Ok(Some(_)) => file.read(unused_bytes),
        Ok(None) => Err(Error::Interrupted),
        Err(mismatch) => Err(file.error(mismatch)),
    }
}
