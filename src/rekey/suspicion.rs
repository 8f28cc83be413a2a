//! What is likely to be wrong where an output is not proven: an operator's
//! slip, before it is a fault of the output.

use super::compaction::Compaction;
use super::source::{SnapshotFile, Source};
use crate::etcd::KEY_BUCKET;

/// What is likely to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// Nothing that shows.
    None,
    /// The two files are one.
    SameFile,
    /// Each file was given in the other's place.
    Swapped,
    /// The output is compacted, and nothing said so.
    Compacted,
}

impl Suspicion {
    /// Looks at two files of which nothing was proven. `swapped` tells
    /// whether the proof holds with each in the other's place.
    pub fn of(
        (input_file, input): (&SnapshotFile, &Source<'_>),
        (output_file, output): (&SnapshotFile, &Source<'_>),
        compacted: bool,
        swapped: impl FnOnce() -> bool,
    ) -> Self {
        if same(input_file, output_file) {
            Self::SameFile
        } else if !compacted && is_compacted(input, output) {
            Self::Compacted
        } else if swapped() {
            Self::Swapped
        } else {
            Self::None
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::None => {
                "give the configurations and the flags that the run had (--compact, --keep-unreadable, --allow-plaintext, --etcd-prefix); if it had these, do not restore the output, and report this"
            }
            Self::SameFile => {
                "both names are of one file, or of copies of it: give the output first, and the snapshot it was made from as --against"
            }
            Self::Swapped => {
                "the two files are swapped: with each in the other's place the proof holds; give the output first, and the snapshot it was made from as --against"
            }
            Self::Compacted => "the output is compacted: add --compact, as the run had it",
        }
    }
}

/// Whether both names lead to one file, or to the same pages.
fn same(input: &SnapshotFile, output: &SnapshotFile) -> bool {
    let trailer = |file: &SnapshotFile| file.snapshot().ok().and_then(|snapshot| snapshot.trailer);
    let place = |file: &SnapshotFile| file.path.canonicalize().ok();
    let equal = |a: Option<[u8; 32]>, b| a.is_some() && a == b;
    equal(trailer(input), trailer(output)) || (place(input).is_some() && place(input) == place(output))
}

/// Whether the output has what a compaction of the input leaves, by its marks
/// and by the number of its entries.
fn is_compacted(input: &Source<'_>, output: &Source<'_>) -> bool {
    let compaction = Compaction::newest(input);
    let entries = output.survey.bucket(KEY_BUCKET).map(|(_, bucket)| bucket.entries);
    entries == Some(input.history.live_count()) && compaction.marks(output) && !compaction.marks(input)
}
