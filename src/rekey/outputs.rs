//! The files a run writes: where they may go, and in which order they get
//! their names.

use super::audit::sums_beside;
use super::error::Error;
use super::options::Options;
use super::report::RoomReport;
use super::source::SnapshotFile;
use crate::output::{self, Disk, Output};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a small file takes of a disk.
const BLOCK: u64 = 4096;

/// What a run has written, without its names as yet.
#[derive(Default)]
pub struct Outputs<'r> {
    /// The configuration.
    pub config: Option<Output<'r>>,
    /// The snapshot.
    pub snapshot: Option<Output<'r>>,
    /// The sums of the record.
    pub sums: Option<Output<'r>>,
    /// The audit record.
    pub record: Option<Output<'r>>,
}

impl Outputs<'_> {
    /// Gives the files their names: the key first, for a snapshot without its
    /// key would be lost, and the record last, for it says that all is there.
    ///
    /// # Errors
    /// As [`Output::publish`]; what had its name already is taken away again.
    /// [`Error::Replaced`] where it has taken the place of another file.
    pub fn publish(self) -> Result<(), Error> {
        let mut published: Vec<Output<'_>> = Vec::new();
        for mut output in [self.config, self.snapshot, self.sums, self.record].into_iter().flatten() {
            if let Err(error) = output.publish() {
                if output.is_published() {
                    return Err(error.into());
                }
                let files: Vec<_> = published.into_iter().filter_map(Output::withdraw).collect();
                return Err(if files.is_empty() {
                    error.into()
                } else {
                    Error::Replaced { files, source: error }
                });
            }
            published.push(output);
        }
        Ok(())
    }
}

/// What a run reads, and where its files go.
#[derive(Clone, Copy)]
pub struct Targets<'r> {
    /// The input.
    pub file: &'r SnapshotFile,
    /// What the run was asked to do.
    pub options: &'r Options,
    /// Where the files go.
    pub disk: &'r dyn Disk,
}

impl<'r> Targets<'r> {
    /// Begins a file that is none of those the run reads.
    ///
    /// # Errors
    /// As [`Output::begin`].
    pub fn begin(&self, path: &Path, need: u64) -> Result<Output<'r>, Error> {
        Ok(Output::begin(self.disk, path, &self.read()?, need, self.options.force)?)
    }

    /// Looks whether such a file could be begun.
    ///
    /// # Errors
    /// As [`Output::look`].
    pub fn look(&self, path: &Path, need: u64) -> Result<(PathBuf, u64), Error> {
        Ok(Output::look(self.disk, path, &self.read()?, need, self.options.force)?)
    }

    /// The room a snapshot of so many bytes would need, with the configuration
    /// where that goes to the same disk, and whether all could be begun.
    ///
    /// # Errors
    /// As [`Output::look`].
    pub fn room(&self, snapshot: u64, config: &[u8]) -> Result<RoomReport, Error> {
        let disk = |path: &Path| beside(path).metadata().ok().map(|folder| folder.dev());
        let output = &self.options.output;
        let both = self.options.write_config.as_ref().is_some_and(|path| disk(path) == disk(output));
        let config = u64::try_from(config.len()).unwrap_or(0).next_multiple_of(BLOCK);
        let needed = if both { snapshot.saturating_add(config) } else { snapshot };
        let (directory, free) = self.look(output, needed)?;
        self.look_at_record()?;
        let directory = std::path::absolute(&directory).unwrap_or(directory).display().to_string();
        Ok(RoomReport { directory, needed, free })
    }

    /// Looks whether the audit record and its sums could be begun: each with
    /// a place of its own.
    ///
    /// # Errors
    /// As [`Output::look`].
    pub fn look_at_record(&self) -> Result<(), Error> {
        let Some(record) = &self.options.report else { return Ok(()) };
        let others = std::iter::once(&self.options.output).chain(&self.options.write_config);
        for path in [record.clone(), sums_beside(record)] {
            self.look(&path, 0)?;
            if others.clone().any(|other| same_place(&path, other)) {
                return Err(output::Error::SameFile { path }.into());
            }
        }
        Ok(())
    }

    /// Writes a small file, durable, without its name.
    ///
    /// # Errors
    /// As [`Output::begin`].
    pub fn small(&self, path: &Path, bytes: &[u8]) -> Result<Output<'r>, Error> {
        let mut output = self.begin(path, u64::try_from(bytes.len()).unwrap_or(0))?;
        output.write_all_at(bytes, 0)?;
        output.finish()?;
        Ok(output)
    }

    /// The configuration the output needs, if it was asked for, durable,
    /// without its name; of a dry run none.
    ///
    /// # Errors
    /// As those of [`Targets::look`] and [`Targets::small`]; it cannot lie
    /// where the output does.
    pub fn config(&self, bytes: &[u8]) -> Result<Option<Output<'r>>, Error> {
        let Some(path) = &self.options.write_config else { return Ok(None) };
        if same_place(path, &self.options.output) {
            return Err(output::Error::SameFile { path: path.clone() }.into());
        }
        if self.options.dry_run {
            return self.look(path, u64::try_from(bytes.len()).unwrap_or(0)).map(|_| None);
        }
        self.small(path, bytes).map(Some)
    }

    /// The files the run reads.
    fn read(&self) -> Result<Vec<Metadata>, Error> {
        let open = |file: &Path, source| Error::Open { file: file.to_owned(), source };
        let input = self.file.file.metadata().map_err(|source| open(&self.file.path, source))?;
        let mut inputs = vec![input];
        for path in &self.options.sources {
            match std::fs::metadata(path) {
                Ok(input) => inputs.push(input),
                // What is gone cannot be written over.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(open(path, source)),
            }
        }
        Ok(inputs)
    }
}

/// The directory a path lies in.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether two paths name a file of the same directory and name.
#[must_use]
pub fn same_place(a: &Path, b: &Path) -> bool {
    let (first, second) = (beside(a).canonicalize(), beside(b).canonicalize());
    let apart = first.is_ok_and(|first| second.is_ok_and(|second| first != second));
    a.file_name() == b.file_name() && !apart
}
