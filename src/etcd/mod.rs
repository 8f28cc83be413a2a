//! What etcd keeps in a bbolt file: the snapshot container with its trailer,
//! the revisions of the `key` bucket, and the hashes etcd prints of them.
//!
//! * [`snapshot`]: the container.
//! * [`revision`]: keys of the `key` bucket.
//! * [`key_value`]: values of the `key` bucket.
//! * [`wire`]: the protobuf wire format under them.
//! * [`history`]: which revisions are current, and what was compacted.
//! * [`zipped`]: a snapshot in a zip archive.
//! * [`hash`]: CRC-32C, the status hash and HashKV.
//! * [`sha256`]: SHA-256, the trailer's, two sums in step.

mod error;
pub mod hash;
pub mod history;
pub mod key_value;
pub mod revision;
pub mod sha256;
pub mod snapshot;
pub mod wire;
pub mod zipped;

pub use error::{Error, escape};
pub use hash::{Checksum, Hashes, status_hash};
pub use history::{History, Record};
pub use key_value::KeyValue;
pub use revision::{Revision, RevisionKey};
pub use snapshot::Snapshot;

/// The bucket of revisions.
pub const KEY_BUCKET: &[u8] = b"key";
/// The bucket of etcd's own marks.
pub const META_BUCKET: &[u8] = b"meta";
