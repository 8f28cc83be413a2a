//! Whether a restored cluster can read what a step leaves as it is.
//!
//! A K3s cluster opens values with the keys of its record alone. What opens
//! with a key from elsewhere, or with one that only an older revision of the
//! record holds, is readable to this program, and lost to the cluster.

use super::error::{Error, UnreadableValue};
use super::inventory;
use super::rules::{Rules, Verdict};
use super::source::{SnapshotFile, Source};
use crate::etcd::escape;
use crate::k3s;
use crate::kube::EncryptionConfiguration;
use zeroize::Zeroizing;

/// The keys a cluster has.
pub struct Readers {
    /// Those of the configuration it starts with.
    pub current: Rules,
    /// Those of every revision of its record; `None` when old revisions are
    /// left out, and need no key.
    pub old: Option<Rules>,
}

impl Readers {
    /// Those of a cluster that starts with `config`, and has these in its
    /// record besides.
    ///
    /// # Errors
    /// As [`Rules::reading`].
    pub fn of(
        config: EncryptionConfiguration,
        record: Option<Vec<EncryptionConfiguration>>,
        etcd_prefix: &str,
    ) -> Result<Self, Error> {
        let rules = |configs: &[EncryptionConfiguration]| {
            Rules::reading(configs, etcd_prefix).map_err(|source| Error::K3s(k3s::Error::Config(source)))
        };
        let mut configs = vec![config];
        let current = rules(&configs)?;
        let old = record.map(|record| {
            configs.extend(record);
            rules(&configs)
        });
        Ok(Self { current, old: old.transpose()? })
    }

    /// The values that some key of `known` opens, and none of the cluster's.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn cannot_open(
        &self,
        file: &SnapshotFile,
        source: &Source<'_>,
        known: &Rules,
    ) -> Result<Vec<UnreadableValue>, Error> {
        let mut lost = Vec::new();
        let mut plain = Zeroizing::new(Vec::new());
        inventory::visit(file, source, known, |item| {
            let rules = if item.current { Some(&self.current) } else { self.old.as_ref() };
            let Some(rules) = rules.filter(|_| item.plain.is_ok()) else { return Ok(()) };
            if let Verdict::Unreadable(why) = rules.judge(&item.record, &mut plain).verdict {
                lost.push(UnreadableValue {
                    key: escape(item.record.kv.key),
                    revision: item.record.revision.revision.to_string(),
                    current: item.current,
                    provider: item.seal.provider,
                    key_name: item.seal.name,
                    error: why.to_string(),
                });
            }
            Ok(())
        })?;
        Ok(lost)
    }
}
