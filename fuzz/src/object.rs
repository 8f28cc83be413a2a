//! Objects: whatever the bytes, an object is read as other decoders read it,
//! or there is none.

use etcd_rekey::k3s::node::Node;
use etcd_rekey::kube::KeyPath;
use etcd_rekey::kube::object::{Object, resource};
use prost::Message;

/// `runtime.Unknown`, for the other decoder.
#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// Holds the promise to a stored object and an etcd key.
pub fn check(input: &[u8]) {
    let (stored, etcd_key) = super::halves(input);
    let path = KeyPath::parse("/registry/", etcd_key);
    if let Some(node) = Node::parse(stored).filter(|_| stored.starts_with(b"k8s\0")) {
        // What is no UTF-8 is told with other characters.
        let there =
            |text: &str| text.contains('\u{fffd}') || text.is_empty() || contains(stored, text.as_bytes());
        assert!(there(&node.name) && there(&node.annotation), "a Node says what stands in it");
    }
    let Some(object) = Object::parse(stored) else { return };
    if let Some(path) = &path {
        let resource = resource(path, Some(&object));
        assert!(!path.group_known || resource == path.resource);
        let named = path.never_sealed || object.name == path.name;
        assert!(!object.fits(path) || (named && !object.kind.is_empty()));
    }
    if let Some(unknown) = stored.strip_prefix(b"k8s\0") {
        let judge = Unknown::decode(unknown).expect("the judge reads it as well").type_meta.unwrap_or_default();
        assert_eq!(
            (object.api_version.as_ref(), object.kind.as_ref()),
            (judge.api_version.as_str(), judge.kind.as_str())
        );
    } else if stored.starts_with(b"{") {
        // What is passed over here need not be what the judge takes: half a surrogate, as Go writes and reads it.
        let Ok(judge) = serde_json::from_slice::<serde_json::Value>(stored) else { return };
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        assert_eq!(object.kind, text(&judge["kind"]));
        assert_eq!(object.api_version, text(&judge["apiVersion"]));
        assert_eq!(object.name, text(&judge["metadata"]["name"]));
        assert_eq!(object.namespace, text(&judge["metadata"]["namespace"]));
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
