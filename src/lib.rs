//! Rekeys etcd snapshots of Kubernetes clusters, offline.
//!
//! A snapshot goes one way through the house, and each room knows only those
//! before it:
//!
//! * [`bolt`]: pages and trees of a bbolt file.
//! * [`etcd`]: the snapshot container, revisions, and the hashes etcd prints.
//! * [`kube`]: EncryptionConfiguration, providers, sealed values, objects.
//! * [`k3s`]: the record K3s and RKE2 keep in a snapshot, and its stages.
//! * [`rekey`]: every value under a new key, in a fresh file, proven.
//! * `live`: a snapshot saved from a live etcd, or compared with one (feature `live`).
//! * `cli`: the command line; the only room that talks to a terminal.
//!
//! Beside them stand `map`, the memory map, `simd`, three inner loops in the
//! processor's own instructions (these two have the only unsafe code), and
//! [`output`], the one seam through which bytes reach the disk.
//!
//! # A worked example
//!
//! What `etcd-rekey reencrypt` does, from a program of your own. Nothing is
//! printed; what happened is in the [`rekey::Report`]. The output has its name
//! only when it is durable and proven.
//!
//! ```
//! use etcd_rekey::k3s::{Verb, change::Request};
//! use etcd_rekey::kube::EncryptionConfiguration;
//! use etcd_rekey::output::SystemDisk;
//! use etcd_rekey::rekey::{Options, Silent, Task, reencrypt};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = Path::new("fixtures/kube-rotated");
//! let read = |name| EncryptionConfiguration::parse(&std::fs::read_to_string(folder.join(name)).unwrap());
//! let task = Task {
//!     request: Request {
//!         verb: Verb::Reencrypt { skip: false },
//!         force: false,
//!         provider: None,
//!         now: jiff::Timestamp::now(),
//!     },
//!     // The first key in here seals everything; the keys of both open what is there.
//!     config: Some((folder.join("new.yaml"), read("new.yaml")?)),
//!     read: vec![read("old.yaml")?],
//!     // Of K3s and RKE2 the server token would be here, and no configuration.
//!     tokens: Ok(Vec::new()),
//!     record_expected: false,
//!     etcd_prefix: "/registry".to_owned(),
//! };
//! let directory = tempfile::tempdir()?;
//! let options = Options { output: directory.path().join("rekeyed.db"), ..Options::default() };
//! let report = reencrypt(&folder.join("snapshot.db"), &task, &options, &SystemDisk, &Silent)?;
//!
//! assert!(report.verified && report.carried_over.is_empty());
//! assert_eq!((report.secrets, report.rewritten_old), (47, 46));
//! # Ok(())
//! # }
//! ```
//!
//! The same as a program: `examples/reencrypt.rs`.
//!
//! # What stays
//!
//! The command line, its exit codes and its JSON are what Semantic Versioning
//! counts first; of the library it counts [`rekey`] and what its items take
//! and give. The rooms below it are public for those who read snapshots, and
//! change when the formats teach something new. What is hidden from this page
//! is public for the program, its tests and its benches alone.

// Whatever lies in a file is no reason to end with a panic; tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable
    )
)]

pub mod bolt;
#[doc(hidden)]
pub mod cli;
pub mod etcd;
pub mod k3s;
pub mod kube;
#[cfg(feature = "live")]
pub mod live;
#[doc(hidden)]
pub mod map;
pub mod output;
pub mod rekey;
#[doc(hidden)]
pub mod simd;
