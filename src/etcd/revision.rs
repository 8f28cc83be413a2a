//! Keys of the `key` bucket.
//!
//! ```text
//! 0 main i64 big-endian   8 '_'   9 sub i64 big-endian   17 't', of a tombstone only
//! ```
//!
//! Source: etcd `server/storage/mvcc/revision.go`.

use std::fmt;

/// A revision: the transaction and the place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The transaction; Kubernetes' resource version.
    pub main: i64,
    /// The place in the transaction, from 0.
    pub sub: i64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.main, self.sub)
    }
}

/// A revision as a key of the `key` bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionKey {
    /// The revision.
    pub revision: Revision,
    /// Whether the entry marks a deletion.
    pub tombstone: bool,
}

impl RevisionKey {
    /// Parses a key of 17 or, of a tombstone, 18 bytes. Both numbers are
    /// zero or more.
    #[must_use]
    pub fn parse(key: &[u8]) -> Option<Self> {
        // Every record has one, many times over: this is the plain way.
        let (main, rest) = key.split_first_chunk::<8>()?;
        let (sub, mark) = rest.strip_prefix(b"_")?.split_first_chunk::<8>()?;
        let (main, sub) = (i64::from_be_bytes(*main), i64::from_be_bytes(*sub));
        let revision = Revision { main, sub };
        (main >= 0 && sub >= 0 && matches!(mark, b"" | b"t"))
            .then_some(Self { revision, tombstone: !mark.is_empty() })
    }

    /// The key's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.revision.main.to_be_bytes().to_vec();
        out.push(b'_');
        out.extend(self.revision.sub.to_be_bytes());
        if self.tombstone {
            out.push(b't');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_key_survives_encoding() {
        for tombstone in [false, true] {
            let key = RevisionKey { revision: Revision { main: 1 << 40, sub: 3 }, tombstone };
            assert_eq!(key.encode().len(), if tombstone { 18 } else { 17 });
            assert_eq!(RevisionKey::parse(&key.encode()), Some(key));
            assert_eq!(key.revision.to_string(), "1099511627776.3");
        }
    }

    #[test]
    fn anything_else_is_no_revision_key() {
        let good = RevisionKey { revision: Revision { main: 5, sub: 0 }, tombstone: false }.encode();
        let mut negative = good.clone();
        negative[0] = 0x80;
        let mut separator = good.clone();
        separator[8] = b'-';
        let mut mark = good.clone();
        mark.push(b'x');
        for bad in [&good[..16], &negative, &separator, &mark, b""] {
            assert_eq!(RevisionKey::parse(bad), None);
        }
    }
}
