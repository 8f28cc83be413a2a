//! A whole file, from the check to the proof: whatever the bytes, an error of
//! its kind and nothing left, or an output that is proven, and that another
//! opener reads as it reads the input.
//!
//! The last byte says how: bits 0 and 1 which metas get a right checksum, 2
//! whether what does not open is carried over, 3 whether history is left out, 4
//! whether it is a K3s cluster. The trailer is made anew.

use super::{opener, structure};
use etcd_rekey::bolt::Thoroughness;
use etcd_rekey::bolt::{Database, survey};
use etcd_rekey::etcd::KeyValue;
use etcd_rekey::k3s::change::Request;
use etcd_rekey::k3s::{Token, Verb};
use etcd_rekey::kube::EncryptionConfiguration;
use etcd_rekey::output::SystemDisk;
use etcd_rekey::rekey::{Error, Options, Silent, Task, reencrypt};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

thread_local! {
    /// Two tests may be at it at a time.
    static DIR: TempDir = tempfile::tempdir().expect("a directory");
}

fn config(name: &str, secret: &str) -> EncryptionConfiguration {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: ['*.*']\n  providers:\n  - aescbc: {{keys: [{{name: {name}, secret: '{secret}'}}]}}\n  - identity: {{}}\n"
    );
    EncryptionConfiguration::parse(&text).expect("a configuration")
}

fn task(cluster: bool) -> Task {
    let verb = if cluster { Verb::RotateKeys } else { Verb::Reencrypt { skip: false } };
    let new = config("new", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=");
    let old = config("old", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    Task {
        request: Request { verb, force: true, provider: None, now: jiff::Timestamp::UNIX_EPOCH },
        config: (!cluster).then(|| ("new.yaml".into(), new)),
        read: vec![old],
        tokens: Ok(Token::parse("password").into_iter().filter(|_| cluster).collect()),
        record_expected: cluster,
        etcd_prefix: "/registry".to_owned(),
    }
}

/// Records by their revisions.
type Records = BTreeMap<Vec<u8>, Record>;

struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
    /// What the value opens to; itself, where it does not.
    plain: Vec<u8>,
}

/// Every record, as another opener opens it.
fn opened(file: &[u8], name: &str, byte: u8) -> Records {
    let db = Database::open(file).expect("it was read");
    let found = survey(&db, Thoroughness::STRICT).sound().expect("it is sound");
    let (_, bucket) = found.bucket(b"key").expect("it has keys");
    let entries = bucket.entries().map(|entry| {
        let entry = entry.expect("it is read");
        let kv = KeyValue::parse(entry.value).expect("it is a record");
        let ours = kv.key.starts_with(b"/registry/");
        let plain = ours.then(|| opener::open("aescbc", name, &[byte; 32], kv.key, kv.value)).flatten();
        let plain = plain.unwrap_or_else(|| kv.value.to_vec());
        (entry.key.to_vec(), Record { key: kv.key.to_vec(), value: kv.value.to_vec(), plain })
    });
    entries.collect()
}

/// What a compaction at the newest revision leaves: of each key its last
/// record, unless that says that the key was deleted.
fn live(records: Records) -> Records {
    let mut last = BTreeMap::new();
    for (revision, record) in &records {
        last.insert(record.key.clone(), revision.clone());
    }
    let stays = |revision: &[u8], key: &[u8]| last[key] == revision && revision.len() == 17;
    records.into_iter().filter(|(revision, record)| stays(revision, &record.key)).collect()
}

/// Holds the promise to a file and the byte behind it.
pub fn check(input: &[u8]) {
    DIR.with(|dir| check_in(dir.path(), input));
}

fn check_in(dir: &Path, input: &[u8]) {
    let (how, bytes) = super::choice(input);
    let mut pages = bytes[..bytes.len() / 512 * 512].to_vec();
    structure::mend(&mut pages, how);
    let (input, output) = (dir.join("in.db"), dir.join("out.db"));
    let snapshot = [pages.as_slice(), &Sha256::digest(&pages)].concat();
    std::fs::write(&input, &snapshot).expect("it is written");
    let [keep_unreadable, compact, cluster] = [4, 8, 16].map(|bit| how & bit != 0);
    let options =
        Options { output: output.clone(), threads: 1, keep_unreadable, compact, ..Options::default() };
    match reencrypt(&input, &task(cluster), &options, &SystemDisk, &Silent) {
        Ok(report) => {
            assert!(report.verified);
            let after = std::fs::read(&output).expect("it is there");
            std::fs::remove_file(&output).expect("it is there");
            let (file, trailer) = after.split_last_chunk::<32>().expect("a trailer");
            assert_eq!(<[u8; 32]>::from(Sha256::digest(file)), *trailer);
            if !cluster {
                let (before, after) = (opened(&pages, "old", 1), opened(file, "new", 2));
                let kept = if compact { live(before) } else { before };
                let same = |a: &Record, b: &Record| {
                    a.key == b.key && (a.plain == b.plain || keep_unreadable && a.value == b.value)
                };
                let mut both = kept.iter().zip(&after);
                assert!(kept.len() == after.len(), "every record is there");
                assert!(both.all(|(a, b)| a.0 == b.0 && same(a.1, b.1)), "every value is what it was");
            }
        }
        Err(
            Error::Snapshot { .. }
            | Error::Unreadable { .. }
            | Error::NothingUnderPrefix { .. }
            | Error::K3s(_)
            | Error::Rotation(_)
            | Error::ConfigBesideRecord,
        ) => {}
        // A K3s cluster seals secrets alone: what else is sealed is refused.
        Err(Error::WouldBePlaintext { .. }) if cluster => {}
        Err(error) => panic!("{error:?}"),
    }
    assert!(std::fs::read(&input).expect("it is read") == snapshot, "the input is untouched");
    assert_eq!(std::fs::read_dir(dir).expect("the directory").count(), 1);
}
