//! Promise: whatever the file system refuses, and whenever, the input stays as
//! it was and there is either no output or a complete one, and no other file.
//!
//! A disk that fails its Nth operation stands in the real one's place, for
//! N = 1, 2, 3 … until a run succeeds; once, and from then on.

mod support;

use etcd_rekey::k3s::Verb;
use etcd_rekey::kube::Provider;
use etcd_rekey::output::{self, Disk, DiskFile, SystemDisk};
use etcd_rekey::rekey::{Error, Options, Silent, Task, reencrypt};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use support::builder::{Builder, key};
use support::program::{Bench, run, text};
use support::task;

/// Counts down to a failure, and records what was asked.
#[derive(Clone)]
struct Failing {
    left: Arc<AtomicU64>,
    for_ever: bool,
    /// Operations of this name alone count.
    only: Option<&'static str>,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Failing {
    fn step(&self, what: &'static str) -> io::Result<()> {
        self.asked.lock().unwrap().push(what);
        if self.only.is_some_and(|only| only != what) {
            return Ok(());
        }
        let left = self.left.load(Ordering::SeqCst);
        match left {
            0 => Ok(()),
            1 => {
                self.left.store(u64::from(self.for_ever), Ordering::SeqCst);
                Err(io::Error::from_raw_os_error(28))
            }
            _ => {
                self.left.store(left - 1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

struct FailingFile(Failing, Box<dyn DiskFile>);

impl DiskFile for FailingFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.0.step("reserve")?;
        self.1.reserve(bytes)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.0.step("write") {
            // A short write: some of it got through.
            self.1.write_all_at(&bytes[..bytes.len() / 2], at)?;
            return Err(error);
        }
        self.1.write_all_at(bytes, at)
    }

    fn sync_range(&self, at: u64, bytes: u64) -> io::Result<()> {
        self.0.step("early sync")?;
        self.1.sync_range(at, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.step("sync")?;
        self.1.sync()
    }
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step("create")?;
        Ok(Box::new(FailingFile(self.clone(), SystemDisk.create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.step("rename")?;
        SystemDisk.rename(from, to, replace)
    }

    // What cannot be removed is left behind, whoever tries.
    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step("sync directory")?;
        SystemDisk.sync_directory(path)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.step("free bytes")?;
        SystemDisk.free_bytes(directory)
    }
}

/// Lets every operation fail in its turn, once and from then on, until a run
/// succeeds; `names` are the files there are then, in the order they appear.
fn exhaust(bench: &Bench, input: &Path, task: &Task, options: &Options, names: &[&str]) {
    let before = std::fs::read(input).unwrap();
    let mut all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    all.push("in.db".to_owned());
    all.sort();
    for for_ever in [false, true] {
        let mut failures = 0;
        for nth in 1.. {
            let asked = Arc::default();
            let left = Arc::new(AtomicU64::new(nth));
            let disk = Failing { left, for_ever, only: None, asked: Arc::clone(&asked) };
            let result = reencrypt(input, task, options, &disk, &Silent);
            assert_eq!(std::fs::read(input).unwrap(), before);
            let asked = asked.lock().unwrap().clone();
            let renamed = asked.iter().filter(|asked| **asked == "rename").count();
            if result.is_ok() {
                // No failure was passed over: it was not reached. And all was done in the order that makes
                // the content durable before the name, and the name after; a key before what it seals.
                assert!(disk.left.load(Ordering::SeqCst) > 0);
                let end = ["rename", "sync directory"].repeat(names.len());
                assert_eq!(asked[asked.len() - end.len()..], end);
                assert_eq!(asked.iter().filter(|asked| **asked == "sync").count(), names.len());
                assert_eq!(bench.names(), all);
                break;
            }
            failures += 1;
            let failed = asked.last().copied();
            match result {
                Err(Error::Output(
                    output::Error::Io { path, .. } | output::Error::NameNotDurable { path, .. },
                )) => {
                    assert!(names.iter().any(|name| path.ends_with(name)));
                }
                other => panic!("{failed:?}: {other:?}"),
            }
            if failed == Some("sync directory") && renamed > 0 {
                // The last one renamed is whole; only its name's durability is in doubt.
                let whole: Vec<_> = names[..renamed].iter().map(|name| bench.path(name)).collect();
                assert!(whole.iter().all(|path| path.exists()), "{names:?} {renamed}");
                if renamed == names.len() {
                    run(&["check", text(&bench.path("out.db"))]).expect(0);
                }
                for path in whole {
                    std::fs::remove_file(path).unwrap();
                }
            }
            assert_eq!(bench.names(), ["in.db"], "{failed:?}");
        }
        assert!(failures >= 7, "{failures}");
        for name in names {
            std::fs::remove_file(bench.path(name)).unwrap();
        }
    }
}

fn small(bench: &Bench) -> std::path::PathBuf {
    let mut builder = Builder::default();
    for i in 0..400 {
        builder.sealed(&key(Provider::Aescbc, "old", 1), &format!("s{i}"));
    }
    bench.file("in.db", builder.snapshot())
}

#[test]
fn every_failure_leaves_the_input_and_nothing_half_done() {
    let bench = Bench::new();
    let input = small(&bench);
    let options = Options { output: bench.path("out.db"), ..Options::default() };
    exhaust(&bench, &input, &task::reencrypt(), &options, &["out.db"]);
}

#[test]
fn a_new_key_is_durable_before_anything_it_seals_has_a_name() {
    let bench = Bench::new();
    let input = small(&bench);
    let options = Options {
        output: bench.path("out.db"),
        write_config: Some(bench.path("new.yaml")),
        ..Options::default()
    };
    exhaust(&bench, &input, &task::of(Verb::RotateKeys), &options, &["new.yaml", "out.db"]);
}

#[test]
fn a_record_has_its_name_after_what_it_tells_of_or_nothing_has() {
    let bench = Bench::new();
    let input = small(&bench);
    let options = Options {
        output: bench.path("out.db"),
        write_config: Some(bench.path("new.yaml")),
        report: Some(bench.path("audit.json")),
        ..Options::default()
    };
    let names = ["new.yaml", "out.db", "audit.json.sha256", "audit.json"];
    exhaust(&bench, &input, &task::of(Verb::RotateKeys), &options, &names);
}

#[test]
fn what_has_replaced_another_file_is_never_passed_over() {
    let bench = Bench::new();
    let input = small(&bench);
    let options = Options {
        output: bench.path("out.db"),
        write_config: Some(bench.path("new.yaml")),
        report: Some(bench.path("audit.json")),
        force: true,
        ..Options::default()
    };
    let names = ["new.yaml", "out.db", "audit.json.sha256", "audit.json"];
    let mut replaced = Vec::new();
    for nth in 1.. {
        for name in names {
            bench.file(name, "precious");
        }
        let left = Arc::new(AtomicU64::new(nth));
        let disk = Failing { left, for_ever: false, only: None, asked: Arc::default() };
        let result = reencrypt(&input, &task::of(Verb::RotateKeys), &options, &disk, &Silent);
        let Err(error) = result else { break };
        let gone: Vec<_> =
            names.into_iter().filter(|name| std::fs::read(bench.path(name)).unwrap() != b"precious").collect();
        assert_eq!(error.left_something(), !gone.is_empty(), "{error}: {gone:?}");
        if let Error::Replaced { files, .. } = &error {
            assert_eq!(
                files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect::<Vec<_>>(),
                gone
            );
            replaced.push(gone.len());
        }
    }
    // Each name but the first can be the one that is refused.
    assert_eq!(replaced, [1, 2, 3]);
}

#[test]
fn an_error_of_the_disk_that_an_early_sync_meets_is_not_lost() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let old = key(Provider::Aescbc, "old", 1);
    for i in 0..48 {
        let name = format!("s{i}");
        let etcd_key = format!("/registry/secrets/default/{name}");
        let plain = support::builder::object("Secret", "default", &name, &vec![7; 1 << 20]);
        builder.record(&etcd_key, &support::builder::seal(&old, &etcd_key, &plain));
    }
    let input = bench.file("in.db", builder.snapshot());
    let options = Options { output: bench.path("out.db"), ..Options::default() };
    for nth in 1.. {
        let left = Arc::new(AtomicU64::new(nth));
        let disk = Failing { left, for_ever: false, only: Some("early sync"), asked: Arc::default() };
        let result = reencrypt(&input, &task::reencrypt(), &options, &disk, &Silent);
        if result.is_ok() {
            assert!(disk.left.load(Ordering::SeqCst) > 0, "a failure was passed over");
            assert!(nth > 1);
            break;
        }
        let whole = matches!(result, Err(Error::Output(output::Error::Io { .. })));
        assert!(whole, "{result:?}");
        assert_eq!(bench.names(), ["in.db"]);
    }
}
