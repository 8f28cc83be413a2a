//! `list`.

use super::args::List;
use super::args::flags::WriteOut;
use super::filter::Filter;
use super::table::Columns;
use super::{Exit, inputs, write_out};
use crate::etcd::{Revision, escape};
use crate::rekey::Error;
use crate::rekey::inventory::visit;
use serde::Serialize;
use std::collections::HashMap;
use std::io::{self, Write};

/// An object, in a few bytes: its texts are made when it is printed.
struct Line<'a> {
    key: &'a [u8],
    revision: Revision,
    resource: usize,
    seal: usize,
    current: bool,
}

/// Texts that many lines share, each kept once.
#[derive(Default)]
struct Texts {
    numbers: HashMap<(String, String), usize>,
    texts: Vec<(String, String)>,
}

impl Texts {
    fn number(&mut self, text: (String, String)) -> usize {
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        let number = self.texts.len();
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }
}

/// A line as it is printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'r> {
    resource: &'r str,
    namespace: Option<String>,
    name: Option<String>,
    key: String,
    revision: String,
    current: bool,
    provider: &'r str,
    key_name: &'r str,
}

impl Row<'_> {
    fn cells(&self) -> [&str; 8] {
        [
            self.resource,
            self.namespace.as_deref().unwrap_or("-"),
            self.name.as_deref().unwrap_or("-"),
            &self.revision,
            if self.current { "current" } else { "old" },
            self.provider,
            self.key_name,
            &self.key,
        ]
    }
}

/// Runs the command.
pub fn run(args: &List) -> Exit {
    match list(args) {
        Ok(exit) => exit,
        Err(error) => write_out::error(&error, args.reading.common.write_out),
    }
}

fn list(args: &List) -> Result<Exit, Error> {
    let file = inputs::snapshot(&args.snapshot, args.reading.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = inputs::opened(&args.reading, &file, &source)?.rules;
    inputs::data_keys(&rules, &file, &source)?;
    let mut filter = Filter::new(args);
    let (mut lines, mut resources, mut seals) = (Vec::new(), Texts::default(), Texts::default());
    visit(&file, &source, &rules, |item| {
        if filter.takes(&item) {
            lines.push(Line {
                key: item.record.kv.key,
                revision: item.record.revision.revision,
                resource: resources.number((item.resource.to_string(), String::new())),
                seal: seals.number((item.seal.provider, item.seal.name)),
                current: item.current,
            });
        }
        Ok(())
    })?;
    let resource = |line: &Line<'_>| resources.texts.get(line.resource).map_or("", |text| text.0.as_str());
    lines.sort_by(|a, b| {
        (resource(a), a.key, a.revision.main, a.revision.sub).cmp(&(
            resource(b),
            b.key,
            b.revision.main,
            b.revision.sub,
        ))
    });
    file.unchanged()?;
    filter.resource_exists()?;
    let row = |line: &Line<'_>| {
        let (namespace, name) = filter.names(line.key);
        let escaped = |text: &str| escape(text.as_bytes());
        let (provider, key_name) =
            seals.texts.get(line.seal).map_or(("", ""), |seal| (seal.0.as_str(), seal.1.as_str()));
        Row {
            resource: resources.texts.get(line.resource).map_or("", |text| text.0.as_str()),
            namespace: namespace.map(escaped),
            name: name.map(escaped),
            key: escape(line.key),
            revision: line.revision.to_string(),
            current: line.current,
            provider,
            key_name,
        }
    };
    let rows = || lines.iter().map(row);
    Ok(write_out::stream(|out| match args.reading.common.write_out {
        WriteOut::Json => as_json(out, rows()),
        how => as_text(out, rows, how == WriteOut::Table, args.reading.messages.verbose),
    }))
}

fn as_json<'r>(out: &mut dyn Write, rows: impl Iterator<Item = Row<'r>>) -> io::Result<()> {
    out.write_all(b"{\"objects\":[")?;
    for (number, row) in rows.enumerate() {
        out.write_all(if number == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &row)?;
    }
    out.write_all(b"]}\n")
}

fn as_text<'r, R: Iterator<Item = Row<'r>>>(
    out: &mut dyn Write,
    rows: impl Fn() -> R,
    boxed: bool,
    verbose: bool,
) -> io::Result<()> {
    let header = ["RESOURCE", "NAMESPACE", "NAME", "REVISION", "AGE", "PROVIDER", "KEY", "ETCD KEY"];
    if verbose {
        return columns(out, rows, boxed, header, Row::cells);
    }
    let header: [&str; 7] = std::array::from_fn(|column| header[column]);
    columns(out, rows, boxed, header, |row| {
        let all = row.cells();
        std::array::from_fn(|column| all[column])
    })
}

fn columns<'r, const N: usize, R: Iterator<Item = Row<'r>>>(
    out: &mut dyn Write,
    rows: impl Fn() -> R,
    boxed: bool,
    header: [&'static str; N],
    cells: impl for<'c> Fn(&'c Row<'r>) -> [&'c str; N],
) -> io::Result<()> {
    let mut columns = Columns::new(boxed, header);
    for row in rows() {
        cells(&row).iter().enumerate().for_each(|(column, cell)| columns.fit(column, cell));
    }
    out.write_all(columns.head().as_bytes())?;
    for row in rows() {
        out.write_all(columns.row(cells(&row)).as_bytes())?;
    }
    out.write_all(columns.foot().as_bytes())
}
