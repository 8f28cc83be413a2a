//! Promise: what is saved from a live etcd is sound, what is said of one is
//! true, and nothing is written to it. Real etcds of 3.4, 3.5 and 3.6, with
//! and without TLS, whole and broken, near and behind bad connections.
//!
//! The etcds are those of `ETCD34_BIN` and so on, which scripts/test sets.
#![cfg(feature = "live")]

#[path = "live/authentication.rs"]
mod authentication;
#[path = "live/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "real_etcd/client.rs"]
mod client;
#[path = "live/compare.rs"]
mod compare;
#[path = "live/errors.rs"]
mod errors;
#[path = "live/help.rs"]
mod help;
#[path = "live/machine_output.rs"]
mod machine_output;
#[path = "live/members.rs"]
mod members;
#[path = "live/proxy.rs"]
mod proxy;
#[path = "live/rehearse.rs"]
mod rehearse;
#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "real_etcd/release.rs"]
mod release;
#[path = "live/save.rs"]
mod save;
#[path = "real_etcd/server.rs"]
mod server;
mod support;
#[path = "live/tls.rs"]
mod tls;

use release::Release;
use server::Server;
use std::path::PathBuf;
use support::program::{Bench, Ran, run, text};

/// The releases each promise is kept for.
const RELEASES: [Release; 3] = [Release::V34, Release::V35New, Release::V36];

/// A fixture's snapshot.
fn snapshot() -> PathBuf {
    support::fixture("kube-rotated", "snapshot.db")
}

/// The current keys of that snapshot that hold secrets, in key order.
fn secrets() -> Vec<String> {
    let listed = run(&["list", text(&snapshot()), "--resource", "secrets", "-w", "json"]).expect(0).json();
    let objects = listed["objects"].as_array().unwrap();
    objects.iter().map(|object| object["key"].as_str().unwrap().to_owned()).collect()
}

/// A server on a snapshot, in a folder of a bench.
fn restored(bench: &Bench, release: Release, snapshot: &std::path::Path) -> Server {
    Server::restored(release, &bench.path(&format!("server-{release:?}")), snapshot)
}

/// `snapshot save out.db --endpoints endpoint`, and more.
fn save_from(bench: &Bench, endpoint: &str, more: &[&str]) -> Ran {
    let output = bench.path("out.db");
    let args = ["snapshot", "save", text(&output), "--endpoints", endpoint, "--progress", "none"];
    run(&[&args, more].concat())
}

/// `snapshot compare file --endpoints endpoints -w json`, and more.
fn compare_with(file: &std::path::Path, endpoints: &str, more: &[&str]) -> Ran {
    let args =
        ["snapshot", "compare", text(file), "--endpoints", endpoints, "--progress", "none", "-w", "json"];
    run(&[&args, more].concat())
}
