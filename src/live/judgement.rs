//! How one live record stands to the file's.

use crate::etcd::KeyValue;
use std::ops::Range;

/// What the file and a page say of one key: the number of the file's key, the
/// live record.
#[derive(Debug, PartialEq)]
pub enum Side<'k> {
    /// Both have it.
    Both(usize, &'k KeyValue<'k>),
    /// The file alone has it.
    File(usize),
    /// The live etcd alone has it.
    Live(&'k KeyValue<'k>),
}

/// The keys of the file in a range, `key` telling each by its number, and
/// those of a page, in order.
pub fn merge<'k>(
    key: impl Fn(usize) -> Option<&'k [u8]> + 'k,
    mut range: Range<usize>,
    kvs: &'k [KeyValue<'k>],
) -> impl Iterator<Item = Side<'k>> + 'k {
    let mut kvs = kvs.iter().peekable();
    std::iter::from_fn(move || {
        let ours = key(range.start).filter(|_| !range.is_empty());
        let theirs = kvs.peek().map(|kv| kv.key);
        match (ours, theirs) {
            (None, None) => None,
            (Some(ours), Some(theirs)) if ours == theirs => {
                let n = range.next()?;
                kvs.next().map(|kv| Side::Both(n, kv))
            }
            (Some(ours), theirs) if theirs.is_none_or(|theirs| ours < theirs) => range.next().map(Side::File),
            _ => kvs.next().map(Side::Live),
        }
    })
}

/// A live record, as one of a file.
#[must_use]
pub fn parsed(kv: &etcd_client::KeyValue) -> KeyValue<'_> {
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    KeyValue {
        key: kv.key(),
        value: kv.value(),
        create_revision: number(kv.create_revision()),
        mod_revision: number(kv.mod_revision()),
        version: number(kv.version()),
        // A number of 64 bits, whose first one may be set.
        lease: u64::from_ne_bytes(kv.lease().to_ne_bytes()),
        ..KeyValue::default()
    }
}

/// In what two records of a key differ.
#[must_use]
pub fn differs(ours: &KeyValue<'_>, theirs: &KeyValue<'_>) -> Option<String> {
    if ours.mod_revision != theirs.mod_revision {
        let (theirs, ours) = (theirs.mod_revision, ours.mod_revision);
        return Some(format!("written at revision {theirs}, in the file at {ours}"));
    }
    let fields = [
        ("value", ours.value != theirs.value),
        ("create revision", ours.create_revision != theirs.create_revision),
        ("version", ours.version != theirs.version),
        ("lease", ours.lease != theirs.lease),
    ];
    let other: Vec<_> = fields.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    (!other.is_empty()).then(|| format!("another {} at revision {}", other.join(", "), ours.mod_revision))
}

/// Whether a live record may be what was written after the file's newest
/// revision: what is said of the key's creation must fit.
#[must_use]
pub fn may_have_changed(ours: &KeyValue<'_>, theirs: &KeyValue<'_>, revision: u64) -> bool {
    let anew = theirs.create_revision > revision;
    let went_on = theirs.create_revision == ours.create_revision && theirs.version > ours.version;
    theirs.mod_revision > revision && (anew || went_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &'static [u8], created: u64, written: u64, version: u64) -> KeyValue<'static> {
        KeyValue {
            key,
            value: b"value",
            create_revision: created,
            mod_revision: written,
            version,
            ..KeyValue::default()
        }
    }

    #[test]
    fn whatever_differs_is_told_and_no_value_is() {
        let ours = kv(b"k", 2, 5, 3);
        assert_eq!(differs(&ours, &ours), None);
        let told = |theirs: KeyValue<'_>| differs(&ours, &theirs).unwrap();
        assert_eq!(told(KeyValue { value: b"secret", ..ours }), "another value at revision 5");
        assert_eq!(told(KeyValue { lease: 7, version: 4, ..ours }), "another version, lease at revision 5");
        assert_eq!(told(kv(b"k", 2, 6, 4)), "written at revision 6, in the file at 5");
        assert!(differs(&ours, &kv(b"k", 3, 5, 3)).is_some());
    }

    #[test]
    fn only_what_fits_was_written_since() {
        let ours = kv(b"k", 2, 5, 3);
        // Written again; deleted and created again.
        assert!(may_have_changed(&ours, &kv(b"k", 2, 11, 4), 10));
        assert!(may_have_changed(&ours, &kv(b"k", 11, 12, 2), 10));
        // Not later than the file; of another life; with fewer writes than the file knows.
        assert!(!may_have_changed(&ours, &kv(b"k", 2, 10, 4), 10));
        assert!(!may_have_changed(&ours, &kv(b"k", 4, 11, 4), 10));
        assert!(!may_have_changed(&ours, &kv(b"k", 2, 11, 3), 10));
    }

    #[test]
    fn keys_of_both_sides_come_in_order_and_none_is_left_out() {
        let ours: [&[u8]; 4] = [b"a", b"c", b"d", b"f"];
        let theirs = [kv(b"b", 1, 1, 1), kv(b"c", 1, 1, 1), kv(b"e", 1, 1, 1), kv(b"f", 1, 1, 1)];
        let key = |n: usize| ours.get(n).copied();
        let all: Vec<_> = merge(key, 0..4, &theirs).collect();
        let [b, c, e, f] = &theirs;
        assert_eq!(
            all,
            [Side::File(0), Side::Live(b), Side::Both(1, c), Side::File(2), Side::Live(e), Side::Both(3, f)]
        );
        // A range of the file's, and a page without a key.
        assert_eq!(merge(key, 1..3, &[]).collect::<Vec<_>>(), [Side::File(1), Side::File(2)]);
        assert_eq!(merge(key, 2..2, &theirs[..1]).collect::<Vec<_>>(), [Side::Live(b)]);
    }
}
