//! Snapshots made to order: few entries, every property chosen.

use etcd_rekey::bolt::layout::TreeBuilder;
use etcd_rekey::bolt::page::index;
use etcd_rekey::bolt::writer;
use etcd_rekey::etcd::wire::put_varint;
use etcd_rekey::etcd::{KeyValue, Revision, RevisionKey};
use etcd_rekey::kube::{Provider, SealingKey};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A bucket's content.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A snapshot being put together.
pub struct Builder {
    pub page_size: usize,
    pub buckets: BTreeMap<Vec<u8>, (u64, Entries)>,
    /// Never inline a bucket.
    pub own_pages: bool,
    /// Leave pages of these contents free, listed by a free-list page or not.
    pub free: Vec<Vec<u8>>,
    pub freelist: bool,
    pub next: i64,
}

impl Default for Builder {
    fn default() -> Self {
        let mut buckets = BTreeMap::new();
        for name in ["alarm", "auth", "cluster", "key", "lease", "members", "meta"] {
            buckets.insert(name.as_bytes().to_vec(), (0, Entries::new()));
        }
        let mut made =
            Self { page_size: 4096, buckets, own_pages: false, free: Vec::new(), freelist: false, next: 2 };
        made.put("meta", b"consistent_index", &9u64.to_be_bytes());
        made
    }
}

/// A key of 32 equal bytes.
pub fn key(provider: Provider, name: &str, byte: u8) -> SealingKey {
    SealingKey::new(provider, name, Zeroizing::new(vec![byte; 32])).unwrap()
}

/// Seals a plaintext as kube-apiserver would, with a nonce of equal bytes.
pub fn seal(key: &SealingKey, etcd_key: &str, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = key.place(&mut out, &vec![0x5a; key.provider().nonce_len()], plain).unwrap();
    key.seal(vec![(&mut out[start..], etcd_key.as_bytes())]).unwrap();
    out
}

fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, u64::try_from(content.len()).unwrap());
    out.extend(content);
}

/// A protobuf object of `kind` as kube-apiserver stores it.
pub fn object(kind: &str, namespace: &str, name: &str, data: &[u8]) -> Vec<u8> {
    let (mut meta, mut raw, mut type_meta) = (Vec::new(), Vec::new(), Vec::new());
    field(&mut meta, 1, name.as_bytes());
    if !namespace.is_empty() {
        field(&mut meta, 3, namespace.as_bytes());
    }
    field(&mut raw, 1, &meta);
    field(&mut raw, 2, data);
    field(&mut type_meta, 1, b"v1");
    field(&mut type_meta, 2, kind.as_bytes());
    let mut out = b"k8s\0".to_vec();
    for (number, content) in [(1, &type_meta), (2, &raw), (3, &Vec::new()), (4, &Vec::new())] {
        field(&mut out, number, content);
    }
    out
}

/// A Secret `default/name`.
pub fn secret(name: &str) -> Vec<u8> {
    object("Secret", "default", name, b"s3cr3t")
}

impl Builder {
    pub fn put(&mut self, bucket: &str, key: &[u8], value: &[u8]) {
        self.buckets.entry(bucket.into()).or_default().1.insert(key.into(), value.into());
    }

    /// Adds a record; returns its revision.
    pub fn record(&mut self, etcd_key: impl AsRef<[u8]>, value: &[u8]) -> i64 {
        let main = self.next;
        let number = u64::try_from(main).unwrap();
        let mut record = Vec::new();
        field(&mut record, 1, etcd_key.as_ref());
        for tag in [2, 3] {
            record.push(tag << 3);
            put_varint(&mut record, number);
        }
        record.extend([4 << 3, 1]);
        if !value.is_empty() {
            field(&mut record, 5, value);
        }
        record.extend([6 << 3, 7]);
        // A field nobody knows yet.
        field(&mut record, 12, b"future");
        self.raw(false, &record);
        main
    }

    pub fn tombstone(&mut self, etcd_key: &str) {
        let mut record = Vec::new();
        field(&mut record, 1, etcd_key.as_bytes());
        self.raw(true, &record);
    }

    /// Adds an entry as it is, at the next revision.
    pub fn raw(&mut self, tombstone: bool, record: &[u8]) {
        let revision = Revision { main: self.next, sub: 0 };
        self.put("key", &RevisionKey { revision, tombstone }.encode(), record);
        self.next += 1;
    }

    /// Adds a secret sealed with `key`.
    pub fn sealed(&mut self, key: &SealingKey, name: &str) -> i64 {
        let etcd_key = format!("/registry/secrets/default/{name}");
        let value = seal(key, &etcd_key, &secret(name));
        self.record(&etcd_key, &value)
    }

    /// The file, without a trailer.
    pub fn file(&self) -> Vec<u8> {
        let size = self.page_size;
        let mut pages: Vec<u8> = Vec::new();
        let mut next = 2;
        let mut values: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for (name, (sequence, entries)) in &self.buckets {
            let list: Vec<(&[u8], &[u8])> = entries.iter().map(|(k, v)| (k.as_slice(), v.as_slice())).collect();
            let inline = writer::inline_bucket_value(*sequence, &list, size).filter(|_| !self.own_pages);
            let value = inline.unwrap_or_else(|| {
                let (root, end) = tree(&mut pages, size, next, &list, 0);
                next = end;
                writer::bucket_value(root, *sequence)
            });
            values.push((name, value));
        }
        let list: Vec<(&[u8], &[u8])> = values.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let (root, end) = tree(&mut pages, size, next, &list, 1);
        let free: Vec<u64> = (end..).take(self.free.len()).collect();
        for content in &self.free {
            let start = pages.len();
            pages.extend(content);
            pages.resize(start + size, 0);
        }
        let mut end = end + u64::try_from(free.len()).unwrap();
        let mut freelist = u64::MAX;
        if self.freelist {
            freelist = end;
            let start = pages.len();
            pages.extend(end.to_le_bytes());
            pages.extend(0x10u16.to_le_bytes());
            pages.extend(u16::try_from(free.len()).unwrap().to_le_bytes());
            pages.extend(0u32.to_le_bytes());
            pages.extend(free.iter().flat_map(|id| id.to_le_bytes()));
            pages.resize(start + size, 0);
            end += 1;
        }
        let mut out = writer::metas(size, root, 0, end, 5);
        if self.freelist {
            for (id, txid) in [(0, 5), (1, 4)] {
                let meta = etcd_rekey::bolt::meta::Meta {
                    page_size: u32::try_from(size).unwrap(),
                    root,
                    sequence: 0,
                    freelist,
                    high_water_mark: end,
                    txid,
                };
                let at = usize::try_from(id).unwrap() * size;
                out[at..at + 80].copy_from_slice(&meta.encode(id));
            }
        }
        out.extend(pages);
        out
    }

    /// The snapshot: the file and its trailer.
    pub fn snapshot(&self) -> Vec<u8> {
        with_trailer(&self.file())
    }
}

impl Builder {
    /// What a snapshot holds, to be built again.
    pub fn of(snapshot: &[u8]) -> Self {
        let mut made = Self::default();
        for (bucket, key, value) in super::contents(snapshot) {
            if bucket == b"key" {
                made.next = made.next.max(RevisionKey::parse(&key).unwrap().revision.main + 1);
            }
            made.put(std::str::from_utf8(&bucket).unwrap(), &key, &value);
        }
        made
    }
}

/// A snapshot with other values where `new` gives one.
pub fn mapped(snapshot: &[u8], new: impl Fn(&KeyValue<'_>) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut made = Builder::of(snapshot);
    let (_, entries) = made.buckets.get_mut(b"key".as_slice()).unwrap();
    for record in entries.values_mut() {
        let kv = KeyValue::parse(record).unwrap();
        if let Some(value) = new(&kv) {
            let mut out = Vec::new();
            kv.put_before(&mut out, value.len());
            out.extend(&value);
            out.extend(kv.after);
            *record = out;
        }
    }
    made.snapshot()
}

/// A snapshot with so many more secrets, `default/s0` and on.
pub fn with_secrets(snapshot: &[u8], count: usize, key: &SealingKey) -> Vec<u8> {
    let mut made = Builder::of(snapshot);
    for i in 0..count {
        made.sealed(key, &format!("s{i}"));
    }
    made.snapshot()
}

/// Adds the SHA-256 trailer.
pub fn with_trailer(file: &[u8]) -> Vec<u8> {
    [file, &Sha256::digest(file)].concat()
}

/// Appends a tree; returns its root and the page after it.
fn tree(pages: &mut Vec<u8>, size: usize, first: u64, entries: &[(&[u8], &[u8])], flags: u32) -> (u64, u64) {
    let mut builder = TreeBuilder::new(size, first, 0);
    for (key, value) in entries {
        builder.push(key, value.len());
    }
    let tree = builder.finish();
    let mut rest = entries;
    for leaf in &tree.levels[0] {
        let (mine, after) = rest.split_at(index(leaf.count));
        let start = pages.len();
        writer::leaf_headers(pages, leaf, mine.iter().map(|(k, v)| (flags, k.len(), v.len())));
        for (key, value) in mine {
            pages.extend(*key);
            pages.extend(*value);
        }
        writer::pad(pages, start, leaf, size);
        rest = after;
    }
    for level in tree.levels.windows(2) {
        let mut children = level[0].as_slice();
        for node in &level[1] {
            let (mine, after) = children.split_at(index(node.count));
            writer::branch(pages, node, mine, size);
            children = after;
        }
    }
    (tree.root(), tree.end)
}
