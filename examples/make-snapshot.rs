//! Makes a snapshot of many secrets, for benchmarks and tests of scale: an
//! etcd restores and runs it.
//!
//! ```text
//! make-snapshot OUT --secrets 1000 --size 1024 --provider aescbc --config-out enc.yaml
//! ```
//!
//! The key is derived from the seed and written into `--config-out`, as is
//! fit for test data and for nothing else.

use base64::Engine;
use clap::Parser;
use etcd_rekey::bolt::layout::TreeBuilder;
use etcd_rekey::bolt::page::index;
use etcd_rekey::bolt::writer;
use etcd_rekey::etcd::wire::put_varint;
use etcd_rekey::etcd::{Revision, RevisionKey};
use etcd_rekey::kube::{Provider, SealingKey};
use sha2::{Digest, Sha256};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Makes a snapshot of many secrets.
#[derive(Parser)]
struct Args {
    /// The snapshot to write
    out: PathBuf,
    /// How many secrets
    #[arg(long, default_value_t = 1000)]
    secrets: u64,
    /// How many config maps, in plaintext, spread among them
    #[arg(long, default_value_t = 0)]
    configmaps: u64,
    /// Bytes of data in each
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Revisions of each secret
    #[arg(long, default_value_t = 1)]
    revisions: u64,
    /// aescbc, aesgcm, secretbox or identity
    #[arg(long, default_value = "aescbc")]
    provider: String,
    /// Bytes of a page
    #[arg(long, default_value_t = 4096)]
    page_size: usize,
    /// Seed of key and contents
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name of the key
    #[arg(long, default_value = "bench")]
    key_name: String,
    /// Where to write the EncryptionConfiguration
    #[arg(long)]
    config_out: Option<PathBuf>,
}

/// A bucket's name and entries.
type Bucket<'b> = (&'b str, Vec<(&'b [u8], &'b [u8])>);

type Failure = Box<dyn std::error::Error>;

/// An object, by its number in the order of revisions.
struct Objects {
    args: Args,
    key: Option<SealingKey>,
}

/// `xorshift64*`: fast, and nothing depends on its quality.
fn fill(seed: u64, out: &mut [u8]) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in out.chunks_mut(8) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let bytes = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}

fn field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, u64::try_from(content.len()).unwrap_or(0));
    out.extend(content);
}

impl Objects {
    fn total(&self) -> u64 {
        self.args.secrets * self.args.revisions + self.args.configmaps
    }

    /// Config maps stand at even distances among the secrets: one in so many.
    fn every(&self) -> u64 {
        self.total().checked_div(self.args.configmaps).unwrap_or(0)
    }

    /// The revision that created an object.
    fn created(&self, number: u64) -> u64 {
        let (configmap, _, version) = self.what(number);
        if configmap || version == 1 {
            return number + 2;
        }
        // The first revision of this secret, counted among the secrets.
        let before = number.checked_div(self.every()).map_or(0, |n| n.min(self.args.configmaps));
        let first = (number - before) % self.args.secrets;
        let passed = first.checked_div(self.every().saturating_sub(1)).unwrap_or(self.args.configmaps);
        first + passed.min(self.args.configmaps) + 2
    }

    /// Whether the object is a config map, its name, and its version.
    fn what(&self, number: u64) -> (bool, String, u64) {
        let every = self.every();
        if every != 0 && number % every == every - 1 && number / every < self.args.configmaps {
            return (true, format!("cm-{:07}", number / every), 1);
        }
        let before = number.checked_div(every).map_or(0, |n| n.min(self.args.configmaps));
        let secret = number - before;
        (false, format!("secret-{:07}", secret % self.args.secrets), secret / self.args.secrets + 1)
    }

    fn etcd_key(configmap: bool, name: &str) -> Vec<u8> {
        let resource = if configmap { "configmaps" } else { "secrets" };
        format!("/registry/{resource}/default/{name}").into_bytes()
    }

    fn plain(&self, number: u64) -> (bool, Vec<u8>, Vec<u8>, u64) {
        let (configmap, name, version) = self.what(number);
        let mut data = vec![0; self.args.size];
        fill(self.args.seed ^ number.rotate_left(17), &mut data);
        let mut meta = Vec::new();
        field(&mut meta, 1, name.as_bytes());
        field(&mut meta, 3, b"default");
        let mut entry = Vec::new();
        field(&mut entry, 1, b"data");
        field(&mut entry, 2, &data);
        let mut raw = Vec::new();
        field(&mut raw, 1, &meta);
        // Binary data is field 3 of a ConfigMap and field 2 of a Secret.
        field(&mut raw, if configmap { 3 } else { 2 }, &entry);
        if !configmap {
            field(&mut raw, 3, b"Opaque");
        }
        let mut type_meta = Vec::new();
        field(&mut type_meta, 1, b"v1");
        field(&mut type_meta, 2, if configmap { b"ConfigMap" } else { b"Secret" });
        let mut plain = b"k8s\0".to_vec();
        field(&mut plain, 1, &type_meta);
        field(&mut plain, 2, &raw);
        field(&mut plain, 3, b"");
        field(&mut plain, 4, b"");
        (configmap, Self::etcd_key(configmap, &name), plain, version)
    }

    /// The record, sealed.
    fn record(&self, number: u64) -> Result<Vec<u8>, Failure> {
        let (configmap, etcd_key, plain, version) = self.plain(number);
        let value = match &self.key {
            Some(key) if !configmap => {
                let mut nonce = vec![0; key.provider().nonce_len()];
                fill(!self.args.seed ^ number, &mut nonce);
                let mut value = Vec::with_capacity(key.sealed_len(plain.len()));
                let start = key.place(&mut value, &nonce, &plain).ok_or("no room for the nonce")?;
                key.seal(vec![(&mut value[start..], &etcd_key)])?;
                value
            }
            _ => plain,
        };
        let revision = number + 2;
        let created = self.created(number);
        let mut record = Vec::with_capacity(value.len() + 100);
        field(&mut record, 1, &etcd_key);
        for (number, value) in [(2, created), (3, revision), (4, version)] {
            record.push(number << 3);
            put_varint(&mut record, value);
        }
        field(&mut record, 5, &value);
        Ok(record)
    }

    /// The length of [`Objects::record`], which depends on little.
    fn length(
        &self,
        number: u64,
        known: &mut std::collections::HashMap<(bool, usize), usize>,
    ) -> Result<usize, Failure> {
        let (configmap, _, version) = self.what(number);
        let revision = number + 2;
        let varints: usize =
            [self.created(number), revision, version].into_iter().map(etcd_rekey::etcd::wire::varint_len).sum();
        if let Some(length) = known.get(&(configmap, varints)) {
            return Ok(*length);
        }
        let length = self.record(number)?.len();
        known.insert((configmap, varints), length);
        Ok(length)
    }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let mut secret = Zeroizing::new(vec![0; 32]);
    fill(args.seed ^ 0x6b65_7900, &mut secret);
    let provider = Provider::ALL.into_iter().find(|provider| provider.name() == args.provider);
    if provider.is_none() && args.provider != "identity" {
        return Err("--provider is one of aescbc, aesgcm, secretbox, identity".into());
    }
    let config = match provider {
        Some(provider) => format!(
            "- {provider}:\n      keys:\n      - name: {}\n        secret: {}\n  - identity: {{}}",
            args.key_name,
            base64::engine::general_purpose::STANDARD.encode(&*secret)
        ),
        None => "- identity: {}".to_owned(),
    };
    if let Some(path) = &args.config_out {
        std::fs::write(
            path,
            format!(
                "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources:\n  - secrets\n  providers:\n  {config}\n"
            ),
        )?;
    }
    let key = provider.and_then(|provider| SealingKey::new(provider, &args.key_name, secret));
    write(&Objects { args, key })
}

fn write(objects: &Objects) -> Result<(), Failure> {
    let page_size = objects.args.page_size;
    let keys: Vec<Vec<u8>> = (0..objects.total())
        .map(|n| {
            let main = i64::try_from(n + 2).unwrap_or(i64::MAX);
            RevisionKey { revision: Revision { main, sub: 0 }, tombstone: false }.encode()
        })
        .collect();
    let mut known = std::collections::HashMap::new();
    let mut lengths = Vec::with_capacity(keys.len());
    let mut builder = TreeBuilder::new(page_size, 2, 0);
    for (n, key) in (0..).zip(&keys) {
        let length = objects.length(n, &mut known)?;
        builder.push(key, length);
        lengths.push(length);
    }
    let tree = builder.finish();
    // The buckets etcd makes; all but `key` are small.
    let index_bytes = (objects.total() + 10).to_be_bytes();
    let small: [Bucket; 10] = [
        ("alarm", vec![]),
        ("auth", vec![]),
        ("authRoles", vec![]),
        ("authUsers", vec![]),
        ("cluster", vec![(b"clusterVersion", b"3.5.0")]),
        ("key", vec![]),
        ("lease", vec![]),
        ("members", vec![]),
        ("members_removed", vec![]),
        ("meta", vec![(b"consistent_index", &index_bytes), (b"term", &[0, 0, 0, 0, 0, 0, 0, 2])]),
    ];
    let mut root = TreeBuilder::new(page_size, tree.end, 0);
    let mut values = Vec::new();
    for (name, entries) in &small {
        let value = match *name {
            "key" => writer::bucket_value(tree.root(), 0),
            _ => writer::inline_bucket_value(0, entries, page_size).ok_or("a bucket is too large")?,
        };
        root.push(name.as_bytes(), value.len());
        values.push((name.as_bytes(), value));
    }
    let root = root.finish();

    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(&objects.args.out)?);
    let mut hasher = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    put(&writer::metas(page_size, root.root(), 0, root.end, 7))?;
    let mut number = 0usize;
    let mut page = Vec::new();
    for leaf in &tree.levels[0] {
        page.clear();
        let on_leaf = number..number + index(leaf.count);
        writer::leaf_headers(&mut page, leaf, on_leaf.clone().map(|n| (0, keys[n].len(), lengths[n])));
        for n in on_leaf.clone() {
            page.extend(&keys[n]);
            page.extend(objects.record(u64::try_from(n)?)?);
        }
        writer::pad(&mut page, 0, leaf, page_size);
        put(&page)?;
        number = on_leaf.end;
    }
    for tree in [&tree, &root] {
        for level in tree.levels.windows(2) {
            let mut children = level[0].as_slice();
            for node in &level[1] {
                page.clear();
                let (mine, rest) = children.split_at(index(node.count));
                writer::branch(&mut page, node, mine, page_size);
                put(&page)?;
                children = rest;
            }
        }
    }
    page.clear();
    let leaf =
        root.levels[0].first().filter(|_| root.levels.len() == 1).ok_or("the root is more than a page")?;
    writer::leaf_headers(&mut page, leaf, values.iter().map(|(name, value)| (1, name.len(), value.len())));
    for (name, value) in &values {
        page.extend(*name);
        page.extend(value);
    }
    writer::pad(&mut page, 0, leaf, page_size);
    put(&page)?;
    let digest = hasher.finalize();
    file.write_all(&digest)?;
    file.flush()?;
    println!(
        "{}: {} secrets of {} bytes, {} entries, {} bytes",
        objects.args.out.display(),
        objects.args.secrets,
        objects.args.size,
        objects.total(),
        root.end * u64::try_from(page_size)? + 32
    );
    Ok(())
}
