//! Results and errors, as text, tables or JSON.

use super::Exit;
use super::args::WriteOut;
use crate::rekey::{Error, UnreadableValue};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::json;
use std::io::Write;

/// Writes text to standard output. A reader that has gone away is no error.
pub fn text(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Writes one JSON object to standard output.
pub fn json<T: Serialize>(value: &T) -> Exit {
    match serde_json::to_string(value) {
        Ok(line) => {
            text(&(line + "\n"));
            Exit::Done
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            Exit::Unexpected
        }
    }
}

/// A table: `boxed` as etcdutl draws them, else plain columns.
#[must_use]
pub fn table<const N: usize>(boxed: bool, header: [&str; N], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_style(if boxed { presets::ASCII_FULL_CONDENSED } else { presets::NOTHING });
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    let drawn = table.to_string();
    let lines =
        drawn.lines().map(|line| if boxed { line } else { line.strip_prefix(' ').unwrap_or(line).trim_end() });
    lines.fold(String::new(), |out, line| out + line + "\n")
}

/// The rows of values that do not open.
#[must_use]
pub fn unreadable(values: &[UnreadableValue]) -> String {
    let rows: Vec<_> = values
        .iter()
        .map(|value| {
            let age = if value.current { "current" } else { "old" };
            [
                value.key.clone(),
                value.revision.clone(),
                age.to_owned(),
                value.provider.clone(),
                value.key_name.clone(),
                value.error.clone(),
            ]
        })
        .collect();
    table(false, ["KEY", "REVISION", "AGE", "PROVIDER", "KEY NAME", "ERROR"], &rows)
}

/// Tells an error: what and where, then what to do about it.
pub fn error(error: &Error, how: WriteOut) -> Exit {
    let exit = Exit::from(error);
    if how == WriteOut::Json {
        let mut object = json!({
            "error": {
                "kind": error.kind(),
                "message": error.to_string(),
                "remedy": error.remedy(),
                "exitCode": exit.code(),
            }
        });
        match error {
            Error::Unreadable { values, .. } => object["unreadable"] = json!(values),
            Error::Verification { differences } => object["differences"] = json!(differences),
            _ => {}
        }
        json(&object);
        return exit;
    }
    let mut err = std::io::stderr().lock();
    let details = match error {
        Error::Unreadable { values, .. } => unreadable(values),
        Error::Verification { differences } => differences.iter().map(|d| format!("{d}\n")).collect(),
        _ => String::new(),
    };
    let _ = write!(err, "{details}error: {error}\n  {}\n", error.remedy());
    exit
}
