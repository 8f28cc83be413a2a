//! The metadata of an object out of its protobuf. Its fields are tested where
//! a whole object is (`secret.rs`).
//!
//! Source of the field numbers: kubernetes
//! `apimachinery/pkg/apis/meta/v1/generated.proto` (ObjectMeta,
//! OwnerReference, ManagedFieldsEntry, Time).

use super::{Map, Node, text};
use crate::etcd::wire::{Field, fields};
use jiff::Timestamp;

/// An entry of a map: 1 key, 2 value; what is empty may be left out.
pub fn entry(field: Field<'_>) -> Option<(String, &[u8])> {
    let (mut name, mut value) = ("", &[][..]);
    for field in fields(field.content.bytes()?) {
        let field = field?;
        match field.number {
            1 => name = field.content.text()?,
            2 => value = field.content.bytes()?,
            _ => {}
        }
    }
    Some((name.to_owned(), value))
}

/// ObjectMeta, with what kubectl shows of it.
pub fn object_meta(meta: &[u8]) -> Option<Map> {
    let mut map = Map::new();
    let (mut owners, mut finalizers, mut managed) = (Vec::new(), Vec::new(), Vec::new());
    for field in fields(meta) {
        let field = field?;
        let mut put = |name: &str, node: Node| map.insert(name.to_owned(), node);
        match field.number {
            number @ 1..=5 => {
                let name = ["name", "generateName", "namespace", "selfLink", "uid"];
                let name = name.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
                if let Some(value) = Some(field.content.text()?).filter(|value| !value.is_empty()) {
                    put(name, text(value));
                }
            }
            7 | 10 => {
                let value = field.content.int64()?;
                if value != 0 {
                    let name = if field.number == 7 { "generation" } else { "deletionGracePeriodSeconds" };
                    put(name, Node::Number(value.to_string()));
                }
            }
            8 | 9 => {
                let name = if field.number == 8 { "creationTimestamp" } else { "deletionTimestamp" };
                if let Some(when) = time(field.content.bytes()?)? {
                    put(name, text(&when));
                }
            }
            11 | 12 => {
                let name = if field.number == 11 { "labels" } else { "annotations" };
                let (key, value) = entry(field)?;
                let value = text(std::str::from_utf8(value).ok()?);
                if let Node::Map(of) = map.entry(name.to_owned()).or_insert_with(|| Node::Map(Map::new())) {
                    of.insert(key, value);
                }
            }
            13 => owners.push(Node::Map(owner(field.content.bytes()?)?)),
            14 => finalizers.push(text(field.content.text()?)),
            17 => managed.push(Node::Map(manager(field.content.bytes()?)?)),
            _ => {}
        }
    }
    for (name, list) in [("ownerReferences", owners), ("finalizers", finalizers), ("managedFields", managed)] {
        if !list.is_empty() {
            map.insert(name.to_owned(), Node::List(list));
        }
    }
    Some(map)
}

/// OwnerReference: 1 kind, 3 name, 4 uid, 5 apiVersion, 6 controller, 7 blockOwnerDeletion.
fn owner(reference: &[u8]) -> Option<Map> {
    let mut map = Map::new();
    for field in fields(reference) {
        let field = field?;
        let (name, node) = match field.number {
            1 => ("kind", text(field.content.text()?)),
            3 => ("name", text(field.content.text()?)),
            4 => ("uid", text(field.content.text()?)),
            5 => ("apiVersion", text(field.content.text()?)),
            6 => ("controller", Node::Bool(field.content.int64()? != 0)),
            7 => ("blockOwnerDeletion", Node::Bool(field.content.int64()? != 0)),
            _ => continue,
        };
        map.insert(name.to_owned(), node);
    }
    Some(map)
}

/// ManagedFieldsEntry: 1 manager, 2 operation, 3 apiVersion, 4 time, 6 fieldsType, 7 fieldsV1 {1 JSON},
/// 8 subresource.
fn manager(entry: &[u8]) -> Option<Map> {
    let mut map = Map::new();
    for field in fields(entry) {
        let field = field?;
        let (name, node) = match field.number {
            1 => ("manager", text(field.content.text()?)),
            2 => ("operation", text(field.content.text()?)),
            3 => ("apiVersion", text(field.content.text()?)),
            4 => match time(field.content.bytes()?)? {
                Some(when) => ("time", text(&when)),
                None => continue,
            },
            6 => ("fieldsType", text(field.content.text()?)),
            7 => {
                let json = fields(field.content.bytes()?).flatten().find(|field| field.number == 1);
                let json = json.map_or(Some(&b"{}"[..]), |field| field.content.bytes())?;
                ("fieldsV1", Node::of_json(&serde_json::from_slice(json).ok()?))
            }
            8 => ("subresource", text(field.content.text()?)),
            _ => continue,
        };
        if node.as_text() != Some("") {
            map.insert(name.to_owned(), node);
        }
    }
    Some(map)
}

/// Time: 1 seconds; an empty one is none.
#[allow(clippy::option_option, reason = "no time, and a time that is none, are two things")]
fn time(bytes: &[u8]) -> Option<Option<String>> {
    let mut seconds = None;
    for field in fields(bytes) {
        let field = field?;
        if field.number == 1 {
            seconds = Some(field.content.int64()?);
        }
    }
    match seconds {
        None => Some(None),
        Some(seconds) => Some(Some(Timestamp::from_second(seconds).ok()?.to_string())),
    }
}
