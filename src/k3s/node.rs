//! The Node objects of servers, as far as a rotation looks at them.
//!
//! Source: kubernetes `apimachinery/pkg/apis/meta/v1/generated.proto`
//! (ObjectMeta: 1 name, 11 labels, 12 annotations); K3s
//! `pkg/secretsencrypt/config.go`.

use super::stage::State;
use crate::etcd::wire::fields;
use serde::Deserialize;
use std::collections::BTreeMap;

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const ANNOTATIONS: [(&str, Program); 2] =
    [("k3s.io/encryption-config-hash", Program::K3s), ("rke2.io/encryption-config-hash", Program::Rke2)];

/// Which program runs a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// K3s.
    K3s,
    /// RKE2.
    Rke2,
}

impl Program {
    /// The command's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
        }
    }
}

/// A server of the control plane, and the state it says it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The annotation's text.
    pub annotation: String,
    /// Whose annotation it is.
    pub program: Program,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    metadata: Meta,
}

impl Node {
    /// Reads a stored Node, in protobuf or JSON; `None` when it is no server
    /// of the control plane, or says nothing of a state.
    #[must_use]
    pub fn parse(stored: &[u8]) -> Option<Self> {
        let meta = match stored.strip_prefix(b"k8s\0") {
            Some(unknown) => protobuf(unknown)?,
            None => serde_json::from_slice::<Json>(stored).ok()?.metadata,
        };
        if meta.labels.get(CONTROL_PLANE).map(String::as_str) != Some("true") {
            return None;
        }
        let (annotation, program) = ANNOTATIONS
            .iter()
            .find_map(|(name, program)| Some((meta.annotations.get(*name)?.clone(), *program)))?;
        Some(Self { name: meta.name, annotation, program })
    }

    /// The state in its annotation.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        State::parse(&self.annotation)
    }
}

/// The content of a field of bytes.
fn bytes(message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    let named = fields(message).map_while(|field| field).filter(move |field| field.number == number);
    named.filter_map(|field| field.content.bytes())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `runtime.Unknown` 2 raw → Node 1 metadata.
fn protobuf(unknown: &[u8]) -> Option<Meta> {
    let raw = bytes(unknown, 2).next()?;
    let meta = bytes(raw, 1).next()?;
    // What is not there is empty, as everywhere in protobuf.
    let string = |message, number| bytes(message, number).next().map(text).unwrap_or_default();
    let map = |number| bytes(meta, number).map(|entry| (string(entry, 1), string(entry, 2))).collect();
    Some(Meta { name: string(meta, 1), labels: map(11), annotations: map(12) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        // Lengths from 128 on take a second byte.
        let length = if length < 128 { vec![length] } else { vec![length | 0x80, length >> 7] };
        [vec![number << 3 | 2], length, content.to_vec()].concat()
    }

    fn entry(key: &str, value: &str) -> Vec<u8> {
        [field(1, key.as_bytes()), field(2, value.as_bytes())].concat()
    }

    #[test]
    fn a_server_is_read_from_protobuf_and_json() {
        let meta = [
            field(1, b"n1"),
            field(11, &entry("node-role.kubernetes.io/control-plane", "true")),
            field(12, &entry("other", "x")),
            field(12, &entry("rke2.io/encryption-config-hash", "start-00")),
        ]
        .concat();
        let stored = [b"k8s\0".to_vec(), field(2, &field(1, &meta))].concat();
        let node = Node::parse(&stored).unwrap();
        assert_eq!((node.name.as_str(), node.program), ("n1", Program::Rke2));
        assert_eq!(node.state().unwrap().stage, "start");
        let json = br#"{"kind":"Node","metadata":{"name":"n2","labels":{"node-role.kubernetes.io/control-plane":"true"},"annotations":{"k3s.io/encryption-config-hash":"rotate-1"}}}"#;
        assert_eq!(Node::parse(json).unwrap().annotation, "rotate-1");
    }

    #[test]
    fn an_annotation_without_a_text_is_one_that_says_nothing_known() {
        let server = field(11, &entry("node-role.kubernetes.io/control-plane", "true"));
        for said in [entry("k3s.io/encryption-config-hash", ""), field(1, b"k3s.io/encryption-config-hash")] {
            let meta = [server.clone(), field(12, &said)].concat();
            let node = Node::parse(&[b"k8s\0".to_vec(), field(2, &field(1, &meta))].concat()).unwrap();
            assert_eq!((node.name.as_str(), node.annotation.as_str(), node.state()), ("", "", None));
        }
    }

    #[test]
    fn agents_and_silent_servers_are_none() {
        let json = br#"{"metadata":{"name":"n","annotations":{"k3s.io/encryption-config-hash":"rotate-1"}}}"#;
        assert_eq!(Node::parse(json), None);
        assert_eq!(Node::parse(b"k8s\0\xff"), None);
        assert_eq!(Node::parse(b""), None);
    }
}
