//! Promise: an input that shrinks, changes or is replaced while it is read is
//! noticed before the output has its name; and nothing is left behind.

mod support;

use etcd_rekey::kube::Provider;
use etcd_rekey::output::{Disk, DiskFile, SystemDisk};
use etcd_rekey::rekey::progress::Phase;
use etcd_rekey::rekey::{Error, Options, Progress, Report, Silent, reencrypt};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
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

    fn sync_range(&self, at: u64, bytes: u64) -> io::Result<()> {
        self.1.sync_range(at, bytes)
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

/// An input that was written a while ago: a system whose clock of files stands
/// still for some milliseconds would give a change at once the same time.
fn written_before(bench: &Bench, snapshot: &[u8]) -> PathBuf {
    let input = bench.file("in.db", snapshot);
    let file = std::fs::File::options().write(true).open(&input).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    input
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
    let input = written_before(&bench, &builder.snapshot());
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

/// Something happens to the input in a phase of a run: as it begins, or when
/// it has been asked so many times whether to stop.
struct InPhase<'p> {
    input: &'p Path,
    phase: Phase,
    asked: u32,
    what: fn(&Path),
    /// The phase a run is in, and how often it has asked.
    state: Mutex<(Option<Phase>, u32)>,
    happened: Mutex<bool>,
}

impl InPhase<'_> {
    fn look(&self, state: (Option<Phase>, u32)) {
        if state == (Some(self.phase), self.asked) {
            (self.what)(self.input);
            *self.happened.lock().unwrap() = true;
        }
    }
}

impl Progress for InPhase<'_> {
    fn phase(&self, phase: Phase, _: u64) {
        let mut state = self.state.lock().unwrap();
        *state = (Some(phase), 0);
        self.look(*state);
    }

    fn rewritten(&self, _: u64) {}

    fn stop(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.look(*state);
        false
    }
}

/// Runs with something happening at several moments of each phase; returns
/// how often it did.
fn in_each_phase(what: fn(&Path), judge: impl Fn(&Bench, &str, Result<Report, Error>)) -> usize {
    let mut builder = Builder::default();
    let old = key(Provider::Aescbc, "old", 1);
    for i in 0..120 {
        let (name, etcd_key) = (format!("s{i}"), format!("/registry/secrets/default/s{i}"));
        builder.record(&etcd_key, &seal(&old, &etcd_key, &object("Secret", "default", &name, &[7; 900])));
    }
    let snapshot = builder.snapshot();
    let mut moments = 0;
    for phase in [Phase::Checking, Phase::Planning, Phase::Reencrypting, Phase::Verifying, Phase::Syncing] {
        // The last time a run asks it has looked at the input for the last time.
        let moments_of_phase = if phase == Phase::Syncing { &[0, 1][..] } else { &[0, 1, 4] };
        for &asked in moments_of_phase {
            let bench = Bench::new();
            let input = written_before(&bench, &snapshot);
            let options = Options { output: bench.path("out.db"), ..Options::default() };
            let (state, happened) = (Mutex::new((None, 0)), Mutex::new(false));
            let progress = InPhase { input: &input, phase, asked, what, state, happened };
            let result = reencrypt(&input, &task::reencrypt(), &options, &SystemDisk, &progress);
            let happened = *progress.happened.lock().unwrap();
            assert!(happened || asked > 0, "a run has no phase {phase:?}");
            if happened {
                moments += 1;
                judge(&bench, &format!("{phase:?}, asked {asked} times"), result);
            }
        }
    }
    moments
}

/// Something that is done to a file, by name.
type Way = (&'static str, fn(&Path));

#[test]
fn whatever_is_done_to_the_input_is_noticed_in_each_phase() {
    let ways: [Way; 7] = [
        ("emptied", |path| resize(path, |_| 0)),
        ("cut in half", |path| resize(path, |bytes| bytes / 2)),
        ("cut by its trailer", |path| resize(path, |bytes| bytes - 32)),
        ("made longer", |path| resize(path, |bytes| bytes + 4096)),
        ("changed in a value", |path| overwrite(path, &[0xAA], 100_000)),
        ("its metas zeroed", |path| overwrite(path, &[0; 8192], 0)),
        ("written over", |path| {
            let bytes = std::fs::metadata(path).unwrap().len();
            overwrite(path, &vec![0x5a; usize::try_from(bytes).unwrap()], 0);
        }),
    ];
    for (way, what) in ways {
        let moments = in_each_phase(what, |bench, when, result| {
            assert!(matches!(result, Err(Error::InputChanged { .. })), "{way}, {when}: {result:?}");
            assert_eq!(bench.names(), ["in.db"], "{way}, {when}");
        });
        assert!(moments >= 10, "{way}: {moments}");
    }
}

#[test]
fn an_input_replaced_or_removed_in_each_phase_is_read_to_its_end() {
    let ways: [fn(&Path); 2] = [
        |path| {
            let other = path.with_extension("other");
            std::fs::write(&other, b"another file").unwrap();
            std::fs::rename(other, path).unwrap();
        },
        |path| std::fs::remove_file(path).unwrap(),
    ];
    for what in ways {
        in_each_phase(what, |bench, when, result| {
            assert!(result.unwrap_or_else(|error| panic!("{when}: {error}")).verified, "{when}");
            assert!(bench.names().contains(&"out.db".to_owned()), "{when}");
        });
    }
}

fn overwrite(path: &Path, bytes: &[u8], at: u64) {
    FileExt::write_all_at(&std::fs::File::options().write(true).open(path).unwrap(), bytes, at).unwrap();
}
