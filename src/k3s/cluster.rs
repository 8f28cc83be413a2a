//! The record in all its revisions, and the servers, out of one snapshot.

use super::error::Error;
use super::node::{Node, Program};
use super::record::Record;
use super::stage::{Stage, State};
use super::token::{Token, record_key};
use super::{RECORD, bootstrap};
use crate::etcd::{Record as Entry, escape};
use crate::kube::config::Element;
use crate::kube::{EncryptionConfiguration, Provider};
use jiff::Timestamp;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// One revision of the record, opened.
pub struct Revision {
    /// The number of its entry in the `key` bucket.
    pub entry: u64,
    /// The passphrase that seals it.
    pub passphrase: Zeroizing<String>,
    /// The record.
    pub plain: Zeroizing<Vec<u8>>,
}

impl Revision {
    fn record(&self) -> Option<Record<'_>> {
        Record::parse(&self.plain)
    }
}

/// What a snapshot holds of a K3s or RKE2 cluster.
pub struct Cluster {
    /// The record's etcd key.
    pub key: String,
    /// Its revisions in order; the last one is current.
    pub revisions: Vec<Revision>,
    /// Keys of records whose old revisions no token opens.
    pub unopened: Vec<String>,
    /// Old revisions that are damaged, by the record's key and their number.
    pub damaged: Vec<(String, String)>,
    /// The servers of the control plane, by name.
    pub nodes: Vec<Node>,
    /// Which program runs it.
    pub program: Program,
}

/// What the record says now.
pub struct Current {
    /// The configuration; `None` before encryption was ever enabled.
    pub config: Option<EncryptionConfiguration>,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// The state; that of a configuration without one is `start`, as for K3s.
    pub state: Option<State>,
}

/// Gathers what belongs to a cluster while the records of a snapshot go by.
#[derive(Default)]
pub struct Gathering<'a> {
    records: Vec<(u64, Entry<'a>, bool)>,
    nodes: Vec<&'a [u8]>,
    rke2: bool,
}

impl<'a> Gathering<'a> {
    /// Takes note of entry number `number`; `live` when it is the newest of
    /// its key. `nodes` is what the etcd keys of Nodes begin with.
    pub fn add(&mut self, number: u64, entry: Entry<'a>, live: bool, nodes: &[u8]) {
        if entry.revision.tombstone {
            return;
        }
        if entry.kv.key.starts_with(RECORD) {
            self.records.push((number, entry, live));
        } else if live && entry.kv.key.starts_with(nodes) {
            self.nodes.push(entry.kv.value);
        } else if entry.kv.key.starts_with(b"rke2/") {
            self.rke2 = true;
        }
    }

    /// Adds what lies behind it.
    pub fn append(&mut self, behind: Self) {
        self.records.extend(behind.records);
        self.nodes.extend(behind.nodes);
        self.rke2 |= behind.rke2;
    }

    /// Whether there is a record at all.
    #[must_use]
    pub fn holds_record(&self) -> bool {
        !self.records.is_empty()
    }

    /// The etcd keys of records, of the current ones alone or of all.
    #[must_use]
    pub fn records(&self, live: bool) -> Vec<String> {
        let keys = self.records.iter().filter(|(_, _, is_live)| *is_live || !live);
        let keys: BTreeSet<&[u8]> = keys.map(|(_, entry, _)| entry.kv.key).collect();
        keys.into_iter().map(escape).collect()
    }

    /// Opens the record with one of the tokens; the others open what earlier
    /// ones have sealed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(self, tokens: &[Token]) -> Result<Cluster, Error> {
        let held = self.records(true);
        if !self.holds_record() {
            return Err(Error::NoRecord);
        }
        if tokens.is_empty() {
            return Err(Error::NoToken { held: self.records(false) });
        }
        let current = match held.as_slice() {
            [] => return Err(Error::Deleted { held: self.records(false) }),
            [key] => key.clone(),
            _ => return Err(Error::SeveralRecords { held }),
        };
        let mut passphrases = tokens.iter().flat_map(Token::passphrases);
        if !passphrases.any(|passphrase| escape(&record_key(passphrase)) == current) {
            let given = tokens.iter().map(|token| escape(&token.record_key())).collect();
            let marked = tokens.iter().any(Token::is_marked);
            return Err(Error::WrongToken { given, held, marked });
        }
        let mut revisions = Vec::new();
        let mut unopened = BTreeSet::new();
        let mut damaged = Vec::new();
        for (number, entry, live) in &self.records {
            let key = escape(entry.kv.key);
            if entry.kv.value.is_empty() {
                // A server takes the lock with an empty value, and fills it in.
                if *live {
                    return Err(Error::Locked { key });
                }
                continue;
            }
            let Some(passphrase) = passphrase(tokens, entry.kv.key) else {
                unopened.insert(key);
                continue;
            };
            let plain = bootstrap::open(entry.kv.value, passphrase);
            let Some(plain) = plain.filter(|plain| Record::parse(plain).is_some()) else {
                let revision = entry.revision.revision.to_string();
                if *live {
                    return Err(Error::Damaged { key, revision });
                }
                // K3s looks at the current one alone.
                damaged.push((key, revision));
                continue;
            };
            let passphrase = Zeroizing::new(passphrase.to_owned());
            revisions.push((*live, Revision { entry: *number, passphrase, plain }));
        }
        // The current revision stands last, whatever the order of the keys.
        revisions.sort_by_key(|(live, revision)| (*live, revision.entry));
        let mut nodes: Vec<Node> = self.nodes.iter().filter_map(|stored| Node::parse(stored)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let rke2 = self.rke2 || nodes.iter().any(|node| node.program == Program::Rke2);
        Ok(Cluster {
            key: current,
            revisions: revisions.into_iter().map(|(_, revision)| revision).collect(),
            unopened: unopened.into_iter().collect(),
            damaged,
            nodes,
            program: if rke2 { Program::Rke2 } else { Program::K3s },
        })
    }
}

/// The passphrase a record of this key is sealed with.
pub(super) fn passphrase<'t>(tokens: &'t [Token], etcd_key: &[u8]) -> Option<&'t str> {
    tokens.iter().flat_map(Token::passphrases).find(|passphrase| record_key(passphrase) == etcd_key)
}

impl Cluster {
    /// What the record says now.
    ///
    /// # Errors
    /// A configuration K3s would not take.
    pub fn current(&self) -> Result<Current, Error> {
        let record = self.revisions.last().and_then(Revision::record);
        let Some(bytes) = record.as_ref().and_then(Record::config) else {
            return Ok(Current { config: None, bytes: Zeroizing::default(), state: None });
        };
        let config = rotated_by_k3s(&bytes)?;
        let state = record.as_ref().and_then(Record::state);
        let state = state.unwrap_or_else(|| State::of(super::Stage::Start, &bytes));
        Ok(Current { config: Some(config), bytes, state: Some(state) })
    }

    /// The bytes of the configuration in the record.
    #[must_use]
    pub fn config_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.revisions.last().and_then(Revision::record)?.config()
    }

    /// The configurations of all revisions: the keys of old revisions of
    /// secrets are in old revisions of the record. K3s need not be able to
    /// rotate them: their keys open values all the same.
    #[must_use]
    pub fn configs(&self) -> Vec<EncryptionConfiguration> {
        let records = self.revisions.iter().rev().filter_map(Revision::record);
        records.filter_map(|record| parse(&record.config()?).ok()).collect()
    }

    /// Refuses a record some of whose revisions do not open.
    ///
    /// # Errors
    /// [`Error::Unopened`], [`Error::DamagedOld`].
    pub fn complete(&self) -> Result<(), Error> {
        if !self.unopened.is_empty() {
            return Err(Error::Unopened { keys: self.unopened.clone() });
        }
        let damaged = |(key, revision): &(String, String)| format!("{key} at revision {revision}");
        if self.damaged.is_empty() {
            return Ok(());
        }
        Err(Error::DamagedOld { revisions: self.damaged.iter().map(damaged).collect() })
    }

    /// The keys of records with revisions that do not open.
    #[must_use]
    pub fn unread(&self) -> Vec<String> {
        let damaged = self.damaged.iter().map(|(key, _)| key);
        let all: BTreeSet<&String> = self.unopened.iter().chain(damaged).collect();
        all.into_iter().cloned().collect()
    }

    /// The newest time any file of any revision bears.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.revisions.iter().filter_map(Revision::record).filter_map(|record| record.newest()).max()
    }

    /// The server that says what the record says, or is a step ahead of it:
    /// `reencrypt_active` stands in the Node alone. In all else the record
    /// counts, for a server copies it over what its Node says when it starts.
    #[must_use]
    pub fn answering(&self, current: &Current) -> Option<&Node> {
        let state = current.state.as_ref()?;
        let says = |node: &&Node| node.annotation == state.to_string();
        let ahead = |node: &&Node| {
            let said = node.state().filter(|said| said.hash == state.hash);
            said.is_some_and(|said| said.known() == Some(Stage::ReencryptActive))
        };
        self.nodes.iter().find(says).or_else(|| self.nodes.iter().find(ahead))
    }

    /// The stage, as the servers and the record have it between them.
    #[must_use]
    pub fn stage(&self, current: &Current) -> Option<State> {
        self.answering(current).and_then(Node::state).or_else(|| current.state.clone())
    }

    /// The names of the servers that say other things than the first one.
    #[must_use]
    pub fn differing(&self) -> Vec<String> {
        let differs =
            |node: &&Node| self.nodes.first().is_some_and(|first| first.annotation != node.annotation);
        self.nodes.iter().filter(differs).map(|node| escape(node.name.as_bytes())).collect()
    }

    /// The first two servers that say different things, in K3s's words.
    #[must_use]
    pub fn mismatch(&self) -> Option<String> {
        let (first, differing) = (self.nodes.first()?, self.differing());
        let first = escape(first.name.as_bytes());
        differing.first().map(|other| format!("hash does not match between {first} and {other}"))
    }
}

fn parse(bytes: &[u8]) -> Result<EncryptionConfiguration, Error> {
    EncryptionConfiguration::parse(std::str::from_utf8(bytes).unwrap_or_default()).map_err(Error::Config)
}

/// Parses a configuration of the kind K3s writes and rotates.
fn rotated_by_k3s(bytes: &[u8]) -> Result<EncryptionConfiguration, Error> {
    let config = parse(bytes)?;
    crate::kube::Precedence::of(&config).map_err(Error::Config)?;
    let [block] = config.blocks() else { return Err(Error::Blocks(config.blocks().len())) };
    // K3s writes `secrets` whatever stood there: the rest could not be read any more.
    let others = block.resources.iter().map(ToString::to_string).filter(|name| name != "secrets");
    let others: Vec<_> = others.map(|name| escape(name.as_bytes())).collect();
    if !others.is_empty() {
        return Err(Error::Resources(others));
    }
    if block.providers.len() > 3 {
        return Err(Error::Providers(block.providers.len()));
    }
    let mut seen = Vec::new();
    for element in &block.providers {
        match element {
            Element::Kms(plugin) => {
                return Err(Error::UnsupportedKeys(format!("kms {}", escape(plugin.name.as_bytes()))));
            }
            Element::Keys(keys) => {
                let Some(provider) = keys.first().map(|key| key.provider()) else { continue };
                if provider == Provider::Aesgcm {
                    return Err(Error::UnsupportedKeys(provider.to_string()));
                }
                if seen.contains(&provider) {
                    return Err(Error::Twice(provider));
                }
                seen.push(provider);
            }
            Element::Identity => {}
        }
    }
    Ok(config)
}
