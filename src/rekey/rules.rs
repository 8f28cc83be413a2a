//! What must happen to one value.

use crate::etcd::history::Record;
use crate::k3s::RECORD;
use crate::kube::Seal;
use crate::kube::config::Element;
use crate::kube::object::{self, Object};
use crate::kube::resource::key_prefix;
use crate::kube::seal::is_sealed;
use crate::kube::{
    ConfigError, EncryptionConfiguration, GroupResource, KeyPath, Keyring, Precedence, Unreadable, Writer,
};

/// What a run was told: how values are to be sealed, and every key that may
/// open them.
#[derive(Clone)]
pub struct Rules {
    write: Option<Precedence>,
    keyring: Keyring,
    prefix: String,
}

/// Keys are numbered below this, in two bytes with room for other marks.
pub const MOST_KEYS: u16 = u16::MAX - 3;

/// A plaintext, or the number of a key in the keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// As it is.
    Plain,
    /// Sealed with this key.
    Key(u16),
}

/// What a value is, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A tombstone or an empty value: nothing to seal.
    Empty,
    /// Not Kubernetes' key; whether its value looks sealed all the same.
    Foreign {
        /// It begins as sealed values do.
        looks_sealed: bool,
    },
    /// Stays as it is: plaintext of a resource that is not sealed, or sealed
    /// with the right key already.
    Stays(State),
    /// To be sealed anew.
    Reseal {
        /// What it is now.
        from: State,
        /// What it is to be.
        to: State,
    },
    /// Sealed, and no key opens it.
    Unreadable(Unreadable),
}

/// A value judged.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Its resource; `None` for a foreign key.
    pub resource: Option<GroupResource>,
    /// The verdict.
    pub verdict: Verdict,
}

impl Rules {
    /// Rules for reading alone: every configuration's keys, none to write.
    ///
    /// # Errors
    /// When there are more keys than can be numbered.
    pub fn reading(read: &[EncryptionConfiguration], etcd_prefix: &str) -> Result<Self, ConfigError> {
        Ok(Self { write: None, keyring: keyring(read, None)?, prefix: key_prefix(etcd_prefix) })
    }

    /// Rules for a rewrite: `write` says how values are to be sealed; its
    /// keys and those of `read` open them.
    ///
    /// # Errors
    /// As [`Precedence::of`] and [`Rules::reading`].
    pub fn writing(
        write: &EncryptionConfiguration,
        read: &[EncryptionConfiguration],
        etcd_prefix: &str,
    ) -> Result<Self, ConfigError> {
        let precedence = Precedence::of(write)?;
        let keyring = keyring(std::iter::once(write).chain(read), Some(&precedence))?;
        Ok(Self { write: Some(precedence), keyring, prefix: key_prefix(etcd_prefix) })
    }

    /// Every key known.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether only secrets are sealed.
    #[must_use]
    pub fn only_secrets(&self) -> bool {
        self.write.as_ref().is_none_or(Precedence::only_secrets)
    }

    /// What a key's path says, where it is Kubernetes'.
    #[must_use]
    pub fn path<'k>(&self, etcd_key: &'k [u8]) -> Option<KeyPath<'k>> {
        KeyPath::parse(&self.prefix, etcd_key)
    }

    /// Judges a sealed value that is to be sealed anew without opening it, and
    /// tells how long it will be; `None` where only opening it can tell, and
    /// for all else. What is foreseen has to come true when the
    /// value is opened.
    #[must_use]
    pub fn foresee(&self, record: &Record<'_>) -> Option<(Judged, usize)> {
        let kv = &record.kv;
        let write = self.write.as_ref()?;
        if record.revision.tombstone || !is_sealed(kv.value) || kv.key.starts_with(RECORD) {
            return None;
        }
        let path = self.path(kv.key).filter(|path| path.group_known)?;
        let (number, payload) = self.keyring.foresee(kv.value)?;
        let state = State::Key(u16::try_from(number).ok()?);
        let to = Some(self.target(write, &path.resource)).filter(|to| *to != state)?;
        let key = self.keyring.keys().get(number)?;
        let length = match to {
            State::Plain => key.opened_len(payload)?,
            State::Key(to) => key.resealed_len(payload, self.keyring.keys().get(usize::from(to))?)?,
        };
        let verdict = Verdict::Reseal { from: state, to };
        Some((Judged { resource: Some(path.resource), verdict }, length))
    }

    /// Judges a record. What a sealed value opens to is left in `plain`.
    pub fn judge(&self, record: &Record<'_>, plain: &mut Vec<u8>) -> Judged {
        let kv = &record.kv;
        if record.revision.tombstone || kv.value.is_empty() {
            return Judged { resource: None, verdict: Verdict::Empty };
        }
        let sealed = is_sealed(kv.value);
        let ours = kv.key.starts_with(self.prefix.as_bytes()) && !kv.key.starts_with(RECORD);
        let Some(path) = self.path(kv.key).filter(|_| ours) else {
            // Under the prefix whatever looks sealed has to open.
            return if ours && sealed {
                let resource = Some(GroupResource::new("", first_segment(kv.key, &self.prefix)));
                Judged { resource, verdict: Verdict::Unreadable(Unreadable::NoObject) }
            } else {
                Judged { resource: None, verdict: Verdict::Foreign { looks_sealed: sealed } }
            };
        };
        let (state, object) = if sealed {
            match self.keyring.open(kv.value, kv.key, &path, plain) {
                Ok(key) => {
                    let object = (!path.group_known).then(|| Object::parse(plain)).flatten();
                    (State::Key(u16::try_from(key).unwrap_or(u16::MAX)), object)
                }
                Err(why) => {
                    let resource = Some(path.resource);
                    return Judged { resource, verdict: Verdict::Unreadable(why) };
                }
            }
        } else {
            let object = (!path.group_known).then(|| Object::parse(kv.value)).flatten();
            (State::Plain, object)
        };
        let resource = object::resource(&path, object.as_ref());
        let stays = path.never_sealed && !sealed;
        let verdict = match &self.write {
            Some(write) if !stays => match self.target(write, &resource) {
                to if to == state => Verdict::Stays(state),
                to => Verdict::Reseal { from: state, to },
            },
            _ => Verdict::Stays(state),
        };
        let resource =
            if stays { GroupResource::new("", first_segment(kv.key, &self.prefix)) } else { resource };
        Judged { resource: Some(resource), verdict }
    }

    fn target(&self, write: &Precedence, resource: &GroupResource) -> State {
        let number = match write.writer(resource) {
            Writer::Identity => None,
            Writer::Key(key) => self.keyring.number_of(key),
            Writer::Kms(plugin) => self.keyring.number_of_writer(plugin),
        };
        number.and_then(|n| u16::try_from(n).ok()).map_or(State::Plain, State::Key)
    }

    /// How long a value of `plain` bytes is in a state.
    #[must_use]
    pub fn stored_len(&self, to: State, plain: usize) -> usize {
        match to {
            State::Plain => plain,
            State::Key(number) => {
                let key = self.keyring.keys().get(usize::from(number));
                key.map_or(plain, |key| key.sealed_len(plain))
            }
        }
    }

    /// The seal of a value in a state, as it is told to people.
    #[must_use]
    pub fn seal(&self, state: State) -> Seal {
        match state {
            State::Plain => Seal { provider: "identity".to_owned(), name: String::new() },
            State::Key(number) => match self.keyring.keys().get(usize::from(number)) {
                Some(key) => Seal {
                    provider: key.provider().to_owned(),
                    name: crate::etcd::escape(key.name().as_bytes()),
                },
                None => Seal { provider: "unknown".to_owned(), name: String::new() },
            },
        }
    }
}

/// The keys and plugins of all configurations, those of the first one first.
fn keyring<'c>(
    configs: impl IntoIterator<Item = &'c EncryptionConfiguration>,
    write: Option<&Precedence>,
) -> Result<Keyring, ConfigError> {
    let mut ring = Keyring::default();
    let writes = |plugin| write.is_some_and(|write| write.writing_plugins().any(|writing| writing == plugin));
    for element in configs.into_iter().flat_map(EncryptionConfiguration::elements) {
        match element {
            Element::Keys(keys) => keys.iter().for_each(|key| ring.add(key)),
            Element::Kms(plugin) => ring.add_plugin(plugin, writes(plugin)),
            Element::Identity => {}
        }
    }
    if ring.keys().len() > usize::from(MOST_KEYS) {
        return Err(ConfigError::Invalid(vec!["more than 65532 keys were given".to_owned()]));
    }
    Ok(ring)
}

/// The path segment behind the prefix.
fn first_segment<'k>(key: &'k [u8], prefix: &str) -> &'k str {
    let path = key.strip_prefix(prefix.as_bytes()).unwrap_or(key);
    let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
    std::str::from_utf8(&path[..end]).unwrap_or_default()
}
