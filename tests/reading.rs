//! Promise: what is read of a file is right to the last page and entry, and
//! each bound is where it is said to be.

mod support;

use etcd_rekey::bolt::Thoroughness;
use etcd_rekey::bolt::meta::{META_SIZE, Meta, NO_FREELIST};
use etcd_rekey::bolt::page::{BRANCH, BUCKET, ELEMENT, HEADER, Header, LEAF, MAX_KEY, MAX_VALUE};
use etcd_rekey::bolt::{Database, Defect, Survey, survey, writer};
use etcd_rekey::etcd::hash::{bucket_checksum, hash_kv_covers, status_hash};
use etcd_rekey::etcd::{History, Revision, RevisionKey};
use etcd_rekey::kube::{EncryptionConfiguration, Precedence};
use etcd_rekey::map::Map;
use std::fs::File;
use std::os::unix::fs::FileExt;
use support::builder::Builder;
use support::fixture;

const PAGE: usize = 4096;

fn surveyed(file: &[u8], how: Thoroughness) -> Survey<'_> {
    survey(&Database::open(file).unwrap(), how)
}

fn defects(file: &[u8]) -> Vec<Defect> {
    surveyed(file, Thoroughness::FULL).defects
}

/// What is on a page: flags, key and value of each element, or key and child.
enum Elements<'e> {
    Leaf(&'e [(u32, &'e [u8], &'e [u8])]),
    Branch(&'e [(&'e [u8], u64)]),
}

/// A page with its elements one behind the other.
fn page(id: u64, elements: &Elements<'_>) -> Vec<u8> {
    let (flags, count) = match elements {
        Elements::Leaf(list) => (LEAF, list.len()),
        Elements::Branch(list) => (BRANCH, list.len()),
    };
    let header = Header { id, flags, count: u16::try_from(count).unwrap(), overflow: 0 };
    let (mut out, mut data) = (header.encode().to_vec(), Vec::new());
    for i in 0..count {
        let pos = u32::try_from((count - i) * ELEMENT + data.len()).unwrap().to_le_bytes();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_le_bytes();
        match elements {
            Elements::Leaf(list) => {
                let (flags, key, value) = list[i];
                out.extend([flags.to_le_bytes(), pos, length(key), length(value)].concat());
                data.extend([key, value].concat());
            }
            Elements::Branch(list) => {
                let (key, child) = list[i];
                out.extend([&pos[..], &length(key), &child.to_le_bytes()].concat());
                data.extend(key);
            }
        }
    }
    out.extend(data);
    out.resize(PAGE, 0);
    out
}

/// A file whose root, page 2, holds one bucket `b` with its root on page 3; more pages from there.
fn one_bucket(pages: &[Vec<u8>]) -> Vec<u8> {
    let root = page(2, &Elements::Leaf(&[(BUCKET, b"b", &writer::bucket_value(3, 0))]));
    [writer::metas(PAGE, 2, 0, 3 + u64::try_from(pages.len()).unwrap(), 9), root, pages.concat()].concat()
}

fn leaf(id: u64, keys: &[&[u8]]) -> Vec<u8> {
    page(id, &Elements::Leaf(&keys.iter().map(|key| (0, *key, &b"v"[..])).collect::<Vec<_>>()))
}

#[test]
fn each_bucket_is_found_at_its_entry() {
    let file = Builder::default().file();
    let found = surveyed(&file, Thoroughness::STRICT).sound().unwrap();
    let entries: Vec<_> = found.inside(0).map(|(_, bucket)| bucket.parent.unwrap().1).collect();
    assert_eq!(entries, [0, 1, 2, 3, 4, 5, 6]);
    // With a second leaf the entries are counted on.
    let many: Vec<_> = (0..300).map(|i| format!("bucket{i:03}")).collect();
    let mut made = Builder::default();
    for name in &many {
        made.put(name, b"key", b"value");
    }
    let file = made.file();
    let found = surveyed(&file, Thoroughness::STRICT).sound().unwrap();
    assert!(found.buckets[0].leaves.len() > 1);
    assert!(found.inside(0).zip(0..).all(|((_, bucket), number)| bucket.parent == Some((0, number))));
}

#[test]
fn a_survey_ends_with_the_defects_asked_for() {
    // Free-list entries beyond the file, each a defect.
    let mut made = Builder { freelist: true, ..Builder::default() };
    made.free = vec![Vec::new(); 20];
    let mut file = made.file();
    let at = usize::try_from(Meta::parse(&file).unwrap().freelist).unwrap() * PAGE + HEADER;
    file[at..at + 20 * 8].fill(0xee);
    let with = |defects| surveyed(&file, Thoroughness { defects, unused_bytes: false }).defects.len();
    assert_eq!((with(1), with(7), with(20)), (1, 7, 20));
    // So it does in the trees: of two bad buckets the second is not looked at.
    let bad = page(3, &Elements::Leaf(&[(2, b"k", b"v")]));
    let value = |root| writer::bucket_value(root, 0);
    let root = page(2, &Elements::Leaf(&[(BUCKET, b"a", &value(3)), (BUCKET, b"b", &value(4))]));
    let file = [writer::metas(PAGE, 2, 0, 5, 9), root, bad.clone(), bad].concat();
    assert_eq!(surveyed(&file, Thoroughness::STRICT).buckets.len(), 2);
    assert_eq!(surveyed(&file, Thoroughness::FULL).defects.len(), 2);
    // Nor is what lies behind a bad page.
    let branch = page(3, &Elements::Branch(&[(b"a", 4), (b"m", 5)]));
    let file = one_bucket(&[branch, page(4, &Elements::Leaf(&[(2, b"a", b"v")])), leaf(5, &[b"m"])]);
    assert_eq!(surveyed(&file, Thoroughness::STRICT).buckets[1].leaves.len(), 1);
    assert_eq!(surveyed(&file, Thoroughness::FULL).buckets[1].leaves.len(), 2);
}

#[test]
fn a_meta_page_says_what_it_is() {
    for at in [0, PAGE] {
        let mut file = Builder::default().file();
        file[at + 8..at + 10].copy_from_slice(&LEAF.to_le_bytes());
        let page = u64::try_from(at / PAGE).unwrap();
        assert_eq!(defects(&file), [Defect::PageKind { page, expected: "meta", found: "leaf" }]);
    }
}

#[test]
fn a_byte_that_nothing_uses_is_noticed_wherever_it_is() {
    let good = Builder::default().file();
    assert_eq!(surveyed(&good, Thoroughness::FULL).dirty, 0);
    for at in [HEADER + META_SIZE, PAGE - 1, PAGE + HEADER + META_SIZE, 2 * PAGE - 1, good.len() - 1] {
        let mut file = good.clone();
        file[at] = 1;
        let found = surveyed(&file, Thoroughness::FULL).sound().unwrap();
        assert_eq!(found.dirty, 1, "{at}");
        assert_eq!(surveyed(&file, Thoroughness::STRICT).dirty, 0);
    }
    let mut file = good.clone();
    for at in [PAGE - 1, 2 * PAGE - 1] {
        file[at] = 1;
    }
    assert_eq!(surveyed(&file, Thoroughness::FULL).dirty, 2);
    // Of branches, too.
    let branch = page(3, &Elements::Branch(&[(b"a", 4), (b"m", 5)]));
    let mut file = one_bucket(&[branch, leaf(4, &[b"a", b"b"]), leaf(5, &[b"m"])]);
    assert_eq!(surveyed(&file, Thoroughness::FULL).sound().unwrap().dirty, 0);
    file[3 * PAGE + HEADER + 2 * ELEMENT + 2] = 1;
    assert_eq!(surveyed(&file, Thoroughness::FULL).dirty, 1);
}

#[test]
fn keys_are_in_order_from_leaf_to_leaf() {
    let with = |first: &[&[u8]]| {
        let branch = page(3, &Elements::Branch(&[(b"a", 4), (b"m", 5)]));
        defects(&one_bucket(&[branch, leaf(4, first), leaf(5, &[b"m", b"n"])]))
    };
    assert_eq!(with(&[b"a", b"l"]), []);
    for first in [&[&b"a"[..], b"m"][..], &[b"a", b"z"], &[b"a", b"b", b"z"]] {
        assert_eq!(with(first), [Defect::KeyOrder { page: 5, index: 0 }]);
    }
}

#[test]
fn elements_may_lie_in_any_order_and_share_no_byte() {
    let with = |first: u32, second: u32| {
        let mut page = leaf(3, &[b"aaaa", b"bbbb"]);
        for (i, at) in [(0, first), (1, second)] {
            let element = HEADER + i * ELEMENT;
            let pos = at - u32::try_from(element).unwrap();
            page[element + 4..element + 8].copy_from_slice(&pos.to_le_bytes());
            let at = usize::try_from(at).unwrap();
            page[at..at + 4].copy_from_slice(&[b'a' + u8::try_from(i).unwrap(); 4]);
        }
        defects(&one_bucket(&[page]))
    };
    // Each takes five bytes.
    assert_eq!(with(100, 105), []);
    assert_eq!(with(105, 100), []);
    assert_eq!(with(100, 104), [Defect::Overlap { page: 3 }]);
    assert_eq!(with(104, 100), [Defect::Overlap { page: 3 }]);
}

#[test]
fn a_page_of_no_elements_is_none_but_an_empty_buckets_root() {
    assert_eq!(defects(&one_bucket(&[leaf(3, &[])])), []);
    let branch = page(3, &Elements::Branch(&[]));
    assert_eq!(defects(&one_bucket(&[branch])), [Defect::EmptyPage { page: 3 }]);
    let branch = page(3, &Elements::Branch(&[(b"a", 4), (b"m", 5)]));
    let below = one_bucket(&[branch, leaf(4, &[b"a"]), leaf(5, &[])]);
    assert_eq!(defects(&below), [Defect::EmptyPage { page: 5 }]);
}

#[test]
fn a_branch_has_two_children() {
    let branch = page(3, &Elements::Branch(&[(b"a", 4)]));
    assert_eq!(defects(&one_bucket(&[branch, leaf(4, &[b"a"])])), [Defect::SingleChild { page: 3 }]);
}

#[test]
fn sixty_four_levels_are_not_too_deep_and_one_more_is() {
    // A tree this deep and sound would have 2^64 pages: this one's leaves lie at all depths.
    let chain = |branches: u64| {
        let end = 3 + branches;
        let mut pages: Vec<_> = (3..end)
            .map(|id| page(id, &Elements::Branch(&[(b"a", id + 1), (b"z", end + 1 + (id - 3))])))
            .collect();
        pages.push(leaf(end, &[b"a"]));
        pages.extend((0..branches).map(|i| leaf(end + 1 + i, &[b"z"])));
        defects(&one_bucket(&pages)).contains(&Defect::TooDeep { page: end - 1, limit: 64 })
    };
    assert!(!chain(64));
    assert!(chain(65));
}

/// Buckets in buckets, all inside one another on one page of a page size that has room.
fn nest(levels: usize) -> Vec<u8> {
    let size = 16384;
    let mut value = writer::inline_bucket_value(0, &[], size).unwrap();
    for _ in 1..levels {
        let inner = page_of(&value);
        value = [writer::bucket_value(0, 0), inner].concat();
    }
    let mut root = page_of(&value);
    root[..8].copy_from_slice(&2u64.to_le_bytes());
    root.resize(size, 0);
    [writer::metas(size, 2, 0, 3, 9), root].concat()
}

/// An inline page of one bucket.
fn page_of(bucket: &[u8]) -> Vec<u8> {
    let mut out = Header { id: 0, flags: LEAF, count: 1, overflow: 0 }.encode().to_vec();
    for field in [BUCKET, 16, 1, u32::try_from(bucket.len()).unwrap()] {
        out.extend(field.to_le_bytes());
    }
    out.push(b'n');
    out.extend(bucket);
    out
}

#[test]
fn sixty_four_nested_buckets_are_not_too_many_and_one_more_is() {
    let file = nest(64);
    assert_eq!(surveyed(&file, Thoroughness::STRICT).sound().unwrap().buckets.last().unwrap().depth, 64);
    assert_eq!(defects(&nest(65)), [Defect::NestedTooDeep { page: 2, limit: 64 }]);
}

#[test]
fn an_inline_page_is_a_leaf_without_number_and_overflow() {
    for (at, byte) in [(0, 1), (8, 1), (12, 1)] {
        let mut bucket = writer::inline_bucket_value(5, &[(b"k", b"v")], PAGE).unwrap();
        bucket[16 + at] = byte;
        let root = page(2, &Elements::Leaf(&[(BUCKET, b"b", &bucket)]));
        let file = [writer::metas(PAGE, 2, 0, 3, 9), root].concat();
        assert_eq!(defects(&file), [Defect::InlinePage { page: 2, index: 0 }], "{at}");
    }
}

#[test]
fn keys_and_values_may_be_as_long_as_bbolt_lets_them() {
    let with_key = |length: usize| {
        let mut made = Builder::default();
        made.put("other", &vec![b'k'; length], b"");
        let file = made.file();
        surveyed(&file, Thoroughness::STRICT).defects.is_empty()
    };
    let most = usize::try_from(MAX_KEY).unwrap();
    assert!(with_key(most) && !with_key(most + 1));
    // Of values of 2 GiB the disk keeps next to nothing, and nobody reads them.
    let directory = tempfile::tempdir().unwrap();
    let value_is_too_long = |bytes: u32| {
        let path = directory.path().join(bytes.to_string());
        let file = File::create(&path).unwrap();
        let run = u64::from(MAX_VALUE) / 4096 + 2;
        let end = 3 + run;
        file.write_all_at(&writer::metas(PAGE, 2, 0, end, 9), 0).unwrap();
        let root = page(2, &Elements::Leaf(&[(BUCKET, b"b", &writer::bucket_value(3, 0))]));
        file.write_all_at(&root, 2 * 4096).unwrap();
        let overflow = u32::try_from(run - 1).unwrap();
        let mut big = Header { id: 3, flags: LEAF, count: 1, overflow }.encode().to_vec();
        for field in [0, 16, 1, bytes] {
            big.extend(field.to_le_bytes());
        }
        big.push(b'k');
        file.write_all_at(&big, 3 * 4096).unwrap();
        file.set_len(end * 4096).unwrap();
        let map = Map::open(&path).unwrap();
        surveyed(&map, Thoroughness::STRICT).defects == [Defect::ValueTooLong { page: 3, index: 0, bytes }]
    };
    assert!(!value_is_too_long(MAX_VALUE) && value_is_too_long(MAX_VALUE + 1));
}

#[test]
fn a_page_that_is_leaked_is_named() {
    let mut made = Builder { freelist: true, ..Builder::default() };
    made.free = vec![Vec::new(); 3];
    let mut file = made.file();
    let meta = Meta::parse(&file).unwrap();
    let list = usize::try_from(meta.freelist).unwrap() * PAGE;
    assert_eq!(surveyed(&file, Thoroughness::FULL).sound().unwrap().free_pages, 3);
    // The last of them is left off the list.
    file[list + 10] = 2;
    assert_eq!(defects(&file), [Defect::Leaked { page: meta.freelist - 1 }]);
    assert_eq!(surveyed(&file, Thoroughness::FULL).free_pages, 2);
    // Without a list, whatever is not reached is free.
    for (id, at) in [(0, 0), (1, PAGE)] {
        let meta = Meta { freelist: NO_FREELIST, ..Meta::parse(&file[at..]).unwrap() };
        file[at..at + HEADER + META_SIZE].copy_from_slice(&meta.encode(id));
    }
    assert_eq!(surveyed(&file, Thoroughness::FULL).sound().unwrap().free_pages, 4);
}

/// What the `key` bucket of a built file says.
fn history(made: &Builder) -> History {
    let file = made.file();
    let found = surveyed(&file, Thoroughness::STRICT).sound().unwrap();
    History::read(&found, found.bucket(b"key").unwrap().1).unwrap()
}

fn mark(main: i64) -> Vec<u8> {
    RevisionKey { revision: Revision { main, sub: 0 }, tombstone: false }.encode()
}

#[test]
fn the_newest_entry_of_each_key_is_live() {
    let mut made = Builder::default();
    for i in 0..200 {
        made.record(format!("/registry/a/{}", i % 150), b"value");
    }
    made.tombstone("/registry/a/149");
    let found = history(&made);
    assert_eq!((found.revision, found.compact_revision, found.storage_version.as_deref()), (202, -1, None));
    let live: Vec<u64> = (50..149).chain(150..200).collect();
    assert_eq!((0..201).filter(|entry| found.is_live(*entry)).collect::<Vec<_>>(), live);
    assert_eq!(found.live_count(), 149);
    for (n, entry) in (0..).zip(&live) {
        assert_eq!(found.nth_live(n), *entry);
    }
    assert!(found.nth_live(149) >= 201);
    for (name, main) in [("finishedCompactRev", 120), ("scheduledCompactRev", 300)] {
        made.put("meta", name.as_bytes(), &mark(main));
    }
    made.put("meta", b"storageVersion", b"3.6.0");
    let found = history(&made);
    let told = (found.revision, found.compact_revision, found.storage_version.as_deref());
    assert_eq!(told, (300, 120, Some("3.6.0")));
}

#[test]
fn hash_kv_covers_what_a_compaction_keeps() {
    // Keys by revision, from 2 on; a capital letter deletes.
    let covered = |keys: &str, compacted: i64| {
        let mut made = Builder::default();
        for key in keys.chars() {
            if key.is_ascii_uppercase() {
                made.tombstone(&key.to_ascii_lowercase().to_string());
            } else {
                made.record(key.to_string(), b"value");
            }
        }
        made.put("meta", b"finishedCompactRev", &mark(compacted));
        let found = history(&made);
        let entries = (0..).zip(2..).zip(keys.chars()).map(|((entry, main), key)| {
            let key = RevisionKey { revision: Revision { main, sub: 0 }, tombstone: key.is_ascii_uppercase() };
            hash_kv_covers(&found, entry, key)
        });
        entries.collect::<Vec<_>>()
    };
    assert_eq!(covered("aabBc", 5), [false, true, false, false, true]);
    assert_eq!(covered("aabBc", 1), [true; 5]);
    assert_eq!(covered("ab", 3), [true, true]);
    assert_eq!(covered("aaa", 3), [false, false, true]);
    assert_eq!(covered("aBAb", 4), [false, false, false, true]);
    // Where nothing is left, etcd asks of nothing whether it is kept.
    assert_eq!(covered("aA", 3), [true, false]);
    assert_eq!(covered("aAb", 3), [false, false, true]);
}

#[test]
fn the_hash_of_a_snapshot_is_the_one_etcd_printed() {
    let bytes = std::fs::read(fixture("kube-rotated", "snapshot.db")).unwrap();
    let printed = std::fs::read(fixture("kube-rotated", "status-3.5.json")).unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&printed).unwrap();
    let found = surveyed(&bytes[..bytes.len() - 32], Thoroughness::STRICT).sound().unwrap();
    let keys = bucket_checksum(found.bucket(b"key").unwrap().1).unwrap();
    assert_eq!(printed["hash"], status_hash(&found, &keys).unwrap());
}

#[test]
fn configurations_are_taken_and_refused_as_they_are_called() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations");
    let mut counts = [0, 0];
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let good = path.file_name().unwrap().to_str().unwrap().starts_with("good-");
        let config = EncryptionConfiguration::parse(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(config.is_ok_and(|config| Precedence::of(&config).is_ok()), good, "{}", path.display());
        counts[usize::from(good)] += 1;
    }
    assert_eq!(counts, [88, 47]);
}
