//! Whether live values open, and with which key.

use super::finding::{LISTED, Values, ValuesRow};
use crate::etcd::history::Record;
use crate::etcd::{Revision, RevisionKey, escape};
use crate::kube::Seal;
use crate::rekey::report::SealReport;
use crate::rekey::rules::{State, Verdict};
use crate::rekey::tally::Tally;
use crate::rekey::{Rules, UnreadableValue};
use zeroize::Zeroizing;

/// Opens values one after the other, and counts.
pub struct Opening<'r> {
    rules: &'r Rules,
    plain: Zeroizing<Vec<u8>>,
    tally: Tally<Seal>,
    found: Values,
}

impl<'r> Opening<'r> {
    /// With these keys, and this one to write.
    #[must_use]
    pub fn new(rules: &'r Rules) -> Self {
        Self { rules, plain: Zeroizing::default(), tally: Tally::default(), found: Values::default() }
    }

    /// Opens one live value.
    pub fn open(&mut self, kv: crate::etcd::KeyValue<'_>) {
        let main = i64::try_from(kv.mod_revision).unwrap_or(i64::MAX);
        let revision = RevisionKey { revision: Revision { main, sub: 0 }, tombstone: false };
        let record = Record { revision, kv };
        let judged = self.rules.judge(&record, &mut self.plain);
        let Some(resource) = judged.resource else { return };
        let seal = match judged.verdict {
            Verdict::Stays(state) => self.rules.seal(state),
            Verdict::Reseal { from, to } => {
                let seal = self.rules.seal(from);
                self.found.old_key.add(kv.key, || {
                    let under = match from {
                        State::Plain => "it lies in plaintext".to_owned(),
                        State::Key(_) => format!("it is under {} {}", seal.provider, seal.name),
                    };
                    let to = self.rules.seal(to);
                    format!("{under}, and {} {} writes now", to.provider, to.name).trim_end().to_owned()
                });
                seal
            }
            Verdict::Unreadable(why) => {
                let seal = Seal::read(kv.value);
                self.found.unreadable_count += 1;
                if self.found.unreadable.len() < LISTED {
                    self.found.unreadable.push(UnreadableValue {
                        key: escape(kv.key),
                        revision: main.to_string(),
                        current: true,
                        provider: seal.provider.clone(),
                        key_name: seal.name.clone(),
                        error: why.to_string(),
                    });
                }
                return;
            }
            // Nothing else is of Kubernetes'.
            _ => Seal::read(kv.value),
        };
        self.tally.add(resource, seal, true);
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Values {
        self.found.seals = self
            .tally
            .rows()
            .map(|(resource, seal, count)| ValuesRow {
                resource: resource.to_string(),
                seal: SealReport { provider: seal.provider.clone(), key: seal.name.clone() },
                count: count.current,
            })
            .collect();
        self.found
    }
}
