//! `get`.

use super::args::Get;
use super::args::flags::WriteOut;
use super::wanted::Wanted;
use super::{Exit, inputs, write_out};
use crate::etcd::escape;
use crate::etcd::history::Record;
use crate::k3s::RECORD;
use crate::kube::manifest::Node;
use crate::kube::resource::key_prefix;
use crate::kube::{KeyPath, typed_name};
use crate::rekey::Error;
use crate::rekey::inventory::{Seen, look};
use crate::rekey::source::{SnapshotFile, Source};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use zeroize::Zeroizing;

/// What was found under the key.
struct Found {
    about: Value,
    plain: Result<Zeroizing<Vec<u8>>, String>,
    /// The object, where it can be shown as one.
    object: Option<Node>,
    /// The snapshot has a record with keys, and no token was given for it.
    closed_record: bool,
}

impl Found {
    /// Why it does not open, and what to do about it.
    fn closed(&self, args: &Get) -> Option<Error> {
        let why = self.plain.as_ref().err()?.clone();
        Some(Error::NotOpened { key: escape(args.key.as_bytes()), why, record: self.closed_record })
    }
}

/// Runs the command.
pub fn run(args: &Get) -> Exit {
    match find(args).and_then(|found| show(args, &found)) {
        Ok(exit) => exit,
        Err(error) => write_out::error(&error, args.reading.common.write_out),
    }
}

fn find(args: &Get) -> Result<Found, Error> {
    let prefix = key_prefix(&args.reading.keys.etcd_prefix);
    let file = inputs::snapshot(&args.snapshot, args.reading.common.skip_hash_check)?;
    let source = inputs::verified(&file, false)?;
    let known = inputs::opened(&args.reading, &file, &source)?;
    let closed_record = known.cluster.is_none() && !known.records.is_empty();
    let wanted = Wanted::new(&prefix, &args.key);
    let (_, keys) = source.keys().map_err(|e| file.error(e))?;
    // The last that was written under each key that is meant, deletions too.
    let mut last = BTreeMap::new();
    for (number, entry) in (0..).zip(keys.entries()) {
        let entry = entry.map_err(|e| file.error(e))?;
        let record = Record::parse(number, &entry).map_err(|e| file.error(e))?;
        let met = args.revision.is_none_or(|asked| record.revision.revision.main <= asked);
        if met && wanted.means(record.kv.key) {
            last.insert(record.kv.key, (number, record));
        }
    }
    last.retain(|_, (_, record)| !record.revision.tombstone);
    let one = match last.remove(wanted.key.as_bytes()) {
        None if last.len() > 1 => {
            let keys = last.keys().map(|key| escape(key)).collect();
            return Err(Error::SeveralObjects { key: escape(args.key.as_bytes()), keys });
        }
        None => last.pop_first().map(|(_, one)| one),
        one => one,
    };
    let mut opened = Zeroizing::new(Vec::new());
    let found = one.map(|(number, record)| {
        let current = source.history.is_live(number);
        let seen = look(record, current, &known.rules, &mut opened);
        Found { closed_record, ..describe(record, current, seen, &prefix) }
    });
    file.unchanged()?;
    match found {
        Some(found) => Ok(found),
        None => Err(Error::NoSuchObject {
            key: escape(args.key.as_bytes()),
            elsewhere: elsewhere(&file, &source, &prefix, &args.key)?,
        }),
    }
}

/// Where else there is an object of the name that was typed: a secret, unless
/// a resource was typed with it.
fn elsewhere(
    file: &SnapshotFile,
    source: &Source<'_>,
    prefix: &str,
    typed: &str,
) -> Result<Vec<String>, Error> {
    let parts: Vec<&str> = typed.split('/').collect();
    let (resource, name) = match *parts {
        [name] | [_, name] if !name.is_empty() => ("secrets", name),
        [resource, _, name] if !resource.is_empty() => (resource, name),
        _ => return Ok(Vec::new()),
    };
    let (_, keys) = source.keys().map_err(|e| file.error(e))?;
    let mut found = BTreeSet::new();
    for (number, entry) in (0..).zip(keys.entries()) {
        let entry = entry.map_err(|e| file.error(e))?;
        let record = Record::parse(number, &entry).map_err(|e| file.error(e))?;
        let path = KeyPath::parse(prefix, record.kv.key).filter(|_| source.history.is_live(number));
        let Some(path) = path.filter(|path| path.name == name) else { continue };
        if let Some(namespace) = path.namespace.filter(|_| typed_name::means(resource, &path.resource)) {
            let place = format!("{namespace}/{name}");
            found.insert(if parts.len() == 3 { format!("{resource}/{place}") } else { place });
        }
    }
    Ok(found.into_iter().map(|place| escape(place.as_bytes())).collect())
}

fn describe(record: Record<'_>, current: bool, seen: Seen<'_, '_>, prefix: &str) -> Found {
    let kv = &record.kv;
    let mut about = json!({
        "resource": null,
        "key": escape(kv.key),
        "revision": record.revision.revision.to_string(),
        "createRevision": kv.create_revision,
        "version": kv.version,
        "lease": kv.lease,
        "current": current,
        "foreign": false,
        "provider": null,
        "keyName": null,
        "storedBytes": kv.value.len(),
        "bytes": null,
        "unreadable": null,
    });
    let (plain, object) = match seen {
        Seen::Value(item) => {
            about["resource"] = item.resource.to_string().into();
            about["provider"] = item.seal.provider.into();
            about["keyName"] = item.seal.name.into();
            about["bytes"] = json!(item.plain.as_ref().ok().map(|plain| plain.len()));
            about["unreadable"] = json!(item.plain.as_ref().err());
            let object =
                item.plain.as_ref().ok().and_then(|plain| Node::parse(plain, record.revision.revision.main));
            if let Some(object) = &object {
                about["object"] = outline(object);
            }
            (item.plain.map(|plain| Zeroizing::new(plain.to_vec())), object)
        }
        seen => {
            if let Seen::Foreign { looks_sealed, .. } = seen {
                about["foreign"] = true.into();
                let what = if kv.key.starts_with(RECORD) {
                    "the record of a K3s or RKE2 cluster, sealed with the server token"
                } else if looks_sealed {
                    "another tenant's, copied as it is, though its value looks sealed"
                } else {
                    "another tenant's, copied as it is"
                };
                about["note"] = format!("it is outside {prefix}: {what}").into();
            }
            (Ok(Zeroizing::new(kv.value.to_vec())), None)
        }
    };
    Found { about, plain, object, closed_record: false }
}

/// What may be shown of an object without revealing it. Annotations can hold
/// a whole copy of a Secret, so their names alone.
fn outline(object: &Node) -> Value {
    let meta = object.get("metadata");
    let of = |name: &str| meta.and_then(|meta| meta.get(name));
    let word = |node: Option<&Node>| node.and_then(Node::as_text).map(|text| escape(text.as_bytes()));
    let names = |name: &str| -> Vec<String> {
        of(name).into_iter().flat_map(Node::entries).map(|(name, _)| escape(name.as_bytes())).collect()
    };
    let labels = of("labels").into_iter().flat_map(Node::entries);
    let labels: serde_json::Map<String, Value> =
        labels.map(|(name, value)| (escape(name.as_bytes()), word(Some(value)).into())).collect();
    let data = object.data_sizes().into_iter();
    let data: Vec<_> =
        data.map(|(name, bytes)| json!({"key": escape(name.as_bytes()), "bytes": bytes})).collect();
    json!({
        "apiVersion": word(object.get("apiVersion")),
        "kind": word(object.get("kind")),
        "namespace": word(of("namespace")),
        "name": word(of("name")),
        "uid": word(of("uid")),
        "creationTimestamp": word(of("creationTimestamp")),
        "type": word(object.get("type")),
        "immutable": matches!(object.get("immutable"), Some(Node::Bool(true))),
        "labels": labels,
        "annotations": names("annotations"),
        "data": data,
    })
}

fn show(args: &Get, found: &Found) -> Result<Exit, Error> {
    let how = args.reading.common.write_out;
    let closed = found.closed(args);
    let plain = match closed {
        Some(error) if args.reveal => return Err(error),
        _ => found.plain.as_ref().ok().filter(|_| args.reveal),
    };
    Ok(match (plain, &found.object) {
        (plain, _) if how == WriteOut::Json => {
            let mut about = found.about.clone();
            if let Some(plain) = plain {
                use base64::Engine;
                about["value"] = base64::engine::general_purpose::STANDARD.encode(plain.as_slice()).into();
                about["manifest"] = json!(found.object);
            }
            write_out::json(&about)
        }
        (Some(_), Some(object)) if !args.raw => write_out::bytes(object.to_yaml().as_bytes()),
        // Raw to a file or pipe; a terminal gets nothing that could steer it.
        (Some(plain), _) if std::io::stdout().is_terminal() => {
            write_out::text(&format!("{}\n", plain.escape_ascii()))
        }
        (Some(plain), _) => write_out::bytes(plain),
        (None, _) => {
            let remedy = closed.map(|error| format!("\nto open it, {}\n", error.remedy()));
            write_out::text(&(about(&found.about, how == WriteOut::Table) + &remedy.unwrap_or_default()))
        }
    })
}

/// The metadata, for people.
fn about(about: &Value, boxed: bool) -> String {
    let word = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let of = |name: &str| word(&about[name]);
    let inside = |name: &str| word(&about["object"][name]);
    let age = if about["current"] == true { "current" } else { "superseded" };
    let seal = match (about["foreign"] == true, about["provider"].as_str()) {
        (true, _) => String::new(),
        (_, Some("identity")) => "nothing: it is plaintext".to_owned(),
        _ => format!("{} {}", of("provider"), of("keyName")),
    };
    let labels = about["object"]["labels"].as_object().into_iter().flatten();
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={}", word(value))).collect();
    let annotations = about["object"]["annotations"].as_array().into_iter().flatten();
    let annotations: Vec<_> = annotations.map(word).collect();
    let plain = if about["bytes"].is_null() { String::new() } else { format!(", {} opened", of("bytes")) };
    let mut rows: Vec<[String; 2]> = [
        ("resource", of("resource")),
        ("etcd key", of("key")),
        ("revision", format!("{}, {age}; version {}", of("revision"), of("version"))),
        ("created at", format!("revision {}", of("createRevision"))),
        ("sealed by", seal),
        ("tenant", of("note")),
        ("bytes", format!("{} stored{plain}", of("storedBytes"))),
        ("does not open", of("unreadable")),
        ("kind", format!("{} {}", inside("apiVersion"), inside("kind")).trim().to_owned()),
        ("uid", inside("uid")),
        ("created", inside("creationTimestamp")),
        ("type", inside("type")),
        ("immutable", if about["object"]["immutable"] == true { "true".into() } else { String::new() }),
        ("labels", labels.join(", ")),
        ("annotations", annotations.join(", ")),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| [name.to_owned(), value])
    .collect();
    if about["lease"] != 0 {
        rows.push(["lease".to_owned(), of("lease")]);
    }
    let mut out = write_out::table(boxed, ["FIELD", "VALUE"], &rows);
    let data = about["object"]["data"].as_array().into_iter().flatten();
    let data: Vec<_> = data.map(|entry| [word(&entry["key"]), word(&entry["bytes"])]).collect();
    if !data.is_empty() {
        out += "\n";
        out += &write_out::table(boxed, ["DATA KEY", "BYTES"], &data);
    }
    out
}
