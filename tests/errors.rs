//! Promise: an error is a line that says what is wrong and where, and a line
//! that says what to do; and each one of the program is written down here, in
//! tests/transcripts, with its exit code.
//!
//! `SNAPSHOTS=overwrite cargo test --test errors` writes the transcripts anew.

mod support;

use etcd_rekey::bolt::{Defect, MetaDefect};
use etcd_rekey::cli::Exit;
use etcd_rekey::k3s::token::TokenError;
use etcd_rekey::kube::cipher::NotOpened;
use etcd_rekey::kube::kms::Problem;
use etcd_rekey::kube::rotation::RotationError;
use etcd_rekey::kube::{ConfigError, Provider, Unreadable};
use etcd_rekey::rekey::suspicion::Suspicion;
use etcd_rekey::rekey::{Error, UnreadableValue};
use etcd_rekey::{etcd, k3s, output};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::builder::{Builder, key};
use support::program::Bench;
use support::transcript::{is_written_down, told, variant, variants};
use support::{config, fixture, folder};

/// The source files with the errors of the program, and the enum in each.
const ENUMS: [(&str, &str); 12] = [
    ("src/bolt/defect.rs", "MetaDefect"),
    ("src/bolt/defect.rs", "Defect"),
    ("src/etcd/error.rs", "Error"),
    ("src/kube/error.rs", "ConfigError"),
    ("src/kube/rotation.rs", "RotationError"),
    ("src/kube/kms/error.rs", "Problem"),
    ("src/kube/cipher.rs", "NotOpened"),
    ("src/kube/sealed.rs", "Unreadable"),
    ("src/k3s/token.rs", "TokenError"),
    ("src/k3s/error.rs", "Error"),
    ("src/output/error.rs", "Error"),
    ("src/rekey/error.rs", "Error"),
];

fn plugin(problem: Problem) -> etcd_rekey::kube::kms::Error {
    let (name, endpoint) = ("\"vault\"".to_owned(), "unix:///vault.sock".to_owned());
    etcd_rekey::kube::kms::Error { name, endpoint, problem }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn path(text: &str) -> PathBuf {
    text.into()
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn value(provider: &str) -> UnreadableValue {
    UnreadableValue {
        key: "/registry/secrets/default/a".into(),
        revision: "7.0".into(),
        current: true,
        provider: provider.into(),
        key_name: "key1".into(),
        error: "no key of this name was given".into(),
    }
}

fn of_metas() -> Vec<MetaDefect> {
    use MetaDefect as D;
    vec![D::Truncated, D::Magic(0xdead_beef), D::Version(3), D::Checksum]
}

fn of_bolt() -> Vec<Defect> {
    use Defect as D;
    vec![
        D::TooShort { bytes: 100 },
        D::BigEndian,
        D::NoValidMeta { first: MetaDefect::Checksum, second: MetaDefect::Truncated },
        D::Meta { page: 0, why: MetaDefect::Version(3) },
        D::PageSize { page: 0, size: 3 },
        D::PageSizesDiffer { first: 4096, second: 8192 },
        D::NoRootPage,
        D::HighWaterMarkBeyondFile { pages: 9, page_size: 4096, bytes: 8192 },
        D::PageOutOfBounds { page: 9, by: 3, pages: 8 },
        D::PageNumber { page: 4, found: 5 },
        D::PageFlags { page: 4, flags: 0x80 },
        D::PageKind { page: 4, expected: "leaf", found: "branch" },
        D::OverflowOutOfBounds { page: 4, overflow: 99 },
        D::PageReachedTwice { page: 4, by: 3 },
        D::ElementOutOfBounds { page: 4, index: 1 },
        D::ElementFlags { page: 4, index: 1, flags: 8 },
        D::EmptyKey { page: 4, index: 1 },
        D::MetaBeyondFile { page: 1, pages: 99, root: 98 },
        D::Overlap { page: 4 },
        D::KeyTooLong { page: 4, index: 1, bytes: 40_000 },
        D::ValueTooLong { page: 4, index: 1, bytes: 2_147_483_647 },
        D::KeyOrder { page: 4, index: 1 },
        D::Separator { page: 4, index: 1, child: 5 },
        D::SingleChild { page: 4 },
        D::EmptyPage { page: 4 },
        D::UnevenDepth { page: 4, depth: 3, expected: 2 },
        D::TooDeep { page: 4, limit: 64 },
        D::BucketHeader { page: 4, index: 1, bytes: 8 },
        D::InlinePage { page: 4, index: 1 },
        D::RootElement { page: 4, index: 1 },
        D::NestedTooDeep { page: 4, limit: 8 },
        D::FreelistCount { page: 4, count: 9_999 },
        D::FreelistOutOfBounds { page: 4, free: 99 },
        D::FreelistDuplicate { page: 4, free: 5 },
        D::FreePageInUse { page: 4, free: 5 },
        D::Leaked { page: 4 },
    ]
}

fn of_etcd() -> Vec<etcd::Error> {
    use etcd::Error as E;
    vec![
        E::NotASnapshot { what: "a gzip file" },
        E::MissingTrailer { bytes: 8192 },
        E::TrailerMismatch { expected: "ab".repeat(32), found: "cd".repeat(32) },
        E::Zip { why: "it holds 2 files".into() },
        E::Structure(Defect::NoRootPage),
        E::NoKeyBucket,
        E::NoMetaBucket,
        E::RevisionKey { entry: 3, key: "abc".into() },
        E::Record { revision: "7.0".into(), why: "it ends early" },
        E::TooManyEntries { entries: 4_294_967_295 },
        E::CompactRevision { key: "finishedCompactRev" },
    ]
}

fn of_config() -> Vec<ConfigError> {
    use ConfigError as E;
    vec![
        E::Syntax { line: 3, column: 5, what: "a field nobody knows" },
        E::Kind { api_version: "v1".into(), kind: "Secret".into() },
        E::NotText,
        E::Invalid(strings(&["resources[0].providers[0].aescbc.keys: Required value"])),
        E::Masked { resource: "secrets".into(), earlier: "*.*".into() },
    ]
}

fn of_rotation() -> Vec<RotationError> {
    use RotationError as E;
    vec![E::Disabled, E::NoSecondKey, E::Kms("vault".into()), E::Random("none".into())]
}

fn of_plugins() -> Vec<Problem> {
    use Problem as P;
    vec![
        P::Unreachable {
            call: "Decrypt",
            timeout: std::time::Duration::from_secs(3),
            why: "Connection refused".into(),
        },
        P::Refused { call: "Encrypt", why: "PermissionDenied: no".into() },
        P::Nonsense { call: "Status", what: "version \"v3\"".into() },
        P::Unhealthy("\"sick\"".into()),
        P::KeyChanged { before: "\"1\"".into(), after: "\"2\"".into() },
        P::Threads("none".into()),
    ]
}

fn of_ciphers() -> Vec<NotOpened> {
    use NotOpened as N;
    vec![
        N::TooShort,
        N::NotMultiple,
        N::NoBlock,
        N::Padding,
        N::Authentication,
        N::TooLong,
        N::OtherObject,
        N::OtherPrefix,
        N::Envelope("the sealed data key is cut short"),
        N::NoDataKey("PermissionDenied: no".into()),
    ]
}

fn of_values() -> Vec<Unreadable> {
    use Unreadable as U;
    vec![
        U::NoSuchKey,
        U::NotOpened(NotOpened::Padding),
        U::Kms,
        U::UnknownProvider,
        U::NoObject,
        U::Ambiguous(1, 2),
    ]
}

fn of_tokens() -> Vec<TokenError> {
    use TokenError as T;
    vec![T::Empty, T::CaHashLength, T::Format, T::Bootstrap, T::Snapshot, T::NotText]
}

fn of_k3s() -> Vec<k3s::Error> {
    use k3s::Error as E;
    let (held, stage) = (strings(&["/bootstrap/0123456789ab"]), "rotate".to_owned());
    vec![
        E::Token(TokenError::Empty),
        E::Variable { variable: "K3S_TOKEN".into(), why: "it is not UTF-8".into() },
        E::NoToken { held: held.clone() },
        E::WrongToken { given: strings(&["/bootstrap/ba9876543210"]), held: held.clone(), marked: false },
        E::WrongToken { given: strings(&["/bootstrap/ba9876543210"]), held: held.clone(), marked: true },
        E::NoRecord,
        E::Deleted { held: held.clone() },
        E::SeveralRecords { held: held.clone() },
        E::Locked { key: held[0].clone() },
        E::Damaged { key: held[0].clone(), revision: "7.0".into() },
        E::Unopened { keys: held.clone() },
        E::DamagedOld { revisions: strings(&["/bootstrap/0123456789ab at revision 7.0"]) },
        E::Config(ConfigError::NotText),
        E::Blocks(2),
        E::Resources(strings(&["secrets", "configmaps"])),
        E::Twice(Provider::Aescbc),
        E::Providers(4),
        E::UnsupportedKeys("aesgcm".into()),
        E::IncorrectStage {
            verb: "rotate",
            stage: "start".into(),
            allowed: "prepare",
            place: "the snapshot".into(),
        },
        E::InvalidHash { hash: "ab".repeat(32), place: "server-1".into(), stage: stage.clone() },
        E::HashMismatch {
            mismatch: "hash does not match between server-1 and server-2".into(),
            stage: stage.clone(),
        },
        E::Secretbox { verb: "prepare", stage: stage.clone() },
        E::Disabled { stage: stage.clone() },
        E::NoSecondKey { stage: stage.clone() },
        E::UnderWay { verb: "enable", stage },
        E::Rotation(RotationError::Disabled),
        E::TooManyRevisions,
        E::Random("none".into()),
    ]
}

fn of_output() -> Vec<output::Error> {
    use output::Error as E;
    vec![
        E::Io { path: path("out.db"), step: "writing", source: io::Error::from_raw_os_error(28) },
        E::Exists { path: path("out.db") },
        E::SameFile { path: path("snapshot.db") },
        E::NoName { path: path("/") },
        E::NotAFile { path: path("/dev/null") },
        E::NameNotDurable { path: path("out.db"), source: broken() },
        E::NoSpace { directory: path("/mnt"), need: 4096, free: 512 },
    ]
}

fn of_runs() -> Vec<Error> {
    use Error as E;
    let (file, values) = (path("snapshot.db"), vec![value("aescbc")]);
    let differences = strings(&["/registry/secrets/default/a at revision 7.0: the plaintexts differ"]);
    vec![
        E::Open { file: file.clone(), source: io::Error::from_raw_os_error(2) },
        E::Unpack { file: path("snapshot.zip"), directory: path("/tmp"), source: broken() },
        E::Snapshot { file: file.clone(), source: etcd::Error::NoKeyBucket },
        E::Config { file: path("enc.yaml"), source: ConfigError::NotText },
        E::Unreadable { values: values.clone(), current: 1 },
        E::Unreadable { values: vec![value("kms-v2")], current: 1 },
        E::NotForCluster { values, current: 1 },
        E::NamedAsArchive { file: path("out.zip") },
        E::WouldBePlaintext {
            count: 3,
            resource: "secrets".into(),
            first: "/registry/secrets/default/a".into(),
        },
        E::Kms(plugin(Problem::Unhealthy("\"sick\"".into()))),
        E::NoSuchPlugin { name: "vault".into() },
        E::K3s(k3s::Error::NoRecord),
        E::Rotation(RotationError::NoSecondKey),
        E::NoConfig,
        E::ConfigBesideRecord,
        E::NothingToWrite { verb: "prepare" },
        E::NoSnapshot { verb: "prepare" },
        E::NoWriteConfig { verb: "rotate-keys" },
        E::Output(output::Error::Exists { path: path("out.db") }),
        E::Replaced {
            files: vec![path("new.yaml")],
            source: output::Error::Io { path: path("out.db"), step: "giving it its name", source: broken() },
        },
        E::ReadBack { file: path("out.db"), source: broken() },
        E::Verification { differences: differences.clone() },
        E::NotProven { differences: differences.clone(), suspicion: Suspicion::None },
        E::NotProven { differences: differences.clone(), suspicion: Suspicion::SameFile },
        E::NotProven { differences: differences.clone(), suspicion: Suspicion::Swapped },
        E::NotProven { differences, suspicion: Suspicion::Compacted },
        E::InputChanged { what: "something wrote to it".into() },
        E::NothingUnderPrefix { prefix: "/registry".into(), first: "/kubernetes.io/secrets/a/b".into() },
        E::Random("none".into()),
        E::Threads("none".into()),
        E::AuditRecord { file: path("audit.json"), why: "its version is 2, and 1 is known".into() },
        E::NotAsRecorded { differences: strings(&["the output: length is 1, the record says 2"]) },
        E::NoSuchObject { key: "default/a".into(), elsewhere: Vec::new() },
        E::NoSuchObject { key: "default/a".into(), elsewhere: strings(&["team-a/a", "team-b/a"]) },
        E::SeveralObjects {
            key: "jobs/default/a".into(),
            keys: strings(&["/registry/example.com/jobs/default/a", "/registry/jobs/default/a"]),
        },
        E::NoSuchResource {
            typed: "secretz".into(),
            nearest: Some("secrets".into()),
            there: strings(&["configmaps", "secrets"]),
        },
        E::NoSuchResource { typed: "bogus".into(), nearest: None, there: strings(&["configmaps", "secrets"]) },
        E::NoSuchResource { typed: "bogus".into(), nearest: None, there: Vec::new() },
        E::NotOpened { key: "default/a".into(), why: "no key of this name was given".into(), record: false },
        E::NotOpened { key: "default/a".into(), why: "no key of this name was given".into(), record: true },
        E::NoSuchCommand { name: "nonsense".into() },
        E::Unexpected("JSON could not be made".into()),
        E::Interrupted,
    ]
}

/// Every error, as a run ends with it, under its name; and the names met.
fn all() -> (Vec<(String, Error)>, Vec<BTreeSet<String>>) {
    fn put<E: Debug>(
        of: &str,
        list: Vec<E>,
        wrap: impl Fn(E) -> Error,
        errors: &mut Vec<(String, Error)>,
        names: &mut Vec<BTreeSet<String>>,
    ) {
        names.push(list.iter().map(variant).collect());
        errors.extend(list.into_iter().map(|error| (format!("{of}::{}", variant(&error)), wrap(error))));
    }
    let (mut errors, mut names) = (Vec::new(), Vec::new());
    let snapshot = |source| Error::Snapshot { file: path("snapshot.db"), source };
    let (e, n) = (&mut errors, &mut names);
    let meta = |why| snapshot(etcd::Error::Structure(Defect::Meta { page: 0, why }));
    put("bolt::MetaDefect", of_metas(), meta, e, n);
    put("bolt::Defect", of_bolt(), |d| snapshot(etcd::Error::Structure(d)), e, n);
    put("etcd::Error", of_etcd(), snapshot, e, n);
    put("kube::ConfigError", of_config(), |source| Error::Config { file: path("enc.yaml"), source }, e, n);
    put("kube::RotationError", of_rotation(), Error::Rotation, e, n);
    put("kube::kms::Problem", of_plugins(), |problem| Error::Kms(plugin(problem)), e, n);
    let closed = |why: String| Error::NotOpened { key: "default/a".into(), why, record: false };
    put("kube::NotOpened", of_ciphers(), |why| closed(why.to_string()), e, n);
    put("kube::Unreadable", of_values(), |why| closed(why.to_string()), e, n);
    put("k3s::TokenError", of_tokens(), |t| Error::K3s(k3s::Error::Token(t)), e, n);
    put("k3s::Error", of_k3s(), Error::K3s, e, n);
    put("output::Error", of_output(), Error::Output, e, n);
    put("rekey::Error", of_runs(), |error| error, e, n);
    (errors, names)
}

#[test]
fn every_error_is_written_down() {
    let (_, names) = all();
    for ((source, name), met) in ENUMS.iter().zip(names) {
        let expected = variants(source, name);
        assert!(!expected.is_empty());
        assert_eq!(met, expected, "{source}: {name}");
    }
}

#[test]
fn every_error_has_one_line_and_a_remedy_of_one_line() {
    let texts = all().0.into_iter().map(|(name, error)| {
        told(&name, &error.to_string(), error.remedy(), error.kind(), Exit::from(&error).code())
    });
    is_written_down("errors.txt", &texts.collect::<String>());
}

#[test]
fn every_kind_of_error_is_documented_beside_its_exit_code() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let document = std::fs::read_to_string(document).unwrap();
    let defects: BTreeSet<_> = of_bolt().iter().map(Defect::kind).collect();
    for (name, error) in all().0 {
        // Defects of the structure are told of by one example, signals by three codes.
        if defects.contains(error.kind()) || matches!(error, Error::Interrupted) {
            continue;
        }
        let row = format!("| {} |", Exit::from(&error).code());
        let row = document.lines().find(|line| line.starts_with(&row)).expect("a row of this code");
        assert!(row.contains(&format!("`{}`", error.kind())), "{name}: {} is not in: {row}", error.kind());
    }
}

/// A directory with files of every kind that is refused.
fn files() -> Bench {
    let bench = Bench::new();
    let copy = |from: PathBuf, to: &str| assert!(std::fs::copy(from, bench.path(to)).unwrap() > 0);
    let rotated = folder("kube-rotated");
    for name in ["snapshot.db", "new.yaml", "old.yaml"] {
        copy(rotated.join(name), name);
    }
    for name in ["k3s-rotated", "k3s-fresh", "k3s-disabled", "k3s-secretbox-rotated", "k3s-ha-mismatch"] {
        copy(fixture(name, "snapshot.db"), name);
        copy(fixture(name, "token"), &format!("{name}.token"));
    }
    let good = std::fs::read(bench.path("snapshot.db")).unwrap();
    bench.file("cut.db", &good[..good.len() - 32]);
    bench.file("short.db", [&good[..499_712], &good[good.len() - 32..]].concat());
    bench.file("damaged.db", [&good[..9000], &[good[9000] ^ 1], &good[9001..]].concat());
    bench.file("text.db", "kind: Secret\n".repeat(1000));
    bench.file("gzip.db", b"\x1f\x8b\x08\x00");
    bench.file("broken.zip", b"PK\x03\x04 and no more");
    let mut small = Builder::default();
    small.sealed(&key(Provider::Aescbc, "old", 1), "a\u{1b}");
    bench.file("small.db", small.snapshot());
    bench.file("small-old.yaml", config(&[&["secrets"]], "aescbc", "old", 1));
    bench.file("small-new.yaml", config(&[&["secrets"]], "aescbc", "new", 2));
    bench.file("plain.yaml", config(&[&["secrets"]], "identity", "", 2));
    bench.file("kind.yaml", "kind: Secret\napiVersion: v1\n");
    bench.file("syntax.yaml", "kind: [\n");
    bench.file("utf16.yaml", b"\xff\xfek\0i\0");
    bench.file(
        "invalid.yaml",
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: a, secret: c2hvcnQ=}]}\n",
    );
    bench.file(
        "kms.yaml",
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n  - kms: {apiVersion: v2, name: vault, endpoint: 'unix:///run/kms.sock'}\n  - identity: {}\n",
    );
    bench.file("token", "K10abc::server:pass");
    let token = std::fs::read_to_string(bench.path("k3s-fresh.token")).unwrap();
    bench.file("marked.token", format!("\u{feff}{token}"));
    bench.file("empty", "");
    bench.file("other.token", "another password");
    bench.file("no-record.json", "{}");
    std::fs::create_dir(bench.path("directory")).unwrap();
    bench
}

/// Command lines that fail, each for a reason of its own.
const RUNS: &[&str] = &[
    "",
    "nonsense",
    "check",
    "check snapshot.db --nonsense",
    "reencrypt snapshot.db --outptu out.db",
    "reencrypt snapshot.db -o out.db --threads many --encryption-config new.yaml",
    "status snapshot.db -w jsno",
    "reencrypt snapshot.db -o out.db --report audit.json --no-verify",
    "check none.db",
    "check directory",
    "check text.db",
    "check gzip.db",
    "check broken.zip",
    "check cut.db",
    "check damaged.db",
    "check none.db -w json",
    "status snapshot.db --encryption-config kind.yaml",
    "status snapshot.db --encryption-config syntax.yaml",
    "status snapshot.db --encryption-config utf16.yaml",
    "status snapshot.db --encryption-config invalid.yaml",
    "reencrypt snapshot.db -o out.db",
    "reencrypt small.db --encryption-config small-new.yaml -o out.db",
    "reencrypt small.db --encryption-config plain.yaml --decryption-config small-old.yaml -o out.db",
    "reencrypt small.db --encryption-config kms.yaml --decryption-config small-old.yaml -o out.db",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o snapshot.db",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o token",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o directory",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o none/out.db",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o out.zip",
    "reencrypt snapshot.db --encryption-config new.yaml --etcd-prefix /kubernetes.io -o out.db",
    "reencrypt snapshot.db --encryption-config new.yaml --token-file token -o out.db",
    "rotate-keys snapshot.db --encryption-config old.yaml -o out.db",
    "rotate-keys snapshot.db --token-file other.token -o out.db",
    "rotate-keys k3s-fresh --encryption-config new.yaml --write-config w.yaml -o out.db",
    "rotate-keys k3s-fresh -o out.db",
    "rotate-keys k3s-fresh --token-file other.token -o out.db",
    "rotate-keys k3s-fresh --token-file empty -o out.db",
    "rotate-keys k3s-fresh --token-file token -o out.db",
    "rotate k3s-fresh --token-file k3s-fresh.token -o out.db",
    "rotate-keys k3s-disabled --token-file k3s-disabled.token -o out.db",
    "enable k3s-rotated --token-file k3s-rotated.token -o out.db",
    "prepare k3s-secretbox-rotated --token-file k3s-secretbox-rotated.token -o out.db",
    "prepare snapshot.db --encryption-config old.yaml -o out.db",
    "prepare --token-file token",
    "prepare --encryption-config old.yaml",
    "rotate --encryption-config small-old.yaml --write-config w.yaml",
    "prepare --encryption-config kms.yaml --write-config w.yaml",
    "verify snapshot.db --against snapshot.db --encryption-config new.yaml --decryption-config old.yaml",
    "verify snapshot.db --against snapshot.db --report no-record.json",
    "verify snapshot.db --against snapshot.db --report none.json",
    "restore snapshot.db",
    "snapshot restore snapshot.db",
    "snapshot restore snapshot.db -w json",
    "rotate-kyes snapshot.db",
    "re-encrpyt snapshot.db",
    "check short.db",
    "list snapshot.db -r bogus",
    "list snapshot.db -r secretz",
    "list snapshot.db -r bogus -w json",
    "get snapshot.db secrets/default/none",
    "get snapshot.db deploy/default/none/more",
    "get k3s-fresh default/none --reveal",
    "get k3s-fresh app/empty --reveal",
    "rotate-keys k3s-fresh --token-file marked.token -o out.db",
    "reencrypt damaged.db --encryption-config new.yaml --decryption-config old.yaml -o out.db --progress-every 10",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o out.db --report token",
    "reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o out.db --write-config token --dry-run",
    "get snapshot.db default/none",
    "get small.db default/a --reveal",
    "get snapshot.db team-b/size-4096 --reveal",
    "man nonsense",
    "rotate-keys k3s-fresh token-file k3s-fresh.token -o out.db",
    "rotate-keys k3s-fresh -token-file k3s-fresh.token -o out.db",
    "reencrypt snapshot.db -encryption-config=new.yaml -o out.db",
    "rotate-keys k3s-fresh --token-file k3s-fresh -o out.db",
    "rotate-keys k3s-fresh --token-file gzip.db -o out.db",
    "get snapshot.db size-4096",
    "get snapshot.db default/size-4096",
    "get snapshot.db secrets/default/size-4096",
];

#[test]
fn a_failure_says_what_and_where_and_what_to_do_and_leaves_nothing() {
    let bench = files();
    let before = bench.names();
    let mut text = String::new();
    for line in RUNS {
        let mut program = Command::new(env!("CARGO_BIN_EXE_etcd-rekey"));
        for variable in ["K3S_TOKEN", "K3S_TOKEN_FILE", "RKE2_TOKEN", "RKE2_TOKEN_FILE"] {
            program.env_remove(variable);
        }
        let ran = program.args(line.split_whitespace()).current_dir(bench.dir.path()).output().unwrap();
        let (out, err) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        let code = ran.status.code().unwrap();
        assert_ne!(code, 0, "{line}");
        assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{line}");
        assert_eq!(bench.names(), before, "{line}");
        let last: Vec<_> = err.lines().rev().take(2).collect();
        assert!(
            out.starts_with('{') || (last[0].starts_with("  ") && last[1].starts_with("error: ")),
            "{line}: {err}"
        );
        text += &format!("$ etcd-rekey {line}\n{out}{err}exit code {code}\n\n");
    }
    is_written_down("failures.txt", &text);
}
