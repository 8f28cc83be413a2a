//! What K3s and RKE2 keep inside a snapshot: the record with the encryption
//! configuration and its stage, sealed with the server token, and what their
//! servers say of themselves.
//!
//! * [`token`]: the server token.
//! * [`bootstrap`]: how the token seals the record.
//! * [`record`]: what lies in it.
//! * [`stage`]: the stages of a rotation.
//! * [`node`]: the Node objects of the servers.
//! * [`cluster`]: all of it, out of one snapshot.
//! * [`change`]: what a verb makes of the configuration and the stage.
//! * [`proof`]: whether a rewritten record is right.
//! * [`status`]: what `k3s secrets-encrypt status` would print.

pub mod bootstrap;
pub mod change;
pub mod cluster;
mod error;
pub mod node;
pub mod proof;
pub mod record;
pub mod stage;
pub mod status;
pub mod token;

pub use change::{Change, Verb};
pub use cluster::Cluster;
pub use error::Error;
pub use stage::{Stage, State};
pub use token::Token;

/// What the etcd keys of the record begin with.
pub const RECORD: &[u8] = b"/bootstrap/";
