//! What an API server serves, held against a fixture's manifest.

use crate::api_server::ApiServer;
use crate::support::fixture;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What the manifests hold of an object: SHA-256 of its JSON, keys sorted, no
/// spaces.
pub fn sha256(object: &Value) -> String {
    etcd_rekey::etcd::snapshot::hex(&Sha256::digest(object.to_string().as_bytes()))
}

pub fn manifest(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(name, "manifest.json")).unwrap()).unwrap()
}

/// Every object and list of a manifest is served as it was.
pub fn assert_serves(api: &ApiServer, name: &str, manifest: &Value) {
    let objects = manifest["objects"].as_array().unwrap();
    let paths: Vec<&str> = objects.iter().map(|object| object["api"].as_str().unwrap()).collect();
    let served = api.get(&paths);
    assert_eq!(served.len(), paths.len(), "{name}");
    for (expected, object) in objects.iter().zip(&served) {
        let path = &expected["api"];
        assert_eq!(
            object["metadata"]["resourceVersion"], expected["resourceVersion"],
            "{name} {path}: {object}"
        );
        assert_eq!(sha256(object), expected["object_sha256"], "{name} {path}: {object}");
    }
    let lists = manifest["lists"].as_object().unwrap();
    let paths: Vec<&str> = lists.keys().map(String::as_str).collect();
    for ((path, count), list) in lists.iter().zip(api.get(&paths)) {
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{name} {path}: {list}"));
        assert_eq!(items.len(), usize::try_from(count.as_u64().unwrap()).unwrap(), "{name} {path}");
    }
}
