//! Promise: each known way a snapshot can be broken is refused by name, with
//! exit code 3, and nothing is written.
//!
//! The rows are defects that bbolt's own check passes, panics on or reports,
//! each made from a good fixture with its trailer computed anew, so that only
//! the structure tells.

mod support;

use etcd_rekey::bolt::meta::{META_SIZE, Meta};
use etcd_rekey::bolt::page::{BRANCH, FREELIST, HEADER, LEAF};
use etcd_rekey::kube::Provider;
use support::builder::{Builder, key, with_trailer};
use support::program::{Bench, run, text};
use support::{config, fixture};

const PAGE: usize = 4096;

/// A good fixture's file, without its trailer.
struct File(Vec<u8>);

impl File {
    fn good() -> Self {
        let bytes = std::fs::read(fixture("kube-rotated", "snapshot.db")).unwrap();
        Self(bytes[..bytes.len() - 32].to_vec())
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn meta(&self) -> Meta {
        Meta::parse(&self.0).unwrap()
    }

    /// Changes both metas and their checksums.
    fn set_meta(&mut self, change: impl Fn(&mut Meta)) {
        for (id, at) in [(0, 0), (1, PAGE)] {
            let mut meta = Meta::parse(&self.0[at..]).unwrap();
            change(&mut meta);
            self.put(at, &meta.encode(id));
        }
    }

    /// Where the number of the root of bucket `key` stands.
    fn bucket(&self) -> usize {
        let root = usize::try_from(self.meta().root).unwrap() * PAGE;
        let needle = b"key";
        let count = usize::from(u16::from_le_bytes([self.0[root + 10], self.0[root + 11]]));
        for i in 0..count {
            let element = root + HEADER + 16 * i;
            let field = |n: usize| {
                usize::try_from(u32::from_le_bytes(self.0[element + n..element + n + 4].try_into().unwrap()))
                    .unwrap()
            };
            let at = element + field(4);
            if &self.0[at..at + field(8)] == needle {
                return at + needle.len();
            }
        }
        panic!("no bucket key");
    }

    /// The root of bucket `key`, a branch, and its first child, a leaf.
    fn branch_and_leaf(&self) -> (usize, usize) {
        let branch = usize::try_from(self.u64(self.bucket())).unwrap() * PAGE;
        assert_eq!(self.0[branch + 8], 1, "the root of bucket key is a branch");
        let leaf = usize::try_from(self.u64(branch + HEADER + 8)).unwrap() * PAGE;
        (branch, leaf)
    }

    fn count(&self, page: usize) -> usize {
        usize::from(u16::from_le_bytes([self.0[page + 10], self.0[page + 11]]))
    }

    /// Key and child of an element of a branch.
    fn child(&self, branch: usize, i: usize) -> (Vec<u8>, u64) {
        let element = branch + HEADER + 16 * i;
        let field = |n: usize| u32::from_le_bytes(self.0[element + n..element + n + 4].try_into().unwrap());
        let at = element + usize::try_from(field(0)).unwrap();
        (self.0[at..at + usize::try_from(field(4)).unwrap()].to_vec(), self.u64(element + 8))
    }

    /// Adds a branch page with these children; returns its number.
    fn add_branch(&mut self, children: &[(Vec<u8>, u64)]) -> u64 {
        let page = self.meta().high_water_mark;
        self.set_meta(|meta| meta.high_water_mark += 1);
        let at = usize::try_from(page).unwrap() * PAGE;
        self.0.truncate(at);
        self.0.extend(page.to_le_bytes());
        self.0.extend(BRANCH.to_le_bytes());
        self.0.extend(u16::try_from(children.len()).unwrap().to_le_bytes());
        self.0.extend([0; 4]);
        let mut data = 16 * children.len();
        for (i, (key, child)) in children.iter().enumerate() {
            self.0.extend(u32::try_from(data - 16 * i).unwrap().to_le_bytes());
            self.0.extend(u32::try_from(key.len()).unwrap().to_le_bytes());
            self.0.extend(child.to_le_bytes());
            data += key.len();
        }
        for (key, _) in children {
            self.0.extend(key);
        }
        self.0.resize(at + PAGE, 0);
        page
    }
}

/// Runs `reencrypt` and `check` on a broken file and expects its name.
fn refused(what: &str, file: &[u8], kind: &str) {
    let bench = Bench::new();
    let input = bench.file("broken.db", file);
    let new = bench.file("new.yaml", config(&[&["secrets"]], "aescbc", "fresh", 0x42));
    let old = fixture("kube-rotated", "old.yaml");
    let found = bench.reencrypt(&input, &new, Some(&old), &["-w", "json"]).expect(3).json();
    assert_eq!(found["error"]["kind"], kind, "{what}: {found}");
    assert!(!found["error"]["remedy"].as_str().unwrap().is_empty());
    assert_eq!(bench.names(), ["broken.db", "new.yaml"], "{what}");
    assert_eq!(std::fs::read(&input).unwrap(), file);
    let checked = run(&["check", text(&input), "-w", "json"]).expect(3).json();
    assert_eq!(checked["ok"], false, "{what}");
    let kinds: Vec<_> =
        checked["errors"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&kind), "{what}: {kinds:?}");
}

/// Breaks the good file and expects the defect's name.
fn broken(what: &str, kind: &str, change: impl FnOnce(&mut File)) {
    let mut file = File::good();
    change(&mut file);
    refused(what, &with_trailer(&file.0), kind);
}

#[test]
fn trailers() {
    let good = std::fs::read(fixture("kube-rotated", "snapshot.db")).unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    refused("SHA wrong", &flipped, "trailer-mismatch");
    refused("SHA missing", &good[..good.len() - 32], "missing-trailer");
    refused("cut by 1000 bytes", &good[..good.len() - 1000], "missing-trailer");
    refused("480 bytes more", &[&good[..], &[0; 480]].concat(), "missing-trailer");
    let mut value = good.clone();
    let at = good.len() / 2;
    value[at] ^= 1;
    refused("one bit flipped", &value, "trailer-mismatch");
    refused("the first 512 bytes zero", &[&[0; 512], &good[512..]].concat(), "trailer-mismatch");
    refused("empty", b"", "not-a-snapshot");
    refused("text", &[b'x'; 9999], "not-a-snapshot");
}

#[test]
fn a_broken_zip_is_refused_as_one() {
    let bench = Bench::new();
    let input = bench.file("broken.zip", b"PK\x03\x04 and so on");
    let new = bench.file("new.yaml", config(&[&["secrets"]], "aescbc", "fresh", 0x42));
    for command in [&["check", text(&input), "-w", "json"][..], &["status", text(&input), "-w", "json"]] {
        assert_eq!(run(command).expect(3).json()["error"]["kind"], "zip");
    }
    let found = bench.reencrypt(&input, &new, None, &["-w", "json"]).expect(3).json();
    assert_eq!(found["error"]["kind"], "zip");
    assert_eq!(bench.names(), ["broken.zip", "new.yaml"]);
}

#[test]
fn metas() {
    let flip = |at: usize| move |file: &mut File| file.0[at] ^= 1;
    broken("meta 0 checksum", "meta", flip(HEADER + 60));
    broken("meta 1 checksum", "meta", flip(PAGE + HEADER + 60));
    broken("both metas", "no-valid-meta", |file| {
        file.0[HEADER + 60] ^= 1;
        file.0[PAGE + HEADER + 60] ^= 1;
    });
    broken("version 1", "no-valid-meta", |file| {
        for at in [HEADER + 4, PAGE + HEADER + 4] {
            file.0[at] = 1;
        }
    });
    // The one that does not count now: etcd falls back on it later.
    for (what, change) in [
        ("root", (|meta: &mut Meta| meta.root = 1 << 40) as fn(&mut Meta)),
        ("root a meta", |meta| meta.root = 1),
        ("high-water mark", |meta| meta.high_water_mark = 1 << 50),
        ("free list", |meta| meta.freelist = 1 << 40),
    ] {
        broken(what, "meta-beyond-file", |file| {
            let mut meta = Meta::parse(&file.0[PAGE..]).unwrap();
            change(&mut meta);
            file.put(PAGE, &meta.encode(1));
        });
    }
    broken("two page sizes", "page-sizes-differ", |file| {
        let mut meta = Meta::parse(&file.0[PAGE..]).unwrap();
        meta.page_size = 8192;
        file.put(PAGE, &meta.encode(1));
    });
    broken("big endian", "big-endian", |file| {
        for at in [HEADER, PAGE + HEADER] {
            let bytes = &mut file.0[at..at + META_SIZE];
            bytes[..4].reverse();
        }
    });
    broken("root 0", "no-root-page", |file| file.set_meta(|meta| meta.root = 0));
    broken("root far away", "page-out-of-bounds", |file| file.set_meta(|meta| meta.root = 1 << 40));
    broken("root is a meta", "page-kind", |file| file.set_meta(|meta| meta.root = 1));
    broken("free list far away", "page-out-of-bounds", |file| file.set_meta(|meta| meta.freelist = 1 << 40));
    broken("free list is a leaf", "page-kind", |file| {
        let (_, leaf) = file.branch_and_leaf();
        file.set_meta(|meta| meta.freelist = u64::try_from(leaf / PAGE).unwrap());
    });
    broken("high-water mark too small", "page-out-of-bounds", |file| {
        let low = file.meta().root;
        file.set_meta(|meta| meta.high_water_mark = low);
    });
    broken("high-water mark 1000 too big", "high-water-mark-beyond-file", |file| {
        file.set_meta(|meta| meta.high_water_mark += 1000);
    });
    broken("high-water mark overflows", "high-water-mark-beyond-file", |file| {
        file.set_meta(|meta| meta.high_water_mark = u64::MAX);
    });
    broken("page size 0", "page-size", |file| file.set_meta(|meta| meta.page_size = 0));
    broken("page size 5000", "page-size", |file| file.set_meta(|meta| meta.page_size = 5000));
    broken("page size 8192", "high-water-mark-beyond-file", |file| file.set_meta(|meta| meta.page_size = 8192));
    broken("cut in half", "high-water-mark-beyond-file", |file| {
        let half = file.0.len() / PAGE / 2 * PAGE;
        file.0.truncate(half);
    });
}

#[test]
fn pages() {
    let leaf = |change: fn(&mut File, usize)| {
        move |file: &mut File| {
            let (_, leaf) = file.branch_and_leaf();
            change(file, leaf);
        }
    };
    broken("page number", "page-number", leaf(|file, leaf| file.0[leaf] ^= 1));
    broken("flags 0x12", "page-flags", leaf(|file, leaf| file.0[leaf + 8] = 0x12));
    broken("flags of a free list", "page-kind", leaf(|file, leaf| file.put(leaf + 8, &FREELIST.to_le_bytes())));
    broken(
        "count 60000",
        "element-out-of-bounds",
        leaf(|file, leaf| file.put(leaf + 10, &60000u16.to_le_bytes())),
    );
    broken("count 0", "empty-page", leaf(|file, leaf| file.put(leaf + 10, &[0, 0])));
    broken("overflow 0xffffffff", "overflow-out-of-bounds", leaf(|file, leaf| file.put(leaf + 12, &[0xff; 4])));
    for (field, name) in [(4, "pos"), (8, "ksize"), (12, "vsize")] {
        for huge in [u32::MAX, 1 << 31, 100_000_000] {
            broken(name, "element-out-of-bounds", |file| {
                let (_, leaf) = file.branch_and_leaf();
                file.put(leaf + HEADER + field, &huge.to_le_bytes());
            });
        }
    }
    // The first key is the separator above it, so that is what is noticed too.
    broken("ksize 0", "separator", leaf(|file, leaf| file.put(leaf + HEADER + 8, &[0; 4])));
    broken(
        "ksize 0, second element",
        "empty-key",
        leaf(|file, leaf| file.put(leaf + HEADER + 16 + 8, &[0; 4])),
    );
    broken(
        "elements that share bytes",
        "overlap",
        leaf(|file, leaf| {
            // Every value reaches to the end of the page.
            let count = u32::from(u16::from_le_bytes([file.0[leaf + 10], file.0[leaf + 11]]));
            for i in 0..count {
                let element = leaf + HEADER + 16 * usize::try_from(i).unwrap();
                let field =
                    |n: usize| u32::from_le_bytes(file.0[element + n..element + n + 4].try_into().unwrap());
                let run = u32::from_le_bytes(file.0[leaf + 12..leaf + 16].try_into().unwrap()) + 1;
                let left = run * 4096 - 16 - 16 * i - field(4) - field(8);
                file.put(element + 12, &left.to_le_bytes());
            }
        }),
    );
    broken(
        "elements that share bytes on a page with room",
        "overlap",
        leaf(|file, leaf| {
            // One reaches into the next; the last gives up as much.
            let size = |i: usize| leaf + HEADER + 16 * i + 12;
            for (i, more) in [(1, 8), (file.count(leaf) - 1, -8)] {
                let bytes = u32::from_le_bytes(file.0[size(i)..size(i) + 4].try_into().unwrap());
                file.put(size(i), &bytes.checked_add_signed(more).unwrap().to_le_bytes());
            }
        }),
    );
    broken("element flags", "element-flags", leaf(|file, leaf| file.0[leaf + HEADER] = 2));
    broken(
        "two keys swapped",
        "key-order",
        leaf(|file, leaf| {
            let (first, second) = (leaf + HEADER + 16, leaf + HEADER + 32);
            let pos = |file: &File, at: usize| {
                usize::try_from(u32::from_le_bytes(file.0[at + 4..at + 8].try_into().unwrap())).unwrap()
            };
            let (a, b) = (first + pos(file, first), second + pos(file, second));
            for i in 0..17 {
                file.0.swap(a + i, b + i);
            }
        }),
    );
}

#[test]
fn branches() {
    broken("a cycle", "page-reached-twice", |file| {
        let (branch, _) = file.branch_and_leaf();
        let page = u64::try_from(branch / PAGE).unwrap();
        file.put(branch + HEADER + 8, &page.to_le_bytes());
    });
    broken("a child twice", "page-reached-twice", |file| {
        let (branch, _) = file.branch_and_leaf();
        let child = file.u64(branch + HEADER + 8);
        file.put(branch + HEADER + 16 + 8, &child.to_le_bytes());
    });
    broken("a child far away", "page-out-of-bounds", |file| {
        let (branch, _) = file.branch_and_leaf();
        file.put(branch + HEADER + 8, &(1u64 << 40).to_le_bytes());
    });
    broken("a separator that is not the child's first key", "separator", |file| {
        let (branch, _) = file.branch_and_leaf();
        let element = branch + HEADER + 16;
        let pos =
            usize::try_from(u32::from_le_bytes(file.0[element..element + 4].try_into().unwrap())).unwrap();
        // The last byte of the sub revision: still in order, and below the key.
        file.0[element + pos + 7] -= 1;
    });
    broken("shortened separators", "separator", |file| {
        let (branch, _) = file.branch_and_leaf();
        file.put(branch + HEADER + 16 + 4, &8u32.to_le_bytes());
    });
    broken("a leaf for a branch", "element-out-of-bounds", |file| {
        let (branch, _) = file.branch_and_leaf();
        file.put(branch + 8, &LEAF.to_le_bytes());
    });
    broken("a branch for a leaf", "element-out-of-bounds", |file| {
        let (_, leaf) = file.branch_and_leaf();
        file.put(leaf + 8, &BRANCH.to_le_bytes());
    });
    broken("a single child", "single-child", |file| {
        // The branch keeps its first child only; the others become free.
        let (branch, _) = file.branch_and_leaf();
        file.put(branch + 10, &1u16.to_le_bytes());
    });
    broken("leaves at two depths", "uneven-depth", |file| {
        // The last two children move below a branch of their own.
        let (branch, _) = file.branch_and_leaf();
        let count = file.count(branch);
        let last = [file.child(branch, count - 2), file.child(branch, count - 1)];
        let below = file.add_branch(&last);
        file.put(branch + HEADER + 16 * (count - 2) + 8, &below.to_le_bytes());
        file.put(branch + 10, &u16::try_from(count - 1).unwrap().to_le_bytes());
    });
    broken("a tree without end", "too-deep", |file| {
        let (branch, _) = file.branch_and_leaf();
        let ((first, _), last) = (file.child(branch, 0), file.child(branch, file.count(branch) - 1));
        let root = file.meta().high_water_mark;
        for _ in 0..70 {
            let below = file.meta().high_water_mark + 1;
            file.add_branch(&[(first.clone(), below), last.clone()]);
        }
        let at = file.bucket();
        file.put(at, &root.to_le_bytes());
    });
    broken("no bucket in the root", "root-element", |file| {
        let root = usize::try_from(file.meta().root).unwrap() * PAGE;
        file.put(root + HEADER, &[0; 4]);
    });
    broken("a bucket header cut short", "bucket-header", |file| {
        let root = usize::try_from(file.meta().root).unwrap() * PAGE;
        file.put(root + HEADER + 12, &8u32.to_le_bytes());
    });
    broken("an inline page of another kind", "inline-page", |file| {
        let root = usize::try_from(file.meta().root).unwrap() * PAGE;
        let element = root + HEADER;
        let pos =
            usize::try_from(u32::from_le_bytes(file.0[element + 4..element + 8].try_into().unwrap())).unwrap();
        let ksize =
            usize::try_from(u32::from_le_bytes(file.0[element + 8..element + 12].try_into().unwrap())).unwrap();
        let inline = element + pos + ksize + 16;
        file.put(inline + 8, &BRANCH.to_le_bytes());
    });
}

/// A built snapshot with a free-list page, and the page's offset.
fn with_freelist() -> (Vec<u8>, usize) {
    let mut builder = Builder { freelist: true, ..Builder::default() };
    builder.free = vec![b"free".to_vec(), b"also free".to_vec()];
    builder.sealed(&key(Provider::Aescbc, "old", 1), "a");
    let file = builder.file();
    let at = usize::try_from(Meta::parse(&file).unwrap().freelist).unwrap() * PAGE;
    (file, at)
}

#[test]
fn freelists() {
    let with = |what: &str, kind: &str, change: fn(&mut Vec<u8>, usize)| {
        let (mut file, at) = with_freelist();
        change(&mut file, at);
        refused(what, &with_trailer(&file), kind);
    };
    let (good, _) = with_freelist();
    let bench = Bench::new();
    let good = bench.file("good.db", with_trailer(&good));
    run(&["check", text(&good)]).expect(0);
    with("count beyond the page", "freelist-count", |file, at| {
        file[at + 10..at + 12].copy_from_slice(&[0, 0x10]);
    });
    with("huge count", "freelist-count", |file, at| {
        file[at + 10..at + 12].fill(0xff);
        file[at + 16..at + 24].fill(0xff);
    });
    with("a page outside", "freelist-out-of-bounds", |file, at| file[at + 16 + 5] = 1);
    with("a meta", "freelist-out-of-bounds", |file, at| file[at + 16] = 1);
    with("twice", "freelist-duplicate", |file, at| file.copy_within(at + 16..at + 24, at + 24));
    with("in use", "free-page-in-use", |file, at| file[at + 16] = 2);
    with("a page leaked", "leaked", |file, at| file[at + 10] = 1);
}

#[test]
fn records() {
    let with = |what: &str, kind: &str, change: fn(&mut Builder)| {
        let mut builder = Builder::default();
        builder.sealed(&key(Provider::Aescbc, "old", 1), "a");
        change(&mut builder);
        refused(what, &builder.snapshot(), kind);
    };
    with("a key of 16 bytes", "revision-key", |b| b.put("key", &[0; 16], b""));
    with("a negative revision", "revision-key", |b| {
        let mut key = vec![0xff; 8];
        key.extend(b"_\0\0\0\0\0\0\0\0");
        b.put("key", &key, b"");
    });
    with("a record that is no protobuf", "record", |b| b.raw(false, b"\xff\xff\xff"));
    with("a record of two values", "record", |b| b.raw(false, b"\x0a\x01k\x2a\x01a\x2a\x01b"));
    with("a compact revision that is none", "compact-revision", |b| b.put("meta", b"finishedCompactRev", b"5"));
    with("a key over bbolt's limit", "key-too-long", |b| b.put("other", &vec![b'k'; 32769], b""));
    with("no bucket key", "no-key-bucket", |b| {
        b.buckets.remove(&b"key"[..]);
    });
}

#[test]
fn buckets_nested_too_deep_are_refused() {
    // An inline page in an inline page, and so on.
    let mut value = etcd_rekey::bolt::writer::inline_bucket_value(0, &[], 1 << 20).unwrap();
    for _ in 0..70 {
        let mut outer = etcd_rekey::bolt::writer::bucket_value(0, 0);
        outer.extend([0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0]);
        outer.extend([1, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0]);
        outer.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        outer.push(b'n');
        outer.extend(&value);
        value = outer;
    }
    let mut builder = Builder { page_size: 16384, ..Builder::default() };
    builder.sealed(&key(Provider::Aescbc, "old", 1), "a");
    // A bucket whose one entry is marked as a bucket itself: the builder
    // writes plain entries, so its flag is set in the file.
    builder.own_pages = true;
    builder.put("nest", b"nnnnnnnn", &value);
    let mut file = builder.file();
    let at = file.windows(8).position(|window| window == b"nnnnnnnn").unwrap();
    let page = at / 16384 * 16384;
    file[page + HEADER] = 1;
    refused("depth bomb", &with_trailer(&file), "nested-too-deep");
}
