//! An object as kubectl shows it: a Secret out of its protobuf, and whatever is
//! stored as JSON.

mod object_meta;
mod secret;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// A value of a manifest; texts are wiped.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A text.
    Text(Zeroizing<String>),
    /// Several.
    List(Vec<Node>),
    /// Fields by name, in their order.
    Map(BTreeMap<String, Node>),
}

/// Strings by name.
type Map = BTreeMap<String, Node>;

impl Node {
    /// Parses a plaintext, and leaves out what kubectl leaves out unless told
    /// otherwise: who manages which field.
    #[must_use]
    pub fn parse(plain: &[u8], resource_version: i64) -> Option<Self> {
        let mut object = Self::whole(plain, resource_version)?;
        if let Self::Map(map) = &mut object
            && let Some(Self::Map(meta)) = map.get_mut("metadata")
        {
            meta.remove("managedFields");
        }
        Some(object)
    }

    /// Parses a plaintext: a Secret in protobuf, or any object in JSON. The
    /// resource version is the revision it is stored at.
    #[must_use]
    pub fn whole(plain: &[u8], resource_version: i64) -> Option<Self> {
        let mut object = if let Some(unknown) = plain.strip_prefix(b"k8s\0") {
            secret::of_unknown(unknown)?
        } else if plain.first() == Some(&b'{') {
            match Self::of_json(&serde_json::from_slice(plain).ok()?) {
                Self::Map(map) => map,
                _ => return None,
            }
        } else {
            return None;
        };
        if let Some(Self::Map(meta)) = object.get_mut("metadata") {
            meta.insert("resourceVersion".to_owned(), text(&resource_version.to_string()));
        }
        Some(Self::Map(object))
    }

    fn of_json(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::Null,
            Value::Bool(is) => Self::Bool(*is),
            Value::Number(number) => Self::Number(number.to_string()),
            Value::String(string) => text(string),
            Value::Array(values) => Self::List(values.iter().map(Self::of_json).collect()),
            Value::Object(map) => {
                Self::Map(map.iter().map(|(name, value)| (name.clone(), Self::of_json(value))).collect())
            }
        }
    }

    /// A field, of a map.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(name),
            _ => None,
        }
    }

    /// The text it is.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The fields, of a map.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Self)> {
        let map = if let Self::Map(map) = self { Some(map) } else { None };
        map.into_iter().flatten()
    }

    /// Names and lengths of the data of a Secret.
    #[must_use]
    pub fn data_sizes(&self) -> Vec<(String, usize)> {
        let data = self.get("data").into_iter().flat_map(Self::entries);
        let size = |(name, value): (&String, &Self)| {
            let decoded = value.as_text().and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
            (name.clone(), decoded.map_or(0, |bytes| bytes.len()))
        };
        data.map(size).collect()
    }

    /// The text of a block in YAML, as kubectl lays it out.
    #[must_use]
    pub fn to_yaml(&self) -> Zeroizing<String> {
        // Room at once: a text that grew would leave itself behind.
        let mut out = Zeroizing::new(String::with_capacity(self.most()));
        self.block(0, &mut out);
        out
    }

    /// More bytes than the YAML has.
    fn most(&self) -> usize {
        let line = 64;
        match self {
            Self::Null | Self::Bool(_) => line,
            Self::Number(text) => line + text.len(),
            Self::Text(text) => line + text.len() * 6,
            Self::List(nodes) => nodes.iter().map(|node| node.most() + line).sum::<usize>() + line,
            Self::Map(map) => {
                map.iter().map(|(name, node)| name.len() * 6 + node.most() + line).sum::<usize>() + line
            }
        }
    }

    fn block(&self, indent: usize, out: &mut String) {
        let room = " ".repeat(indent);
        match self {
            Self::Map(map) => {
                for (name, node) in map {
                    // The first field of a list's item stands behind its dash.
                    if !out.ends_with("- ") {
                        *out += &room;
                    }
                    scalar(name, out);
                    out.push(':');
                    node.behind(indent, out);
                }
            }
            Self::List(nodes) => {
                for node in nodes {
                    *out += &room;
                    *out += "- ";
                    match node {
                        Self::Map(map) if !map.is_empty() => node.block(indent + 2, out),
                        _ => node.inline(out),
                    }
                }
            }
            _ => self.inline(out),
        }
    }

    /// What stands behind the name of a field.
    fn behind(&self, indent: usize, out: &mut String) {
        match self {
            Self::Map(map) if !map.is_empty() => {
                out.push('\n');
                self.block(indent + 2, out);
            }
            Self::List(nodes) if !nodes.is_empty() => {
                out.push('\n');
                self.block(indent, out);
            }
            _ => {
                out.push(' ');
                self.inline(out);
            }
        }
    }

    fn inline(&self, out: &mut String) {
        match self {
            Self::Null => *out += "null",
            Self::Bool(is) => *out += if *is { "true" } else { "false" },
            Self::Number(number) => *out += number,
            Self::Text(text) => scalar(text, out),
            // A list within a list, which no object has, is JSON.
            Self::List(_) | Self::Map(_) => {
                *out += &Zeroizing::new(serde_json::to_string(self).unwrap_or_default());
            }
        }
        out.push('\n');
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(is) => to.serialize_bool(*is),
            Self::Number(number) => {
                serde_json::from_str::<serde_json::Number>(number).unwrap_or(0.into()).serialize(to)
            }
            Self::Text(text) => to.serialize_str(text),
            Self::List(nodes) => {
                let mut list = to.serialize_seq(Some(nodes.len()))?;
                nodes.iter().try_for_each(|node| list.serialize_element(node))?;
                list.end()
            }
            Self::Map(fields) => {
                let mut map = to.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, node)| map.serialize_entry(name, node))?;
                map.end()
            }
        }
    }
}

/// A text, in quotes unless it can be nothing but a text: never anything that
/// could steer a terminal.
fn scalar(text: &str, out: &mut String) {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./=+-".contains(c))
        && !words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if plain {
        *out += text;
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => *out += "\\\"",
            '\\' => *out += "\\\\",
            '\n' => *out += "\\n",
            c if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' => out.push(c),
            c if u32::from(c) <= 0xffff => *out += &format!("\\u{:04x}", u32::from(c)),
            c => *out += &format!("\\U{:08x}", u32::from(c)),
        }
    }
    out.push('"');
}

fn text(text: &str) -> Node {
    Node::Text(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] =
        b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x3a\x0a\x1f\x0a\x07secret1\x12\x00\x1a\x07default\
        \x22\x00*\x03u-12\x008\x00\x12\x0f\x0a\x05mykey\x12\x06mydata\x1a\x06Opaque\x1a\x00\x22\x00";

    #[test]
    fn a_secret_is_shown_as_kubectl_shows_it() {
        let node = Node::parse(SECRET, 42).unwrap();
        let yaml = "apiVersion: v1\ndata:\n  mykey: bXlkYXRh\nkind: Secret\nmetadata:\n  name: secret1\n  \
                    namespace: default\n  resourceVersion: \"42\"\n  uid: u-1\ntype: Opaque\n";
        assert_eq!(node.to_yaml().as_str(), yaml);
        assert_eq!(node.data_sizes(), [("mykey".to_owned(), 6)]);
        let json = serde_json::to_value(&node).unwrap();
        assert_eq!(json["data"]["mykey"], "bXlkYXRh");
    }

    #[test]
    fn lists_texts_and_numbers_keep_their_kind() {
        let json = br#"{"kind":"W","metadata":{"managedFields":[1]},"a":[{"b":"1","c":[]},"x: y",{}],"e":{},"f":{"g":null,"h":true},"i":[[1]],"n":1.5,"t":"yes","z":"a\u001bb"}"#;
        let node = Node::parse(json, 1).unwrap();
        let yaml = node.to_yaml();
        let expected = "a:\n- b: \"1\"\n  c: []\n- \"x: y\"\n- {}\ne: {}\nf:\n  g: null\n  h: true\ni:\n- [1]\nkind: W\nmetadata:\n  resourceVersion: \"1\"\n\
                        \"n\": 1.5\nt: \"yes\"\nz: \"a\\u001bb\"\n";
        assert_eq!(yaml.as_str(), expected);
        assert_eq!(yaml.capacity(), node.most(), "it never grew");
    }

    #[test]
    fn room_is_made_for_the_longest_form_of_a_text() {
        let of = |json: &str| Node::of_json(&serde_json::from_str(json).unwrap()).most();
        // 64 for whatever it is, six for each byte of a text that may be escaped.
        for (json, most) in [
            ("null", 64),
            ("true", 64),
            ("12.5", 64 + 4),
            ("\"abc\"", 64 + 18),
            ("[]", 64),
            ("[1,\"ab\"]", 64 + (65 + 64) + (76 + 64)),
            ("{}", 64),
            ("{\"abc\":1,\"d\":\"ab\"}", 64 + (18 + 65 + 64) + (6 + 76 + 64)),
        ] {
            assert_eq!(of(json), most, "{json}");
        }
    }

    #[test]
    fn other_kinds_in_protobuf_are_not_guessed_at() {
        let pod = [&b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x00"[..]].concat();
        assert!(Node::parse(&pod, 1).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_or_not(mut plain: Vec<u8>, kind in 0..3usize) {
            let head: [&[u8]; 3] = [b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12", b"{", b""];
            plain.splice(0..0, head[kind].iter().copied());
            if let Some(node) = Node::parse(&plain, 1) {
                let _ = node.to_yaml();
            }
        }

        #[test]
        fn texts_come_back_from_yaml(text in "\\PC{0,20}|[a-z0-9:#'\"\\\\\n -]{0,12}") {
            let mut out = String::new();
            scalar(&text, &mut out);
            let back: String = serde_saphyr::from_str(&out).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
