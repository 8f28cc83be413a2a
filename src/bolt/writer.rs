//! The bytes of fresh pages. Elements are packed densely, in order, and every
//! byte no element uses is zero.

use super::layout::Node;
use super::meta::{Meta, NO_FREELIST};
use super::page::{BRANCH, ELEMENT, HEADER, Header, LEAF};

/// Bytes of a bucket header: root page and sequence.
pub const BUCKET_HEADER: usize = 16;

/// The two meta pages of a fresh file: page 0 with `txid`, page 1 with the one
/// before it, both naming the same root, as a server's snapshot has them.
#[must_use]
pub fn metas(page_size: usize, root: u64, sequence: u64, high_water_mark: u64, txid: u64) -> Vec<u8> {
    let mut out = vec![0; 2 * page_size];
    let txid = txid.max(1);
    let page_bytes = u32::try_from(page_size).unwrap_or(u32::MAX);
    for (id, txid) in [(0, txid), (1, txid - 1)] {
        let meta = Meta { page_size: page_bytes, root, sequence, freelist: NO_FREELIST, high_water_mark, txid };
        let encoded = meta.encode(id);
        let at = if id == 0 { 0 } else { page_size };
        out[at..at + encoded.len()].copy_from_slice(&encoded);
    }
    out
}

/// Appends the headers of a leaf: its own and one for each element, given as
/// flags, key length and value length. Keys and values follow, in order, and
/// then [`pad`].
///
/// Lengths are below 2 GiB, as bbolt's limits demand.
pub fn leaf_headers(
    out: &mut Vec<u8>,
    leaf: &Node<'_>,
    elements: impl ExactSizeIterator<Item = (u32, usize, usize)>,
) {
    out.extend(header(leaf, LEAF));
    leaf_elements(out, elements);
}

fn header(node: &Node<'_>, flags: u16) -> [u8; HEADER] {
    let count = u16::try_from(node.count).unwrap_or(u16::MAX);
    Header { id: node.page, flags, count, overflow: node.run.saturating_sub(1) }.encode()
}

fn leaf_elements(out: &mut Vec<u8>, elements: impl ExactSizeIterator<Item = (u32, usize, usize)>) {
    let mut data = elements.len() * ELEMENT;
    for (flags, key, value) in elements {
        for field in [flags, narrow(data), narrow(key), narrow(value)] {
            out.extend(field.to_le_bytes());
        }
        data = data + key + value - ELEMENT;
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Appends a branch page whose children are `children`.
pub fn branch(out: &mut Vec<u8>, node: &Node<'_>, children: &[Node<'_>], page_size: usize) {
    let start = out.len();
    out.extend(header(node, BRANCH));
    let mut data = children.len() * ELEMENT;
    for child in children {
        out.extend(narrow(data).to_le_bytes());
        out.extend(narrow(child.first_key.len()).to_le_bytes());
        out.extend(child.page.to_le_bytes());
        data = data + child.first_key.len() - ELEMENT;
    }
    for child in children {
        out.extend(child.first_key);
    }
    pad(out, start, node, page_size);
}

/// Fills the run that began at `start` with zeros up to its end.
pub fn pad(out: &mut Vec<u8>, start: usize, node: &Node<'_>, page_size: usize) {
    let run = usize::try_from(node.run).unwrap_or(0) * page_size;
    out.resize(start + run, 0);
}

/// The value of a bucket element whose tree has its root at `root`.
#[must_use]
pub fn bucket_value(root: u64, sequence: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(BUCKET_HEADER);
    out.extend(root.to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out
}

/// The value of a bucket element which holds its one leaf inside itself, for
/// a bucket small enough by bbolt's rule (a quarter of a page, no buckets in
/// it); `None` for a larger one.
#[must_use]
pub fn inline_bucket_value(sequence: u64, entries: &[(&[u8], &[u8])], page_size: usize) -> Option<Vec<u8>> {
    let bytes: usize = entries.iter().map(|(key, value)| ELEMENT + key.len() + value.len()).sum();
    let count = u16::try_from(entries.len()).ok()?;
    if HEADER + bytes > page_size / 4 {
        return None;
    }
    let mut out = bucket_value(0, sequence);
    out.extend(Header { id: 0, flags: LEAF, count, overflow: 0 }.encode());
    leaf_elements(&mut out, entries.iter().map(|(key, value)| (0, key.len(), value.len())));
    for (key, value) in entries {
        out.extend(*key);
        out.extend(*value);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::Thoroughness;
    use crate::bolt::layout::TreeBuilder;
    use crate::bolt::{Database, survey};

    /// Writes one bucket `b` of `n` entries in a file of its own.
    fn write(n: u32, page_size: usize, value: &[u8]) -> Vec<u8> {
        let keys: Vec<[u8; 4]> = (0..n).map(u32::to_be_bytes).collect();
        let mut builder = TreeBuilder::new(page_size, 2, 7);
        for key in &keys {
            builder.push(key, value.len());
        }
        let tree = builder.finish();
        let bucket = bucket_value(tree.root(), tree.sequence);
        let mut root = TreeBuilder::new(page_size, tree.end, 0);
        root.push(b"b", bucket.len());
        let root = root.finish();
        let mut out = metas(page_size, root.root(), 0, root.end, 9);
        let mut keys = keys.iter();
        for leaf in &tree.levels[0] {
            let start = out.len();
            let count = usize::try_from(leaf.count).unwrap();
            let on_leaf: Vec<_> = keys.by_ref().take(count).collect();
            leaf_headers(&mut out, leaf, on_leaf.iter().map(|key| (0, key.len(), value.len())));
            for key in on_leaf {
                out.extend(key);
                out.extend(value);
            }
            pad(&mut out, start, leaf, page_size);
        }
        for level in tree.levels.windows(2) {
            let mut children = level[0].as_slice();
            for node in &level[1] {
                let (mine, rest) = children.split_at(usize::try_from(node.count).unwrap());
                branch(&mut out, node, mine, page_size);
                children = rest;
            }
        }
        let start = out.len();
        leaf_headers(&mut out, &root.levels[0][0], [(1, 1, bucket.len())].into_iter());
        out.extend(b"b");
        out.extend(bucket);
        pad(&mut out, start, &root.levels[0][0], page_size);
        out
    }

    #[test]
    fn the_second_meta_is_that_of_the_transaction_before() {
        for (txid, txids) in [(9, [9, 8]), (1, [1, 0]), (0, [1, 0])] {
            let out = metas(4096, 2, 3, 5, txid);
            let found = [0, 4096].map(|at| Meta::parse(&out[at..]).unwrap());
            assert_eq!(found.map(|meta| meta.txid), txids);
            assert!(found.iter().all(|meta| (meta.root, meta.sequence, meta.high_water_mark) == (2, 3, 5)));
        }
    }

    #[test]
    fn a_quarter_of_a_page_lies_inline_and_no_more() {
        // 16 bytes for the page, 16 for each element.
        for (first, second, fits) in [(900, 92, true), (900, 93, false), (92, 900, true), (93, 900, false)] {
            let (key, value) = (vec![b'k'; first], vec![b'v'; second]);
            assert_eq!(inline_bucket_value(0, &[(&key, &value)], 4096).is_some(), fits);
            assert_eq!(inline_bucket_value(0, &[(b"a", &value), (&key, b"")], 4164).is_some(), fits);
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_sound() {
        for page_size in [1024, 4096, 65536] {
            for (n, length) in [(0, 0), (1, 5), (3, 9000), (5000, 30), (700, 1000)] {
                let value = vec![0xA5; length];
                let bytes = write(n, page_size, &value);
                let db = Database::open(&bytes).unwrap();
                let found = survey(&db, Thoroughness::FULL).sound().unwrap();
                assert_eq!((found.free_pages, found.dirty), (0, 0));
                let (_, bucket) = found.bucket(b"b").unwrap();
                assert_eq!((bucket.entries, bucket.sequence), (u64::from(n), 7));
                for (i, entry) in bucket.entries().enumerate() {
                    let entry = entry.unwrap();
                    assert_eq!(entry.key, u32::try_from(i).unwrap().to_be_bytes());
                    assert_eq!(entry.value, value);
                }
            }
        }
    }
}
