//! A Secret out of its protobuf.
//!
//! Source of the field numbers: kubernetes `api/core/v1/generated.proto`
//! (Secret), `apimachinery/pkg/runtime/generated.proto` (Unknown).

use super::object_meta::{entry, object_meta};
use super::{Map, Node, text};
use crate::etcd::wire::fields;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// `runtime.Unknown` around a Secret: 1 type meta {1 apiVersion, 2 kind}, 2 raw.
pub fn of_unknown(unknown: &[u8]) -> Option<Map> {
    let (mut map, mut raw) = (Map::new(), None);
    for field in fields(unknown) {
        let field = field?;
        match field.number {
            1 => {
                for field in fields(field.content.bytes()?) {
                    let field = field?;
                    let name = match field.number {
                        1 => "apiVersion",
                        2 => "kind",
                        _ => continue,
                    };
                    map.insert(name.to_owned(), text(field.content.text()?));
                }
            }
            2 => raw = field.content.bytes(),
            _ => {}
        }
    }
    let is = |name: &str, wanted: &str| map.get(name).and_then(Node::as_text) == Some(wanted);
    if !(is("apiVersion", "v1") && is("kind", "Secret")) {
        return None;
    }
    secret(raw?, &mut map)?;
    Some(map)
}

/// Secret: 1 metadata, 2 data, 3 type, 5 immutable.
fn secret(raw: &[u8], map: &mut Map) -> Option<()> {
    let mut data = Map::new();
    for field in fields(raw) {
        let field = field?;
        match field.number {
            1 => {
                map.insert("metadata".to_owned(), Node::Map(object_meta(field.content.bytes()?)?));
            }
            2 => {
                let (name, value) = entry(field)?;
                let value = Zeroizing::new(STANDARD.encode(value));
                data.insert(name, Node::Text(value));
            }
            3 => {
                map.insert("type".to_owned(), text(field.content.text()?));
            }
            5 => {
                map.insert("immutable".to_owned(), Node::Bool(field.content.int64()? != 0));
            }
            _ => {}
        }
    }
    if !data.is_empty() {
        map.insert("data".to_owned(), Node::Map(data));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::wire::put_varint;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(number) << 3 | 2);
        put_varint(&mut out, u64::try_from(content.len()).unwrap());
        [out, content.to_vec()].concat()
    }

    fn number(number: u8, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(number) << 3);
        put_varint(&mut out, value);
        out
    }

    fn pair(field: u8, name: &str, value: &[u8]) -> Vec<u8> {
        bytes(field, &[bytes(1, name.as_bytes()), bytes(2, value)].concat())
    }

    fn unknown(raw: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, b"v1"), bytes(2, b"Secret"), bytes(9, b"later")].concat();
        [bytes(1, &type_meta), bytes(2, raw), bytes(3, b""), bytes(4, b"")].concat()
    }

    /// The Secret as JSON.
    fn shown(raw: &[u8]) -> Option<serde_json::Value> {
        Some(serde_json::to_value(Node::Map(of_unknown(&unknown(raw))?)).unwrap())
    }

    #[test]
    fn every_field_is_shown_by_its_name() {
        let time = |field, seconds| bytes(field, &[number(1, seconds), number(2, 5)].concat());
        let owner = [
            bytes(1, b"Deployment"),
            bytes(2, b"unused"),
            bytes(3, b"web"),
            bytes(4, b"u-2"),
            bytes(5, b"apps/v1"),
            number(6, 1),
            number(7, 0),
        ];
        let manager = [
            bytes(1, b"kubectl"),
            bytes(2, b"Update"),
            bytes(3, b"v1"),
            time(4, 1_700_000_000),
            bytes(6, b"FieldsV1"),
            bytes(7, &[bytes(2, b"no JSON"), bytes(1, b"{\"f:data\":{}}")].concat()),
            bytes(8, b"status"),
        ];
        let other = [bytes(1, b""), bytes(4, b""), bytes(7, b""), bytes(9, b"later")].concat();
        let meta = [
            bytes(1, b"name"),
            bytes(2, b"generated-"),
            bytes(3, b"space"),
            bytes(4, b"/self"),
            bytes(5, b"u-1"),
            bytes(6, b"unused"),
            number(7, 3),
            time(8, 1_600_000_000),
            time(9, 1_650_000_000),
            number(10, 30),
            pair(11, "label", b"l"),
            pair(11, "other", b"o"),
            pair(12, "annotation", b"a"),
            bytes(13, &owner.concat()),
            bytes(14, b"finalizer"),
            bytes(17, &manager.concat()),
            bytes(17, &other),
        ];
        let raw = [
            bytes(1, &meta.concat()),
            pair(2, "key", b"value"),
            pair(2, "none", b""),
            bytes(3, b"Opaque"),
            bytes(4, b"write only"),
            number(5, 1),
        ];
        let expected = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "immutable": true,
            "data": {"key": "dmFsdWU=", "none": ""},
            "metadata": {
                "name": "name",
                "generateName": "generated-",
                "namespace": "space",
                "selfLink": "/self",
                "uid": "u-1",
                "generation": 3,
                "creationTimestamp": "2020-09-13T12:26:40Z",
                "deletionTimestamp": "2022-04-15T05:20:00Z",
                "deletionGracePeriodSeconds": 30,
                "labels": {"label": "l", "other": "o"},
                "annotations": {"annotation": "a"},
                "ownerReferences": [{
                    "kind": "Deployment",
                    "name": "web",
                    "uid": "u-2",
                    "apiVersion": "apps/v1",
                    "controller": true,
                    "blockOwnerDeletion": false,
                }],
                "finalizers": ["finalizer"],
                "managedFields": [
                    {
                        "manager": "kubectl",
                        "operation": "Update",
                        "apiVersion": "v1",
                        "time": "2023-11-14T22:13:20Z",
                        "fieldsType": "FieldsV1",
                        "fieldsV1": {"f:data": {}},
                        "subresource": "status",
                    },
                    {"fieldsV1": {}},
                ],
            },
        });
        assert_eq!(shown(&raw.concat()), Some(expected));
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let meta = [bytes(1, b""), number(7, 0), number(10, 0), bytes(8, b""), bytes(9, &number(2, 5))];
        let raw = [bytes(1, &meta.concat()), number(5, 0)].concat();
        let expected =
            serde_json::json!({"apiVersion": "v1", "kind": "Secret", "immutable": false, "metadata": {}});
        assert_eq!(shown(&raw), Some(expected));
        // What is of another type is none.
        for wrong in
            [number(1, 5), bytes(5, b"x"), number(3, 1), bytes(1, &number(1, 1)), bytes(1, &bytes(7, b"x"))]
        {
            assert_eq!(shown(&wrong), None);
        }
        let below = [(bytes(1, b"v2"), bytes(2, b"Secret")), (bytes(1, b"v1"), bytes(2, b"Pod"))];
        for (version, kind) in below {
            assert!(of_unknown(&[bytes(1, &[version, kind].concat()), bytes(2, b"")].concat()).is_none());
        }
        assert!(of_unknown(&unknown(b"")[..16]).is_none());
    }

    #[test]
    fn numbers_keep_their_sign() {
        let raw = bytes(1, &number(7, u64::MAX));
        assert_eq!(shown(&raw).unwrap()["metadata"]["generation"], -1);
    }
}
