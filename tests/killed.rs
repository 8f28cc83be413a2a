//! Promise: a run that is killed, at whatever moment, leaves the input as it
//! was and no output or a complete one; and running it again gets there.

mod support;

use etcd_rekey::k3s::Verb;
use etcd_rekey::output::{Disk, DiskFile, SystemDisk};
use etcd_rekey::rekey::{Options, Silent, reencrypt};
use rustix::process::{Pid, Signal, getpid, kill_process};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::program::{Bench, heeding, run, text};
use support::task;

/// A disk that kills the process at its Nth operation, before or after it.
#[derive(Clone)]
struct Deadly {
    left: Arc<AtomicU64>,
}

impl Deadly {
    fn step<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let die = || {
            if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                kill_process(getpid(), Signal::KILL).unwrap();
                std::thread::sleep(Duration::from_secs(60));
            }
        };
        die();
        let result = operation();
        die();
        result
    }
}

struct DeadlyFile(Deadly, Box<dyn DiskFile>);

impl DiskFile for DeadlyFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.0.step(|| self.1.reserve(bytes))
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.step(|| self.1.write_all_at(bytes, at))
    }

    fn sync_range(&self, at: u64, bytes: u64) -> io::Result<()> {
        self.0.step(|| self.1.sync_range(at, bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.step(|| self.1.sync())
    }
}

impl Disk for Deadly {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.step(|| SystemDisk.create(path))?;
        Ok(Box::new(DeadlyFile(self.clone(), file)))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.step(|| SystemDisk.rename(from, to, replace))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.remove(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(|| SystemDisk.sync_directory(path))
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        self.step(|| SystemDisk.free_bytes(directory))
    }
}

/// What the child of [`at_every_operation`] does; run by itself it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("KILLED_IN") else { return };
    let nth = std::env::var("KILLED_AT").unwrap().parse().unwrap();
    let path = |name: &str| Path::new(&folder).join(name);
    let options =
        Options { output: path("out.db"), write_config: Some(path("new.yaml")), ..Options::default() };
    let disk = Deadly { left: Arc::new(AtomicU64::new(nth)) };
    reencrypt(&path("in.db"), &task::of(Verb::RotateKeys), &options, &disk, &Silent).unwrap();
}

/// What may be there after a run was killed; then a run that is not.
fn converges(bench: &Bench, before: &[u8], what: &str) {
    let path = |name: &str| bench.path(name);
    assert_eq!(std::fs::read(path("in.db")).unwrap(), before, "{what}");
    let names = bench.names();
    if names.iter().any(|name| name == "out.db") {
        // Its key has its name before it has, and it is whole.
        let (out, input, old, new) = (path("out.db"), path("in.db"), path("old.yaml"), path("new.yaml"));
        let proof = ["verify", text(&out), "--against", text(&input), "--encryption-config", text(&new)];
        run(&[&proof[..], &["--decryption-config", text(&old)]].concat()).expect(0);
    }
    // The same again, over whatever got its name; what the killed run left
    // under other names is taken away.
    run(&[&rotate_keys(bench).iter().map(String::as_str).collect::<Vec<_>>()[..], &["--overwrite"]].concat())
        .expect(0);
    assert_eq!(bench.names(), ["in.db", "new.yaml", "old.yaml", "out.db"], "{what}");
    for name in bench.names() {
        if name != "in.db" && name != "old.yaml" {
            std::fs::remove_file(path(&name)).unwrap();
        }
    }
}

#[test]
fn at_every_operation_of_the_disk() {
    let bench = Bench::with_secrets(40);
    let before = std::fs::read(bench.path("in.db")).unwrap();
    for nth in 1.. {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("KILLED_IN", bench.dir.path())
            .env("KILLED_AT", nth.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            assert!(nth > 30, "{nth}");
            break;
        }
        assert_eq!(status.signal(), Some(9), "{nth}: {status}");
        converges(&bench, &before, &format!("operation {nth}"));
    }
}

fn rotate_keys(bench: &Bench) -> Vec<String> {
    let path = |name: &str| text(&bench.path(name)).to_owned();
    let words =
        ["rotate-keys", &path("in.db"), "-o", &path("out.db"), "--encryption-config", &path("old.yaml")];
    words.into_iter().chain(["--write-config", &path("new.yaml")]).map(str::to_owned).collect()
}

/// So many SIGKILLs, and a quarter as many of each other signal; `KILLS` says
/// how many.
#[test]
fn at_random_moments() {
    let usual = if std::env::var_os("LONG").is_some() { 1000 } else { 40 };
    let kills = std::env::var("KILLS").map_or(usual, |kills| kills.parse().unwrap());
    let bench = Bench::with_secrets(3000);
    let before = std::fs::read(bench.path("in.db")).unwrap();
    let args = rotate_keys(&bench);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // The first is slow: nothing is in the cache, and other tests begin.
    let timed = (0..3).map(|_| {
        let begun = std::time::Instant::now();
        run(&args).expect(0);
        let took = begun.elapsed();
        converges(&bench, &before, "a whole run");
        took
    });
    // And a little longer, so that the last moments of a slower run are among them.
    let whole = timed.min().unwrap().mul_f64(1.15);
    let mut reached = [0usize; 4];
    for number in 0..kills * 7 / 4 {
        let (which, signal) = match number % 7 {
            n @ 0..3 => (n + 1, [Signal::INT, Signal::TERM, Signal::HUP][n]),
            _ => (0, Signal::KILL),
        };
        let mut child = heeding(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut random = [0; 4];
        getrandom::fill(&mut random).unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX)));
        // It may be done already; then the signal has nobody to reach.
        let _ = kill_process(Pid::from_child(&child), signal);
        let status = child.wait().unwrap();
        reached[which] += usize::from(!status.success());
        let codes = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];
        let code = codes.iter().find(|(of, _)| *of == signal).map(|(_, code)| *code);
        // Before it listens, a signal ends it as it ends any program.
        assert!(
            status.success() || status.signal() == Some(signal.as_raw()) || status.code() == code,
            "{signal:?}: {status}"
        );
        if signal != Signal::KILL && status.signal().is_none() {
            // It had the time to clean up.
            let left = bench.names().iter().filter(|name| name.starts_with('.')).count();
            assert_eq!(left, 0, "{signal:?} {status}: {:?}", bench.names());
        }
        converges(&bench, &before, &format!("run {number}, {signal:?}"));
    }
    let [kill, int, term, hup] = reached;
    println!("{kills} SIGKILLs, {kill} of them before the end; {int} SIGINTs, {term} SIGTERMs, {hup} SIGHUPs");
    assert!(kill > kills / 4, "{kill}");
    assert!([int, term, hup].iter().all(|reached| *reached > kills / 16), "{int}, {term}, {hup}");
}
