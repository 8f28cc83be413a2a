//! Promise: memory that held a key, a token or a plaintext is wiped before it
//! is given back.
//!
//! The allocator of this program looks through every block that is given
//! back, while commands run in it, for the secrets of a snapshot.

mod support;

use base64::Engine;
use etcd_rekey::kube::Provider;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock};
use support::builder::{Builder, key, object, seal};
use support::clusters::Cluster;
use support::program::{Bench, text};

/// What must not be found: its name, and its bytes.
static SECRETS: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this thread is looking already: what it takes for that is none of the program's.
    static LOOKS: Cell<bool> = const { Cell::new(false) };
}

struct Looking;

#[global_allocator]
static ALLOCATOR: Looking = Looking;

#[allow(unsafe_code, reason = "an allocator cannot be had without")]
// SAFETY: every block comes from the system's allocator and goes back to it
// as it came, with the layout the caller vouches for. Before that its bytes
// are looked through by the C library, in the block's bounds; some may never
// have been written, which matters to no C function that compares bytes.
// `realloc` is the trait's own, which allocates, copies and gives back here.
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // What is padded to cache lines (a worker of rayon's) carries in its padding what lay on the stack where
        // it was made. Stacks are not wiped: ciphers keep round keys there.
        if let Some(secrets) = SECRETS.get()
            && layout.align() < 64
            && LOOKS.try_with(|looks| !looks.replace(true)).unwrap_or(false)
        {
            for (name, secret) in secrets {
                let found =
                    unsafe { libc::memmem(block.cast(), layout.size(), secret.as_ptr().cast(), secret.len()) };
                if !found.is_null() {
                    let trace = std::backtrace::Backtrace::force_capture().to_string();
                    let ours = trace.lines().filter(|line| !line.trim_start().starts_with("at /rustc"));
                    let trace: Vec<&str> = ours.skip_while(|line| !line.contains("dealloc")).take(60).collect();
                    let what = format!("{name} in {} bytes:\n{}", layout.size(), trace.join("\n"));
                    FOUND.lock().unwrap().push(what);
                }
            }
            LOOKS.with(|looks| looks.set(false));
        }
        // What the test itself left there must not be found in a block that is given out again.
        unsafe {
            block.write_bytes(0, layout.size());
            System.dealloc(block, layout);
        }
    }
}

/// Runs a command line in this process; expects success.
fn run(args: &[&str]) {
    let words = ["etcd-rekey"].iter().chain(args).map(OsString::from);
    let code = etcd_rekey::cli::run(words);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS), "{args:?}");
}

/// One test: the allocator is the whole program's.
#[test]
fn what_is_given_back_holds_no_secret() {
    let bench = Bench::new();
    let raw: Vec<[u8; 32]> = (0..3)
        .map(|_| {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).unwrap();
            bytes
        })
        .collect();
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let yaml = |provider: &str, name: &str, key: &[u8]| {
        support::config(&[&["secrets", "configmaps"]], provider, name, 0)
            .replace(&base64(&[0; 32]), &base64(key))
    };
    let plain = format!("canary-{}", base64(&raw[0]));
    let mut builder = Builder::default();
    let sealing = |provider, name: &str, bytes: &[u8; 32]| {
        etcd_rekey::kube::SealingKey::new(provider, name, zeroize::Zeroizing::new(bytes.to_vec())).unwrap()
    };
    let old = sealing(Provider::Aescbc, "old", &raw[1]);
    for i in 0..300 {
        for (kind, resource) in [("Secret", "secrets"), ("ConfigMap", "configmaps")] {
            let (name, etcd_key) = (format!("s{i}"), format!("/registry/{resource}/default/s{i}"));
            let object = if i % 3 == 0 {
                let json = serde_json::json!({"kind": kind, "apiVersion": "v1", "data": {"a": &plain},
                    "metadata": {"name": name, "namespace": "default"}});
                json.to_string().into_bytes()
            } else {
                object(kind, "default", &name, plain.repeat(i % 40 + 1).as_bytes())
            };
            builder.record(&etcd_key, &seal(&old, &etcd_key, &object));
        }
    }
    // What nobody opens, so that errors are made of values as well.
    builder.sealed(&key(Provider::Aescbc, "lost", 9), "lost");
    let input = bench.file("in.db", builder.snapshot());
    let old = bench.file("old.yaml", yaml("aescbc", "old", &raw[1]));
    let cluster = Cluster::of("k3s-rotated");
    let token = std::fs::read_to_string(&cluster.token).unwrap();
    let passphrase = token.trim().rsplit("::server:").next().unwrap().to_owned();
    let record = std::fs::read_to_string(support::fixture("k3s-rotated", "encryption-config.json")).unwrap();
    let mut secrets = vec![
        ("a plaintext", plain.clone().into_bytes()),
        ("the old key", raw[1].to_vec()),
        ("the old key in base64", base64(&raw[1]).into_bytes()),
        ("the new key", raw[2].to_vec()),
        ("the new key in base64", base64(&raw[2]).into_bytes()),
        ("the token", passphrase.into_bytes()),
    ];
    for key in support::clusters::keys_of(&record) {
        secrets.push(("a key of the record", base64::engine::general_purpose::STANDARD.decode(&key).unwrap()));
        secrets.push(("a key of the record in base64", key.into_bytes()));
    }
    // JSON holds the record's files in base64: a stretch of that, wherever it begins.
    secrets
        .push(("the record's configuration in base64", base64(record.as_bytes()).as_bytes()[40..140].to_vec()));
    let news: Vec<_> = ["aescbc", "aesgcm", "secretbox"]
        .map(|provider| bench.file(&format!("{provider}.yaml"), yaml(provider, "new", &raw[2])))
        .to_vec();
    drop((builder, record, token));
    // Whatever the test itself gives back from here on is looked through, too.
    let left = secrets[0].1.clone();
    assert!(SECRETS.set(secrets).is_ok());
    drop(left);
    drop(zeroize::Zeroizing::new(SECRETS.get().unwrap()[0].1.clone()));
    let found = std::mem::take(&mut *FOUND.lock().unwrap());
    assert_eq!(found.len(), 1, "what is left is found, and what is wiped is not: {found:?}");

    for (number, new) in news.iter().enumerate() {
        let (out, left) = (bench.path(&format!("{number}.db")), bench.path(&format!("{number}.yaml")));
        let keys = ["--encryption-config", text(new), "--decryption-config", text(&old)];
        let args = ["reencrypt", text(&input), "-o", text(&out), "--write-config", text(&left), "-w", "json"];
        let kept = |args: &[&str]| {
            let words = ["etcd-rekey"].iter().chain(args).chain(&keys).chain(&["--keep-unreadable"]);
            etcd_rekey::cli::run(words.map(OsString::from))
        };
        assert_eq!(format!("{:?}", kept(&args)), format!("{:?}", ExitCode::from(7)));
        assert_eq!(kept(&["verify", text(&out), "--against", text(&input)]), ExitCode::SUCCESS);
    }
    let with_old = |args: &[&str]| run(&[args, &["--encryption-config", text(&old)]].concat());
    with_old(&["status", text(&input), "-w", "json"]);
    with_old(&["list", text(&input), "-w", "json"]);
    with_old(&["get", text(&input), "default/s1", "-w", "json"]);
    let made = [bench.path("prepared.yaml"), bench.path("rotated.yaml"), bench.path("made.yaml")];
    with_old(&["prepare", "--write-config", text(&made[0])]);
    run(&["rotate", "--encryption-config", text(&made[0]), "--write-config", text(&made[1])]);
    let out = bench.path("k3s.db");
    let of = ["--token-file", text(&cluster.token)];
    run(&[
        &[
            "rotate-keys",
            "--force",
            text(&cluster.snapshot),
            "-o",
            text(&out),
            "--write-config",
            text(&made[2]),
        ],
        &of[..],
    ]
    .concat());
    run(&[&["verify", text(&out), "--against", text(&cluster.snapshot)], &of[..]].concat());
    run(&[&["status", text(&cluster.snapshot)], &of[..]].concat());

    let found = std::mem::take(&mut *FOUND.lock().unwrap());
    assert!(found.is_empty(), "{} times, first:\n{}", found.len(), found[..found.len().min(12)].join("\n\n"));
}
