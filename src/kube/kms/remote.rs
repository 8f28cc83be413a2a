//! A plugin, the data keys it has opened, and what went wrong with it.

use super::super::cipher::NotOpened;
use super::client::Client;
use super::data_key::DataKey;
use super::data_keys::{DataKeys, Known, MOST};
use super::envelope::{MOST_ID, Wrapped};
use super::error::{Error, Problem};
use super::plugin::{Plugin, Version};
use super::service::{Failure, KeyService, Sealed, Status};
use crate::etcd::escape;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// So many calls are under way at once at most.
pub const AT_ONCE: usize = 16;
/// After so many refusals in a row each is taken for the last word: thousands
/// of data keys that nobody can open would else take their timeout each.
const PATIENCE: usize = 100;

/// A plugin.
pub struct Remote {
    plugin: Plugin,
    service: Box<dyn KeyService>,
    keys: DataKeys,
    failed: OnceLock<Error>,
    in_a_row: AtomicUsize,
    met: AtomicU64,
}

impl Remote {
    /// The plugin a configuration names; it is not asked anything as yet.
    #[must_use]
    pub fn of(plugin: Plugin) -> Self {
        Self::with(plugin.clone(), Box::new(Client::of(plugin)), MOST)
    }

    /// A plugin asked by way of `service`, of whose data keys `most` are kept.
    #[must_use]
    pub fn with(plugin: Plugin, service: Box<dyn KeyService>, most: usize) -> Self {
        let keys = DataKeys::up_to(most);
        Self {
            plugin,
            service,
            keys,
            failed: OnceLock::new(),
            in_a_row: AtomicUsize::new(0),
            met: AtomicU64::new(0),
        }
    }

    /// What the configuration says of it.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Why it is not asked any more: it could not be reached.
    #[must_use]
    pub fn failure(&self) -> Option<&Error> {
        self.failed.get()
    }

    /// How many calls were made.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.service.calls()
    }

    /// How many data keys were met, and how many of them are not kept.
    #[must_use]
    pub fn met(&self) -> (u64, u64) {
        let met = self.met.load(Ordering::Relaxed);
        (met, met.saturating_sub(u64::try_from(self.keys.most()).unwrap_or(u64::MAX)))
    }

    /// What is known of a data key.
    #[must_use]
    pub fn known(&self, fingerprint: &[u8; 32]) -> Option<Known> {
        self.keys.get(fingerprint)
    }

    /// A data key, asked for where it is not known.
    ///
    /// # Errors
    /// [`NotOpened::NoDataKey`], with what the plugin says.
    pub fn data_key(&self, wrapped: &Wrapped<'_>) -> Result<Arc<DataKey>, NotOpened> {
        let fingerprint = wrapped.fingerprint();
        let known = self.keys.get(&fingerprint).unwrap_or_else(|| self.ask_and_keep(fingerprint, wrapped));
        known.map_err(NotOpened::NoDataKey)
    }

    /// Asks for many data keys at once. What is wrong with one is met again
    /// when it is needed.
    pub fn fetch(&self, wanted: &[([u8; 32], Wrapped<'_>)], stop: &(dyn Fn() -> bool + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((fingerprint, wrapped)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                if stop() || self.failed.get().is_some() {
                    return;
                }
                drop(self.ask_and_keep(*fingerprint, wrapped));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..wanted.len().min(AT_ONCE) {
                // With fewer threads it takes longer.
                if std::thread::Builder::new().spawn_scoped(scope, work).is_err() {
                    break;
                }
            }
            work();
        });
    }

    /// Counts data keys for which there was no room.
    pub fn passed_over(&self, count: u64) {
        self.met.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether data keys that are asked for now will be kept.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.keys.has_room()
    }

    fn ask_and_keep(&self, fingerprint: [u8; 32], wrapped: &Wrapped<'_>) -> Known {
        let known = self.ask(wrapped);
        if self.failed.get().is_none() && self.keys.keep(fingerprint, known.clone()) {
            self.met.fetch_add(1, Ordering::Relaxed);
        }
        known
    }

    fn ask(&self, wrapped: &Wrapped<'_>) -> Known {
        if let Some(error) = self.failed.get() {
            return Err(error.to_string().into());
        }
        let patient = self.in_a_row.load(Ordering::Relaxed) < PATIENCE;
        let given = self.opened(wrapped, patient);
        match &given {
            Ok(_) => self.in_a_row.store(0, Ordering::Relaxed),
            Err(error) if error.is_unreachable() || matches!(error.problem, Problem::Threads(_)) => {
                let _ = self.failed.set(error.clone());
            }
            Err(_) => drop(self.in_a_row.fetch_add(1, Ordering::Relaxed)),
        }
        given.map(Arc::new).map_err(|error| error.to_string().into())
    }

    fn opened(&self, wrapped: &Wrapped<'_>, patient: bool) -> Result<DataKey, Error> {
        let bytes = self.service.decrypt(wrapped, patient).map_err(|why| self.failed("Decrypt", why))?;
        let length = bytes.len();
        DataKey::new(wrapped.kind, bytes)
            .ok_or_else(|| self.nonsense("Decrypt", &format!("a data key of {length} bytes")))
    }

    fn error(&self, problem: Problem) -> Error {
        Error::of(&self.plugin, problem)
    }

    fn nonsense(&self, call: &'static str, what: &str) -> Error {
        self.error(Problem::Nonsense { call, what: what.to_owned() })
    }

    fn failed(&self, call: &'static str, failure: Failure) -> Error {
        self.error(match failure {
            Failure::Unreachable(why) => Problem::Unreachable { call, timeout: self.plugin.timeout, why },
            Failure::Refused(why) => Problem::Refused { call, why },
            Failure::Threads(why) => Problem::Threads(why),
        })
    }

    /// Asks how it is, and looks at the answer as upstream does.
    ///
    /// # Errors
    /// [`Error`].
    pub fn status(&self) -> Result<Status, Error> {
        let call = match self.plugin.version {
            Version::V1 => "Version",
            Version::V2 => "Status",
        };
        let status = self.service.status().map_err(|why| self.failed(call, why))?;
        let versions: &[&str] = match self.plugin.version {
            Version::V1 => &["v1beta1"],
            Version::V2 => &["v2", "v2beta1"],
        };
        if !versions.contains(&status.version.as_str()) {
            return Err(self.nonsense(call, &format!("version {}", told(&status.version))));
        }
        if status.healthz != "ok" {
            return Err(self.error(Problem::Unhealthy(told(&status.healthz))));
        }
        let id = status.key_id.len();
        if self.plugin.version == Version::V2 && (id == 0 || id > MOST_ID) {
            return Err(self.nonsense(call, &format!("a key id of {id} bytes")));
        }
        Ok(status)
    }

    /// Has it seal a new data key.
    ///
    /// # Errors
    /// [`Error`].
    pub fn encrypt(&self, plain: &[u8]) -> Result<Sealed, Error> {
        self.service.encrypt(plain).map_err(|why| self.failed("Encrypt", why))
    }

    /// Has it open what it has sealed, and takes what comes out for the data
    /// key that others will find: the one it was given to seal.
    ///
    /// # Errors
    /// [`Error`].
    pub fn prove(&self, wrapped: &Wrapped<'_>, plain: &Zeroizing<Vec<u8>>) -> Result<Arc<DataKey>, Error> {
        let key = self.opened(wrapped, true)?;
        if !key.is(plain) {
            return Err(self.nonsense("Decrypt", "not the data key it has just sealed"));
        }
        let key = Arc::new(key);
        self.keys.keep(wrapped.fingerprint(), Ok(Arc::clone(&key)));
        Ok(key)
    }

    /// Has it open again what it has sealed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn still_opens(&self, wrapped: &Wrapped<'_>, key: &DataKey) -> Result<(), Error> {
        let again = self.opened(wrapped, true)?;
        if again.same(key) { Ok(()) } else { Err(self.nonsense("Decrypt", "not the data key it has sealed")) }
    }

    /// Its answer to Encrypt breaks a rule.
    pub(super) fn bad_seal(&self, what: &str) -> Error {
        self.nonsense("Encrypt", what)
    }

    /// Its key is not the one it was.
    pub(super) fn key_changed(&self, before: &str, after: &str) -> Error {
        self.error(Problem::KeyChanged { before: told(before), after: told(after) })
    }

    /// There are no random numbers.
    pub(super) fn no_random(&self, why: getrandom::Error) -> Error {
        self.error(Problem::Threads(why.to_string()))
    }
}

/// A text of the plugin's, short and fit for a terminal.
fn told(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    format!("\"{}\"", escape(short.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::envelope::Kind;
    use super::*;
    use std::sync::Mutex;

    /// Opens what ends with an even byte; what it was asked, and how patiently.
    #[derive(Default)]
    struct Even(Mutex<Vec<(Vec<u8>, bool)>>);

    impl KeyService for Arc<Even> {
        fn status(&self) -> Result<Status, Failure> {
            Err(Failure::Unreachable("gone".to_owned()))
        }
        fn encrypt(&self, _: &[u8]) -> Result<Sealed, Failure> {
            Err(Failure::Refused("no".to_owned()))
        }
        fn decrypt(&self, wrapped: &Wrapped<'_>, patient: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
            self.0.lock().unwrap().push((wrapped.source.to_vec(), patient));
            match wrapped.source.last() {
                Some(255) => Err(Failure::Unreachable("gone".to_owned())),
                Some(byte) if byte % 2 == 0 => Ok(Zeroizing::new(vec![*byte; 32])),
                _ => Err(Failure::Refused("odd".to_owned())),
            }
        }
        fn calls(&self) -> u64 {
            u64::try_from(self.0.lock().unwrap().len()).unwrap()
        }
    }

    fn remote(most: usize) -> (Arc<Even>, Remote) {
        let service = Arc::new(Even::default());
        let plugin = Plugin::new(Version::V1, "p", "unix:///p");
        (Arc::clone(&service), Remote::with(plugin, Box::new(service), most))
    }

    fn wrapped(source: &[u8]) -> Wrapped<'_> {
        Wrapped { kind: Kind::V1, source, key_id: "", annotations: Vec::new() }
    }

    #[test]
    fn each_data_key_is_asked_for_once_while_there_is_room() {
        let (_, remote) = remote(3);
        let sources: Vec<[u8; 1]> = [0, 2, 1, 4, 6].map(|byte| [byte]).to_vec();
        let wanted: Vec<_> =
            sources.iter().map(|source| wrapped(source)).map(|w| (w.fingerprint(), w)).collect();
        remote.fetch(&wanted[..3], &|| false);
        assert_eq!((remote.calls(), remote.has_room()), (3, false));
        for _ in 0..2 {
            for (source, _) in sources.iter().zip(0..3) {
                let opens = remote.data_key(&wrapped(source));
                assert_eq!(opens.is_ok(), source[0] % 2 == 0);
            }
        }
        assert_eq!(remote.calls(), 3, "a refusal is kept as well");
        for _ in 0..2 {
            assert!(remote.data_key(&wrapped(&[4])).is_ok_and(|key| key.is(&[4; 32])));
        }
        assert_eq!(remote.calls(), 5, "what there is no room for is asked for each time");
        assert!(remote.failure().is_none());
    }

    #[test]
    fn many_refusals_end_the_patience_and_an_answer_brings_it_back() {
        let (service, remote) = remote(1000);
        let patient = || service.0.lock().unwrap().last().unwrap().1;
        for number in 0..=u8::try_from(PATIENCE).unwrap() {
            assert!(remote.data_key(&wrapped(&[number, 1])).is_err());
        }
        assert!(!patient());
        assert!(remote.data_key(&wrapped(&[2])).is_ok());
        assert!(remote.data_key(&wrapped(&[3])).is_err());
        assert!(patient());
    }

    #[test]
    fn one_that_cannot_be_reached_is_asked_no_more() {
        let (_, remote) = remote(1000);
        for source in [[255], [2]] {
            let refused = remote.data_key(&wrapped(&source)).err().unwrap().to_string();
            assert!(refused.contains("\"p\" at unix:///p cannot be reached"), "{refused}");
        }
        assert_eq!(remote.calls(), 1);
        assert!(remote.failure().is_some_and(Error::is_unreachable));
    }
}
