//! Command lines that are none, and those meant for other programs.

use super::Exit;
use super::args::flags::WriteOut;
use super::write_out::Told;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};
use serde_json::json;
use std::ffi::{OsStr, OsString};

/// Groups of commands that K3s and etcdutl have and this program has not:
/// what stands behind them is the same.
#[must_use]
pub fn of_other_programs(mut words: Vec<OsString>) -> Vec<OsString> {
    let word = |number: usize| words.get(number).map(OsString::as_os_str);
    let is = |number: usize, text: &str| word(number) == Some(OsStr::new(text));
    if is(1, "secrets-encrypt") || (is(1, "snapshot") && is(2, "status")) {
        words.remove(1);
    }
    if is_help(&words) {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

fn is_help(words: &[OsString]) -> bool {
    words.get(1).is_some_and(|word| word == "help")
}

/// Tells those who want a snapshot restored what restores it.
#[must_use]
pub fn elsewhere(words: &[OsString]) -> Option<Exit> {
    let word = |number: usize| words.get(number).and_then(|word| word.to_str());
    let restore = matches!((word(1), word(2)), (Some("restore"), _) | (Some("snapshot"), Some("restore")));
    restore.then(|| {
        tell(
            words,
            "etcd-rekey restores nothing: etcdutl does, and K3s and RKE2 by themselves",
            "`etcdutl snapshot restore FILE --data-dir NEW_DATA_DIR`; `k3s server --cluster-reset --cluster-reset-restore-path=FILE`; every run ends with the lines for its output, and `etcd-rekey snapshot rehearse FILE` tries them out",
        )
    })
}

/// Tells what is wrong with a command line: one line, and what to do about it.
pub fn error(error: &clap::Error, words: &[OsString]) -> Exit {
    let (message, remedy) = told(error, words);
    tell(words, &message, &remedy)
}

/// Whoever asked for JSON gets it, also of this.
fn tell(words: &[OsString], message: &str, remedy: &str) -> Exit {
    let how = if asks_for_json(words) { WriteOut::Json } else { WriteOut::Simple };
    Told { kind: "usage", message, remedy, exit: Exit::Usage }.tell(how, json!({}), "")
}

/// What is wrong, and the remedy.
fn told(error: &clap::Error, words: &[OsString]) -> (String, String) {
    let program = super::Args::command();
    let (command, path) = meant(&program, words);
    let shows = if command.has_subcommands() { "lists the commands" } else { "shows every flag" };
    let help = format!("`{path} --help` {shows}");
    // Without a command there is nothing wrong, but nothing to do either.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return ("no command was given".to_owned(), help);
    }
    let text = error.render().to_string();
    // The first paragraph says it; names of missing flags stand in lines of their own.
    let lines = text.lines().take_while(|line| !line.is_empty() && !line.trim().starts_with('['));
    let message = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let message = message.trim_start_matches("error: ").to_owned();
    let values = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => vec![value.clone()],
        Some(ContextValue::Strings(values)) => values.clone(),
        _ => Vec::new(),
    };
    let named = values(ContextKind::SuggestedSubcommand).into_iter().map(|name| {
        // By the name the help has, should it be another one's that was nearest.
        command.find_subcommand(&name).map_or(name, |found| found.get_name().to_owned())
    });
    let misplaced = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::MissingRequiredArgument);
    let mut suggested = if misplaced { dashes_forgotten(command, words) } else { Vec::new() };
    let nearest =
        [ContextKind::SuggestedArg, ContextKind::SuggestedValue].into_iter().flat_map(values).chain(named);
    if suggested.is_empty() {
        suggested.extend(nearest);
    }
    suggested.dedup();
    let valid = values(ContextKind::ValidValue);
    let remedy = if !suggested.is_empty() {
        format!("did you mean {}? {help}", suggested.join(" or "))
    } else if !valid.is_empty() {
        format!("give one of {}", valid.join(", "))
    } else {
        help
    };
    (message, remedy)
}

/// Flags of which the dashes, or one of them, were forgotten.
fn dashes_forgotten(command: &Command, words: &[OsString]) -> Vec<String> {
    let meant = words.windows(2).filter_map(|pair| {
        // What stands behind a flag is its value.
        let [before, word] = pair else { return None };
        before.to_str().filter(|before| !before.starts_with('-'))?;
        let word = word.to_str().filter(|word| !word.starts_with("--"))?;
        let word = word.strip_prefix('-').unwrap_or(word);
        let (name, _) = word.split_once('=').unwrap_or((word, ""));
        let flag = command.get_arguments().any(|flag| !flag.is_hide_set() && flag.get_long() == Some(name));
        flag.then(|| format!("--{name}"))
    });
    meant.take(1).collect()
}

/// The command the words lead to, and what is typed to get there.
fn meant<'c>(program: &'c Command, words: &[OsString]) -> (&'c Command, String) {
    let mut at = (program, program.get_name().to_owned());
    for word in words.iter().skip(1) {
        let Some(next) = at.0.find_subcommand(word) else { break };
        at = (next, format!("{} {}", at.1, next.get_name()));
    }
    at
}

/// Whether a command line that could not be parsed asks for JSON.
#[must_use]
pub fn asks_for_json(words: &[OsString]) -> bool {
    let joined = ["-wjson", "-w=json", "--write-out=json"];
    let apart = |pair: &[OsString]| (pair[0] == "-w" || pair[0] == "--write-out") && pair[1] == "json";
    words.iter().any(|word| joined.iter().any(|json| word == json)) || words.windows(2).any(apart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn groups_of_other_programs_are_passed_over() {
        for (theirs, ours) in [
            ("etcd-rekey secrets-encrypt status S", "etcd-rekey status S"),
            ("etcd-rekey snapshot status S", "etcd-rekey status S"),
            ("etcd-rekey snapshot save S", "etcd-rekey snapshot save S"),
            ("etcd-rekey status S", "etcd-rekey status S"),
            ("etcd-rekey", "etcd-rekey"),
            ("etcd-rekey help", "etcd-rekey --help"),
            ("etcd-rekey help snapshot save", "etcd-rekey snapshot save --help"),
        ] {
            assert_eq!(of_other_programs(words(theirs)), words(ours));
        }
    }
}
