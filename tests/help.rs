//! Promise: the help of each command fits a screen, begins with what the
//! command does, and ends with examples that work; what the program prints of
//! its own command line is whole.

mod support;

use std::path::Path;
use support::program::{Bench, run, text};
use support::screen::{
    examples, fits_a_screen, flags_are_documented, help, nearly_right_flags_are_suggested, shell,
};
use support::{fixture, folder};

const COMMANDS: [&str; 13] = [
    "reencrypt",
    "rotate-keys",
    "prepare",
    "rotate",
    "enable",
    "disable",
    "verify",
    "check",
    "status",
    "list",
    "get",
    "completions",
    "man",
];

#[test]
fn help_fits_a_screen_begins_with_what_the_command_does_and_ends_with_an_example() {
    for name in COMMANDS {
        fits_a_screen(&[name]);
    }
    assert!(help(&["reencrypt", "-h"]).lines().count() < help(&["reencrypt", "--help"]).lines().count());
    assert!(help(&["--help"]).lines().count() <= 40);
}

#[test]
fn every_command_is_in_the_program_s_help() {
    let program = help(&["--help"]);
    for name in COMMANDS {
        assert!(program.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))), "{name}");
    }
}

#[test]
fn every_flag_is_documented() {
    for name in COMMANDS {
        flags_are_documented(&[name], &["flags.md"]);
    }
}

#[test]
fn a_flag_that_is_nearly_right_leads_to_the_right_one_in_every_command() {
    for name in COMMANDS {
        nearly_right_flags_are_suggested(&[name]);
    }
}

/// The files the examples name.
fn at_hand(bench: &Bench, name: &str) {
    let copy = |from: &Path, to: &str| std::fs::copy(from, bench.path(to)).unwrap();
    let rotated = folder("kube-rotated");
    for (from, to) in [
        ("snapshot.db", "snapshot.db"),
        ("new.yaml", "new.yaml"),
        ("old.yaml", "old.yaml"),
        ("encryption-config.yaml", "enc.yaml"),
    ] {
        copy(&rotated.join(from), to);
    }
    let cluster = if name == "enable" { "k3s-disabled" } else { "k3s-reencrypt_finished" };
    copy(&fixture(cluster, "snapshot.db"), "on-demand-server-1");
    copy(&fixture(cluster, "token"), "token");
}

#[test]
fn every_example_works() {
    for name in COMMANDS {
        let bench = Bench::new();
        at_hand(&bench, name);
        let before: &[&str] = match name {
            "rotate" => &[
                "etcd-rekey prepare on-demand-server-1 --token-file token -o prepared",
                "etcd-rekey prepare --encryption-config enc.yaml --write-config prepared.yaml",
            ],
            "verify" => &[
                "etcd-rekey reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o rekeyed.db --report audit.json",
            ],
            _ => &[],
        };
        for line in before {
            shell(&bench, line);
        }
        let text = help(&[name, "--help"]);
        let examples = examples(&text);
        assert!(!examples.is_empty(), "{text}");
        for example in examples {
            assert!(example.starts_with(&format!("etcd-rekey {name}")), "{example}");
            // Each example stands for itself.
            let _ = std::fs::remove_file(bench.path("rekeyed.db"))
                .or_else(|error| if name == "verify" { Err(error) } else { Ok(()) });
            if name == "verify" && !bench.path("rekeyed.db").exists() {
                shell(&bench, &format!("{} --overwrite", before[0]));
            }
            shell(&bench, &example);
        }
    }
}

#[test]
fn words_that_are_nearly_right_lead_to_the_right_one() {
    for (words, hint) in [
        (&["reencrypt", "a", "--outptu", "b"][..], "--output"),
        (&["chekc", "a"], "check"),
        (&["list", "a", "--namespaces", "b"], "--namespace"),
        (&["status", "a", "-w", "jsno"], "json"),
    ] {
        let ran = run(words).expect(2);
        assert!(ran.err.contains(hint), "{words:?}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 2, "{}", ran.err);
        assert!(ran.err.starts_with("error: ") && ran.out.is_empty());
    }
    let missing = run(&["reencrypt"]).expect(2);
    assert!(missing.err.contains("--output <FILE>") && missing.err.contains("reencrypt --help"));
    assert_eq!(
        run(&[]).expect(2).err,
        "error: no command was given\n  `etcd-rekey --help` lists the commands\n"
    );
}

#[test]
fn help_may_be_asked_for_as_a_command() {
    assert_eq!(run(&["help"]).expect(0).out, help(&["--help"]));
    for name in COMMANDS {
        assert_eq!(run(&["help", name]).expect(0).out, help(&[name, "--help"]), "{name}");
    }
    assert!(run(&["help", "nonsense"]).expect(2).err.contains("nonsense"));
    assert!(help(&["completions", "--help"]).contains("source <(etcd-rekey completions bash)"));
}

#[test]
fn a_flag_without_its_dashes_leads_to_the_flag() {
    for words in [
        &["status", "a", "token-file", "b"][..],
        &["status", "a", "-token-file", "b"],
        &["status", "a", "-token-file=b"],
        &["rotate-keys", "a", "token-file", "b", "-o", "c"],
    ] {
        let ran = run(words).expect(2);
        assert!(ran.err.contains("did you mean --token-file?"), "{words:?}: {}", ran.err);
    }
}

#[test]
fn the_words_of_etcdutl_and_of_k3s_are_understood() {
    let snapshot = fixture("kube-rotated", "snapshot.db");
    let ours = run(&["status", text(&snapshot)]).expect(0).out;
    for words in [
        &["snapshot", "status", text(&snapshot)][..],
        &["secrets-encrypt", "status", text(&snapshot)],
        &["status", text(&snapshot), "--write-out", "fields"],
        &["status", text(&snapshot), "-w", "text"],
    ] {
        assert_eq!(run(words).expect(0).out, ours, "{words:?}");
    }
}

#[test]
fn there_is_a_manual_page_a_command() {
    let bench = Bench::new();
    run(&["man", "--dir", text(bench.dir.path())]).expect(0);
    let mut expected: Vec<_> = COMMANDS.iter().map(|name| format!("etcd-rekey-{name}.1")).collect();
    expected.push("etcd-rekey.1".to_owned());
    let names = bench.names();
    for page in expected {
        assert!(names.contains(&page), "{page}: {names:?}");
        let text = std::fs::read_to_string(bench.path(&page)).unwrap();
        assert!(
            text.contains(".SH NAME") && text.contains(".SH SYNOPSIS") && text.contains("xample"),
            "{page}"
        );
    }
    let page = run(&["man", "reencrypt"]).expect(0).out;
    assert_eq!(page, std::fs::read_to_string(bench.path("etcd-rekey-reencrypt.1")).unwrap());
    // The pages have the text the help has no room for.
    assert!(page.contains("no secret is in it"));
    assert!(run(&["man", "nonsense"]).expect(2).err.contains("nonsense"));
    assert!(run(&["man", "--dir", "/no/such/directory"]).expect(5).err.contains("/no/such/directory"));
}

#[test]
fn every_shell_gets_completions_of_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).expect(0).out;
        for name in COMMANDS {
            assert!(script.contains(name), "{shell}: {name}");
        }
        assert!(script.contains("etcd-prefix"), "{shell}");
    }
    let bench = Bench::new();
    // As bash asks: the words so far, the one to be completed, the one before.
    let asks = "#!/bin/bash
set -e
. ./c
try() {
    COMP_WORDS=(etcd-rekey $1 $2); COMP_CWORD=2; COMPREPLY=()
    $(complete -p etcd-rekey | sed 's/.*-F \\([^ ]*\\).*/\\1/') etcd-rekey $2 $1
    [[ \" ${COMPREPLY[*]} \" == *\" $3 \"* ]] || { echo $1 $2: ${COMPREPLY[*]} >&2; exit 1; }
}
try status --to --token-file
try rotate-keys --enc --encryption-config
try check --s --skip-hash-check
";
    bench.file("asks", asks);
    shell(&bench, "etcd-rekey completions bash > c && bash -n c && bash asks");
}
