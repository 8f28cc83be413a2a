//! What a run is told, and what that means for one snapshot: the keys come
//! from a K3s record where the snapshot has one, else from configurations.

use super::error::Error;
use super::plan::Besides;
use super::readable::Readers;
use super::report::{KeysReport, RecordReport, SealReport};
use super::rules::{MOST_KEYS, Rules};
use super::source::{SnapshotFile, Source};
use crate::bolt::entries_of;
use crate::etcd::history::Record;
use crate::k3s::change::Request;
use crate::k3s::cluster::Gathering;
use crate::k3s::proof::Proof;
use crate::k3s::{self, Cluster, Token, Verb};
use crate::kube::rotation::NewKeys;
use crate::kube::{EncryptionConfiguration, Provider};
use jiff::Timestamp;
use rayon::prelude::*;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What a run is told.
pub struct Task {
    /// The verb, and how it is to be done.
    pub request: Request,
    /// The configuration, for a snapshot without a record.
    pub config: Option<(PathBuf, EncryptionConfiguration)>,
    /// Further configurations, whose keys open values.
    pub read: Vec<EncryptionConfiguration>,
    /// Server tokens, or why there are none: a snapshot without a record asks
    /// for none.
    pub tokens: Result<Vec<Token>, k3s::Error>,
    /// Whether a snapshot without a record is refused.
    pub record_expected: bool,
    /// Prefix of Kubernetes' keys.
    pub etcd_prefix: String,
}

/// What that means for a snapshot.
pub struct Prepared {
    /// How values are to be sealed, and what opens them.
    pub rules: Rules,
    /// The record's new values.
    pub besides: Besides,
    /// What the record must have become.
    pub proof: Option<Proof>,
    /// What becomes of the keys.
    pub keys: KeysReport,
    /// The configuration the output needs, as text.
    pub config: Zeroizing<Vec<u8>>,
    /// The cluster's part in the report.
    pub record: Option<RecordReport>,
    /// Old revisions of records that do not open, and which are kept.
    pub unopened: Vec<String>,
    /// Things to know.
    pub warnings: Vec<String>,
}

/// Leaves looked at in one go.
const LEAVES: usize = 64;

/// Gathers what a snapshot holds of a K3s or RKE2 cluster.
///
/// # Errors
/// [`Error::Snapshot`].
pub fn gather<'a>(file: &SnapshotFile, source: &Source<'a>, etcd_prefix: &str) -> Result<Gathering<'a>, Error> {
    let nodes = crate::kube::resource::key_prefix(etcd_prefix) + "minions/";
    let (_, keys) = source.keys().map_err(|e| file.error(e))?;
    let parts: Vec<Result<Gathering<'a>, Error>> = keys
        .leaves
        .par_chunks(LEAVES)
        .map(|leaves| {
            let mut part = Gathering::default();
            for entry in entries_of(leaves) {
                let (number, entry) = entry.map_err(|e| file.error(e))?;
                let record = Record::parse(number, &entry).map_err(|e| file.error(e))?;
                part.add(number, record, source.history.is_live(number), nodes.as_bytes());
            }
            Ok(part)
        })
        .collect();
    let mut gathering = Gathering::default();
    for part in parts {
        gathering.append(part?);
    }
    Ok(gathering)
}

impl Task {
    /// Looks at a snapshot, and works out what is to become of it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn prepare(
        &self,
        file: &SnapshotFile,
        source: &Source<'_>,
        keep_unreadable: bool,
        compact: bool,
    ) -> Result<Prepared, Error> {
        let gathering = gather(file, source, &self.etcd_prefix)?;
        if gathering.holds_record() {
            if self.config.is_some() {
                return Err(Error::ConfigBesideRecord);
            }
            let tokens = self.tokens.clone()?;
            let cluster = gathering.open(&tokens)?;
            if !keep_unreadable && !compact {
                cluster.complete()?;
            }
            let prepared = self.for_cluster(&cluster, tokens, compact)?;
            if !self.request.verb.rewrites() {
                self.readable(&cluster, &prepared, compact, (file, source))?;
            }
            Ok(prepared)
        } else if self.record_expected {
            Err(k3s::Error::NoRecord.into())
        } else {
            self.for_configuration(compact)
        }
    }

    /// Refuses to leave values as they are that the cluster could not open.
    fn readable(
        &self,
        cluster: &Cluster,
        prepared: &Prepared,
        compact: bool,
        (file, source): (&SnapshotFile, &Source<'_>),
    ) -> Result<(), Error> {
        let config = std::str::from_utf8(&prepared.config).unwrap_or_default();
        let config = EncryptionConfiguration::parse(config).map_err(k3s::Error::Config)?;
        let readers = Readers::of(config, (!compact).then(|| cluster.configs()), &self.etcd_prefix)?;
        let values = readers.cannot_open(file, source, &prepared.rules)?;
        if values.is_empty() {
            return Ok(());
        }
        let current = values.iter().filter(|value| value.current).count();
        Err(Error::NotForCluster { values, current: u64::try_from(current).unwrap_or(0) })
    }

    fn for_cluster(&self, cluster: &Cluster, tokens: Vec<Token>, compact: bool) -> Result<Prepared, Error> {
        let request = &self.request;
        let change = cluster.change(request)?;
        let all = request.verb.rewrites();
        let mut known = cluster.configs();
        known.extend(self.read.iter().cloned());
        let rules = if all {
            Rules::writing(&change.config, &known, &self.etcd_prefix)
        } else {
            let read = [std::slice::from_ref(&change.config), &known].concat();
            Rules::reading(&read, &self.etcd_prefix)
        };
        let rules = rules.map_err(k3s::Error::Config)?;
        let newest = cluster.revisions.last().map(|revision| revision.entry);
        let mut values: Vec<_> = cluster.rewritten(&change, request)?.into_iter().collect();
        values.retain(|(entry, _)| !compact || Some(*entry) == newest);
        if values.len() > usize::from(MOST_KEYS) {
            return Err(k3s::Error::TooManyRevisions.into());
        }
        let mut warnings = Vec::new();
        if let Some(newest) = cluster.newest().filter(|newest| *newest > request.now) {
            warnings.push(format!(
                "the clock of this machine says {}, but the snapshot holds files of {newest}: servers with files newer than the record refuse to start; set the clock and run it again",
                request.now
            ));
        }
        let (provider, provider_before) =
            (provider(&change.config), cluster.current()?.config.as_ref().and_then(provider));
        let before = provider_before.as_deref().unwrap_or(Provider::Aescbc.name());
        if let Some(provider) = provider.as_deref().filter(|provider| *provider != before) {
            warnings.push(format!(
                "the provider of keys changes from {before} to {provider}: set secrets-encryption-provider: {provider} on every server before it starts"
            ));
        }
        let record = RecordReport {
            program: cluster.program.name(),
            record: cluster.key.clone(),
            rewritten: values.len(),
            stage: change.state.stage.clone(),
            config_hash: change.state.hash.clone(),
            provider,
            first_key: change.config.keys().next().map(|key| SealReport::of(key)),
            provider_before,
            servers: cluster.nodes.iter().map(|node| crate::etcd::escape(node.name.as_bytes())).collect(),
        };
        let mut keys = KeysReport::of(&known, &change.config);
        if !(all || compact) {
            // The old revisions of the record keep them.
            keys.dropped.clear();
        }
        let proof = Proof { tokens, config: change.bytes.clone(), state: change.state, all };
        Ok(Prepared {
            rules,
            besides: Besides { values, compact },
            proof: Some(proof),
            keys,
            config: change.bytes,
            record: Some(record),
            unopened: if compact { Vec::new() } else { cluster.unread() },
            warnings,
        })
    }

    fn for_configuration(&self, compact: bool) -> Result<Prepared, Error> {
        let request = &self.request;
        let Some((path, config)) = &self.config else { return Err(Error::NoConfig) };
        let in_file = |source| Error::Config { file: path.clone(), source };
        if !request.verb.rewrites() {
            return Err(Error::NothingToWrite { verb: request.verb.name() });
        }
        let changed = changed(config, request)?;
        // A plain rewrite goes by the configuration as it is; the one to be
        // left beside the output has no more keys than it needs.
        let plain = matches!(request.verb, Verb::Reencrypt { .. });
        let write = if plain { config } else { &changed };
        let mut read = self.read.clone();
        read.push(config.clone());
        let rules = Rules::writing(write, &read, &self.etcd_prefix).map_err(in_file)?;
        Ok(Prepared {
            rules,
            besides: Besides { values: Vec::new(), compact },
            proof: None,
            keys: KeysReport::of(&read, &changed),
            config: Zeroizing::new(changed.to_yaml().as_bytes().to_vec()),
            record: None,
            unopened: Vec::new(),
            warnings: Vec::new(),
        })
    }
}

/// The provider that writes, or would once encryption is enabled.
fn provider(config: &EncryptionConfiguration) -> Option<String> {
    config.keys().next().map(|key| key.provider().to_string())
}

/// What a verb makes of a configuration of a cluster without a record.
///
/// # Errors
/// [`Error::Rotation`].
pub fn changed(config: &EncryptionConfiguration, request: &Request) -> Result<EncryptionConfiguration, Error> {
    let name = |_| key_name(config, request.now);
    Ok(request.verb.applied(config, &mut NewKeys::named(&name), request.provider)?)
}

/// A name of a new key that no other has: `key-` and the time.
fn key_name(config: &EncryptionConfiguration, now: Timestamp) -> String {
    let plain = now.strftime("key-%Y%m%d-%H%M%S").to_string();
    let taken = |name: &String| config.keys().any(|key| key.name() == name);
    let more = (2..).map(|n| format!("{plain}-{n}"));
    std::iter::once(plain.clone()).chain(more).find(|name| !taken(name)).unwrap_or(plain)
}
