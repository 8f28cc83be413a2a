//! Runs etcd-rekey as its users do: the program, its arguments, its JSON.

use crate::release::{finish, json};
use crate::sealing::Key;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A snapshot that was rewritten, and what the program said of it.
pub struct Rewritten {
    /// The new snapshot.
    pub snapshot: PathBuf,
    /// The key its secrets are under.
    pub key: Key,
    /// `snapshot status`'s hash.
    pub status_hash: u64,
    /// HashKV at `revision`.
    pub hash_kv: u64,
    /// The last revision.
    pub revision: u64,
    /// The number of current secrets under the new key.
    pub secrets: u64,
}

/// Rewrites a snapshot under the first key of a configuration, into a folder of
/// its own, and has the program prove it again afterwards.
pub fn reencrypt(snapshot: &Path, old: &Path, new: &Path, folder: &Path) -> Rewritten {
    let output = folder.join("rekeyed.db");
    let keys =
        ["--encryption-config".as_ref(), new.as_os_str(), "--decryption-config".as_ref(), old.as_os_str()];
    let arguments = ["reencrypt".as_ref(), snapshot.as_os_str(), "-o".as_ref(), output.as_os_str()];
    let report = etcd_rekey(&[arguments.as_slice(), &keys].concat());
    assert_eq!(report["verified"], true, "{report}");

    let arguments = ["verify".as_ref(), output.as_os_str(), "--against".as_ref(), snapshot.as_os_str()];
    let proof = etcd_rekey(&[arguments.as_slice(), &keys].concat());
    assert_eq!(proof["verified"], true, "{proof}");
    assert_sound(&output);

    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {report}"));
    Rewritten {
        key: Key::first_of(new),
        status_hash: number(&report["output"]["statusHash"]),
        hash_kv: number(&report["output"]["hashKV"]),
        revision: number(&report["output"]["revision"]),
        secrets: number(&report["secrets"]),
        snapshot: output,
    }
}

/// Rewrites a snapshot under a key whose configuration is written beside the output.
pub fn reencrypt_under(key: &Key, snapshot: &Path, old: &Path, folder: &Path) -> Rewritten {
    let new = written(key, folder, "new.yaml");
    reencrypt(snapshot, old, &new, folder)
}

/// Writes the configuration of a key.
pub fn written(key: &Key, folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, key.configuration()).expect("a configuration can be written");
    path
}

/// The program finds nothing wrong with the trailer and the structure of a snapshot.
pub fn assert_sound(snapshot: &Path) {
    let answer = etcd_rekey(&["check".as_ref(), snapshot.as_os_str()]);
    assert_eq!(answer["ok"], true, "{answer}");
}

/// The program can read every value of a snapshot with the keys of a configuration.
pub fn assert_readable(snapshot: &Path, configuration: &Path) {
    let answer = etcd_rekey(&[
        "status".as_ref(),
        snapshot.as_os_str(),
        "--encryption-config".as_ref(),
        configuration.as_os_str(),
    ]);
    assert_eq!(answer["unreadable"], Value::Array(Vec::new()), "{answer}");
}

/// Rewrites a snapshot as the arguments say; the program's report.
pub fn rewrite(verb: &str, snapshot: &Path, output: &Path, more: &[&OsStr]) -> Value {
    let arguments = [verb.as_ref(), snapshot.as_os_str(), "-o".as_ref(), output.as_os_str()];
    let report = etcd_rekey(&[arguments.as_slice(), more].concat());
    assert_eq!(report["verified"], true, "{report}");
    assert_sound(output);
    report
}

/// Makes a snapshot of secrets with a history, and of config maps, under a key of a provider.
pub fn make_snapshot(snapshot: &Path, configuration: &Path, provider: &str, seed: u32) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/make-snapshot");
    let mut command = Command::new(script);
    command.arg(snapshot).arg("--config-out").arg(configuration);
    command.args(["--provider", provider, "--seed", &seed.to_string()]);
    command.args(["--secrets", "300", "--revisions", "3", "--configmaps", "40", "--size", "900"]);
    crate::release::succeeded("make-snapshot", finish(&mut command, b""));
}

fn etcd_rekey(arguments: &[&OsStr]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-rekey"));
    command.args(arguments).args(["-w", "json"]);
    let what = format!("etcd-rekey {}", arguments[0].display());
    json(&what, finish(&mut command, b""))
}
