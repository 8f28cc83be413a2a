//! Values that KMS plugins seal.
//!
//! A plugin never sees a value. It seals data keys, which lie beside the
//! values they seal; whoever wants to read asks it to open the data key, once
//! for all values that share one.
//!
//! * [`plugin`]: what a configuration says of a plugin.
//! * [`envelope`]: a value's data key and body.
//! * [`data_key`]: what a data key opens and seals.
//! * [`data_keys`]: those that are known, up to a bound.
//! * [`service`]: what is asked of a plugin.
//! * [`client`]: how, over its socket, in the messages of `messages.rs`.
//! * [`remote`]: a plugin, its data keys, and what went wrong with it.
//! * [`sealer`]: what seals and opens values by its data keys.
//! * [`error`]: what can be wrong with a plugin.
//!
//! Source: kubernetes `pkg/storage/value/encrypt/envelope` and `k8s.io/kms`.

pub mod client;
pub mod data_key;
pub mod data_keys;
pub mod envelope;
pub mod error;
mod messages;
pub mod plugin;
pub mod remote;
pub mod sealer;
pub mod service;

pub use error::{Error, Problem};
pub use plugin::{Plugin, Version};
pub use remote::Remote;
pub use sealer::PluginSealer;
