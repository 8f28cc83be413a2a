//! Promise: on a terminal there is a bar with rate and time left that fits
//! the terminal, and that is gone when the run is done; elsewhere there are
//! lines, and never a control character.

mod support;

use etcd_rekey::kube::Provider;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;
use support::builder::{Builder, key};
use support::config;
use support::program::{Bench, command, text};

/// What a run over `secrets` secrets shows on a terminal of that size, and
/// what is on its standard output.
fn shown(columns: u16, secrets: usize, environment: &[(&str, &str)], more: &[&str]) -> (String, String) {
    let bench = Bench::new();
    let mut builder = Builder::default();
    for i in 0..secrets {
        builder.sealed(&key(Provider::Aescbc, "old", 1), &format!("s{i}"));
    }
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(&[&["secrets"]], "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(&[&["secrets"]], "aescbc", "old", 1));
    let output = bench.path("out.db");
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).unwrap();
    let args = [
        "reencrypt",
        text(&input),
        "--encryption-config",
        text(&new),
        "--decryption-config",
        text(&old),
        "-o",
        text(&output),
    ];
    let mut program = command(&[&args, more].concat());
    program.env("TERM", "xterm-256color").envs(environment.iter().copied());
    let child = program.stdout(Stdio::piped()).stderr(Stdio::from(terminal)).spawn().unwrap();
    // Standard error is the terminal's other end until the program ends.
    drop(program);
    let reader = std::thread::spawn(move || {
        let (mut all, mut from) = (Vec::new(), File::from(master));
        // When the other end is closed, reading ends with an error.
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            all.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success());
    (reader.join().unwrap(), String::from_utf8(ended.stdout).unwrap())
}

/// The lines as they were drawn, without what moves the cursor.
fn drawn(shown: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                // A control sequence ends with a letter.
                if chars.next() == Some('[') {
                    chars.by_ref().find(char::is_ascii_alphabetic);
                }
                plain.push('\n');
            }
            '\r' => plain.push('\n'),
            c => plain.push(c),
        }
    }
    plain.lines().map(str::to_owned).filter(|line| !line.trim().is_empty()).collect()
}

const MANY: usize = 20_000;

#[test]
fn a_terminal_shows_a_bar_that_fits_it() {
    for columns in [80, 200] {
        let (shown, out) = shown(columns, MANY, &[], &[]);
        let lines = drawn(&shown);
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}: {lines:?}");
        let bar = lines.iter().find(|line| line.starts_with("reencrypting [")).expect("a bar");
        assert!(bar.contains("/20,000 secrets ") && bar.contains("/s ETA "), "{bar}");
        let (_, rate) = bar.split_once(" secrets ").unwrap();
        let (rate, _) = rate.split_once("/s").unwrap();
        assert!(rate.chars().all(|c| c.is_ascii_digit() || c == ','), "{bar}");
        // It takes the room there is.
        assert!(bar.chars().count() > usize::from(columns) - 5, "{columns}: {bar}");
        for phase in ["checking", "planning", "verifying"] {
            assert!(lines.iter().any(|line| line.starts_with(phase)), "{phase}: {lines:?}");
        }
        // The last thing done to it is to take it away.
        assert!(shown.trim_end_matches('\r').ends_with("\u{1b}[2K"), "{:?}", &shown[shown.len() - 20..]);
        assert!(out.contains("reencrypted 20000 secrets") && !out.contains('\u{1b}'));
    }
}

#[test]
fn a_narrow_terminal_shows_figures_that_fit_it() {
    for columns in [40, 60] {
        let (shown, _) = shown(columns, MANY, &[], &[]);
        let lines = drawn(&shown);
        let widest = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}: {lines:?}");
        let figures = lines.iter().find(|line| line.starts_with("reencrypting ")).expect("figures");
        assert!(figures.contains("% ETA "), "{figures}");
    }
}

#[test]
fn no_colour_is_ever_used() {
    for environment in [&[][..], &[("NO_COLOR", "1")], &[("CLICOLOR_FORCE", "1")]] {
        let (shown, _) = shown(80, MANY, environment, &[]);
        // Colours and weights end with an m.
        assert!(!shown.contains("m ") || !shown.contains("\u{1b}[3"), "{shown:?}");
        assert!(!shown.split('\u{1b}').skip(1).any(|sequence| {
            sequence
                .trim_start_matches('[')
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
                .starts_with('m')
        }));
    }
}

#[test]
fn a_terminal_that_cannot_draw_gets_lines() {
    let (shown, _) = shown(80, 120, &[("TERM", "dumb")], &[]);
    assert_eq!(shown, "reencrypted 50 secrets\r\nreencrypted 100 secrets\r\nreencrypted 120 secrets\r\n");
}

#[test]
fn verbose_tells_each_phase_and_quiet_tells_nothing() {
    let (shown, out) = shown(80, 120, &[("TERM", "dumb")], &["--verbose"]);
    for phase in ["checking", "planning", "reencrypting", "verifying", "making durable"] {
        assert!(shown.lines().any(|line| line.starts_with(&format!("{phase}: "))), "{phase}: {shown}");
    }
    assert!(!out.is_empty());
    let (shown, out) = self::shown(80, 120, &[], &["--quiet"]);
    assert_eq!((shown.as_str(), out.as_str()), ("", ""));
}
