//! A run, from the snapshot to its proven successor.

use super::audit::{self, AuditedFile};
use super::changes::Changes;
use super::compaction::Compaction;
use super::error::Error;
use super::frontier::Frontier;
use super::layout::FileLayout;
use super::options::Options;
use super::outputs::{Outputs, Targets, beside};
use super::pipeline::{Pipeline, part_size};
use super::plan::{Look, Plan};
use super::progress::{Phase, Progress};
use super::report::{FileReport, Report};
use super::source::{SnapshotFile, Source};
use super::task::{Prepared, Task};
use super::trailers::{self, Sum};
use super::verified::Verified;
use super::verify::{Allowed, compare};
use super::{account, data_keys};
use crate::etcd::snapshot::{TRAILER, hex};
use crate::kube::kms::sealer::Purpose;
use crate::output::{Disk, Output};
use jiff::Timestamp;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Rekeys a snapshot.
///
/// # Errors
/// [`Error`]. Whatever it is, the input is untouched, and there is either no
/// output or a complete, proven one.
pub fn reencrypt(
    input: &Path,
    task: &Task,
    options: &Options,
    disk: &dyn Disk,
    progress: &dyn Progress,
) -> Result<Report, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|e| Error::Threads(e.to_string()))?;
    let go_on = || !progress.stop();
    let file = SnapshotFile::open_while(input, options.skip_hash_check, &beside(&options.output), &go_on)?;
    let snapshot = file.snapshot()?;
    let started = Timestamp::now();
    let mut run = Run {
        began: Instant::now(),
        file: &file,
        task,
        options,
        targets: Targets { file: &file, options, disk },
        progress,
        pool: &pool,
        input_sum: Mutex::new(Sum::of(snapshot.file)),
    };
    let done = run.unpublished();
    if matches!(done, Err(Error::Interrupted)) {
        return Err(Error::Interrupted);
    }
    // A file that changed, or is damaged, explains whatever else went wrong
    // with it, and nothing gets its name before both are ruled out.
    file.unchanged()?;
    let sum = run.input_sum.get_mut().unwrap_or_else(PoisonError::into_inner).clone();
    let sum = sum.finish(|| !progress.stop()).ok_or(Error::Interrupted)?;
    snapshot.compare_trailer(&sum).map_err(|mismatch| file.error(mismatch))?;
    let (mut outputs, mut report) = done?;
    report.input.sha256 = hex(&sum);
    run.record(&mut outputs, &report, started)?;
    file.unchanged()?;
    if progress.stop() {
        return Err(Error::Interrupted);
    }
    outputs.publish()?;
    Ok(report)
}

struct Run<'r> {
    began: Instant,
    file: &'r SnapshotFile,
    targets: Targets<'r>,
    task: &'r Task,
    options: &'r Options,
    progress: &'r dyn Progress,
    pool: &'r rayon::ThreadPool,
    /// The sum over the input, as far as it has got.
    input_sum: Mutex<Sum<'r>>,
}

/// Bytes that are made durable at a time.
const WRITE_BACK: u64 = 32 << 20;

impl<'r> Run<'r> {
    fn input_sum(&self) -> MutexGuard<'_, Sum<'r>> {
        self.input_sum.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sums the input on a thread of its own while something else is done.
    fn beside<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let ended = &ended;
            let beside = std::thread::Builder::new()
                .spawn_scoped(scope, move || self.input_sum().advance(|| !ended.load(Ordering::Relaxed)))
                .map_err(|e| Error::Threads(e.to_string()))?;
            let done = work();
            ended.store(true, Ordering::Relaxed);
            beside.join().map_err(|_| thread_ended())?;
            Ok(done)
        })
    }

    /// Everything but giving the output its name.
    fn unpublished(&self) -> Result<(Outputs<'r>, Report), Error> {
        self.progress.phase(Phase::Checking, 0);
        let go_on = || !self.progress.stop();
        // One thread walks; the records can be read on all.
        let survey = self.beside(|| self.file.walk(false, &go_on))??;
        let (source, prepared) = self.pool.install(|| {
            let source = Source::of(self.file, survey, &go_on)?;
            self.progress.phase(Phase::Planning, 0);
            let (keep, compact) = (self.options.keep_unreadable, self.options.compact);
            let prepared = self.task.prepare(self.file, &source, keep, compact)?;
            Ok::<_, Error>((source, prepared))
        })?;
        self.ask_plugins(&source, &prepared)?;
        // Who asks for a list of all that does not open gets it.
        let ask = self.options.dry_run || self.options.keep_unreadable;
        let look = if ask { Look::Inside } else { Look::Outside };
        let done = match self.planned(&source, &prepared, look) {
            Err(Error::InputChanged { .. } | Error::Unreadable { .. }) if look == Look::Outside => {
                data_keys::reached(&prepared.rules)?;
                self.progress.phase(Phase::Planning, 0);
                self.planned(&source, &prepared, Look::Inside)
            }
            done => done,
        };
        if !matches!(done, Err(Error::Interrupted)) {
            data_keys::reached(&prepared.rules)?;
        }
        done
    }

    /// Asks KMS plugins for what is needed of them.
    fn ask_plugins(&self, source: &Source<'_>, prepared: &Prepared) -> Result<(), Error> {
        let rules = &prepared.rules;
        if rules.keyring().plugins().next().is_none() {
            return Ok(());
        }
        self.progress.phase(Phase::Asking, 0);
        let (_, keys) = source.keys().map_err(|e| self.file.error(e))?;
        data_keys::prepare(rules, Purpose::Seal(keys.entries))?;
        data_keys::fetch(self.file, source, rules, self.options.compact, &|| self.progress.stop())
    }

    /// Plans, and does what was planned.
    fn planned(
        &self,
        source: &Source<'r>,
        prepared: &Prepared,
        look: Look,
    ) -> Result<(Outputs<'r>, Report), Error> {
        let rules = &prepared.rules;
        let besides = &prepared.besides;
        let make = || Plan::make(self.file, source, rules, besides, look, self.progress);
        let mut plan = self.pool.install(make)?;
        plan.refuse(&self.task.etcd_prefix, self.options)?;
        let (keys, _) = source.keys().map_err(|e| self.file.error(e))?;
        let compaction = self.options.compact.then(|| Compaction::newest(source));
        let marked = match &compaction {
            Some(compaction) => Some(compaction.marked(source).map_err(|e| self.file.error(e))?),
            None => None,
        };
        let layout = FileLayout::make(&source.db, &source.survey, keys, &plan.changes, marked)
            .map_err(|e| self.file.error(e))?;
        let need = layout.bytes() + u64::try_from(TRAILER).unwrap_or(32);
        let mut report = account::before(self.file, source, prepared, &plan, need);
        let config = self.targets.config(&prepared.config)?;
        if self.options.dry_run {
            report.dry_run = true;
            report.disk = Some(self.targets.room(need, &prepared.config)?);
            report.estimated_seconds = Some(account::estimated_seconds(self.began.elapsed(), need));
            report.kms = account::plugins(rules, true);
            return Ok((Outputs::default(), report));
        }
        // What stands in the way of the record is told before the work.
        self.targets.look_at_record()?;
        let mut output = self.targets.begin(&self.options.output, need)?;
        self.progress.phase(Phase::Reencrypting, plan.reseal.current);
        let end = layout.bytes();
        let (digest, found) = self.written(source, prepared, (plan.changes, layout), &output)?;
        output.write_all_at(&digest, end)?;
        self.progress.phase(Phase::Syncing, 0);
        output.finish()?;
        report.output = Some(FileReport {
            file: self.options.output.display().to_string(),
            bytes: need,
            sha256: hex(&digest),
            revision: report.input.revision,
            status_hash: None,
            hash_kv: None,
        });
        if let Some(found) = found {
            account::proven(&mut report, &found)?;
        }
        data_keys::confirm(rules)?;
        report.kms = account::plugins(rules, false);
        Ok((Outputs { config, snapshot: Some(output), ..Outputs::default() }, report))
    }

    /// Writes the pages of the output and has a second reader prove them,
    /// while the sums follow behind and the disk is kept busy. Returns the
    /// sum over what is on the disk, and what the second reader found.
    fn written(
        &self,
        source: &Source<'_>,
        prepared: &Prepared,
        (changes, layout): (Changes, FileLayout<'_>),
        output: &Output<'_>,
    ) -> Result<([u8; 32], Option<Verified>), Error> {
        let path = &self.options.output;
        let written =
            SnapshotFile::open(output.temporary(), false, Path::new(".")).map_err(|error| match error {
                Error::Open { source, .. } => Error::ReadBack { file: path.clone(), source },
                other => other,
            })?;
        let pages = written.map.split_last_chunk::<TRAILER>().map_or(&[][..], |(pages, _)| pages);
        let parts = layout.parts(&changes, part_size(self.pool.current_num_threads()));
        let frontier = Frontier::new(parts.len());
        let failed = AtomicBool::new(false);
        let go_on = || !failed.load(Ordering::Relaxed) && !self.progress.stop();
        std::thread::scope(|scope| {
            let threads = |e: std::io::Error| Error::Threads(e.to_string());
            let follower = std::thread::Builder::new().spawn_scoped(scope, || {
                trailers::follow(&mut self.input_sum(), Sum::of(pages), &frontier, go_on)
            });
            let syncer = std::thread::Builder::new().spawn_scoped(scope, || {
                let (mut durable, mut written, mut more) = (0, 0, true);
                while (more || durable < written) && go_on() {
                    (written, more) = frontier.wait(durable + WRITE_BACK);
                    // A call cannot be interrupted: it is never asked for more than the disk does in a moment.
                    let bytes = WRITE_BACK.min(written - durable);
                    output.sync_range(durable, bytes)?;
                    durable += bytes;
                }
                Ok::<_, Error>(())
            });
            let (follower, syncer) = match (follower, syncer) {
                (Ok(follower), Ok(syncer)) => (follower, syncer),
                (follower, syncer) => {
                    frontier.close();
                    return Err(follower.err().or(syncer.err()).map_or_else(thread_ended, threads));
                }
            };
            let pipeline = Pipeline {
                file: self.file,
                source,
                rules: &prepared.rules,
                changes: &changes,
                values: &prepared.besides.values,
                layout: &layout,
            };
            let done = pipeline.write(&parts, self.pool, output, &frontier, self.progress);
            frontier.close();
            // The second reader needs room, and nothing of what was planned.
            drop((changes, layout));
            let found = done.and_then(|()| {
                if self.options.no_verify {
                    return Ok(None);
                }
                self.prove(source, &written, prepared).map(Some)
            });
            // What will be removed needs no sum, and not to be durable.
            failed.store(found.is_err(), Ordering::Relaxed);
            let sum = follower.join().map_err(|_| thread_ended());
            // The system tells an error of the disk once: to the first that
            // asks for durability, and that may have been the early one.
            syncer.join().map_err(|_| thread_ended())??;
            let found = found?;
            if written.map.shrank() {
                let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
                return Err(Error::ReadBack { file: path.clone(), source });
            }
            Ok((sum?.ok_or(Error::Interrupted)?, found))
        })
    }

    /// Writes the audit record and the sums, durable, without their names:
    /// from the files themselves, as anybody else would find them.
    fn record(&self, outputs: &mut Outputs<'r>, report: &Report, started: Timestamp) -> Result<(), Error> {
        let (Some(path), Some(snapshot)) = (&self.options.report, &outputs.snapshot) else { return Ok(()) };
        let written = SnapshotFile::open(snapshot.temporary(), false, Path::new("."))?;
        let prefix = &self.task.etcd_prefix;
        let look = |file: &SnapshotFile, name| {
            let source = file.read(false)?;
            AuditedFile::of(file, &source, name, prefix, self.progress)
        };
        let (input, output) = self.pool.install(|| {
            rayon::join(|| look(self.file, &self.file.path), || look(&written, &self.options.output))
        });
        let (input, output) = (input?, output?);
        let record = audit::written((self.task, self.options), report, (&input, &output), started)?;
        let files = [(self.file.path.as_path(), &input), (self.options.output.as_path(), &output)];
        let sums = audit::sums(path, &record, files);
        outputs.sums = Some(self.targets.small(&audit::sums_beside(path), &sums)?);
        outputs.record = Some(self.targets.small(path, &record)?);
        Ok(())
    }

    /// The second reader goes by what lies in the two files, and by the keys.
    fn prove(
        &self,
        input: &Source<'_>,
        written: &SnapshotFile,
        prepared: &Prepared,
    ) -> Result<Verified, Error> {
        self.progress.phase(Phase::Verifying, 0);
        let allowed = Allowed {
            unreadable: self.options.keep_unreadable,
            plaintext: self.options.allow_plaintext,
            compacted: self.options.compact,
            record: prepared.proof.as_ref(),
        };
        let found = self
            .pool
            .install(|| {
                let go_on = || !self.progress.stop();
                let output = written.read_while(true, &go_on)?;
                let (input, output) = ((self.file, input), (written, &output));
                compare(input, output, &prepared.rules, allowed, self.progress)
            })
            .map_err(|error| match error {
                Error::Snapshot { file, source } if file == written.path => {
                    Error::Verification { differences: vec![source.to_string()] }
                }
                other => other,
            })?;
        if found.equal() { Ok(found) } else { Err(Error::Verification { differences: found.differences }) }
    }
}

fn thread_ended() -> Error {
    Error::Threads("a thread ended before its work".to_owned())
}
