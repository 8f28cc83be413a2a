//! How fast the parts of a run are, each by itself: `cargo bench --bench parts`.
//! What whole runs take, and what others take for the like, `scripts/bench` tells.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use etcd_rekey::bolt::Thoroughness;
use etcd_rekey::bolt::{Database, survey};
use etcd_rekey::etcd::sha256::Sha256;
use etcd_rekey::etcd::{History, Snapshot, history::key_bucket};
use etcd_rekey::k3s::Verb;
use etcd_rekey::k3s::change::Request;
use etcd_rekey::kube::{EncryptionConfiguration, Provider, SealingKey};
use etcd_rekey::output::SystemDisk;
use etcd_rekey::rekey::layout::FileLayout;
use etcd_rekey::rekey::plan::{Besides, Look, Plan};
use etcd_rekey::rekey::rules::Rules;
use etcd_rekey::rekey::source::SnapshotFile;
use etcd_rekey::rekey::{Options, Silent, Task, reencrypt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tempfile::TempDir;
use zeroize::Zeroizing;

fn main() {
    divan::main();
}

/// Where snapshots lie, which are made once for all benches.
static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

/// A snapshot of so many secrets of so many bytes, and its configuration.
fn snapshot(secrets: u32, bytes: u32) -> (PathBuf, EncryptionConfiguration) {
    let path = |kind: &str| DIR.path().join(format!("{secrets}x{bytes}.{kind}"));
    let (snapshot, config) = (path("db"), path("yaml"));
    if !snapshot.exists() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-snapshot");
        let flags = [format!("--secrets={secrets}"), format!("--size={bytes}")];
        let made = Command::new(script).arg(&snapshot).arg("--config-out").arg(&config).args(flags).output();
        assert!(made.expect("scripts/make-snapshot runs").status.success());
    }
    let text = std::fs::read_to_string(&config).expect("a configuration");
    (snapshot, EncryptionConfiguration::parse(&text).expect("a configuration"))
}

fn fresh() -> EncryptionConfiguration {
    let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc: {keys: [{name: fresh, secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]}\n";
    EncryptionConfiguration::parse(text).expect("a configuration")
}

fn key(provider: Provider) -> SealingKey {
    SealingKey::new(provider, "key", Zeroizing::new(vec![7; 32])).expect("a key")
}

const ETCD_KEY: &[u8] = b"/registry/secrets/default/a";

/// Values as the pipeline places them. Lengths differ a little, as in life.
fn placed(key: &SealingKey, count: usize, bytes: usize) -> Vec<Vec<u8>> {
    let nonce = vec![3; key.provider().nonce_len()];
    let place = |i: usize| {
        let mut out = Vec::new();
        let start = key.place(&mut out, &nonce, &vec![9; bytes + i % 64]).expect("room for the nonce");
        out.split_off(start)
    };
    (0..count).map(place).collect()
}

fn seal(bencher: Bencher, provider: Provider, side_by_side: usize, bytes: usize) {
    let key = key(provider);
    let mut values = placed(&key, side_by_side, bytes);
    bencher
        .counter(BytesCount::new(side_by_side * bytes))
        .bench_local(|| key.seal(values.iter_mut().map(|value| (value.as_mut_slice(), ETCD_KEY)).collect()));
}

/// By how many values are sealed side by side, and how long they are.
#[divan::bench(args = [(1, 8192), (8, 8192), (64, 8192), (512, 8192), (64, 1024), (512, 1024), (64, 256)])]
fn seal_aescbc(bencher: Bencher, (side_by_side, bytes): (usize, usize)) {
    seal(bencher, Provider::Aescbc, side_by_side, bytes);
}

#[divan::bench(args = [8192, 1024])]
fn seal_aesgcm(bencher: Bencher, bytes: usize) {
    seal(bencher, Provider::Aesgcm, 64, bytes);
}

#[divan::bench(args = [8192, 1024])]
fn seal_secretbox(bencher: Bencher, bytes: usize) {
    seal(bencher, Provider::Secretbox, 64, bytes);
}

fn open(bencher: Bencher, provider: Provider, bytes: usize) {
    let key = key(provider);
    let mut values = placed(&key, 64, bytes);
    key.seal(values.iter_mut().map(|value| (value.as_mut_slice(), ETCD_KEY)).collect()).expect("sealed");
    let mut plain = Vec::new();
    bencher.counter(BytesCount::new(64 * bytes)).bench_local(|| {
        for value in &values {
            key.open(black_box(value), ETCD_KEY, &mut plain).expect("it opens");
        }
    });
}

#[divan::bench(args = [8192, 1024, 256])]
fn open_aescbc(bencher: Bencher, bytes: usize) {
    open(bencher, Provider::Aescbc, bytes);
}

#[divan::bench(args = [8192, 1024])]
fn open_aesgcm(bencher: Bencher, bytes: usize) {
    open(bencher, Provider::Aesgcm, bytes);
}

#[divan::bench(args = [8192, 1024])]
fn open_secretbox(bencher: Bencher, bytes: usize) {
    open(bencher, Provider::Secretbox, bytes);
}

#[divan::bench]
fn sha256_of_one(bencher: Bencher) {
    let bytes = vec![1; 1 << 20];
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| Sha256::default().finish(black_box(&bytes)));
}

#[divan::bench]
fn sha256_of_two_in_step(bencher: Bencher) {
    let (a, b) = (vec![1; 1 << 20], vec![2; 1 << 20]);
    bencher.counter(BytesCount::new(2 * a.len())).bench_local(|| {
        let (mut sum_a, mut sum_b) = (Sha256::default(), Sha256::default());
        sum_a.update_both(black_box(&a).as_chunks().0, &mut sum_b, black_box(&b).as_chunks().0);
        (sum_a.finish(b""), sum_b.finish(b""))
    });
}

/// So many secrets of 1 KiB, for the parts that go by their number.
const SECRETS: u32 = 100_000;

#[divan::bench]
fn walk(bencher: Bencher) {
    let (path, _) = snapshot(SECRETS, 1024);
    let bytes = std::fs::read(path).expect("a snapshot");
    let db = Snapshot::open(&bytes, false).and_then(|snapshot| snapshot.database()).expect("a snapshot");
    bencher.counter(ItemsCount::new(SECRETS)).bench_local(|| survey(&db, Thoroughness::STRICT));
}

#[divan::bench]
fn history(bencher: Bencher) {
    let (path, _) = snapshot(SECRETS, 1024);
    let bytes = std::fs::read(path).expect("a snapshot");
    let db: Database<'_> = Snapshot::open(&bytes, false).and_then(|s| s.database()).expect("a snapshot");
    let found = survey(&db, Thoroughness::STRICT);
    let keys = key_bucket(&found).expect("a bucket");
    bencher.counter(ItemsCount::new(SECRETS)).bench_local(|| History::read(&found, keys));
}

#[divan::bench(args = ["outside", "inside"])]
fn plan(bencher: Bencher, look: &str) {
    let (path, old) = snapshot(SECRETS, 1024);
    let file = SnapshotFile::open(&path, false, Path::new(".")).expect("a snapshot");
    let source = file.read(false).expect("a snapshot");
    let rules = Rules::writing(&fresh(), &[old], "/registry").expect("rules");
    let look = if look == "inside" { Look::Inside } else { Look::Outside };
    bencher
        .counter(ItemsCount::new(SECRETS))
        .bench_local(|| Plan::make(&file, &source, &rules, &Besides::default(), look, &Silent));
}

#[divan::bench]
fn layout(bencher: Bencher) {
    let (path, old) = snapshot(SECRETS, 1024);
    let file = SnapshotFile::open(&path, false, Path::new(".")).expect("a snapshot");
    let source = file.read(false).expect("a snapshot");
    let rules = Rules::writing(&fresh(), &[old], "/registry").expect("rules");
    let plan = Plan::make(&file, &source, &rules, &Besides::default(), Look::Outside, &Silent).expect("a plan");
    let (keys, _) = source.keys().expect("a bucket");
    bencher
        .counter(ItemsCount::new(SECRETS))
        .bench_local(|| FileLayout::make(&source.db, &source.survey, keys, &plan.changes, None));
}

/// A whole run, durable and, unless told otherwise, verified.
fn run(bencher: Bencher, secrets: u32, bytes: u32, no_verify: bool) {
    let (input, old) = snapshot(secrets, bytes);
    let verb = Verb::Reencrypt { skip: false };
    let task = Task {
        request: Request { verb, force: false, provider: None, now: jiff::Timestamp::now() },
        config: Some(("new.yaml".into(), fresh())),
        read: vec![old],
        tokens: Ok(Vec::new()),
        record_expected: false,
        etcd_prefix: "/registry".to_owned(),
    };
    let options = Options { output: DIR.path().join("out.db"), force: true, no_verify, ..Options::default() };
    bencher
        .counter(ItemsCount::new(secrets))
        .bench_local(|| reencrypt(&input, &task, &options, &SystemDisk, &Silent).expect("it is rekeyed"));
}

#[divan::bench(sample_count = 5)]
fn write(bencher: Bencher) {
    run(bencher, SECRETS, 1024, true);
}

/// What users ran into, by the number of their issue.
mod users {
    use super::{Bencher, run};

    #[divan::bench(sample_count = 20)]
    fn k3s_11384_1000_secrets(bencher: Bencher) {
        run(bencher, 1000, 1024, false);
    }

    #[divan::bench(sample_count = 20)]
    fn k3s_5933_10000_secrets(bencher: Bencher) {
        run(bencher, 10_000, 1024, false);
    }

    #[divan::bench(sample_count = 5)]
    fn rancher_28707_100000_secrets(bencher: Bencher) {
        run(bencher, 100_000, 1024, false);
    }

    #[divan::bench(sample_count = 5)]
    #[allow(non_snake_case, reason = "megabytes")]
    fn k3s_10571_200x1MB(bencher: Bencher) {
        run(bencher, 200, 1_000_000, false);
    }
}
