//! Promise: a hundred thousand secrets are rekeyed and proven in memory that
//! does not grow with the snapshot; and an interrupt is answered in whatever
//! phase it comes, within the time a disk takes, and leaves nothing.
//!
//! Built in release only: the same run with debug assertions takes minutes
//! and shows nothing more. `scripts/test` runs it.
#![cfg(not(debug_assertions))]

mod support;

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::program::{Bench, command, heeding, make_snapshot, run, text};

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

/// Each phase a run tells of is interrupted as it begins and a while later.
/// `LONG` has a snapshot of one GiB, and more moments.
#[test]
fn an_interrupt_is_answered_in_every_phase_and_leaves_nothing() {
    let long = std::env::var_os("LONG").is_some();
    let (size, waits): (_, &[u64]) = if long { ("10500", &[0, 20, 50, 150, 400]) } else { ("1024", &[0, 30]) };
    let bench = Bench::new();
    let (input, old) = (bench.path("in.db"), bench.path("old.yaml"));
    make_snapshot(&[text(&input), "--secrets", "100000", "--size", size, "--config-out", text(&old)]);
    assert!(!long || std::fs::metadata(&input).unwrap().len() >= 1 << 30);
    let new = bench.file("new.yaml", support::config(&[&["secrets"]], "aescbc", "fresh", 0x42));
    let output = bench.path("out.db");
    let mut args = vec!["reencrypt", text(&input), "--encryption-config", text(&new), "--progress", "json"];
    args.extend(["--decryption-config", text(&old), "-o", text(&output)]);
    let before = bench.names();
    // A machine that has other work to do, as one that runs all tests may have,
    // is allowed what the whole run takes on it.
    let begun = Instant::now();
    run(&args).expect(0);
    let second = Duration::from_secs(1);
    let allowed = if long { second } else { second.max(begun.elapsed()) };
    std::fs::remove_file(&output).unwrap();
    let mut answered = 0;
    println!("{} bytes: {:?} a run", std::fs::metadata(&input).unwrap().len(), begun.elapsed());
    for phase in ["checking", "planning", "reencrypting", "verifying", "making durable"] {
        for wait in waits {
            let mut child = heeding(&args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
            let begins = format!("\"phase\":\"{phase}\"");
            assert!(lines.any(|line| line.unwrap().contains(&begins)), "no phase {phase}");
            std::thread::sleep(Duration::from_millis(*wait));
            let begun = Instant::now();
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
            // Read on, so that the program is not held up by a full pipe.
            lines.for_each(drop);
            let status = child.wait().unwrap();
            let took = begun.elapsed();
            println!("interrupted {wait} ms into {phase}: {:?} after {took:?}", status.code());
            match status.code() {
                // It was done before the signal reached it.
                Some(0) => std::fs::remove_file(&output).unwrap(),
                code => {
                    assert_eq!(code, Some(130), "{phase}, {wait} ms");
                    answered += 1;
                }
            }
            assert_eq!(bench.names(), before, "{phase}, {wait} ms");
            assert!(took < allowed, "{phase}, {wait} ms: {took:?} of {allowed:?}");
        }
    }
    // The last phases may be over before a signal comes.
    assert!(answered >= 2 * waits.len(), "{answered} interrupts of {}", 5 * waits.len());
}
