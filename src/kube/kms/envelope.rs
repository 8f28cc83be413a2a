//! A value that a KMS plugin sealed: its data key, as the plugin sealed it,
//! and the body that the data key seals.
//!
//! ```text
//! v1   length of data key u16 BE │ data key │ body
//! v2   protobuf: 1 body │ 2 key id │ 3 data key │ 4 annotations │ 5 kind
//! ```
//!
//! Source: kubernetes `pkg/storage/value/encrypt/envelope/envelope.go`,
//! `kmsv2/envelope.go`, `kmsv2/v2/api.proto`.

use crate::etcd::wire::{Content, fields, put_varint};
use sha2::{Digest, Sha256};

/// Most bytes of a key id, and of a data key as v2 stores it.
pub const MOST_ID: usize = 1024;
/// Most bytes of all annotations, names included.
const MOST_ANNOTATIONS: usize = 32 << 10;

/// What a data key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// v1: a key of AES-GCM, before 1.25 of AES-CBC.
    V1,
    /// v2 until 1.28: a key of AES-GCM.
    Key,
    /// v2: a seed, from which each value's key is derived.
    Seed,
}

/// A data key as its plugin sealed it, with what the plugin needs to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped<'v> {
    /// What it is.
    pub kind: Kind,
    /// The sealed data key.
    pub source: &'v [u8],
    /// The id of the key that sealed it; empty of v1.
    pub key_id: &'v str,
    /// What else the plugin wants to see again, by name.
    pub annotations: Vec<(&'v str, &'v [u8])>,
}

/// A value behind its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'v> {
    /// Its data key.
    pub wrapped: Wrapped<'v>,
    /// What the data key seals.
    pub body: &'v [u8],
}

impl<'v> Envelope<'v> {
    /// Parses a value of v1.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn v1(payload: &'v [u8]) -> Result<Self, &'static str> {
        const BROKEN: &str = "the envelope is broken: failed to read uint16 length prefixed data";
        let (length, rest) = payload.split_first_chunk().ok_or(BROKEN)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (source, body) = rest.split_at_checked(length).ok_or(BROKEN)?;
        Ok(Self { wrapped: Wrapped { kind: Kind::V1, source, key_id: "", annotations: Vec::new() }, body })
    }

    /// Parses a value of v2, as strictly as upstream.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn v2(payload: &'v [u8]) -> Result<Self, &'static str> {
        const BROKEN: &str = "the envelope is no EncryptedObject";
        let (mut body, mut source) = (&[][..], &[][..]);
        let (mut key_id, mut kind) = ("", 0);
        let mut annotations: Vec<(&str, &[u8])> = Vec::new();
        for field in fields(payload) {
            let field = field.ok_or(BROKEN)?;
            match (field.number, field.content) {
                (1, Content::Bytes(bytes)) => body = bytes,
                (2, Content::Bytes(bytes)) => key_id = std::str::from_utf8(bytes).map_err(|_| BROKEN)?,
                (3, Content::Bytes(bytes)) => source = bytes,
                (4, Content::Bytes(bytes)) => {
                    let (name, value) = annotation(bytes).ok_or(BROKEN)?;
                    annotations.retain(|(known, _)| *known != name);
                    annotations.push((name, value));
                }
                (5, Content::Varint(number)) => kind = number & 0xffff_ffff,
                _ => {}
            }
        }
        annotations.sort_unstable();
        let kind = match kind {
            0 => Kind::Key,
            1 => Kind::Seed,
            _ => return Err("the envelope is of an unknown encryptedDEKSourceType"),
        };
        let wrapped = Wrapped { kind, source, key_id, annotations };
        if body.is_empty() {
            return Err("the envelope is empty: encrypted data is empty");
        }
        wrapped.checked().map(|wrapped| Self { wrapped, body })
    }
}

fn annotation(entry: &[u8]) -> Option<(&str, &[u8])> {
    let (mut name, mut value) = ("", &[][..]);
    for field in fields(entry) {
        let field = field?;
        match (field.number, field.content) {
            (1, Content::Bytes(bytes)) => name = std::str::from_utf8(bytes).ok()?,
            (2, Content::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Some((name, value))
}

impl Wrapped<'_> {
    /// Itself, where it keeps the rules of v2.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn checked(self) -> Result<Self, &'static str> {
        let size: usize = self.annotations.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.source.is_empty() {
            Err("the data key is empty")
        } else if self.source.len() > MOST_ID {
            Err("the data key is longer than 1024 bytes")
        } else if self.key_id.is_empty() {
            Err("the key id is empty")
        } else if self.key_id.len() > MOST_ID {
            Err("the key id is longer than 1024 bytes")
        } else if !self.annotations.iter().all(|(name, _)| is_domain_name(name)) {
            Err("the name of an annotation is no domain name")
        } else if size > MOST_ANNOTATIONS {
            Err("the annotations are longer than 32 KiB")
        } else {
            Ok(self)
        }
    }

    /// By what it is found again.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(bytes);
        };
        part(match self.kind {
            Kind::V1 => b"v1",
            Kind::Key => b"key",
            Kind::Seed => b"seed",
        });
        part(self.source);
        part(self.key_id.as_bytes());
        for (name, value) in &self.annotations {
            part(name.as_bytes());
            part(value);
        }
        hash.finalize().into()
    }

    /// What stands in a value of v2 behind its body, the same in every value
    /// that shares this data key.
    #[must_use]
    pub fn tail(&self) -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, 2, self.key_id.as_bytes());
        field(&mut out, 3, self.source);
        for (name, value) in &self.annotations {
            let mut entry = Vec::new();
            field(&mut entry, 1, name.as_bytes());
            field(&mut entry, 2, value);
            field(&mut out, 4, &entry);
        }
        if self.kind == Kind::Seed {
            out.extend([5 << 3, 1]);
        }
        out
    }
}

/// Appends a field of bytes; one that is empty is left out, as proto3 does.
fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    if !content.is_empty() {
        out.push(number << 3 | 2);
        put_varint(out, u64::try_from(content.len()).unwrap_or(u64::MAX));
        out.extend_from_slice(content);
    }
}

/// Kubernetes' `IsFullyQualifiedDomainName`: two labels or more, of lower-case
/// letters, digits and dashes.
fn is_domain_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| plain(byte) || *byte == b'-')
            && bytes.first().is_some_and(plain)
            && bytes.last().is_some_and(plain)
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped() -> Wrapped<'static> {
        Wrapped {
            kind: Kind::Seed,
            source: b"sealed",
            key_id: "id",
            annotations: vec![("a.example", b"1"), ("b.example", b"")],
        }
    }

    fn value(wrapped: &Wrapped<'_>, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        field(&mut out, 1, body);
        out.extend(wrapped.tail());
        out
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in [Kind::Key, Kind::Seed] {
            let wrapped = Wrapped { kind, ..wrapped() };
            let value = value(&wrapped, b"body");
            assert_eq!(Envelope::v2(&value), Ok(Envelope { wrapped, body: b"body" }));
        }
        let v1 = Envelope::v1(b"\0\x03keybody").unwrap();
        assert_eq!((v1.wrapped.source, v1.body), (&b"key"[..], &b"body"[..]));
    }

    #[test]
    fn every_part_counts_in_the_fingerprint() {
        let same = wrapped().fingerprint();
        for other in [
            Wrapped { kind: Kind::Key, ..wrapped() },
            Wrapped { source: b"other", ..wrapped() },
            Wrapped { key_id: "other", ..wrapped() },
            Wrapped { annotations: vec![("a.example", b"1")], ..wrapped() },
            Wrapped { annotations: vec![("a.example", b"1"), ("b.example", b"2")], ..wrapped() },
        ] {
            assert_ne!(other.fingerprint(), same);
        }
    }

    #[test]
    fn what_is_just_short_enough_is_taken() {
        let (long, id) = ([b'x'; MOST_ID], "x".repeat(MOST_ID));
        let (two, many) = (vec![7; MOST_ANNOTATIONS / 2 - 3], vec![7; MOST_ANNOTATIONS - 3]);
        for good in [
            Wrapped { source: &long, ..wrapped() },
            Wrapped { key_id: &id, ..wrapped() },
            Wrapped { annotations: vec![("a.b", &many)], ..wrapped() },
            Wrapped { annotations: vec![("a.b", &two), ("a.c", &two)], ..wrapped() },
        ] {
            assert!(good.checked().is_ok());
        }
        let over = vec![7; MOST_ANNOTATIONS / 2 - 2];
        let over = Wrapped { annotations: vec![("a.b", &over), ("a.c", &two)], ..wrapped() };
        assert!(over.checked().is_err());
    }

    #[test]
    fn domain_names_are_kubernetes_own() {
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "x".repeat(61));
        for good in ["a.b", "a.b.", "a-1.2b", "1.a--b", &format!("{label}.b"), &longest] {
            assert!(is_domain_name(good), "{good}");
        }
        for bad in
            ["", ".", "a", "a.", "-a.b", "a-.b", "a..b", ".a.b", "a_b.c", "a.B", "a.b ", &format!("x{label}.b")]
        {
            assert!(!is_domain_name(bad), "{bad}");
        }
        assert!(!is_domain_name(&format!("{longest}x")));
    }

    #[test]
    fn broken_envelopes_are_refused_as_upstream_does() {
        for payload in [&b""[..], b"\0", b"\0\x05key"] {
            assert!(Envelope::v1(payload).is_err());
        }
        let long = [b'x'; MOST_ID + 1];
        let (id, many) = ("x".repeat(MOST_ID + 1), vec![7; MOST_ANNOTATIONS]);
        for (wrapped, body, told) in [
            (wrapped(), &b""[..], "encrypted data is empty"),
            (Wrapped { source: b"", ..wrapped() }, b"body", "data key is empty"),
            (Wrapped { source: &long, ..wrapped() }, b"body", "data key is longer"),
            (Wrapped { key_id: "", ..wrapped() }, b"body", "key id is empty"),
            (Wrapped { key_id: &id, ..wrapped() }, b"body", "key id is longer"),
            (Wrapped { annotations: vec![("nodots", b"1")], ..wrapped() }, b"body", "domain name"),
            (Wrapped { annotations: vec![("a.B", b"1")], ..wrapped() }, b"body", "domain name"),
            (Wrapped { annotations: vec![("a.b", &many)], ..wrapped() }, b"body", "32 KiB"),
        ] {
            let refused = Envelope::v2(&value(&wrapped, body)).unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
        let mut unknown = value(&wrapped(), b"body");
        *unknown.last_mut().unwrap() = 2;
        assert!(Envelope::v2(&unknown).unwrap_err().contains("encryptedDEKSourceType"));
        assert!(Envelope::v2(b"\x0a\x09short").is_err());
    }
}
