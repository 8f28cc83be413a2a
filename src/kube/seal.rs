//! What a sealed value says of itself.

use super::key::SEALED;

/// Whether a value bears the prefix of sealed values.
#[must_use]
pub fn is_sealed(value: &[u8]) -> bool {
    value.starts_with(SEALED)
}

/// What a sealed value says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seal {
    /// The provider; of KMS with its version, as `kms-v2`.
    pub provider: String,
    /// The name of the key or plugin: where no key known decides, the most
    /// likely reading.
    pub name: String,
}

impl Seal {
    /// Reads the prefix of a value sealed with a key that is not known.
    #[must_use]
    pub fn read(value: &[u8]) -> Self {
        let rest = value.strip_prefix(SEALED).unwrap_or_default();
        let mut parts = rest.splitn(3, |byte| *byte == b':');
        let provider = parts.next().unwrap_or_default();
        let version = parts.next().unwrap_or_default();
        let behind = parts.next().unwrap_or_default();
        let short = |bytes: &[u8]| crate::etcd::escape(&bytes[..bytes.len().min(64)]);
        let provider = match (provider, version) {
            (b"kms", _) => format!("kms-{}", short(version)),
            (_, b"v1") => short(provider),
            _ => format!("{}-{}", short(provider), short(version)),
        };
        let name = if rest.starts_with(b"kms:v1:") { likely_plugin(behind) } else { None };
        Self { provider, name: short(name.unwrap_or_else(|| likely_name(behind))) }
    }
}

/// The text up to the first colon, or, where that is followed by the rest of
/// a time of day as K3s puts it into key names (`…-2026-11-24T02:15:42Z`),
/// up to the colon behind that.
fn likely_name(behind: &[u8]) -> &[u8] {
    let end = behind.iter().position(|byte| *byte == b':').unwrap_or(behind.len().min(64));
    let time = |at: usize| {
        let tail = behind.get(at..at + 8)?;
        let digits = [1, 2, 4, 5].iter().all(|i| tail[*i].is_ascii_digit());
        (digits && tail[0] == b':' && tail[3] == b':' && tail[6] == b'Z' && tail[7] == b':').then_some(at + 7)
    };
    &behind[..time(end).unwrap_or(end)]
}

/// The text up to the first colon behind which a data key of KMS v1 may stand:
/// its length in two bytes, and then as much and a body. A length whose first
/// byte is a letter would be that of an unheard-of data key, and is more
/// likely a part of the name.
fn likely_plugin(behind: &[u8]) -> Option<&[u8]> {
    let ends = (0..behind.len()).filter(|at| behind[*at] == b':');
    let fits = |at: &usize| {
        behind[at + 1..].split_first_chunk::<2>().is_some_and(|(length, rest)| {
            let length = usize::from(u16::from_be_bytes(*length));
            (1..0x2000).contains(&length) && length < rest.len()
        })
    };
    ends.take(64).find(fits).map(|end| &behind[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_told_by_its_beginning() {
        assert!(is_sealed(b"k8s:enc:aescbc:v1:k:x") && is_sealed(b"k8s:enc:"));
        assert!(!is_sealed(b"k8s:enc") && !is_sealed(b"k8s\0plain") && !is_sealed(b""));
    }

    #[test]
    fn the_seal_of_an_unknown_key_is_read() {
        for (value, provider, name) in [
            ("k8s:enc:aescbc:v1:key1:xx:yy", "aescbc", "key1"),
            ("k8s:enc:aescbc:v1:aescbckey-2026-11-24T02:15:42Z:xx", "aescbc", "aescbckey-2026-11-24T02:15:42Z"),
            ("k8s:enc:kms:v2:lab:xx", "kms-v2", "lab"),
            ("k8s:enc:kms:v1:lab:v1:\0\x04:key:body", "kms-v1", "lab:v1"),
            ("k8s:enc:kms:v1:lab:\0\x04:key:body", "kms-v1", "lab"),
            ("k8s:enc:kms:v1:lab:cut", "kms-v1", "lab"),
            ("k8s:enc:kms:v1:a:b:\0\x03key:", "kms-v1", "a:b"),
            ("k8s:enc:kms:v1:a:b:\0\x04key:", "kms-v1", "a"),
            ("k8s:enc:kms:v1:a:b:\0\x05key:", "kms-v1", "a"),
            ("k8s:enc:kms:v1:a:b:\0\0key:", "kms-v1", "a"),
            ("k8s:enc:unknown:v9:zzz", "unknown-v9", "zzz"),
            // What only resembles the rest of a time of day.
            ("k8s:enc:aescbc:v1:a:02;15Z:xx", "aescbc", "a"),
            ("k8s:enc:aescbc:v1:a:02:15z:xx", "aescbc", "a"),
            ("k8s:enc:aescbc:v1:a:02:15Z;xx", "aescbc", "a"),
            ("k8s:enc:aescbc:v1:a:x2:15Z:xx", "aescbc", "a"),
            ("k8s:enc:aescbc:v1:a:02:1xZ:xx", "aescbc", "a"),
            ("k8s:enc:aescbc:v1:a:02:15Z", "aescbc", "a"),
            ("plain", "-", ""),
        ] {
            assert_eq!(Seal::read(value.as_bytes()), Seal { provider: provider.into(), name: name.into() });
        }
    }
}
