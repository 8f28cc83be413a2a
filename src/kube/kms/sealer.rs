//! What seals and opens values by the data keys of a plugin.
//!
//! A plugin that writes stands twice among the keys: once for the values it
//! would write today, and once for those it wrote otherwise, under another
//! key of its own or by an older scheme. The first are right as they are, the
//! others are to be sealed anew.

use super::super::cipher::NotOpened;
use super::super::key::SEALED;
use super::super::object::Object;
use super::super::resource::KeyPath;
use super::data_key::DataKey;
use super::envelope::{Envelope, Kind, Wrapped};
use super::error::Error;
use super::plugin::Version;
use super::remote::Remote;
use crate::etcd::wire::{put_varint, varint, varint_len};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Of v1, a data key seals about so many values: far below what random
/// nonces of 12 bytes allow, and far fewer calls than one a value.
const VALUES_A_KEY: u64 = 1 << 16;
/// A plugin that changes its key may do so between two calls.
const ATTEMPTS: usize = 3;

/// What a plugin is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To seal so many values at most.
    Seal(u64),
    /// To tell which values are sealed as it would seal them.
    Prove,
}

/// What values are sealed with.
enum Write {
    /// v1: several data keys, whose sealed forms are all of one length.
    V1(Vec<(Vec<u8>, Arc<DataKey>)>),
    /// v2: one seed, and what stands behind each body.
    V2 { key_id: String, tail: Vec<u8>, seed: Arc<DataKey> },
    /// Nothing: values are only told apart.
    Prove { key_id: String },
}

/// A plugin as a sealer of values.
pub struct PluginSealer {
    remote: Arc<Remote>,
    prefix: Vec<u8>,
    writes: bool,
    write: Option<Arc<OnceLock<Write>>>,
}

impl PluginSealer {
    /// A plugin that reads.
    #[must_use]
    pub fn reading(remote: &Arc<Remote>) -> Self {
        Self { remote: Arc::clone(remote), prefix: prefix(remote), writes: false, write: None }
    }

    /// A plugin that writes: what it is for values that are right as they
    /// are, and for all others. It has to be [prepared](Self::prepare).
    #[must_use]
    pub fn writing(remote: &Arc<Remote>) -> [Self; 2] {
        let write = Arc::new(OnceLock::new());
        [true, false].map(|writes| Self { writes, write: Some(Arc::clone(&write)), ..Self::reading(remote) })
    }

    /// The plugin.
    #[must_use]
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Whether it is the one of a pair that writes.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// What every value it seals begins with.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn written(&self) -> Option<&Write> {
        self.write.as_ref()?.get()
    }

    fn envelope<'v>(&self, payload: &'v [u8]) -> Result<Envelope<'v>, NotOpened> {
        match self.remote.plugin().version {
            Version::V1 => Envelope::v1(payload),
            Version::V2 => Envelope::v2(payload),
        }
        .map_err(NotOpened::Envelope)
    }

    /// The sealed data key of a value.
    ///
    /// # Errors
    /// [`NotOpened::Envelope`].
    pub fn wrapped<'v>(&self, payload: &'v [u8]) -> Result<Wrapped<'v>, NotOpened> {
        self.envelope(payload).map(|envelope| envelope.wrapped)
    }

    /// Whether a value is sealed as the plugin would seal it today. Of v1
    /// that cannot be told: nothing in a value says which key of the plugin's
    /// sealed its data key.
    fn is_current(&self, envelope: &Envelope<'_>) -> bool {
        match self.written() {
            Some(Write::V2 { key_id, .. } | Write::Prove { key_id }) => {
                envelope.wrapped.kind == Kind::Seed && envelope.wrapped.key_id == key_id
            }
            Some(Write::V1(_)) | None => false,
        }
    }

    /// Whether a value behind the prefix is this one's, of a pair.
    #[must_use]
    pub fn claims(&self, payload: &[u8]) -> bool {
        let current =
            self.written().is_some() && self.envelope(payload).is_ok_and(|envelope| self.is_current(&envelope));
        current == self.writes
    }

    /// Opens what stands behind the prefix into `out`. Where the cipher does
    /// not vouch for it, it must be the object its etcd key names.
    ///
    /// # Errors
    /// [`NotOpened`]; of the one that writes also for what another key sealed.
    pub fn open(
        &self,
        payload: &[u8],
        etcd_key: &[u8],
        path: Option<&KeyPath<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), NotOpened> {
        let envelope = self.envelope(payload)?;
        if self.writes {
            let ours = match self.written() {
                Some(Write::V1(keys)) => keys.iter().any(|(source, _)| source == envelope.wrapped.source),
                Some(Write::V2 { .. }) => self.is_current(&envelope),
                Some(Write::Prove { .. }) => envelope.wrapped.kind == Kind::V1 || self.is_current(&envelope),
                None => false,
            };
            if !ours {
                return Err(NotOpened::Envelope(
                    "it is not sealed with the key that the plugin seals with now",
                ));
            }
        }
        let vouched = self.remote.data_key(&envelope.wrapped)?.open(envelope.body, etcd_key, out)?;
        let fits = || path.is_some_and(|path| Object::parse(out).is_some_and(|object| object.fits(path)));
        if vouched || fits() { Ok(()) } else { Err(NotOpened::OtherObject) }
    }

    /// How long the plaintext of what stands behind the prefix is; `None`
    /// where only opening it can tell.
    #[must_use]
    pub fn opened_len(&self, payload: &[u8]) -> Option<usize> {
        let envelope = self.envelope(payload).ok()?;
        DataKey::opened_len(envelope.wrapped.kind, envelope.body)
    }

    /// Length of a whole value for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(&self, plain: usize) -> usize {
        self.prefix.len()
            + match self.written() {
                Some(Write::V1(keys)) => {
                    keys.first().map_or(plain, |(source, key)| 2 + source.len() + key.sealed_len(plain))
                }
                Some(Write::V2 { tail, seed, .. }) => {
                    let body = seed.sealed_len(plain);
                    1 + varint_len(u64::try_from(body).unwrap_or(u64::MAX)) + body + tail.len()
                }
                Some(Write::Prove { .. }) | None => plain,
            }
    }

    /// Random bytes [`PluginSealer::place`] takes.
    #[must_use]
    pub fn nonce_len(&self) -> usize {
        match self.written() {
            Some(Write::V1(keys)) => keys.first().map_or(0, |(_, key)| CHOICE + key.nonce_len()),
            Some(Write::V2 { seed, .. }) => seed.nonce_len(),
            Some(Write::Prove { .. }) | None => 0,
        }
    }

    /// Appends prefix and envelope, laid out as [`PluginSealer::seal`]
    /// encrypts them; tells where what stands behind the prefix begins.
    /// `None`, and nothing usable appended, where it was not prepared to seal.
    pub fn place(&self, out: &mut Vec<u8>, nonce: &[u8], plain: &[u8]) -> Option<usize> {
        let start = out.len() + self.prefix.len();
        match self.written()? {
            Write::V1(keys) => {
                // Which of the data keys it is, is left to chance.
                let (choice, nonce) = nonce.split_first_chunk::<CHOICE>()?;
                let choice = usize::try_from(u32::from_le_bytes(*choice)).ok()?;
                let (source, key) = keys.get(choice % keys.len().max(1))?;
                out.extend_from_slice(&self.prefix);
                out.extend(u16::try_from(source.len()).ok()?.to_be_bytes());
                out.extend_from_slice(source);
                key.place(out, nonce, plain)?;
            }
            Write::V2 { tail, seed, .. } => {
                out.extend_from_slice(&self.prefix);
                out.push(BODY);
                put_varint(out, u64::try_from(seed.sealed_len(plain.len())).ok()?);
                seed.place(out, nonce, plain)?;
                out.extend_from_slice(tail);
            }
            Write::Prove { .. } => return None,
        }
        Some(start)
    }

    /// Encrypts a placed value in place: the part behind the prefix.
    ///
    /// # Errors
    /// [`NotOpened`]; the value is then not to be used.
    pub fn seal(&self, value: &mut [u8], etcd_key: &[u8]) -> Result<(), NotOpened> {
        match self.written() {
            Some(Write::V1(keys)) => {
                let (length, rest) = value.split_first_chunk_mut().ok_or(NotOpened::TooShort)?;
                let length = usize::from(u16::from_be_bytes(*length));
                let (source, body) = rest.split_at_mut_checked(length).ok_or(NotOpened::TooShort)?;
                let key = keys.iter().find(|(known, _)| known == source);
                key.ok_or(NotOpened::Authentication)?.1.seal(body, etcd_key)
            }
            Some(Write::V2 { tail, seed, .. }) => {
                let (rest, _) = varint(value.get(1..).unwrap_or_default()).map_err(|_| NotOpened::TooShort)?;
                let start = value.len() - rest.len();
                let end = value.len().checked_sub(tail.len()).ok_or(NotOpened::TooShort)?;
                seed.seal(value.get_mut(start..end).ok_or(NotOpened::TooShort)?, etcd_key)
            }
            Some(Write::Prove { .. }) | None => Err(NotOpened::Authentication),
        }
    }

    /// Asks the plugin that writes for what it takes. Of one that only reads
    /// nothing is asked.
    ///
    /// # Errors
    /// [`Error`].
    pub fn prepare(&self, purpose: Purpose) -> Result<(), Error> {
        let Some(write) = self.write.as_ref().filter(|_| self.writes) else { return Ok(()) };
        let status = self.remote.status()?;
        let made = match (purpose, self.remote.plugin().version) {
            (Purpose::Prove, _) => Write::Prove { key_id: status.key_id },
            (Purpose::Seal(values), Version::V1) => self.made_v1(values)?,
            (Purpose::Seal(_), Version::V2) => self.made_v2(status.key_id)?,
        };
        // Prepared once is enough.
        let _ = write.set(made);
        Ok(())
    }

    /// After everything is written: the plugin must still seal with the same
    /// key, or, of v1, still open what it sealed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn confirm(&self) -> Result<(), Error> {
        match self.written().filter(|_| self.writes) {
            Some(Write::V2 { key_id, .. } | Write::Prove { key_id })
                if self.remote.plugin().version == Version::V2 =>
            {
                let now = self.remote.status()?.key_id;
                if now == *key_id { Ok(()) } else { Err(self.remote.key_changed(key_id, &now)) }
            }
            Some(Write::V1(keys)) => keys.first().map_or(Ok(()), |(source, key)| {
                let wrapped = Wrapped { kind: Kind::V1, source, key_id: "", annotations: Vec::new() };
                self.remote.still_opens(&wrapped, key)
            }),
            _ => Ok(()),
        }
    }

    /// How many calls [`PluginSealer::confirm`] makes.
    #[must_use]
    pub fn calls_to_confirm(&self) -> u64 {
        u64::from(self.writes)
    }

    fn made_v2(&self, mut key_id: String) -> Result<Write, Error> {
        let plain = self.random()?;
        let mut other = String::new();
        for _ in 0..ATTEMPTS {
            let sealed = self.remote.encrypt(&plain)?;
            if sealed.key_id != key_id {
                key_id = self.remote.status()?.key_id;
                if sealed.key_id != key_id {
                    other = sealed.key_id;
                    continue;
                }
            }
            let wrapped = sealed.wrapped(Kind::Seed).checked().map_err(|rule| self.remote.bad_seal(rule))?;
            let seed = self.remote.prove(&wrapped, &plain)?;
            return Ok(Write::V2 { key_id, tail: wrapped.tail(), seed });
        }
        Err(self.remote.key_changed(&key_id, &other))
    }

    /// As many data keys as `values` need. All their sealed forms are of one
    /// length, for a value's length is planned before its data key is chosen.
    fn made_v1(&self, values: u64) -> Result<Write, Error> {
        let wanted = usize::try_from(values / VALUES_A_KEY + 1).unwrap_or(1);
        let mut keys: Vec<(Vec<u8>, Arc<DataKey>)> = Vec::new();
        for _ in 0..wanted * 2 {
            let plain = self.random()?;
            let sealed = self.remote.encrypt(&plain)?;
            if sealed.source.is_empty() || u16::try_from(sealed.source.len()).is_err() {
                let what = format!("a data key of {} bytes", sealed.source.len());
                return Err(self.remote.bad_seal(&what));
            }
            if keys.first().is_some_and(|(source, _)| source.len() != sealed.source.len()) {
                continue;
            }
            let key = self.remote.prove(&sealed.wrapped(Kind::V1), &plain)?;
            keys.push((sealed.source, key));
            if keys.len() == wanted {
                break;
            }
        }
        Ok(Write::V1(keys))
    }

    fn random(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut bytes = Zeroizing::new(vec![0; super::data_key::INFO]);
        getrandom::fill(&mut bytes).map_err(|why| self.remote.no_random(why))?;
        Ok(bytes)
    }
}

/// Bytes of chance that choose among the data keys of v1.
const CHOICE: usize = 4;
/// Field 1, of bytes: the body.
const BODY: u8 = 1 << 3 | 2;

fn prefix(remote: &Remote) -> Vec<u8> {
    let plugin = remote.plugin();
    [SEALED, b"kms:", plugin.version.name().as_bytes(), b":", plugin.name.as_bytes(), b":"].concat()
}
