//! Promise: whatever the file system refuses, and whenever, the input stays as
//! it was and there is either no output or a complete one, and no other file.
//!
//! A disk that fails its Nth operation stands in the real one's place, for
//! N = 1, 2, 3 … until a run succeeds; once, and from then on.

mod support;

use etcd_rekey::kube::{EncryptionConfiguration, Provider};
use etcd_rekey::output::{self, Disk, DiskFile, SystemDisk};
use etcd_rekey::rekey::{Error, Options, Rules, Silent, reencrypt};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use support::builder::{Builder, key};
use support::config;
use support::program::{Bench, run, text};

/// Counts down to a failure, and records what was asked.
#[derive(Clone)]
struct Failing {
    left: Arc<AtomicU64>,
    for_ever: bool,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Failing {
    fn step(&self, what: &'static str) -> io::Result<()> {
        self.asked.lock().unwrap().push(what);
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
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.0.step("write") {
            // A short write: some of it got through.
            self.1.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.1.write_all(bytes)
    }

    fn second(&self) -> io::Result<Box<dyn DiskFile>> {
        self.0.step("second")?;
        Ok(Box::new(FailingFile(self.0.clone(), self.1.second()?)))
    }

    fn sync_data_early(&mut self) -> io::Result<()> {
        self.1.sync_data_early()
    }

    fn sync(&mut self) -> io::Result<()> {
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

#[test]
fn every_failure_leaves_the_input_and_nothing_half_done() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    for i in 0..400 {
        builder.sealed(&key(Provider::Aescbc, "old", 1), &format!("s{i}"));
    }
    let input = bench.file("in.db", builder.snapshot());
    let before = std::fs::read(&input).unwrap();
    let parse =
        |name, byte| EncryptionConfiguration::parse(&config(&[&["secrets"]], "aescbc", name, byte)).unwrap();
    let rules = Rules::writing(&parse("new", 2), &[parse("old", 1)], "/registry").unwrap();
    let options = Options { output: bench.path("out.db"), ..Options::default() };
    for for_ever in [false, true] {
        let mut failures = 0;
        for nth in 1.. {
            let asked = Arc::default();
            let disk = Failing { left: Arc::new(AtomicU64::new(nth)), for_ever, asked: Arc::clone(&asked) };
            let result = reencrypt(&input, &rules, &options, &disk, &Silent);
            assert_eq!(std::fs::read(&input).unwrap(), before);
            let asked = asked.lock().unwrap().clone();
            if result.is_ok() {
                // No failure was passed over: it was not reached. And all was done in the order that makes
                // the content durable before the name, and the name after.
                assert!(disk.left.load(Ordering::SeqCst) > 0);
                let end = ["sync", "rename", "sync directory"];
                assert_eq!(asked[asked.len() - 3..], end);
                assert_eq!(bench.names(), ["in.db", "out.db"]);
                std::fs::remove_file(bench.path("out.db")).unwrap();
                break;
            }
            failures += 1;
            let failed = asked.last().copied();
            match result {
                Err(Error::Output(output::Error::Io { path, .. })) => assert!(path.ends_with("out.db")),
                other => panic!("{failed:?}: {other:?}"),
            }
            if failed == Some("sync directory") {
                // It has its name, and is whole; only the name's durability is in doubt.
                assert_eq!(bench.names(), ["in.db", "out.db"]);
                run(&["check", text(&bench.path("out.db"))]).expect(0);
                std::fs::remove_file(bench.path("out.db")).unwrap();
            } else {
                assert_eq!(bench.names(), ["in.db"], "{failed:?}");
            }
        }
        assert!(failures >= 7, "{failures}");
    }
}
