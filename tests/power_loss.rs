//! Promise: whenever the power fails, the output's name shows a complete file,
//! the one that was there before, or none; a snapshot never has its name
//! without the configuration that opens it; and what a run called done is
//! still there.
//!
//! A run's operations are recorded, with their bytes, and played to a disk in
//! memory that keeps apart what is not yet durable. At each point at which
//! something becomes durable, or gets its name, images are made of what such
//! a disk may hold after a loss of power: of the writes since, each sector of
//! 512 bytes is there or not, in whatever order, or garbage; the length is
//! the old one, the new one or one between; of the names made, changed and
//! removed since, each is or is not.

mod support;

use etcd_rekey::k3s::Verb;
use etcd_rekey::output::{Disk, DiskFile, SystemDisk};
use etcd_rekey::rekey::{Options, Silent, Task, reencrypt};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use support::program::{Bench, run, text};
use support::task;

const SECTOR: usize = 512;

/// What a run did, in the order it was done. A write counts from its end on,
/// and only for those syncs that begin later.
#[derive(Debug, Clone)]
enum Step {
    Create { file: usize, path: PathBuf },
    Reserve { file: usize, bytes: usize },
    Write { file: usize, at: usize, bytes: Vec<u8> },
    SyncBegun,
    Synced { file: usize, begun: usize, range: Range<usize> },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    DirectorySynced { path: PathBuf },
}

#[derive(Clone, Default)]
struct Recording {
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Recording {
    /// Adds a step; returns its number.
    fn add(&self, step: Step) -> usize {
        let mut steps = self.steps.lock().unwrap();
        steps.push(step);
        steps.len() - 1
    }
}

struct RecordingFile {
    disk: Recording,
    number: usize,
    file: Box<dyn DiskFile>,
}

impl RecordingFile {
    fn synced(&self, range: Range<usize>, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let begun = self.disk.add(Step::SyncBegun);
        sync()?;
        self.disk.add(Step::Synced { file: self.number, begun, range });
        Ok(())
    }
}

impl DiskFile for RecordingFile {
    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.file.reserve(bytes)?;
        self.disk.add(Step::Reserve { file: self.number, bytes: bytes.try_into().unwrap() });
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        self.disk.add(Step::Write { file: self.number, at: at.try_into().unwrap(), bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync_range(&self, at: u64, bytes: u64) -> io::Result<()> {
        let from: usize = at.try_into().unwrap();
        let to = from + usize::try_from(bytes).unwrap();
        self.synced(from..to, || self.file.sync_range(at, bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.synced(0..usize::MAX, || self.file.sync())
    }
}

impl Disk for Recording {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.create(path)?;
        let mut steps = self.steps.lock().unwrap();
        let number = steps.len();
        steps.push(Step::Create { file: number, path: path.to_owned() });
        Ok(Box::new(RecordingFile { disk: self.clone(), number, file }))
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        SystemDisk.rename(from, to, replace)?;
        self.add(Step::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)?;
        self.add(Step::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_directory(path)?;
        self.add(Step::DirectorySynced { path: path.to_owned() });
        Ok(())
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        SystemDisk.free_bytes(directory)
    }
}

/// Numbers as good as random, the same in each run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// True so many times in 256.
    fn falls(&mut self, chance: u64) -> bool {
        self.next() >> 40 & 0xff < chance
    }
}

/// A file: what is durable of it, and what is not yet.
#[derive(Debug, Clone, Default)]
struct Content {
    durable: Vec<u8>,
    length: usize,
    /// The step each write was, its place and its bytes.
    pending: Vec<(usize, usize, Arc<Vec<u8>>)>,
}

impl Content {
    fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
        let end = into.len().min(at + bytes.len());
        if at < end {
            into[at..end].copy_from_slice(&bytes[..end - at]);
        }
    }

    /// What a sync of a range that began at a step makes durable: what was
    /// written within.
    fn sync(&mut self, begun: usize, range: &Range<usize>) {
        self.durable.resize(self.length, 0);
        let is_durable = |step: usize, at: usize, bytes: &[u8]| {
            step < begun && range.start <= at && at + bytes.len() <= range.end
        };
        for (_, at, bytes) in self.pending.extract_if(.., |(step, at, bytes)| is_durable(*step, *at, bytes)) {
            Self::put(&mut self.durable, at, &bytes);
        }
    }

    /// What may be read of it after a loss of power.
    fn after_loss(&self, dice: &mut Dice, chance: u64) -> Vec<u8> {
        let mut left = self.durable.clone();
        let length = match dice.below(3) {
            0 => self.durable.len(),
            1 => self.length,
            _ => self.durable.len() + dice.below(self.length.saturating_sub(self.durable.len()) + 1),
        };
        left.resize(length, 0);
        let mut order: Vec<_> = self.pending.iter().collect();
        for i in (1..order.len()).rev() {
            order.swap(i, dice.below(i + 1));
        }
        for (_, at, bytes) in order {
            let mut from = 0;
            while from < bytes.len() {
                let to = bytes.len().min((at + from + SECTOR) / SECTOR * SECTOR - at);
                if dice.falls(chance) {
                    Self::put(&mut left, at + from, &bytes[from..to]);
                } else if dice.falls(8) {
                    Self::put(&mut left, at + from, &vec![0xa5; to - from]);
                }
                from = to;
            }
        }
        left
    }
}

/// A change of a directory.
#[derive(Debug, Clone)]
enum Naming {
    Named(PathBuf, usize),
    Renamed(PathBuf, PathBuf, usize),
    Removed(PathBuf),
}

impl Naming {
    fn directory(&self) -> &Path {
        let (Self::Named(path, _) | Self::Renamed(_, path, _) | Self::Removed(path)) = self;
        path.parent().unwrap()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Named(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Renamed(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Removed(path) => drop(names.remove(path)),
        }
    }
}

/// A disk as the power may fail on it.
#[derive(Default)]
struct Model {
    files: BTreeMap<usize, Content>,
    /// Names that are durable, and those as a program sees them.
    durable: BTreeMap<PathBuf, usize>,
    seen: BTreeMap<PathBuf, usize>,
    pending: Vec<Naming>,
}

impl Model {
    fn there(&mut self, file: usize, path: &Path, bytes: &[u8]) {
        self.files.insert(file, Content { durable: bytes.to_vec(), length: bytes.len(), pending: Vec::new() });
        self.durable.insert(path.to_owned(), file);
        self.seen.insert(path.to_owned(), file);
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.seen);
        self.pending.push(naming);
    }

    fn step(&mut self, number: usize, step: &Step) {
        match step {
            Step::Create { file, path } => {
                self.files.insert(*file, Content::default());
                self.name(Naming::Named(path.clone(), *file));
            }
            Step::Reserve { file, bytes } => self.files.get_mut(file).unwrap().length = *bytes,
            Step::Write { file, at, bytes } => {
                let content = self.files.get_mut(file).unwrap();
                content.length = content.length.max(at + bytes.len());
                content.pending.push((number, *at, Arc::new(bytes.clone())));
            }
            Step::SyncBegun => {}
            Step::Synced { file, begun, range } => self.files.get_mut(file).unwrap().sync(*begun, range),
            Step::Rename { from, to } => {
                let file = self.seen[from];
                self.name(Naming::Renamed(from.clone(), to.clone(), file));
            }
            Step::Remove { path } => self.name(Naming::Removed(path.clone())),
            Step::DirectorySynced { path } => {
                for naming in self.pending.extract_if(.., |naming| naming.directory() == path) {
                    naming.apply(&mut self.durable);
                }
            }
        }
    }

    /// What may be found under some names after a loss of power.
    fn after_loss(&self, dice: &mut Dice, wanted: &[&Path]) -> Vec<Option<Vec<u8>>> {
        let chance = |dice: &mut Dice| [0, 32, 128, 224, 256][dice.below(5)];
        let mut names = self.durable.clone();
        let kept = chance(dice);
        for naming in &self.pending {
            if dice.falls(kept) {
                naming.apply(&mut names);
            }
        }
        let content = |path: &&Path| {
            let content = &self.files[names.get(*path)?];
            let written = chance(dice);
            Some(content.after_loss(dice, written))
        };
        wanted.iter().map(content).collect()
    }
}

/// A run that was recorded, and what is right to find after a loss of power.
struct Recorded {
    out: PathBuf,
    config: Option<PathBuf>,
    /// What the files held before, and after the run: output and configuration.
    before: [Option<Vec<u8>>; 2],
    after: [Option<Vec<u8>>; 2],
    steps: Vec<Step>,
}

impl Recorded {
    /// Records a run in `bench`.
    fn run(bench: &Bench, task: &Task, config: Option<&str>, replace: bool) -> Self {
        let out = bench.path("out.db");
        let config = config.map(|name| bench.path(name));
        let read = || {
            let read = |path: &Path| std::fs::read(path).ok();
            [read(&out), config.as_deref().and_then(read)]
        };
        let input = std::fs::read(bench.path("in.db")).unwrap();
        let before = read();
        let options =
            Options { output: out.clone(), write_config: config.clone(), force: replace, ..Options::default() };
        let disk = Recording::default();
        assert!(reencrypt(&bench.path("in.db"), task, &options, &disk, &Silent).unwrap().verified);
        assert_eq!(std::fs::read(bench.path("in.db")).unwrap(), input);
        let after = read();
        let steps = std::mem::take(&mut *disk.steps.lock().unwrap());
        Self { out, config, before, after, steps }
    }

    /// Loses the power at every point, so many times each; returns at how
    /// many points, or what was found that must not be.
    fn lose_power(&self, images: usize, seed: u64) -> Result<usize, String> {
        let wanted: Vec<&Path> =
            [Some(&self.out), self.config.as_ref()].into_iter().flatten().map(AsRef::as_ref).collect();
        let mut model = Model::default();
        for (number, path) in wanted.iter().enumerate() {
            if let Some(bytes) = &self.before[number] {
                model.there(usize::MAX - number, path, bytes);
            }
        }
        let mut dice = Dice(seed);
        let mut points = 0;
        for number in 0..=self.steps.len() {
            let step = self.steps.get(number);
            let is_point = matches!(
                step,
                None | Some(Step::Synced { .. } | Step::Rename { .. } | Step::DirectorySynced { .. })
            );
            if is_point {
                points += 1;
                for _ in 0..images {
                    let mut found = model.after_loss(&mut dice, &wanted);
                    found.resize(2, None);
                    self.judge([&found[0], &found[1]], step.is_none())
                        .map_err(|what| format!("{what} before step {number}"))?;
                }
            }
            if let Some(step) = step {
                model.step(number, step);
            }
        }
        Ok(points)
    }

    fn judge(&self, found: [&Option<Vec<u8>>; 2], done: bool) -> Result<(), &'static str> {
        let [is_new, is_old] = [&self.after, &self.before].map(|state| [0, 1].map(|i| *found[i] == state[i]));
        for (i, what) in ["an incomplete output", "an incomplete configuration"].into_iter().enumerate() {
            if !is_new[i] && !is_old[i] {
                return Err(what);
            }
        }
        // Both, for what the run found there may be all there is of it.
        if is_new[0] && !is_new[1] {
            return Err("an output without its configuration");
        }
        if done && !(is_new[0] && is_new[1]) {
            return Err("less than was done");
        }
        Ok(())
    }

    /// The same run on a disk that leaves out what `is_lost` says.
    fn without(&self, mut is_lost: impl FnMut(usize, &Step) -> bool) -> Self {
        // Steps keep their numbers, by which syncs tell what they cover.
        let nothing = Step::DirectorySynced { path: "/nowhere".into() };
        let steps = self.steps.iter().enumerate();
        let steps =
            steps.map(|(n, step)| if is_lost(n, step) { nothing.clone() } else { step.clone() }).collect();
        let (out, config) = (self.out.clone(), self.config.clone());
        Self { out, config, before: self.before.clone(), after: self.after.clone(), steps }
    }
}

/// Images at each point; debug assertions make them slow.
fn images() -> usize {
    let long = std::env::var_os("LONG").is_some();
    match (long, cfg!(debug_assertions)) {
        (true, _) => 20_000,
        (false, true) => 1000,
        (false, false) => 4000,
    }
}

fn loses_nothing(recorded: &Recorded, what: &str, seed: u64) {
    let points =
        recorded.lose_power(images(), seed).unwrap_or_else(|found| panic!("{what}, seed {seed}: {found}"));
    println!("{what}: {points} points, {} images each", images());
    assert!(points >= 6, "{what}: {points}");
}

#[test]
fn an_output_has_its_name_complete_or_not_at_all() {
    let bench = Bench::with_secrets(1500);
    let recorded = Recorded::run(&bench, &task::reencrypt(), None, false);
    run(&["check", text(&bench.path("out.db"))]).expect(0);
    loses_nothing(&recorded, "an output", 1);
}

#[test]
fn a_snapshot_has_its_configuration() {
    let bench = Bench::with_secrets(1500);
    let first = Recorded::run(&bench, &task::of(Verb::RotateKeys), Some("new.yaml"), false);
    loses_nothing(&first, "an output and its configuration", 2);
    let again = Recorded::run(&bench, &task::of(Verb::RotateKeys), Some("new.yaml"), true);
    assert_ne!(first.after, again.after);
    loses_nothing(&again, "an output and its configuration, over others", 3);
    std::fs::create_dir(bench.path("other")).unwrap();
    std::fs::remove_file(bench.path("out.db")).unwrap();
    let apart = Recorded::run(&bench, &task::of(Verb::RotateKeys), Some("other/new.yaml"), false);
    loses_nothing(&apart, "an output and its configuration in another directory", 4);
    let (out, input, new) = (bench.path("out.db"), bench.path("in.db"), bench.path("other/new.yaml"));
    let old = bench.file("old.yaml", support::config(&[&["secrets"]], "aescbc", "old", 1));
    let proof = ["verify", text(&out), "--against", text(&input), "--encryption-config", text(&new)];
    run(&[&proof[..], &["--decryption-config", text(&old)]].concat()).expect(0);
}

/// What a run would lose if it did less: the images tell.
#[test]
fn every_sync_is_needed() {
    let bench = Bench::with_secrets(1500);
    let recorded = Recorded::run(&bench, &task::of(Verb::RotateKeys), Some("new.yaml"), false);
    let steps = &recorded.steps;
    let file_of = |name: &str| {
        let is_it = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!(".{name}."));
        steps.iter().find_map(|step| match step {
            Step::Create { file, path } if is_it(path) => Some(*file),
            _ => None,
        })
    };
    let last_sync = |name: &str| {
        let file = file_of(name).unwrap();
        steps.iter().rposition(|step| matches!(step, Step::Synced { file: of, .. } if *of == file)).unwrap()
    };
    let all_of = |name: &str| {
        let file = file_of(name).unwrap();
        move |_: usize, step: &Step| matches!(step, Step::Synced { file: of, .. } if *of == file)
    };
    let renames: Vec<usize> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| matches!(step, Step::Rename { .. }))
        .map(|(n, _)| n)
        .collect();
    let [config, out] = renames[..] else { panic!("{renames:?}") };
    let directory = |after: usize| {
        after + steps[after..].iter().position(|step| matches!(step, Step::DirectorySynced { .. })).unwrap()
    };
    let lost = |recorded: &Recorded| recorded.lose_power(1000, 5).unwrap_err();
    assert!(last_sync("out.db") < config, "all is durable before anything has its name");
    let (trailer, between, end) = (last_sync("out.db"), directory(config), directory(out));
    assert!(lost(&recorded.without(all_of("out.db"))).starts_with("an incomplete output"));
    assert!(lost(&recorded.without(|n, _| n == trailer)).starts_with("an incomplete output"));
    assert!(lost(&recorded.without(all_of("new.yaml"))).starts_with("an incomplete configuration"));
    assert!(lost(&recorded.without(|n, _| n == between)).starts_with("an output without its configuration"));
    assert!(lost(&recorded.without(|n, _| n == end)).starts_with("less than was done"));
    let mut swapped = recorded.without(|_, _| false);
    swapped.steps.swap(config, out);
    assert!(lost(&swapped).starts_with("an output without its configuration"));
}
