//! The record opened: the files a server shares with its peers.
//!
//! A JSON object, names sorted, with a line feed behind it:
//! `{"ClientCA":{"Timestamp":"<RFC 3339>","Content":"<base64>"},…}`; before
//! Kubernetes 1.22 the base64 stood in place of each inner object. Source:
//! K3s `pkg/bootstrap/bootstrap.go`.

use super::stage::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const CONFIG: &str = "EncryptionConfig";
const STATE: &str = "EncryptionHash";

/// A record, as slices of its JSON; nothing of it is copied.
pub struct Record<'a> {
    files: BTreeMap<Cow<'a, str>, &'a RawValue>,
    /// Whether each file bears a time.
    timed: bool,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(rename = "Timestamp")]
    timestamp: Timestamp,
    #[serde(rename = "Content", borrow)]
    content: Cow<'a, str>,
}

impl<'a> Record<'a> {
    /// Parses an opened record; `None` when it is none. Of a name that stands
    /// twice the last one counts, as for K3s.
    #[must_use]
    pub fn parse(plain: &'a [u8]) -> Option<Self> {
        let files: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_slice(plain).ok()?;
        let all = |timed| files.values().all(|raw| decoded(raw, timed).is_some());
        let timed = all(true);
        (timed || all(false)).then_some(Self { files, timed })
    }

    fn content(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        decoded(self.files.get(name)?, self.timed)
    }

    /// The bytes of `encryption-config.json`, where the record has it.
    #[must_use]
    pub fn config(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.content(CONFIG)
    }

    /// The text of `encryption-state.json`, where the record has it.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        let text = self.content(STATE)?;
        Some(State::read(&String::from_utf8_lossy(&text)))
    }

    /// The newest time any file bears.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        let times = self
            .files
            .values()
            .filter(|_| self.timed)
            .filter_map(|raw| serde_json::from_str::<File<'_>>(raw.get()).ok().map(|file| file.timestamp));
        times.max()
    }

    /// The record with another configuration and state, of this time; every
    /// other file as it is, to the byte.
    #[must_use]
    pub fn with(&self, config: &[u8], state: &State, now: Timestamp) -> Zeroizing<Vec<u8>> {
        let file = |content: &[u8]| {
            let content = Zeroizing::new(STANDARD.encode(content));
            let before =
                if self.timed { format!("{{\"Timestamp\":\"{now}\",\"Content\":\"") } else { "\"".to_owned() };
            let after = if self.timed { "\"}" } else { "\"" };
            // Room for all of it at once, here as below.
            let mut text = Zeroizing::new(String::with_capacity(before.len() + content.len() + after.len()));
            text.push_str(&before);
            text.push_str(&content);
            text.push_str(after);
            text
        };
        let (config, state) = (file(config), file(state.to_string().as_bytes()));
        let mut files: BTreeMap<&str, &str> =
            self.files.iter().map(|(name, raw)| (name.as_ref(), raw.get())).collect();
        files.insert(CONFIG, &config);
        files.insert(STATE, &state);
        // Room for all of it at once: a buffer that grew would leave keys behind.
        let room = files.iter().map(|(name, file)| name.len() * 6 + file.len() + 8).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        for (i, (name, file)) in files.into_iter().enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            out.extend(serde_json::Value::from(name).to_string().as_bytes());
            out.push(b':');
            out.extend(file.as_bytes());
        }
        out.extend(b"}\n");
        out
    }

    /// Whether another record holds the same, but for configuration and state.
    #[must_use]
    pub fn same_but_encryption(&self, other: &Self) -> bool {
        let rest = |record: &Self| {
            let files = record.files.iter().filter(|(name, _)| !matches!(name.as_ref(), CONFIG | STATE));
            files
                .map(|(name, raw)| (name.to_string(), raw.get().to_owned()))
                .map(Zeroizing::new)
                .collect::<Vec<_>>()
        };
        self.timed == other.timed && rest(self) == rest(other)
    }
}

/// The content of a file; `None` where K3s, too, could not decode it.
fn decoded(raw: &RawValue, timed: bool) -> Option<Zeroizing<Vec<u8>>> {
    let text = if timed {
        serde_json::from_str::<File<'_>>(raw.get()).ok()?.content
    } else {
        serde_json::from_str::<Cow<'_, str>>(raw.get()).ok()?
    };
    STANDARD.decode(text.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::super::stage::Stage;
    use super::*;

    const PLAIN: &[u8] = b"{\"ClientCA\":{\"Timestamp\":\"2024-05-01T12:00:00.5+02:00\",\"Content\":\"YQ==\"},\"EncryptionConfig\":{\"Timestamp\":\"2024-05-01T10:00:00.123456789Z\",\"Content\":\"e30=\"},\"EncryptionHash\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"c3RhcnQtMDA=\"},\"ZZ\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"\"}}\n";

    #[test]
    fn configuration_and_state_are_found() {
        let record = Record::parse(PLAIN).unwrap();
        assert_eq!(record.config().unwrap().as_slice(), b"{}");
        assert_eq!(record.state().unwrap().to_string(), "start-00");
        assert_eq!(record.newest(), "2024-05-01T10:00:00.5Z".parse().ok());
    }

    #[test]
    fn all_else_stays_to_the_byte() {
        let record = Record::parse(PLAIN).unwrap();
        let now: Timestamp = "2026-11-24T17:00:00.000000001Z".parse().unwrap();
        let state = State::of(Stage::Rotate, b"new");
        let out = record.with(b"new", &state, now);
        let text = std::str::from_utf8(&out).unwrap();
        assert!(text.starts_with("{\"ClientCA\":{\"Timestamp\":\"2024-05-01T12:00:00.5+02:00\",\"Content\":\"YQ==\"},\"EncryptionConfig\":{\"Timestamp\":\"2026-11-24T17:00:00.000000001Z\",\"Content\":\"bmV3\"},\"EncryptionHash\":"));
        assert!(text.ends_with("\"ZZ\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"\"}}\n"));
        let again = Record::parse(&out).unwrap();
        assert_eq!(again.state(), Some(state));
        assert!(again.same_but_encryption(&record));
        // It never grew: what it grew out of would not have been wiped.
        let room = again.files.iter().map(|(name, file)| 6 * name.len() + file.get().len() + 8);
        assert_eq!(out.capacity(), room.sum::<usize>());
    }

    #[test]
    fn records_without_times_stay_without() {
        let record = Record::parse(b"{\"ClientCA\":\"YQ==\"}\n").unwrap();
        assert!(record.config().is_none() && record.newest().is_none());
        let out = record.with(b"{}", &State::of(Stage::Start, b"{}"), Timestamp::now());
        assert!(out.starts_with(b"{\"ClientCA\":\"YQ==\",\"EncryptionConfig\":\"e30=\",\"EncryptionHash\":\""));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bad in [&b""[..], b"[]", b"{\"a\":1}", b"{\"a\":{\"Timestamp\":\"x\",\"Content\":\"\"}}", b"\xff"] {
            assert!(Record::parse(bad).is_none());
        }
        // What does not decode is no file that is missing.
        for bad in [
            "{\"EncryptionConfig\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"e30\"}}",
            "{\"EncryptionConfig\":\"?\"}",
        ] {
            assert!(Record::parse(bad.as_bytes()).is_none());
        }
    }
}
