//! Command lines that are none, and those meant for other programs.

use super::{Exit, write_out};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write;

/// Groups of commands that K3s and etcdutl have and this program has not:
/// what stands behind them is the same.
#[must_use]
pub fn of_other_programs(mut words: Vec<OsString>) -> Vec<OsString> {
    let word = |number: usize| words.get(number).map(OsString::as_os_str);
    let is = |number: usize, text: &str| word(number) == Some(OsStr::new(text));
    if is(1, "secrets-encrypt") || (is(1, "snapshot") && is(2, "status")) {
        words.remove(1);
    }
    words
}

/// Tells what is wrong with a command line: one line, and what to do about it.
pub fn error(error: &clap::Error, words: &[OsString]) -> Exit {
    let (message, remedy) = told(error, words);
    // Whoever asked for JSON gets it, also of this.
    if asks_for_json(words) {
        let object = json!({ "error": {
            "kind": "usage", "message": message, "remedy": remedy, "exitCode": Exit::Usage.code(),
        }});
        return match write_out::json(&object) {
            Exit::Done => Exit::Usage,
            lost => lost,
        };
    }
    let _ = writeln!(std::io::stderr().lock(), "error: {message}\n  {remedy}");
    Exit::Usage
}

/// What is wrong, and the remedy.
fn told(error: &clap::Error, words: &[OsString]) -> (String, String) {
    // Without a command there is nothing wrong, but nothing to do either.
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return ("no command was given".to_owned(), "`etcd-rekey --help` lists the commands".to_owned());
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
    let suggested: Vec<_> =
        [ContextKind::SuggestedArg, ContextKind::SuggestedValue, ContextKind::SuggestedSubcommand]
            .into_iter()
            .flat_map(values)
            .collect();
    let valid = values(ContextKind::ValidValue);
    let help = match words.get(1).and_then(|word| word.to_str()).filter(|word| is_command(word)) {
        Some(command) => format!("`etcd-rekey {command} --help` shows every flag"),
        None => "`etcd-rekey --help` lists the commands".to_owned(),
    };
    let remedy = if !suggested.is_empty() {
        format!("did you mean {}? {help}", suggested.join(" or "))
    } else if !valid.is_empty() {
        format!("give one of {}", valid.join(", "))
    } else {
        help
    };
    (message, remedy)
}

fn is_command(word: &str) -> bool {
    use clap::CommandFactory;
    super::Args::command().find_subcommand(word).is_some()
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
        ] {
            assert_eq!(of_other_programs(words(theirs)), words(ours));
        }
    }
}
