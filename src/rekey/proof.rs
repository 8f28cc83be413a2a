//! What an output is verified by, told from the two files.

use super::error::Error;
use super::readable::Readers;
use super::rules::Rules;
use super::source::{SnapshotFile, Source};
use super::task::gather;
use crate::k3s::proof::Proof;
use crate::k3s::{self, RECORD, Stage, Token};
use crate::kube::EncryptionConfiguration;
use std::path::PathBuf;

/// What is known besides the files.
pub struct Given {
    /// The configuration, of a snapshot without a record.
    pub config: Option<(PathBuf, EncryptionConfiguration)>,
    /// Further configurations, whose keys open values.
    pub read: Vec<EncryptionConfiguration>,
    /// Server tokens, or why there are none.
    pub tokens: Result<Vec<Token>, k3s::Error>,
    /// Prefix of Kubernetes' keys.
    pub etcd_prefix: String,
    /// Whether superseded revisions were left out.
    pub compacted: bool,
}

/// What an output is to be verified by: a configuration or, where input and
/// output hold a record, what the record of the output says.
///
/// # Errors
/// [`Error`].
pub fn of(
    (input_file, input): (&SnapshotFile, &Source<'_>),
    (output_file, output): (&SnapshotFile, &Source<'_>),
    given: Given,
) -> Result<(Rules, Option<Proof>), Error> {
    let Given { config, mut read, tokens, etcd_prefix, compacted } = given;
    let before = gather(input_file, input, &etcd_prefix)?;
    if !before.holds_record() {
        let Some((path, config)) = config else { return Err(Error::NoConfig) };
        let rules = Rules::writing(&config, &read, &etcd_prefix);
        return Ok((rules.map_err(|source| Error::Config { file: path, source })?, None));
    }
    if config.is_some() {
        return Err(Error::ConfigBesideRecord);
    }
    let tokens = tokens?;
    let before = before.open(&tokens)?;
    let after = gather(output_file, output, &etcd_prefix)?.open(&tokens)?;
    read.extend(before.configs());
    let is = after.current()?;
    let (Some(config), Some(state)) = (is.config, is.state) else {
        let nothing = "the output's record holds no encryption configuration".to_owned();
        return Err(Error::Verification { differences: vec![nothing] });
    };
    if state.hash != k3s::stage::config_hash(&is.bytes) {
        let wrong = "the output's record holds a stage whose hash is not the configuration's".to_owned();
        return Err(Error::Verification { differences: vec![wrong] });
    }
    // `prepare` and `rotate` change the current record, and nothing else.
    let half = matches!(state.known(), Some(Stage::Prepare | Stage::Rotate));
    let all = !half || more_changed((input_file, input), (output_file, output))?;
    let rules = if all {
        Rules::writing(&config, &read, &etcd_prefix)
    } else {
        read.insert(0, config.clone());
        Rules::reading(&read, &etcd_prefix)
    };
    let rules = rules.map_err(k3s::Error::Config)?;
    if !all {
        let readers = Readers::of(config, (!compacted).then(|| after.configs()), &etcd_prefix)?;
        let lost = readers.cannot_open(output_file, output, &rules)?;
        let lost = lost.iter().take(100);
        let differences: Vec<_> = lost
            .map(|value| format!("{} at revision {}: no key of the record opens it", value.key, value.revision))
            .collect();
        if !differences.is_empty() {
            return Err(Error::Verification { differences });
        }
    }
    Ok((rules, Some(Proof { tokens, config: is.bytes, state, all })))
}

/// Whether anything but the current revision of the record changed.
fn more_changed(
    (input_file, input): (&SnapshotFile, &Source<'_>),
    (output_file, output): (&SnapshotFile, &Source<'_>),
) -> Result<bool, Error> {
    let (_, ours) = input.keys().map_err(|e| input_file.error(e))?;
    let (_, theirs) = output.keys().map_err(|e| output_file.error(e))?;
    let mut ours = ours.entries();
    for (number, theirs) in (0..).zip(theirs.entries()) {
        let theirs = theirs.map_err(|e| output_file.error(e))?;
        // Of a compacted output entries are missing, and none is new.
        let same = loop {
            match ours.next().transpose().map_err(|e| input_file.error(e))? {
                Some(entry) if entry.key < theirs.key => {}
                found => break found.filter(|entry| entry.key == theirs.key),
            }
        };
        let Some(same) = same else { continue };
        if same.value == theirs.value {
            continue;
        }
        let record = crate::etcd::history::Record::parse(number, &theirs).map_err(|e| output_file.error(e))?;
        if !(record.kv.key.starts_with(RECORD) && output.history.is_live(number)) {
            return Ok(true);
        }
    }
    Ok(false)
}
