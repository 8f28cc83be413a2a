//! Promise: a hundred thousand secrets are rekeyed and proven in memory that
//! does not grow with the snapshot.
//!
//! Built in release only: the same run with debug assertions takes minutes
//! and shows nothing more. `scripts/test` runs it.
#![cfg(not(debug_assertions))]

mod support;

use std::process::Stdio;
use std::time::Duration;
use support::program::{Bench, command, make_snapshot, run, text};

/// Runs a child to its end; returns its standard error and the most anonymous
/// memory it was seen to have, in KiB.
fn watched(mut child: std::process::Child) -> (String, u64) {
    let mut err = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || std::io::read_to_string(&mut err).unwrap());
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let anonymous = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = anonymous.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    (reader.join().unwrap(), peak)
}

#[test]
fn a_hundred_thousand_secrets_are_rekeyed_proven_and_counted() {
    let bench = Bench::new();
    let (input, old) = (bench.path("in.db"), bench.path("old.yaml"));
    make_snapshot(&[text(&input), "--secrets", "100000", "--size", "1024", "--config-out", text(&old)]);
    let new = bench.file("new.yaml", support::config(&[&["secrets"]], "aescbc", "fresh", 0x42));
    let output = bench.path("out.db");
    let child = command(&[
        "reencrypt",
        text(&input),
        "--encryption-config",
        text(&new),
        "--decryption-config",
        text(&old),
        "-o",
        text(&output),
    ])
    .stderr(Stdio::piped())
    .stdout(Stdio::null())
    .spawn();
    let (err, peak) = watched(child.unwrap());
    assert_eq!(err.lines().count(), 2000);
    assert!(err.ends_with("reencrypted 99950 secrets\nreencrypted 100000 secrets\n"));
    println!("peak anonymous memory: {peak} KiB");
    assert!(peak < 64 << 10, "{peak} KiB");

    let status =
        run(&["status", text(&output), "--encryption-config", text(&new), "-w", "json"]).expect(0).json();
    let rows = status["values"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["key"], &rows[0]["current"]), (&"fresh".into(), &100_000.into()));
    assert!(status["unreadable"].as_array().unwrap().is_empty());
    let proven = run(&[
        "verify",
        text(&output),
        "--against",
        text(&input),
        "--encryption-config",
        text(&new),
        "--decryption-config",
        text(&old),
        "-w",
        "json",
    ]);
    assert_eq!(proven.expect(0).json()["values"], 100_000);
}
