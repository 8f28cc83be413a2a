//! Values of the `key` bucket: `mvccpb.KeyValue`.
//!
//! Fields: 1 key, 2 create revision, 3 mod revision, 4 version, 5 value,
//! 6 lease. A tombstone holds the key only; the marker that
//! `snapshot restore --bump-revision` leaves is empty. Only field 5 is ever
//! replaced, and it is spliced: all other bytes stay, unknown fields and
//! unusual orders included. Source: etcd `api/mvccpb/kv.proto`.

use super::wire::{Content, field, put_varint, varint_len};

/// A parsed record, as slices of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyValue<'a> {
    /// The etcd key.
    pub key: &'a [u8],
    /// Revision that created the key.
    pub create_revision: u64,
    /// Revision of this record.
    pub mod_revision: u64,
    /// How often the key was written since its creation.
    pub version: u64,
    /// The value; empty also where the record has none.
    pub value: &'a [u8],
    /// The lease it hangs on, or 0.
    pub lease: u64,
    /// Bytes before field 5, or all of them.
    pub before: &'a [u8],
    /// Bytes after field 5.
    pub after: &'a [u8],
}

/// Field number and wire type of the value.
const VALUE_TAG: u8 = (5 << 3) | 2;

impl<'a> KeyValue<'a> {
    /// Parses a record.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub fn parse(record: &'a [u8]) -> Result<Self, &'static str> {
        let mut kv = Self { before: record, ..Self::default() };
        let mut has_value = false;
        let mut rest = record;
        while !rest.is_empty() {
            let offset = record.len() - rest.len();
            let (after, field) = field(rest).map_err(|_| "it is not protobuf")?;
            let end = record.len() - after.len();
            match (field.number, field.content) {
                (1, Content::Bytes(key)) => kv.key = key,
                (2, Content::Varint(n)) => kv.create_revision = n,
                (3, Content::Varint(n)) => kv.mod_revision = n,
                (4, Content::Varint(n)) => kv.version = n,
                (5, Content::Bytes(_)) if has_value => return Err("it has two values"),
                (5, Content::Bytes(value)) => {
                    has_value = true;
                    kv.value = value;
                    kv.before = &record[..offset];
                    kv.after = &record[end..];
                }
                (6, Content::Varint(n)) => kv.lease = n,
                (1..=6, _) => return Err("a field has the wrong type"),
                _ => {}
            }
            rest = after;
        }
        Ok(kv)
    }

    /// Length of the record with a value of `value` bytes in place of its own.
    #[must_use]
    pub fn spliced_len(&self, value: usize) -> usize {
        let n = u64::try_from(value).unwrap_or(u64::MAX);
        self.before.len() + 1 + varint_len(n) + value + self.after.len()
    }

    /// Appends everything of the record that lies before a new value of
    /// `value` bytes; the value and [`KeyValue::after`] follow.
    pub fn put_before(&self, out: &mut Vec<u8>, value: usize) {
        out.extend_from_slice(self.before);
        out.push(VALUE_TAG);
        put_varint(out, u64::try_from(value).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = b"\x0a\x03key\x10\x05\x18\x07\x20\x02\x2a\x05value\x30\x09";

    #[test]
    fn a_record_is_its_fields() {
        let kv = KeyValue::parse(RECORD).unwrap();
        assert_eq!((kv.key, kv.value), (&b"key"[..], &b"value"[..]));
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (5, 7, 2, 9));
    }

    #[test]
    fn a_spliced_record_differs_in_its_value_only() {
        let record = [RECORD, b"\x9a\x06\x02hi"].concat();
        let kv = KeyValue::parse(&record).unwrap();
        for length in [0, 1, 127, 128, 20_000] {
            let value = vec![b'x'; length];
            let mut out = Vec::new();
            kv.put_before(&mut out, length);
            out.extend(&value);
            out.extend(kv.after);
            assert_eq!(out.len(), kv.spliced_len(length));
            let new = KeyValue::parse(&out).unwrap();
            assert_eq!((new.value, new.before, new.after), (&value[..], kv.before, kv.after));
            assert_eq!((new.key, new.mod_revision, new.lease), (kv.key, kv.mod_revision, kv.lease));
        }
    }

    #[test]
    fn tombstones_and_bump_markers_parse() {
        assert_eq!(KeyValue::parse(b"\x0a\x01k").map(|kv| kv.key), Ok(&b"k"[..]));
        assert_eq!(KeyValue::parse(b"").map(|kv| kv.key), Ok(&b""[..]));
        // What has no value lies before the place of one.
        let kv = KeyValue::parse(&RECORD[..11]).unwrap();
        assert_eq!((kv.before, kv.value, kv.after), (&RECORD[..11], &b""[..], &b""[..]));
    }

    #[test]
    fn a_broken_record_is_refused() {
        for bad in [&b"\x0a\x05key"[..], b"\x2a\x01a\x2a\x01b", b"\x08\x01", b"\x0b", b"\xff"] {
            assert!(KeyValue::parse(bad).is_err(), "{bad:?}");
        }
    }
}
