//! A live etcd: a snapshot taken from it, and the proof that a restored one
//! holds what a snapshot holds. Nothing here ever writes to it.
//!
//! * [`endpoint`]: where a member listens, and whether by TLS.
//! * [`certificates`]: where K3s, RKE2 and kubeadm keep theirs.
//! * [`tls`]: certificates read, and who is trusted.
//! * [`dialer`]: a connection to one member.
//! * [`refusal`]: what an answer of etcd that is none means.
//! * [`cluster`]: requests that outlive a connection, by asking again.
//! * [`member`]: what a member says of itself.
//! * [`save`]: a snapshot, streamed, checked, then named.
//! * [`current`]: the current keys of a snapshot, in key order.
//! * [`page`]: the keys of a live etcd, a bounded page at a time.
//! * [`finding`]: what a comparison found.
//! * [`judgement`]: how one live record stands to the file's.
//! * [`values`]: whether live values open, and with which key.
//! * [`hash_kv`]: HashKV over the members.
//! * [`walk`]: one walk over all keys, beside those of the snapshot.
//! * [`compare`]: all of it.
//! * [`programs`], [`server`], [`rehearse`]: a restore on this machine, by
//!   the operator's own etcd.
//!
//! Only the feature `live` has this room: its client needs protoc when it is
//! compiled.

pub mod certificates;
pub mod cluster;
pub mod compare;
pub mod current;
pub mod dialer;
pub mod endpoint;
mod error;
pub mod finding;
pub mod hash_kv;
pub mod judgement;
pub mod member;
pub mod page;
pub mod programs;
pub mod refusal;
pub mod rehearse;
pub mod save;
pub mod server;
pub mod tls;
pub mod values;
pub mod walk;

pub use certificates::Files;
pub use dialer::Dialer;
pub use endpoint::Endpoint;
pub use error::Error;

use std::future::Future;

/// Runs what talks to an etcd, on this thread.
///
/// # Errors
/// [`Error::Runtime`], and what the work returns.
pub fn run<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| Error::Runtime { source })?.block_on(work)
}
