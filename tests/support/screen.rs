//! Help, as it is seen on a screen.

use super::program::{Bench, Ran, command, run};
use super::schema::document;
use std::path::Path;
use std::process::Command;

/// So many lines a screen has, and so many columns.
const SCREEN: (usize, usize) = (40, 100);

pub fn help(words: &[&str]) -> String {
    let ran: Ran = command(words).env("COLUMNS", SCREEN.1.to_string()).output().unwrap().into();
    ran.expect(0).out
}

/// The help of a command, short and long, fits a screen, begins with what the
/// command does, and ends with an example.
#[track_caller]
pub fn fits_a_screen(words: &[&str]) {
    let of = |flag| help(&[words, &[flag]].concat());
    let (long, short) = (of("--help"), of("-h"));
    for text in [&long, &short] {
        assert!(text.lines().all(|line| line.chars().count() <= SCREEN.1), "{words:?}: {text}");
        let first = text.lines().next().unwrap();
        assert!(first.ends_with(|c: char| c.is_alphanumeric()) && !first.starts_with("Usage"), "{text}");
        let lines = text.lines().count();
        assert!(lines <= SCREEN.0, "{words:?}: {lines} lines\n{text}");
        let example = format!("etcd-rekey {}", words.join(" "));
        assert!(examples(text).last().unwrap().starts_with(&example), "{text}");
    }
    assert!(short.lines().count() <= long.lines().count());
}

/// The commands below "Example:", each in one line; nothing follows them.
pub fn examples(help: &str) -> Vec<String> {
    let (_, below) = help.rsplit_once("Example").expect("an example");
    let (_, lines) = below.split_once('\n').unwrap();
    let joined = lines.replace("\\\n", " ");
    joined.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Runs a line as a shell does, with the program in the path.
#[track_caller]
pub fn shell(bench: &Bench, line: &str) {
    let program = Path::new(env!("CARGO_BIN_EXE_etcd-rekey")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    let ran = shell.args(["-c", line]).current_dir(bench.dir.path()).env("PATH", path).output().unwrap();
    assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// The flags a command's help shows.
fn flags(words: &[&str]) -> Vec<String> {
    let help = help(&[words, &["--help"]].concat());
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let of = |line: &str| line.split([' ', '[']).find(|word| word.starts_with("--")).unwrap().to_owned();
    lines.map(of).collect()
}

/// Every flag of a command is in one of these documents.
#[track_caller]
pub fn flags_are_documented(words: &[&str], names: &[&str]) {
    let document: String = names.iter().map(|name| document(name)).collect();
    for flag in flags(words) {
        assert!(flag == "--help" || document.contains(&format!("`{flag}")), "{words:?}: {flag}");
    }
}

/// Whoever leaves the last letter of a flag away is led to it.
#[track_caller]
pub fn nearly_right_flags_are_suggested(words: &[&str]) {
    for flag in flags(words) {
        let wrong = &flag[..flag.len() - 1];
        let told = run(&[words, &[wrong]].concat()).expect(2).err;
        assert!(told.contains(&format!("did you mean {flag}")), "{words:?} {wrong}: {told}");
        assert_eq!(told.lines().count(), 2, "{told}");
    }
}
