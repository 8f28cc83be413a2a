//! The object inside a value, as far as needed to tell whether it is the one
//! its etcd key names.
//!
//! Values are protobuf (`k8s\0` and a `runtime.Unknown`), JSON, or CBOR.
//! Source: kubernetes `apimachinery/pkg/runtime/generated.proto` and
//! `pkg/runtime/serializer`.

use super::resource::{GroupResource, KeyPath};
use crate::etcd::wire::{Content, fields};
use serde::Deserialize;
use std::borrow::Cow;

/// The four bytes a protobuf object begins with.
const PROTOBUF: &[u8] = b"k8s\0";
/// The three bytes a CBOR object begins with (tag 55799).
const CBOR: &[u8] = b"\xd9\xd9\xf7";

/// Type and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object<'a> {
    /// `group/version`, or the version alone in the core group.
    pub api_version: Cow<'a, str>,
    /// The kind.
    pub kind: Cow<'a, str>,
    /// `metadata.name`.
    pub name: Cow<'a, str>,
    /// `metadata.namespace`.
    pub namespace: Cow<'a, str>,
}

impl<'a> Object<'a> {
    /// Parses a plaintext; `None` when it is no well-formed object.
    #[must_use]
    pub fn parse(plain: &'a [u8]) -> Option<Self> {
        if let Some(unknown) = plain.strip_prefix(PROTOBUF) {
            protobuf(unknown)
        } else if let Some(map) = plain.strip_prefix(CBOR) {
            cbor(map)
        } else if plain.first() == Some(&b'{') {
            json(plain)
        } else {
            None
        }
    }

    /// The API group: what stands before the slash of the version.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether this is the object a key names: its kind where the table knows
    /// one, and its name and namespace. The few that bear no name (address
    /// ranges, leases of servers) only need to be well-formed.
    #[must_use]
    pub fn fits(&self, path: &KeyPath<'_>) -> bool {
        if path.never_sealed {
            return !self.kind.is_empty();
        }
        path.kind.is_none_or(|kind| kind == self.kind)
            && !self.kind.is_empty()
            && self.name == path.name
            && self.namespace == path.namespace.unwrap_or("")
    }
}

/// The resource a value is kept under: the key's, or where the key leaves the
/// group open, with the group the object names.
#[must_use]
pub fn resource(path: &KeyPath<'_>, object: Option<&Object<'_>>) -> GroupResource {
    match object {
        Some(object) if !path.group_known => GroupResource::new(object.group(), &path.resource.resource),
        _ => path.resource.clone(),
    }
}

fn text(content: Content<'_>) -> Option<Cow<'_, str>> {
    content.text().map(Cow::Borrowed)
}

/// `runtime.Unknown`: 1 type meta {1 apiVersion, 2 kind}, 2 raw, 3 content
/// encoding, 4 content type; in raw: 1 object meta {1 name, 3 namespace}.
fn protobuf(unknown: &[u8]) -> Option<Object<'_>> {
    let mut object = Object::default();
    for field in fields(unknown) {
        let field = field?;
        match (field.number, field.content) {
            (1, Content::Bytes(type_meta)) => {
                for field in fields(type_meta) {
                    let field = field?;
                    match field.number {
                        1 => object.api_version = text(field.content)?,
                        2 => object.kind = text(field.content)?,
                        _ => {}
                    }
                }
            }
            (2, Content::Bytes(raw)) => {
                for field in fields(raw) {
                    let field = field?;
                    if let (1, Content::Bytes(meta)) = (field.number, field.content) {
                        object_meta(meta, &mut object);
                    }
                }
            }
            (3 | 4, Content::Bytes(_)) => {}
            _ => return None,
        }
    }
    (!object.kind.is_empty()).then_some(object)
}

/// Reads name and namespace. Field 1 of the few objects without metadata is
/// something else; they keep an empty name.
fn object_meta<'a>(meta: &'a [u8], object: &mut Object<'a>) {
    for field in fields(meta) {
        let Some(field) = field else { return };
        match (field.number, text(field.content)) {
            (1, Some(name)) => object.name = name,
            (3, Some(namespace)) => object.namespace = namespace,
            _ => {}
        }
    }
}

#[derive(Deserialize)]
struct JsonObject<'a> {
    #[serde(borrow, default, rename = "apiVersion")]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metadata: JsonMeta<'a>,
}

#[derive(Deserialize, Default)]
struct JsonMeta<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
}

fn json(plain: &[u8]) -> Option<Object<'_>> {
    let parsed: JsonObject<'_> = serde_json::from_slice(plain).ok()?;
    Some(Object {
        api_version: parsed.api_version,
        kind: parsed.kind,
        name: parsed.metadata.name,
        namespace: parsed.metadata.namespace,
    })
}

/// Kubernetes writes strings and map keys as CBOR byte strings.
fn cbor(map: &[u8]) -> Option<Object<'_>> {
    use ciborium::Value;
    fn is(key: &Value, name: &str) -> bool {
        key.as_text() == Some(name) || key.as_bytes().is_some_and(|bytes| bytes == name.as_bytes())
    }
    fn get<'v>(map: &'v [(Value, Value)], name: &str) -> Option<&'v Value> {
        map.iter().find(|(key, _)| is(key, name)).map(|(_, value)| value)
    }
    fn string(map: &[(Value, Value)], name: &str) -> String {
        match get(map, name) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Bytes(bytes)) => String::from_utf8(bytes.clone()).unwrap_or_default(),
            _ => String::new(),
        }
    }
    let mut rest = map;
    let value: Value = ciborium::from_reader(&mut rest).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let map = value.as_map()?;
    let meta = get(map, "metadata").and_then(Value::as_map).map_or(&[][..], Vec::as_slice);
    Some(Object {
        api_version: string(map, "apiVersion").into(),
        kind: string(map, "kind").into(),
        name: string(meta, "name").into(),
        namespace: string(meta, "namespace").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] =
        b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x3a\x0a\x1f\x0a\x07secret1\x12\x00\x1a\x07default\
        \x22\x00*\x03u-12\x008\x00\x12\x0f\x0a\x05mykey\x12\x06mydata\x1a\x06Opaque\x1a\x00\x22\x00";

    fn fits(plain: &[u8], key: &str) -> bool {
        let path = KeyPath::parse("/registry/", key.as_bytes()).unwrap();
        Object::parse(plain).is_some_and(|object| object.fits(&path))
    }

    #[test]
    fn a_protobuf_secret_fits_its_own_key_only() {
        assert!(fits(SECRET, "/registry/secrets/default/secret1"));
        for other in ["secrets/default/secret2", "secrets/other/secret1", "configmaps/default/secret1"] {
            assert!(!fits(SECRET, &format!("/registry/{other}")));
        }
    }

    #[test]
    fn a_cut_or_padded_object_is_none() {
        for end in 4..SECRET.len() {
            let cut = &SECRET[..end];
            // Cut between its top fields it is a shorter object; elsewhere it is none.
            assert!(Object::parse(cut).is_none() || cut.len() > 70 || cut.len() < 19, "{end}");
        }
        assert!(Object::parse(&[SECRET, b"\xff"].concat()).is_none());
        assert!(Object::parse(b"").is_none());
    }

    #[test]
    fn json_and_cbor_objects_fit_their_keys() {
        let json = br#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"a"},"spec":{"x":[1]}}"#;
        let key = "/registry/example.com/widgets/a/w";
        assert!(fits(&[&json[..], b"\n"].concat(), key));
        assert!(!fits(&json[..json.len() - 1], key));
        let value = ciborium::Value::Map(vec![
            (ciborium::Value::Bytes(b"kind".to_vec()), ciborium::Value::Bytes(b"Widget".to_vec())),
            (
                ciborium::Value::Bytes(b"metadata".to_vec()),
                ciborium::Value::Map(vec![
                    (ciborium::Value::Text("name".into()), ciborium::Value::Text("w".into())),
                    (ciborium::Value::Text("namespace".into()), ciborium::Value::Bytes(b"a".to_vec())),
                ]),
            ),
        ]);
        let mut cbor = CBOR.to_vec();
        ciborium::into_writer(&value, &mut cbor).unwrap();
        assert!(fits(&cbor, key));
        cbor.push(0);
        assert!(!fits(&cbor, key));
    }

    #[test]
    fn the_object_tells_the_group_where_its_key_does_not() {
        let object = Object::parse(br#"{"apiVersion":"example.com/v1","kind":"Novelty"}"#).unwrap();
        let core = Object::parse(br#"{"apiVersion":"v1","kind":"Novelty"}"#).unwrap();
        assert_eq!((object.group(), core.group()), ("example.com", ""));
        let path = |key: &'static str| KeyPath::parse("/registry/", key.as_bytes()).unwrap();
        let open = path("/registry/novelties/a/b");
        assert_eq!(resource(&open, Some(&object)), GroupResource::new("example.com", "novelties"));
        assert_eq!(resource(&open, None), GroupResource::new("", "novelties"));
        let known = path("/registry/secrets/a/b");
        assert_eq!(resource(&known, Some(&object)), GroupResource::new("", "secrets"));
    }

    #[test]
    fn protobuf_tells_version_and_kind() {
        let object = Object::parse(SECRET).unwrap();
        assert_eq!((object.api_version.as_ref(), object.kind.as_ref()), ("v1", "Secret"));
        assert_eq!((object.name.as_ref(), object.namespace.as_ref()), ("secret1", "default"));
    }

    #[test]
    fn an_object_without_a_name_fits_where_none_is_due() {
        let range = b"k8s\0\x0a\x15\x0a\x02v1\x12\x0fRangeAllocation\x12\x0e\x0a\x04\x0a\x00\x1a\x00\x12\x03a-b\x1a\x01x\x1a\x00\x22\x00";
        assert!(fits(range, "/registry/ranges/servicenodeports"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_object_or_none(mut plain: Vec<u8>, kind in 0..4usize) {
            let head: [&[u8]; 4] = [PROTOBUF, CBOR, b"{", b""];
            plain.splice(0..0, head[kind].iter().copied());
            let _ = Object::parse(&plain);
        }
    }
}
