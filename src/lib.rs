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
//! * [`cli`]: the command line; the only room that talks to a terminal.
//!
//! Beside them stand [`map`], the memory map, which has the only unsafe code,
//! and [`output`], the one seam through which bytes reach the disk.

pub mod bolt;
pub mod cli;
pub mod etcd;
pub mod k3s;
pub mod kube;
pub mod map;
pub mod output;
pub mod rekey;
