//! Promise: an input that shrinks, changes or is replaced while it is read is
//! noticed before the output has its name; and nothing is left behind.

mod support;

use etcd_rekey::kube::Provider;
use etcd_rekey::output::{Disk, DiskFile, SystemDisk};
use etcd_rekey::rekey::{Error, Options, Report, Silent, reencrypt};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use support::builder::{Builder, key, object, seal};
use support::program::Bench;
use support::task;

/// A disk on which something happens to the input at one moment of a run.
#[derive(Clone)]
struct Meddling {
    input: PathBuf,
    when: &'static str,
    what: fn(&Path),
}

impl Meddling {
    fn step(&self, step: &str) {
        if step == self.when {
            (self.what)(&self.input);
        }
    }
}

struct MeddlingFile(Meddling, Box<dyn DiskFile>);

impl DiskFile for MeddlingFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.1.reserve(bytes)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.1.write_all_at(bytes, at)
    }

    fn sync_data_early(&self) -> io::Result<()> {
        self.1.sync_data_early()
    }

    fn sync(&self) -> io::Result<()> {
        self.0.step("sync");
        self.1.sync()
    }
}

impl Disk for Meddling {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.step("create");
        Ok(Box::new(MeddlingFile(self.clone(), SystemDisk.create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        SystemDisk.rename(from, to, replace)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_directory(path)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.step("free bytes");
        SystemDisk.free_bytes(directory)
    }
}

fn meddled(when: &'static str, what: fn(&Path)) -> (Bench, Result<Report, Error>) {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let old = key(Provider::Aescbc, "old", 1);
    for i in 0..300 {
        let name = format!("s{i}");
        let etcd_key = format!("/registry/secrets/default/{name}");
        builder.record(&etcd_key, &seal(&old, &etcd_key, &object("Secret", "default", &name, &[7; 9000])));
    }
    let input = bench.file("in.db", builder.snapshot());
    let options = Options { output: bench.path("out.db"), ..Options::default() };
    let disk = Meddling { input: input.clone(), when, what };
    let result = reencrypt(&input, &task::reencrypt(), &options, &disk, &Silent);
    (bench, result)
}

fn resize(path: &Path, bytes: impl FnOnce(u64) -> u64) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_len(bytes(file.metadata().unwrap().len())).unwrap();
}

#[test]
fn an_input_that_shrinks_is_noticed() {
    for when in ["free bytes", "create", "sync"] {
        for what in [|path: &Path| resize(path, |_| 0), |path: &Path| resize(path, |bytes| bytes / 2)] {
            let (bench, result) = meddled(when, what);
            match result {
                Err(Error::InputChanged { what }) => assert_eq!(what, "it became shorter", "{when}"),
                other => panic!("{when}: {other:?}"),
            }
            assert_eq!(bench.names(), ["in.db"], "{when}");
        }
    }
}

#[test]
fn an_input_that_is_written_to_is_noticed() {
    for when in ["free bytes", "create", "sync"] {
        let (bench, result) = meddled(when, |path| {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            // Inside a value: nothing but the sums and the time of change tell.
            FileExt::write_all_at(&file, &[0xAA], 100_000).unwrap();
        });
        assert!(matches!(result, Err(Error::InputChanged { .. })), "{when}: {result:?}");
        assert_eq!(bench.names(), ["in.db"], "{when}");
    }
}

#[test]
fn an_input_that_another_file_replaces_is_read_to_its_end() {
    let (bench, result) = meddled("create", |path| {
        let other = path.with_extension("other");
        std::fs::write(&other, b"another file").unwrap();
        std::fs::rename(other, path).unwrap();
    });
    assert!(result.unwrap().verified);
    assert_eq!(bench.names(), ["in.db", "out.db"]);
}
