//! The data keys of KMS plugins, asked for before values are opened: many at
//! once, and each once.

use super::error::Error;
use super::rules::Rules;
use super::source::{SnapshotFile, Source};
use crate::etcd::history::Record;
use crate::kube::kms::PluginSealer;
use crate::kube::kms::envelope::Wrapped;
use crate::kube::kms::sealer::Purpose;
use std::collections::HashSet;
use std::sync::Arc;

/// Data keys asked for in one go.
const BATCH: usize = 4096;

/// A data key, by what it is found again.
type Wanted<'a> = ([u8; 32], Wrapped<'a>);

/// Prepares the plugins that write.
///
/// # Errors
/// [`Error::Kms`].
pub fn prepare(rules: &Rules, purpose: Purpose) -> Result<(), Error> {
    Ok(rules.keyring().plugins().try_for_each(|plugin| plugin.prepare(purpose))?)
}

/// Asks for the data keys of a snapshot's values; of those that are current
/// only, where the others need not be opened.
///
/// # Errors
/// [`Error::Snapshot`], [`Error::Interrupted`]; [`Error::Kms`] when a plugin
/// cannot be reached. One that does not give a data key is told of when the
/// value is opened.
pub fn fetch(
    file: &SnapshotFile,
    source: &Source<'_>,
    rules: &Rules,
    current_only: bool,
    stop: &(dyn Fn() -> bool + Sync),
) -> Result<(), Error> {
    let mut earlier: Vec<&Arc<PluginSealer>> = Vec::new();
    for plugin in rules.keyring().plugins().filter(|plugin| !plugin.writes()) {
        let mut fetching = Fetching { plugin, earlier: &earlier, batch: Vec::new(), seen: HashSet::new() };
        let (_, keys) = source.keys().map_err(|e| file.error(e))?;
        for (number, entry) in (0..).zip(keys.entries()) {
            let entry = entry.map_err(|e| file.error(e))?;
            if current_only && !source.history.is_live(number) {
                continue;
            }
            let record = Record::parse(number, &entry).map_err(|e| file.error(e))?;
            let sealed = record.kv.value.strip_prefix(plugin.prefix()).filter(|_| !record.revision.tombstone);
            if let Some(payload) = sealed.filter(|_| rules.path(record.kv.key).is_some()) {
                fetching.add(payload, stop)?;
            }
        }
        fetching.ask(stop)?;
        earlier.push(plugin);
    }
    Ok(())
}

/// One plugin's data keys, on the way through a snapshot.
struct Fetching<'f, 'a> {
    plugin: &'f PluginSealer,
    /// Those tried before it on values of the same name.
    earlier: &'f [&'f Arc<PluginSealer>],
    batch: Vec<Wanted<'a>>,
    seen: HashSet<[u8; 32]>,
}

impl<'a> Fetching<'_, 'a> {
    fn add(&mut self, payload: &'a [u8], stop: &(dyn Fn() -> bool + Sync)) -> Result<(), Error> {
        let remote = self.plugin.remote();
        let Ok(wrapped) = self.plugin.wrapped(payload) else { return Ok(()) };
        let fingerprint = wrapped.fingerprint();
        let opened = |plugin: &&Arc<PluginSealer>| {
            plugin.prefix() == self.plugin.prefix()
                && matches!(plugin.remote().known(&fingerprint), Some(Ok(_)))
        };
        if remote.known(&fingerprint).is_some() || self.earlier.iter().any(opened) {
            return Ok(());
        }
        if !remote.has_room() {
            remote.passed_over(1);
            return Ok(());
        }
        if self.seen.insert(fingerprint) {
            self.batch.push((fingerprint, wrapped));
        }
        if self.batch.len() >= BATCH { self.ask(stop) } else { Ok(()) }
    }

    fn ask(&mut self, stop: &(dyn Fn() -> bool + Sync)) -> Result<(), Error> {
        let remote = self.plugin.remote();
        remote.fetch(&self.batch, stop);
        self.batch.clear();
        self.seen.clear();
        if stop() {
            return Err(Error::Interrupted);
        }
        remote.failure().map_or(Ok(()), |failure| Err(failure.clone().into()))
    }
}

/// Whether the plugins did their part to the end. What a plugin out of reach
/// left unopened must not be taken for unreadable.
///
/// # Errors
/// [`Error::Kms`].
pub fn reached(rules: &Rules) -> Result<(), Error> {
    let failure = rules.keyring().plugins().find_map(|plugin| plugin.remote().failure());
    failure.map_or(Ok(()), |failure| Err(failure.clone().into()))
}

/// Whether the plugins that write are still what they were.
///
/// # Errors
/// [`Error::Kms`].
pub fn confirm(rules: &Rules) -> Result<(), Error> {
    Ok(rules.keyring().plugins().try_for_each(|plugin| plugin.confirm())?)
}
