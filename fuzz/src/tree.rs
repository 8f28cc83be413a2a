//! Trees made to order: whatever the entries, what is written is sound, dense,
//! and read back as it was; then bytes of it are changed, and it is walked
//! again.
//!
//! ```text
//! page size and shape u8 │ changes u8 │ changes × (place u24, xor u8) │ entries × (key u8, value u16)
//! ```

use super::structure::{mend, walk};
use etcd_rekey::bolt::layout::{Tree, TreeBuilder};
use etcd_rekey::bolt::writer;
use std::collections::BTreeMap;

/// Holds the promise to a description of a tree.
pub fn check(input: &[u8]) {
    let [shape, changes, rest @ ..] = input else { return };
    let (changes, rest) = rest.split_at(rest.len().min(usize::from(*changes) * 4));
    let page_size = 1024 << (shape & 3);
    let entries = entries(rest, shape >> 3);
    let mut file = write(page_size, &entries);
    let found = walk(&file).expect("what is written is sound");
    assert_eq!((found.free_pages, found.dirty), (0, 0));
    let (_, bucket) = found.bucket(b"b").expect("the bucket is there");
    let read = bucket.entries().map(|entry| entry.expect("it is read"));
    assert!(
        read.map(|entry| (entry.key, entry.value))
            .eq(entries.iter().map(|(k, v)| (k.as_slice(), v.as_slice())))
    );
    if changes.len() < 4 {
        return;
    }
    for change in changes.as_chunks::<4>().0 {
        let at = u32::from_le_bytes([change[0], change[1], change[2], 0]);
        let at = usize::try_from(at).unwrap_or(0) % file.len();
        file[at] ^= change[3];
    }
    mend(&mut file, shape >> 2 & 1 | 2);
    walk(&file);
}

/// Entries with keys and values of the lengths described; what keys share at
/// their beginning grows with `alike`.
fn entries(mut lengths: &[u8], alike: u8) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    while let [key, low, high, rest @ ..] = lengths {
        lengths = rest;
        let number = u32::try_from(entries.len()).unwrap_or(0);
        let mut name = vec![b'k'; usize::from(alike)];
        name.extend(number.to_be_bytes());
        name.resize(name.len() + usize::from(*key), *low);
        let value = vec![*key; usize::from(u16::from_le_bytes([*low, *high])) % 10_000];
        entries.insert(name, value);
        if entries.len() == 2000 {
            break;
        }
    }
    entries
}

/// A file of one bucket `b`.
pub fn write(page_size: usize, entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let list: Vec<(&[u8], &[u8])> = entries.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
    let mut pages = Vec::new();
    let (inline, first) = match writer::inline_bucket_value(7, &list, page_size) {
        Some(value) => (Some(value), 2),
        None => {
            let tree = laid_out(page_size, 2, &list);
            put(&mut pages, &tree, &list, 0, page_size);
            (Some(writer::bucket_value(tree.root(), 7)), tree.end)
        }
    };
    let value = inline.unwrap_or_default();
    let root_list = [(b"b".as_slice(), value.as_slice())];
    let root = laid_out(page_size, first, &root_list);
    put(&mut pages, &root, &root_list, 1, page_size);
    let mut file = writer::metas(page_size, root.root(), 0, root.end, 9);
    file.extend(pages);
    file
}

fn laid_out<'k>(page_size: usize, first: u64, list: &[(&'k [u8], &[u8])]) -> Tree<'k> {
    let mut builder = TreeBuilder::new(page_size, first, 0);
    for (key, value) in list {
        builder.push(key, value.len());
    }
    builder.finish()
}

fn put(out: &mut Vec<u8>, tree: &Tree<'_>, list: &[(&[u8], &[u8])], flags: u32, page_size: usize) {
    let mut list = list;
    for leaf in &tree.levels[0] {
        let (mine, rest) = list.split_at(usize::try_from(leaf.count).expect("a count"));
        let start = out.len();
        writer::leaf_headers(out, leaf, mine.iter().map(|(key, value)| (flags, key.len(), value.len())));
        for (key, value) in mine {
            out.extend([*key, *value].concat());
        }
        writer::pad(out, start, leaf, page_size);
        list = rest;
    }
    for level in tree.levels.windows(2) {
        let mut children = level[0].as_slice();
        for node in &level[1] {
            let (mine, rest) = children.split_at(usize::try_from(node.count).expect("a count"));
            writer::branch(out, node, mine, page_size);
            children = rest;
        }
    }
}
