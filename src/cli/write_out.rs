//! Results and errors, as text, tables or JSON.

use super::Exit;
use super::args::flags::WriteOut;
pub use super::table::table;
use crate::rekey::{Error, UnreadableValue};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufWriter, ErrorKind, Write};

/// Writes text to standard output.
pub fn text(text: &str) -> Exit {
    bytes(text.as_bytes())
}

/// Writes bytes to standard output.
pub fn bytes(bytes: &[u8]) -> Exit {
    stream(|out| out.write_all(bytes))
}

/// Has something written to standard output piece by piece. A reader that has
/// gone away is no error.
pub fn stream(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Exit {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            // Where that cannot be written either, the exit code is all there is.
            let _ = writeln!(
                std::io::stderr().lock(),
                "error: standard output: {error}\n  what was to be printed is lost; a file that was to be written is there"
            );
            // What is left in the buffer would be tried again, and fail again.
            let (_, _) = out.into_parts();
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

/// All that a quiet run says, on standard error.
pub fn warn(warnings: &[String]) -> Exit {
    for warning in warnings {
        let _ = writeln!(std::io::stderr().lock(), "warning: {warning}");
    }
    Exit::Done
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
    told(error, error.remedy(), how)
}

/// Tells an error of a command that writes: as [`error`], and that there is
/// nothing to be cleared away, where that is so.
pub fn unwritten(error: &Error, how: WriteOut) -> Exit {
    told(error, &remedy_of_unwritten(error.remedy(), error.left_something()), how)
}

/// The remedy of a command that writes.
#[must_use]
pub fn remedy_of_unwritten(remedy: &str, written: bool) -> String {
    if written { remedy.to_owned() } else { format!("{remedy}; nothing was written") }
}

fn told(error: &Error, remedy: &str, how: WriteOut) -> Exit {
    let (beside, before) = match error {
        Error::Unreadable { values, .. } | Error::NotForCluster { values, .. } => {
            (json!({ "unreadable": values }), unreadable(values))
        }
        Error::Verification { differences }
        | Error::NotProven { differences, .. }
        | Error::NotAsRecorded { differences } => {
            // One alone is in the message.
            let lines = if differences.len() > 1 { &differences[..] } else { &[] };
            (json!({ "differences": differences }), lines.iter().map(|d| format!("{d}\n")).collect())
        }
        _ => (json!({}), String::new()),
    };
    let (message, exit) = (error.to_string(), Exit::from(error));
    Told { kind: error.kind(), message: &message, remedy, exit }.tell(how, beside, &before)
}
