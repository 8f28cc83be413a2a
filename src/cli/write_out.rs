//! Results and errors, as text, tables or JSON.

use super::Exit;
use super::args::WriteOut;
use crate::rekey::{Error, UnreadableValue};
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::{ErrorKind, Write};

/// Writes text to standard output.
pub fn text(text: &str) -> Exit {
    bytes(text.as_bytes())
}

/// Writes bytes to standard output. A reader that has gone away is no error.
pub fn bytes(bytes: &[u8]) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            // Where that cannot be written either, the exit code is all there is.
            let _ = writeln!(
                std::io::stderr().lock(),
                "error: standard output: {error}\n  what was to be printed is lost; a file that was to be written is there"
            );
            Exit::Io
        }
        _ => Exit::Done,
    }
}

/// Writes one JSON object to standard output.
pub fn json<T: Serialize>(value: &T) -> Exit {
    match serde_json::to_string(value) {
        Ok(line) => text(&(line + "\n")),
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "error: {error}");
            Exit::Unexpected
        }
    }
}

/// A table: `boxed` as etcdutl draws them, else plain columns.
#[must_use]
pub fn table<const N: usize>(boxed: bool, header: [&str; N], rows: &[[String; N]]) -> String {
    if boxed {
        let mut table = Table::new();
        table.load_style(presets::ASCII_FULL_CONDENSED);
        table.set_header(header);
        for row in rows {
            table.add_row(row);
        }
        return table.to_string() + "\n";
    }
    let header = header.map(str::to_owned);
    let lines = || std::iter::once(&header).chain(rows);
    let wide: [usize; N] =
        std::array::from_fn(|i| lines().map(|row| row[i].chars().count()).max().unwrap_or(0));
    lines().fold(String::new(), |mut out, row| {
        for (i, cell) in row.iter().enumerate() {
            let wide = if i + 1 == N { 0 } else { wide[i] + 2 };
            let _ = write!(out, "{cell:wide$}");
        }
        out.push('\n');
        out
    })
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

/// An error as it is told: its name, what and where, what to do about it.
#[derive(Debug, Clone, Copy)]
pub struct Told<'t> {
    /// A short, stable name.
    pub kind: &'t str,
    /// What, and where.
    pub message: &'t str,
    /// What to do about it.
    pub remedy: &'t str,
    /// How the program ends.
    pub exit: Exit,
}

impl Told<'_> {
    /// Tells it, as an object with others beside it or as text with lines before it.
    pub fn tell(self, how: WriteOut, beside: Value, before: &str) -> Exit {
        let Self { kind, message, remedy, exit } = self;
        if how == WriteOut::Json {
            let mut object = beside;
            object["error"] =
                json!({"kind": kind, "message": message, "remedy": remedy, "exitCode": exit.code()});
            return match json(&object) {
                Exit::Done => exit,
                lost => lost,
            };
        }
        let _ = write!(std::io::stderr().lock(), "{before}error: {message}\n  {remedy}\n");
        exit
    }
}

/// Tells an error: what and where, then what to do about it.
pub fn error(error: &Error, how: WriteOut) -> Exit {
    let (beside, before) = match error {
        Error::Unreadable { values, .. } | Error::NotForCluster { values, .. } => {
            (json!({ "unreadable": values }), unreadable(values))
        }
        Error::Verification { differences } | Error::NotProven { differences } => {
            (json!({ "differences": differences }), differences.iter().map(|d| format!("{d}\n")).collect())
        }
        _ => (json!({}), String::new()),
    };
    let (message, exit) = (error.to_string(), Exit::from(error));
    Told { kind: error.kind(), message: &message, remedy: error.remedy(), exit }.tell(how, beside, &before)
}
