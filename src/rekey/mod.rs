//! The main job: every sealed value of a snapshot under the key that writes
//! now, in a fresh file, proven.
//!
//! * [`rules`]: what must happen to one value.
//! * [`source`]: a snapshot opened, surveyed and read through.
//! * [`task`]: what a run is told, and what that means for one snapshot.
//! * [`data_keys`]: what KMS plugins are asked, before values are opened.
//! * [`readable`]: whether a restored cluster can read what stays as it is.
//! * [`compaction`]: superseded revisions left out.
//! * [`changes`]: what becomes of every entry, packed.
//! * [`plan`]: what becomes of every value, and every size.
//! * [`layout`]: where each page of the output will lie.
//! * [`pipeline`]: the output written from its first byte to its last.
//! * [`frontier`]: how much of it is written.
//! * [`trailers`]: the sums of input and output, computed in step.
//! * [`proof`]: what an output is verified by.
//! * [`verify`]: a second reader, which proves it from the two files.
//! * [`verified`]: what it found; [`sums`]: the hashes it takes meanwhile.
//! * [`residue`]: old values in free pages.
//! * [`inventory`]: what is in a snapshot, value by value.
//! * [`tally`], [`report`], [`account`]: counts and results.
//! * [`outputs`]: where files go, and when they get their names.
//! * [`audit`]: the record of a run, and files held against it.
//! * [`progress`]: how a run is followed and stopped.
//! * [`options`], [`run`]: all of it, in order.

pub mod account;
pub mod audit;
pub mod changes;
pub mod compaction;
pub mod data_keys;
pub mod error;
pub mod frontier;
pub mod inventory;
pub mod layout;
pub mod options;
pub mod outputs;
pub mod pipeline;
pub mod plan;
pub mod progress;
pub mod proof;
pub mod readable;
pub mod report;
pub mod residue;
pub mod rules;
pub mod run;
pub mod source;
pub mod sums;
pub mod suspicion;
pub mod tally;
pub mod task;
pub mod trailers;
pub mod verified;
pub mod verify;

pub use error::{Error, UnreadableValue};
pub use options::Options;
pub use progress::{Phase, Progress, Silent};
pub use report::{FileReport, KeysReport, Report};
pub use rules::Rules;
pub use run::reencrypt;
pub use task::Task;
