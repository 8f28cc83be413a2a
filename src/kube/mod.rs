//! How kube-apiserver keeps values: which resource an etcd key belongs to,
//! which provider and key seal it, and what lies inside.
//!
//! * [`config`]: EncryptionConfiguration, validated as upstream does.
//! * [`rotation`]: what a new key, or none, makes of a configuration.
//! * [`text`]: a configuration as JSON and YAML.
//! * [`precedence`]: which providers count for which resource.
//! * [`resource`]: group-resources and their etcd keys.
//! * [`typed_name`]: resources as people type them.
//! * [`key`]: one key of one provider.
//! * [`aescbc`], [`aesgcm`], [`secretbox`], [`cipher`]: the ciphers behind them.
//! * `lanes`: values encrypted side by side.
//! * [`kms`]: what KMS plugins seal.
//! * [`sealer`]: a key or a plugin.
//! * [`seal`]: what a sealed value says of itself.
//! * [`sealed`]: which key opens a sealed value.
//! * [`object`]: the object inside, and whether it is the one its key names.
//!
//! Source: kubernetes `staging/src/k8s.io/apiserver/pkg/storage/value` and
//! `pkg/server/options/encryptionconfig`.

pub mod aescbc;
pub mod aesgcm;
pub mod cipher;
pub mod config;
mod error;
pub mod key;
pub mod kms;
mod lanes;
pub mod manifest;
pub mod object;
pub mod precedence;
pub mod resource;
pub mod rotation;
mod schema;
pub mod seal;
pub mod sealed;
pub mod sealer;
pub mod secretbox;
pub mod text;
pub mod typed_name;

pub use config::EncryptionConfiguration;
pub use error::ConfigError;
pub use key::{Provider, SealingKey};
pub use precedence::{Precedence, Writer};
pub use resource::{GroupResource, KeyPath};
pub use seal::Seal;
pub use sealed::{Keyring, Unreadable};
pub use sealer::Sealer;
