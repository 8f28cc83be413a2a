//! What is in a snapshot, value by value, without changing anything.

use super::error::{Error, UnreadableValue};
use super::rules::{Rules, Verdict};
use super::source::{SnapshotFile, Source};
use super::tally::Tally;
use crate::etcd::escape;
use crate::etcd::history::Record;
use crate::kube::GroupResource;
use crate::kube::Seal;
use zeroize::Zeroizing;

/// One value under the prefix of Kubernetes' keys.
pub struct Item<'a, 'i> {
    /// Its record.
    pub record: Record<'a>,
    /// Its resource.
    pub resource: GroupResource,
    /// What seals it; `identity` of a plaintext.
    pub seal: Seal,
    /// Whether it is the newest of its key.
    pub current: bool,
    /// The plaintext, where a key opens it or none is needed; else why not.
    pub plain: Result<&'i [u8], String>,
}

/// What lies under an etcd key.
pub enum Seen<'a, 'i> {
    /// A value of Kubernetes'.
    Value(Item<'a, 'i>),
    /// Another tenant's.
    Foreign {
        /// Its record.
        record: Record<'a>,
        /// Its value begins as sealed ones do.
        looks_sealed: bool,
    },
    /// A tombstone, or an empty value.
    Nothing,
}

/// Looks at one record.
pub fn look<'a, 'i>(
    record: Record<'a>,
    current: bool,
    rules: &Rules,
    opened: &'i mut Zeroizing<Vec<u8>>,
) -> Seen<'a, 'i>
where
    'a: 'i,
{
    let judged = rules.judge(&record, opened);
    let (seal, plain) = match (judged.verdict, judged.resource.is_some()) {
        (Verdict::Foreign { looks_sealed }, _) => return Seen::Foreign { record, looks_sealed },
        (Verdict::Empty, _) | (_, false) => return Seen::Nothing,
        (Verdict::Unreadable(why), _) => (Seal::read(record.kv.value), Err(why.to_string())),
        (Verdict::Stays(state) | Verdict::Reseal { from: state, .. }, _) => {
            let plain = if state == super::rules::State::Plain { record.kv.value } else { &opened[..] };
            (rules.seal(state), Ok(plain))
        }
    };
    let Some(resource) = judged.resource else { return Seen::Nothing };
    Seen::Value(Item { record, resource, seal, current, plain })
}

/// Goes through every value of Kubernetes' in the order of revisions.
///
/// # Errors
/// [`Error::Snapshot`], and what `visit` returns.
pub fn visit<'a>(
    file: &SnapshotFile,
    source: &Source<'a>,
    rules: &Rules,
    mut visit: impl FnMut(Item<'a, '_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (_, keys) = source.keys().map_err(|e| file.error(e))?;
    let mut opened = Zeroizing::new(Vec::new());
    for (number, entry) in (0..).zip(keys.entries()) {
        let entry = entry.map_err(|e| file.error(e))?;
        let record = Record::parse(number, &entry).map_err(|e| file.error(e))?;
        if let Seen::Value(item) = look(record, source.history.is_live(number), rules, &mut opened) {
            visit(item)?;
        }
    }
    Ok(())
}

/// Counts of what is in a snapshot.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Values by resource and seal.
    pub values: Tally<Seal>,
    /// Sealed values no key opens; where no key was given at all, none is tried.
    pub unreadable: Vec<UnreadableValue>,
}

impl Inventory {
    /// Counts every value of Kubernetes'.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn take(file: &SnapshotFile, source: &Source<'_>, rules: &Rules) -> Result<Self, Error> {
        let mut inventory = Self::default();
        let keys_known = !rules.keyring().keys().is_empty();
        visit(file, source, rules, |item| {
            if let (Err(error), true) = (&item.plain, keys_known) {
                inventory.unreadable.push(UnreadableValue {
                    key: escape(item.record.kv.key),
                    revision: item.record.revision.revision.to_string(),
                    current: item.current,
                    provider: item.seal.provider.clone(),
                    key_name: item.seal.name.clone(),
                    error: error.clone(),
                });
            }
            inventory.values.add(item.resource, item.seal, item.current);
            Ok(())
        })?;
        Ok(inventory)
    }
}
