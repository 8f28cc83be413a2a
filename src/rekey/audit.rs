//! The audit record of a run: what was read and written, told by digests and
//! counts that anybody can find again without a key. No secret is in it.

mod sums;
mod written;

pub use sums::{sums, sums_beside};
pub use written::written;

use super::error::Error;
use super::inventory::Inventory;
use super::progress::Progress;
use super::rules::Rules;
use super::source::{SnapshotFile, Source};
use crate::etcd::escape;
use crate::etcd::snapshot::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a record calls itself.
const KIND: &str = "etcd-rekey audit record";
/// The version of its form: fields may be added to it.
const VERSION: u32 = 1;
/// More than this is no record.
const MOST: u64 = 1 << 30;

/// A snapshot file, by everything that can be told of it without a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditedFile {
    /// Where it lay.
    pub file: String,
    /// Length of the file.
    pub bytes: u64,
    /// SHA-256 of the whole file, as `sha256sum` prints it.
    pub sha256: String,
    /// Its trailer: the SHA-256 of its pages. Of a zip archive, that of the
    /// snapshot inside.
    pub trailer: Option<String>,
    /// Its newest revision.
    pub revision: i64,
    /// As `etcdutl snapshot status` prints it.
    pub status_hash: u32,
    /// As `etcdctl endpoint hashkv` prints it.
    #[serde(rename = "hashKV")]
    pub hash_kv: u32,
    /// Values by resource, and by the provider and key named in front of each.
    pub values: Vec<AuditedValues>,
}

/// Values of one resource under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedValues {
    /// The resource.
    pub resource: String,
    /// The provider; `identity` of plaintext.
    pub provider: String,
    /// The key's name.
    pub key: String,
    /// Current ones.
    pub current: u64,
    /// Superseded ones.
    pub old: u64,
}

impl AuditedFile {
    /// Looks at a file that will have, or has, the name `name`.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::Snapshot`], [`Error::Interrupted`].
    pub fn of(
        file: &SnapshotFile,
        source: &Source<'_>,
        name: &Path,
        etcd_prefix: &str,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let io = |source| Error::Open { file: file.path.clone(), source };
        let rules = Rules::reading(&[], etcd_prefix)
            .map_err(|source| Error::Config { file: file.path.clone(), source })?;
        let (digest, inventory) = rayon::join(
            || digest(&file.file, progress),
            || Ok::<_, Error>((Inventory::take(file, source, &rules)?, source.hashes())),
        );
        let (inventory, hashes) = inventory?;
        let hashes = hashes.map_err(|e| file.error(e))?;
        let (bytes, sha256) = digest.map_err(io)?.ok_or(Error::Interrupted)?;
        let rows = inventory.values.rows().map(|(resource, seal, count)| AuditedValues {
            resource: resource.to_string(),
            provider: seal.provider.clone(),
            key: seal.name.clone(),
            current: count.current,
            old: count.old,
        });
        Ok(Self {
            file: absolute(name).display().to_string(),
            bytes,
            sha256,
            trailer: file.snapshot()?.trailer.map(|trailer| hex(&trailer)),
            revision: source.history.revision,
            status_hash: hashes.status,
            hash_kv: hashes.kv,
            values: rows.collect(),
        })
    }

    /// What of another file is not as it is here; `name` says which file.
    fn differences(&self, found: &Self, name: &str, into: &mut Vec<String>) {
        let mut expect = |what: &str, told: &dyn ToString, is: &dyn ToString| {
            let (told, is) = (told.to_string(), is.to_string());
            if told != is {
                into.push(format!("{name}: {what} is {is}, the record says {}", escape(told.as_bytes())));
            }
        };
        let none = String::from("none");
        let hash = |hash: u32| format!("{hash:x}");
        expect("length", &self.bytes, &found.bytes);
        expect("SHA-256", &self.sha256, &found.sha256);
        expect("trailer", self.trailer.as_ref().unwrap_or(&none), found.trailer.as_ref().unwrap_or(&none));
        expect("newest revision", &self.revision, &found.revision);
        expect("status hash", &hash(self.status_hash), &hash(found.status_hash));
        expect("HashKV", &self.hash_kv, &found.hash_kv);
        for (rows, others, whose) in
            [(&self.values, &found.values, "the record"), (&found.values, &self.values, "the file")]
        {
            for row in rows.iter().filter(|row| !others.contains(row)) {
                let AuditedValues { resource, provider, key, current, old } = row;
                let seal = format!("{resource} under {provider} {key}");
                let seal = escape(seal.trim_end().as_bytes());
                into.push(format!("{name}: only {whose} has {current} current and {old} old {seal}"));
            }
        }
    }
}

/// Length and SHA-256 of a file; `None` when told to stop.
fn digest(file: &std::fs::File, progress: &dyn Progress) -> std::io::Result<Option<(u64, String)>> {
    let (mut sum, mut at, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        if progress.stop() {
            return Ok(None);
        }
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok(Some((at, hex(&sum.finalize()))));
        }
        sum.update(buffer.get(..read).unwrap_or_default());
        at += u64::try_from(read).unwrap_or(0);
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// What a record tells of the two files.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    kind: String,
    version: u32,
    /// Prefix of Kubernetes' keys.
    pub etcd_prefix: String,
    input: AuditedFile,
    output: AuditedFile,
}

impl AuditRecord {
    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::AuditRecord`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        use std::io::Read;
        let io = |source| Error::Open { file: path.to_owned(), source };
        let mut bytes = Vec::new();
        std::fs::File::open(path).map_err(io)?.take(MOST).read_to_end(&mut bytes).map_err(io)?;
        let none = |why: String| Error::AuditRecord { file: path.to_owned(), why };
        // Messages of the parser may quote what is in the file.
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|e| none(escape(e.to_string().as_bytes())))?;
        if record.kind != KIND {
            return Err(none(format!("its kind is {}", escape(record.kind.as_bytes()))));
        }
        if record.version != VERSION {
            return Err(none(format!("its version is {}, and {VERSION} is known", record.version)));
        }
        Ok(record)
    }

    /// What of two files is not as the record says.
    #[must_use]
    pub fn differences(&self, input: &AuditedFile, output: &AuditedFile) -> Vec<String> {
        let mut differences = Vec::new();
        self.input.differences(input, "the input", &mut differences);
        self.output.differences(output, "the output", &mut differences);
        differences
    }
}

#[cfg(test)]
pub(in crate::rekey) mod tests {
    use super::*;

    pub fn file(bytes: u64) -> AuditedFile {
        AuditedFile {
            file: "/a".into(),
            bytes,
            sha256: "00".into(),
            trailer: None,
            revision: 1,
            status_hash: 1,
            hash_kv: 1,
            values: Vec::new(),
        }
    }

    #[test]
    fn every_part_of_a_file_counts_but_its_name() {
        let told = file(1);
        let count = |change: &dyn Fn(&mut AuditedFile)| {
            let (mut found, mut into) = (told.clone(), Vec::new());
            change(&mut found);
            told.differences(&found, "it", &mut into);
            into.len()
        };
        assert_eq!(count(&|file| file.file = "/b".into()), 0);
        let changes: [&dyn Fn(&mut AuditedFile); 7] = [
            &|file| file.bytes = 2,
            &|file| file.sha256 = "01".into(),
            &|file| file.trailer = Some("00".into()),
            &|file| file.revision = 2,
            &|file| file.status_hash = 2,
            &|file| file.hash_kv = 2,
            &|file| {
                let row = ["secrets", "aescbc", "k"].map(str::to_owned);
                let [resource, provider, key] = row;
                file.values.push(AuditedValues { resource, provider, key, current: 1, old: 0 });
            },
        ];
        for (number, change) in changes.iter().enumerate() {
            assert_eq!(count(change), 1, "{number}");
        }
    }
}
