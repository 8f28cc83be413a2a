//! Promise: the proof counts what it has seen, and names whatever an output has
//! that it must not have.

mod support;

use etcd_rekey::bolt::meta::{Meta, NO_FREELIST};
use etcd_rekey::etcd::{Revision, RevisionKey};
use etcd_rekey::k3s::proof::Proof;
use etcd_rekey::k3s::record::Record;
use etcd_rekey::k3s::{Stage, State, Token, bootstrap};
use etcd_rekey::kube::{EncryptionConfiguration, Provider, SealingKey};
use etcd_rekey::rekey::source::SnapshotFile;
use etcd_rekey::rekey::verified::Verified;
use etcd_rekey::rekey::verify::{Allowed, verify};
use etcd_rekey::rekey::{Error, Phase, Progress, Rules, Silent};
use support::builder::{Builder, key, object, seal, secret, with_trailer};
use support::program::Bench;

fn old() -> SealingKey {
    key(Provider::Aescbc, "old", 1)
}

fn new() -> SealingKey {
    key(Provider::Aescbc, "new", 2)
}

fn etcd_key(name: &str) -> String {
    format!("/registry/secrets/default/{name}")
}

/// A revision as a key, and as the value of a mark.
fn at(main: i64) -> Vec<u8> {
    RevisionKey { revision: Revision { main, sub: 0 }, tombstone: false }.encode()
}

/// A snapshot in which `old` has sealed what `key` seals in an output.
fn snapshot(key: &SealingKey) -> Builder {
    let mut made = Builder::default();
    made.put("lease", &7u64.to_be_bytes(), b"\x08\x07\x10\x0a");
    made.put("meta", b"finishedCompactRev", &at(4));
    made.put("meta", b"scheduledCompactRev", &at(4));
    made.sealed(key, "a");
    made.sealed(key, "a");
    made.sealed(key, "b");
    made.tombstone(&etcd_key("b"));
    made.record("/registry/configmaps/default/c", &object("ConfigMap", "default", "c", b"plain"));
    made.record(etcd_key("empty"), b"");
    made.record("/other/sealed", b"k8s:enc:aescbc:v1:old:foreign");
    made.record("/other/plain", b"plain");
    let plaintext = secret("p");
    let is_output = key.name() == "new";
    made.record(etcd_key("p"), &if is_output { seal(key, &etcd_key("p"), &plaintext) } else { plaintext });
    made.sealed(&new(), "n");
    made.record(etcd_key("a"), &seal(key, &etcd_key("a"), &secret("a")));
    made
}

fn config(provider: &str, name: &str, byte: u8) -> EncryptionConfiguration {
    EncryptionConfiguration::parse(&support::config(&[&["secrets"]], provider, name, byte)).unwrap()
}

/// What the proof says of two files.
struct Case<'p> {
    writes: EncryptionConfiguration,
    prefix: &'p str,
    allowed: Allowed<'p>,
    progress: &'p dyn Progress,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            writes: config("aescbc", "new", 2),
            prefix: "/registry",
            allowed: Allowed::default(),
            progress: &Silent,
        }
    }
}

impl Case<'_> {
    fn of(&self, input: &[u8], output: &[u8]) -> Result<Verified, Error> {
        let bench = Bench::new();
        let open = |name, bytes| SnapshotFile::open(&bench.file(name, bytes), false, bench.dir.path());
        let (input, output) = (open("in.db", input)?, open("out.db", output)?);
        let (source, written) = (input.read(false)?, output.read(true)?);
        let rules = Rules::writing(&self.writes, &[config("aescbc", "old", 1)], self.prefix).unwrap();
        let found = verify((&input, &source), (&output, &written), &rules, self.allowed, self.progress)?;
        if let Some(hashes) = found.hashes {
            assert_eq!(hashes, (source.hashes().unwrap(), written.hashes().unwrap()));
        }
        assert_eq!(found.proven(), found.differences.is_empty());
        Ok(found)
    }

    /// The differences between the snapshot and its output with a change.
    fn differences(&self, change: impl FnOnce(&mut Builder)) -> Vec<String> {
        let mut output = snapshot(&new());
        change(&mut output);
        self.of(&snapshot(&old()).snapshot(), &output.snapshot()).unwrap().differences
    }
}

/// Told to stop.
struct Stopped;

impl Progress for Stopped {
    fn phase(&self, phase: Phase, _: u64) {
        assert!(matches!(phase, Phase::Verifying));
    }
    fn rewritten(&self, _: u64) {}
    fn stop(&self) -> bool {
        true
    }
}

/// Changes the record at a revision.
fn record(made: &mut Builder, main: i64, change: impl FnOnce(&mut Vec<u8>)) {
    let (_, entries) = made.buckets.get_mut(b"key".as_slice()).unwrap();
    change(entries.get_mut(&at(main)).unwrap());
}

/// Gives the record at a revision another value.
fn value(made: &mut Builder, main: i64, value: &[u8]) {
    record(made, main, |record| {
        let old = record.clone();
        let kv = etcd_rekey::etcd::KeyValue::parse(&old).unwrap();
        record.clear();
        kv.put_before(record, value.len());
        record.extend(value);
        record.extend(kv.after);
    });
}

#[test]
fn a_good_output_is_proven_and_counted() {
    let found = Case::default().of(&snapshot(&old()).snapshot(), &snapshot(&new()).snapshot()).unwrap();
    assert!(found.proven() && found.equal());
    // 11 revisions, 7 buckets in the root, 3 marks, 1 lease.
    assert_eq!((found.records, found.values, found.carried_over), (22, 6, 0));
    assert_eq!((found.under_write_key.current, found.under_write_key.old), (3, 3));
    let rows: Vec<_> =
        found.sealed.rows().map(|(resource, _, count)| (resource.name(), count.current, count.old)).collect();
    assert_eq!(rows, [("configmaps".to_owned(), 1, 0), ("secrets".to_owned(), 3, 3)]);
    assert!(found.trailer.is_some());
}

#[test]
fn many_parts_of_a_large_output_are_put_together() {
    let made = |key: &SealingKey| {
        let mut made = Builder { page_size: 1024, ..Builder::default() };
        for i in 0..600 {
            made.sealed(key, &format!("s{}", i % 500));
            made.sealed(&key_of_nobody(), &format!("lost{i}"));
        }
        made
    };
    let (input, output) = (made(&old()).snapshot(), made(&new()).snapshot());
    let allowed = Allowed { unreadable: true, ..Allowed::default() };
    let found = Case { allowed, ..Case::default() }.of(&input, &output).unwrap();
    assert!(found.proven());
    assert_eq!((found.records, found.values, found.carried_over), (1200 + 8, 600, 600));
    assert_eq!((found.under_write_key.current, found.under_write_key.old), (500, 100));
    // Of what differs a hundred are listed.
    let found = Case::default().of(&input, &output).unwrap();
    assert_eq!(found.differences.len(), 100);
    assert!(found.differences.iter().all(|d| d.ends_with(": no key of this name was given")));
    assert!(!found.proven() && !found.equal());
}

fn key_of_nobody() -> SealingKey {
    key(Provider::Aescbc, "nobody's", 9)
}

#[test]
fn whatever_is_wrong_with_a_value_is_named() {
    let case = Case::default();
    let one = |change: &dyn Fn(&mut Builder)| {
        let differences = case.differences(change);
        assert_eq!(differences.len(), 1, "{differences:?}");
        differences.into_iter().next().unwrap()
    };
    assert_eq!(case.differences(|_| ()), [""; 0]);
    let a = "/registry/secrets/default/a at revision 2.0";
    let is = [
        (
            one(&|o| value(o, 2, &seal(&old(), &etcd_key("a"), &secret("a")))),
            format!("{a}: the key that writes now does not open it"),
        ),
        (one(&|o| value(o, 2, &seal(&new(), &etcd_key("a"), b"other"))), format!("{a}: the plaintexts differ")),
        (one(&|o| value(o, 2, &secret("a"))), format!("{a}: the key that writes now does not open it")),
        (one(&|o| record(o, 2, |r| *r.last_mut().unwrap() ^= 1)), format!("{a}: more than the value differs")),
        (
            one(&|o| {
                record(o, 2, |r| {
                    let at = r.windows(2).position(|two| two == [4 << 3, 1]).unwrap();
                    r[at + 1] = 2;
                });
            }),
            format!("{a}: more than the value differs"),
        ),
        (
            one(&|o| value(o, 6, &object("ConfigMap", "default", "c", b"other"))),
            "/registry/configmaps/default/c at revision 6.0: it changed without need".to_owned(),
        ),
        (
            one(&|o| value(o, 8, b"k8s:enc:aescbc:v1:old:changed")),
            "/other/sealed at revision 8.0: it changed without need".to_owned(),
        ),
        (one(&|o| value(o, 9, b"other")), "/other/plain at revision 9.0: it changed without need".to_owned()),
        (
            one(&|o| value(o, 7, b"filled")),
            "/registry/secrets/default/empty at revision 7.0: it changed without need".to_owned(),
        ),
        (
            one(&|o| {
                let mut again = seal(&new(), &etcd_key("n"), &secret("n"));
                *again.last_mut().unwrap() ^= 1;
                value(o, 11, &again);
            }),
            "/registry/secrets/default/n at revision 11.0: it changed without need".to_owned(),
        ),
        (
            one(&|o| o.put("lease", &7u64.to_be_bytes(), b"\x08\x07\x10\x0b")),
            "the entry \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07 of another bucket differs".to_owned(),
        ),
        (
            one(&|o| {
                o.buckets.get_mut(b"lease".as_slice()).unwrap().1.clear();
                o.put("lease", &8u64.to_be_bytes(), b"\x08\x07\x10\x0a");
            }),
            "the entry \\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07 of another bucket differs".to_owned(),
        ),
        (
            one(&|o| {
                let (_, entries) = o.buckets.get_mut(b"key".as_slice()).unwrap();
                let last = entries.remove(&at(12)).unwrap();
                entries.insert(at(13), last);
            }),
            "entry 10: the revisions differ".to_owned(),
        ),
    ];
    for (found, expected) in is {
        assert_eq!(found, expected);
    }
}

#[test]
fn an_output_that_is_no_fresh_file_is_named() {
    let case = Case::default();
    let free = case.differences(|o| o.free = vec![b"old data".to_vec()]);
    assert_eq!(free, ["the output is no fresh file: 1 free pages, 0 with unused bytes"]);
    assert_eq!(case.differences(|o| o.page_size = 8192), ["the page sizes differ"]);
    let buckets = "the buckets differ in name, place, sequence or number of entries";
    assert_eq!(case.differences(|o| o.buckets.get_mut(b"auth".as_slice()).unwrap().0 = 3), [buckets]);
    assert_eq!(case.differences(|o| drop(o.buckets.remove(b"auth".as_slice()))), [buckets]);
    assert_eq!(case.differences(|o| o.put("auth", b"user", b"root")), [buckets]);
    assert_eq!(
        case.differences(|o| {
            let auth = o.buckets.remove(b"auth".as_slice()).unwrap();
            o.buckets.insert(b"auti".to_vec(), auth);
        }),
        [buckets]
    );
    assert_eq!(
        case.differences(|o| {
            o.sealed(&new(), "more");
        }),
        [buckets]
    );

    let input = snapshot(&old()).snapshot();
    let good = snapshot(&new()).file();
    let found = |file: &[u8]| case.of(&input, &with_trailer(file)).unwrap().differences;
    let metas = "the two metas of the output do not name the same pages";
    let first = Meta::parse(&good).unwrap();
    for second in [
        Meta { txid: first.txid - 2, ..first },
        Meta { sequence: 9, txid: first.txid - 1, ..first },
        Meta { root: 2, txid: first.txid - 1, ..first },
    ] {
        let mut file = good.clone();
        file[4096..4096 + 80].copy_from_slice(&second.encode(1));
        assert_eq!(found(&file), [metas]);
    }
    let listed = case.differences(|o| o.freelist = true);
    assert!(listed.contains(&metas.to_owned()) && first.freelist == NO_FREELIST);
    let mut file = good.clone();
    *file.last_mut().unwrap() = 1;
    assert_eq!(found(&file), ["the output is no fresh file: 0 free pages, 1 with unused bytes"]);
    let longer = [good.as_slice(), &[0; 512]].concat();
    assert_eq!(found(&longer), ["the output is not exactly its pages and a trailer"]);
}

#[test]
fn an_output_whose_elements_share_bytes_is_refused_whatever_they_say() {
    let with_both = |key: &SealingKey| {
        let mut made = snapshot(key);
        made.own_pages = true;
        for name in [&b"ab"[..], b"b"] {
            made.put("lease", name, &[7; 40]);
        }
        made
    };
    let (input, mut file) = (with_both(&old()).snapshot(), with_both(&new()).file());
    assert!(Case::default().of(&input, &with_trailer(&file)).unwrap().proven());
    // The second is found inside the first: equal in all it says, and no byte is left over.
    let first = file.windows(42).position(|bytes| bytes == [&b"ab"[..], &[7; 40]].concat()).unwrap();
    let element = first / 4096 * 4096 + 16 + 2 * 16;
    let place = u32::try_from(first + 1 - element).unwrap();
    assert_eq!(file[element + 4..element + 8], (place + 41).to_le_bytes());
    file[element + 4..element + 8].copy_from_slice(&place.to_le_bytes());
    file[first + 42..first + 42 + 41].fill(0);
    match Case::default().of(&input, &with_trailer(&file)) {
        Err(Error::Snapshot { source, .. }) => assert_eq!(source.kind(), "overlap"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_trailer_and_a_stop_are_errors() {
    let (input, output) = (snapshot(&old()).snapshot(), snapshot(&new()).snapshot());
    let wrong = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let file_of = |result: Result<Verified, Error>| match result {
        Err(Error::Snapshot { file, source }) => {
            assert_eq!(source.kind(), "trailer-mismatch");
            file.file_name().unwrap().to_str().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(file_of(Case::default().of(&wrong(&input), &output)), "in.db");
    assert_eq!(file_of(Case::default().of(&input, &wrong(&output))), "out.db");

    let stopped = Case { progress: &Stopped, ..Case::default() }.of(&input, &output);
    assert!(matches!(stopped, Err(Error::Interrupted)));
}

#[test]
fn what_may_differ_is_allowed_by_name_alone() {
    // Sealed values that became plaintext.
    let plain = |allowed| {
        let mut output = snapshot(&new());
        for main in [2, 3, 4, 10, 11, 12] {
            let name = ["a", "a", "b", "", "", "", "", "", "p", "n", "a"][usize::try_from(main - 2).unwrap()];
            value(&mut output, main, &secret(name));
        }
        let allowed = Allowed { plaintext: allowed, ..Allowed::default() };
        let read = |text: &str| EncryptionConfiguration::parse(text).unwrap();
        let disabled = support::config(&[&["secrets"]], "identity", "", 0)
            + "  - aescbc: {keys: [{name: new, secret: 'AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI='}]}\n";
        Case { writes: read(&disabled), allowed, ..Case::default() }
            .of(&snapshot(&old()).snapshot(), &output.snapshot())
    };
    let found = plain(true).unwrap();
    assert!(found.proven());
    assert_eq!((found.values, found.under_write_key.all()), (5, 0));
    let found = plain(false).unwrap();
    assert_eq!(found.differences.len(), 5);
    assert!(found.differences.iter().all(|d| d.ends_with(": it became plaintext")));

    // Values that no key opens.
    let made = |lost: &[u8]| {
        let mut made = Builder::default();
        made.record(etcd_key("lost"), lost);
        made.snapshot()
    };
    let lost = seal(&key_of_nobody(), &etcd_key("lost"), &secret("lost"));
    let mut other = lost.clone();
    *other.last_mut().unwrap() ^= 1;
    let place = "/registry/secrets/default/lost at revision 2.0";
    let with = |unreadable| Case { allowed: Allowed { unreadable, ..Allowed::default() }, ..Case::default() };
    let found = with(true).of(&made(&lost), &made(&lost)).unwrap();
    assert_eq!((found.proven(), found.carried_over, found.values), (true, 1, 0));
    assert_eq!(
        with(false).of(&made(&lost), &made(&lost)).unwrap().differences,
        [format!("{place}: no key of this name was given")]
    );
    assert_eq!(
        with(true).of(&made(&lost), &made(&other)).unwrap().differences,
        [format!("{place}: it changed, and cannot be opened")]
    );
}

#[test]
fn a_prefix_under_which_nothing_lies_proves_nothing() {
    let input = snapshot(&old()).snapshot();
    let elsewhere = Case { prefix: "/elsewhere", ..Case::default() };
    assert_eq!(
        elsewhere.of(&input, &input).unwrap().differences,
        ["no key is Kubernetes' under this --etcd-prefix, but there are sealed values"]
    );
    // Where nothing is sealed at all, there is nothing to miss.
    let mut bare = Builder::default();
    bare.record("/other/plain", b"plain");
    assert!(elsewhere.of(&bare.snapshot(), &bare.snapshot()).unwrap().proven());
}

#[test]
fn a_compacted_output_holds_what_a_compaction_leaves() {
    let compacted = || {
        let mut made = snapshot(&new());
        let (_, entries) = made.buckets.get_mut(b"key".as_slice()).unwrap();
        entries.retain(|revision, _| {
            let key = RevisionKey::parse(revision).unwrap();
            !(key.tombstone || matches!(key.revision.main, 2..=4))
        });
        for mark in ["finishedCompactRev", "scheduledCompactRev"] {
            made.put("meta", mark.as_bytes(), &at(12));
        }
        made
    };
    let case = Case { allowed: Allowed { compacted: true, ..Allowed::default() }, ..Case::default() };
    let input = snapshot(&old()).snapshot();
    let found = case.of(&input, &compacted().snapshot()).unwrap();
    assert!(found.proven(), "{:?}", found.differences);
    assert_eq!((found.records, found.values), (7 + 11, 3));
    assert_eq!((found.under_write_key.current, found.under_write_key.old), (3, 0));
    // So it does where no compaction was before: the marks are new.
    let mut never = snapshot(&old());
    never.buckets.get_mut(b"meta".as_slice()).unwrap().1.retain(|mark, _| !mark.ends_with(b"CompactRev"));
    assert!(case.of(&never.snapshot(), &compacted().snapshot()).unwrap().proven());
    let differences = |change: &dyn Fn(&mut Builder)| {
        let mut output = compacted();
        change(&mut output);
        case.of(&input, &output.snapshot()).unwrap().differences
    };
    let buckets = "the buckets differ in name, place, sequence or number of entries";
    assert_eq!(
        differences(&|o| o.put("meta", b"finishedCompactRev", &at(11))),
        ["the entry finishedCompactRev of another bucket differs"]
    );
    assert_eq!(
        differences(&|o| drop(
            o.buckets.get_mut(b"meta".as_slice()).unwrap().1.remove(b"finishedCompactRev".as_slice())
        )),
        [buckets]
    );
    assert_eq!(
        differences(&|o| drop(o.buckets.get_mut(b"key".as_slice()).unwrap().1.remove(&at(6)))),
        [buckets]
    );
    assert_eq!(case.of(&input, &snapshot(&new()).snapshot()).unwrap().differences, [buckets]);
}

#[test]
fn the_record_of_a_cluster_is_held_to_its_own_proof() {
    let token = || Token::parse("password").unwrap_or_else(|e| panic!("{e}"));
    let record_key = String::from_utf8(token().record_key()).unwrap();
    let plain =
        Record::parse(b"{\"A\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"YQ==\"}}").unwrap();
    let state = State::of(Stage::ReencryptFinished, b"{}");
    let sealed = |plain: &[u8]| bootstrap::seal(plain, "password").unwrap();
    let (before, after) = (
        sealed(b"{\"A\":{\"Timestamp\":\"2024-05-01T10:00:00Z\",\"Content\":\"YQ==\"}}"),
        sealed(&plain.with(b"{}", &state, jiff::Timestamp::UNIX_EPOCH)),
    );
    let proof = Proof { tokens: vec![token()], config: b"{}".to_vec().into(), state: state.clone(), all: true };
    let made = |key: &SealingKey, record: &[u8]| {
        let mut made = Builder::default();
        made.record(&record_key, record);
        made.sealed(key, "a");
        made
    };
    let found = |input: &[u8], output: &Builder, unreadable, proof| {
        let allowed = Allowed { unreadable, record: proof, ..Allowed::default() };
        Case { allowed, ..Case::default() }
            .of(&made(&old(), input).snapshot(), &output.snapshot())
            .unwrap()
            .differences
    };
    let place = format!("{record_key} at revision 2.0");
    let none: [&str; 0] = [];
    assert_eq!(found(&before, &made(&new(), &after), false, Some(&proof)), none);
    assert_eq!(
        found(&before, &made(&new(), &before), false, Some(&proof)),
        [format!("{place}: the record is the old one")]
    );
    // Without a proof a record is somebody else's value.
    assert_eq!(
        found(&before, &made(&new(), &after), false, None),
        [format!("{place}: it changed without need")]
    );
    assert_eq!(found(&before, &made(&new(), &before), false, None), none);
    let mut changed = made(&new(), &after);
    record(&mut changed, 2, |record| *record.last_mut().unwrap() ^= 1);
    assert_eq!(
        found(&before, &changed, false, Some(&proof)),
        [format!("{place}: more than the value differs")]
    );
    // A record that another token seals.
    let other = Proof {
        tokens: vec![Token::parse("other").unwrap_or_else(|e| panic!("{e}"))],
        config: b"{}".to_vec().into(),
        state,
        all: true,
    };
    assert_eq!(found(&before, &made(&new(), &before), true, Some(&other)), none);
    assert_eq!(
        found(&before, &made(&new(), &before), false, Some(&other)),
        [format!("{place}: no token opens it")]
    );
}
