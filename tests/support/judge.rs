//! The judge: Kubernetes' and bbolt's own code, built by scripts/build-judges.

#![allow(dead_code, reason = "each test file uses its own part")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a verb; returns its lines. A missing judge is a failure, never a
/// skipped test.
pub fn judge(verb: &str, args: &[&str], input: &[u8]) -> Result<Vec<Value>, String> {
    let program = std::env::var_os("JUDGE").expect("JUDGE is not set: run the tests with scripts/test");
    let mut child = Command::new(program)
        .arg(verb)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the judge starts");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Every revision of a snapshot as Kubernetes reads it.
pub fn values(snapshot: &Path, config: &Path) -> Vec<Value> {
    judge("values", &[snapshot.to_str().unwrap(), config.to_str().unwrap()], b"").unwrap()
}

/// bbolt's verdict on a file, after so many random operations on a copy.
pub fn check(file: &Path, operations: u32) -> Value {
    judge("check", &[file.to_str().unwrap(), &operations.to_string(), "7"], b"").unwrap().remove(0)
}

/// Lines by revision, with the fields that must stay.
pub fn by_revision(lines: &[Value]) -> BTreeMap<(i64, i64), Value> {
    let keep = ["key", "gr", "mod_revision", "plain_len", "plain_sha256", "tombstone"];
    let row = |line: &Value| {
        let fields = keep.iter().map(|field| ((*field).to_owned(), line[*field].clone()));
        Value::Object(fields.collect())
    };
    lines
        .iter()
        .map(|line| ((line["rev"].as_i64().unwrap(), line["sub"].as_i64().unwrap()), row(line)))
        .collect()
}

/// What Kubernetes read in a fixture.
pub fn oracle(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(super::fixture(name, "oracle.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
