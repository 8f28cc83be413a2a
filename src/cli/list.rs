//! `list`.

use super::args::{List, WriteOut};
use super::{Exit, inputs, write_out};
use crate::etcd::escape;
use crate::kube::GroupResource;
use crate::rekey::Error;
use crate::rekey::inventory::visit;
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    resource: String,
    key: String,
    revision: String,
    current: bool,
    provider: String,
    key_name: String,
}

/// Runs the command.
pub fn run(args: &List) -> Exit {
    match rows(args) {
        Ok(rows) => print(&rows, args.common.write_out),
        Err(error) => write_out::error(&error, args.common.write_out),
    }
}

fn rows(args: &List) -> Result<Vec<Row>, Error> {
    let wanted = args.resource.as_deref().map(GroupResource::parse);
    let file = inputs::snapshot(&args.snapshot, args.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let rules = inputs::reading(args.encryption_config.as_deref(), &args.keys, &file, &source)?.rules;
    let mut rows = Vec::new();
    visit(&file, &source, &rules, |item| {
        if (item.current || args.revisions) && wanted.as_ref().is_none_or(|wanted| *wanted == item.resource) {
            rows.push(Row {
                resource: item.resource.to_string(),
                key: escape(item.record.kv.key),
                revision: item.record.revision.revision.to_string(),
                current: item.current,
                provider: item.seal.provider,
                key_name: item.seal.name,
            });
        }
        Ok(())
    })?;
    file.unchanged()?;
    rows.sort_by(|a, b| (&a.resource, &a.key).cmp(&(&b.resource, &b.key)));
    Ok(rows)
}

fn print(rows: &[Row], how: WriteOut) -> Exit {
    if how == WriteOut::Json {
        return write_out::json(&json!({ "objects": rows }));
    }
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let age = if row.current { "current" } else { "old" };
            [
                row.resource.clone(),
                row.key.clone(),
                row.revision.clone(),
                age.to_owned(),
                row.provider.clone(),
                row.key_name.clone(),
            ]
        })
        .collect();
    let header = ["RESOURCE", "KEY", "REVISION", "AGE", "PROVIDER", "KEY NAME"];
    write_out::text(&write_out::table(how == WriteOut::Table, header, &cells))
}
