//! What the tests ask of a server: everything goes over the network, through the
//! `etcdctl` of the server's own release.

use crate::release::{json, succeeded};
use crate::server::Server;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// A key as a client sees it.
#[derive(PartialEq)]
pub struct KeyValue {
    /// The key; those of the fixtures are all text.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that wrote it: Kubernetes' resourceVersion.
    pub mod_revision: u64,
    /// The lease it lives on, or 0.
    pub lease: u64,
}

/// What a write did.
pub struct Written {
    /// The revision after it.
    pub revision: u64,
    /// Whether the conditions of a transaction held.
    pub succeeded: bool,
}

impl Server {
    /// Runs `etcdctl` on this server.
    pub fn etcdctl(&self, arguments: &[&str], input: &[u8]) -> Output {
        let by_tls = self.tls.as_ref().map(crate::server::Tls::for_clients).unwrap_or_default();
        let by_tls: Vec<&str> = by_tls.iter().map(String::as_str).collect();
        self.release.etcdctl(&self.endpoint(), &[arguments, &by_tls].concat(), input)
    }

    fn ask(&self, arguments: &[&str], input: &[u8]) -> Value {
        let asked = [arguments, &["--write-out", "json"]].concat();
        json(&format!("etcdctl {}", arguments.join(" ")), self.etcdctl(&asked, input))
    }

    fn say(&self, arguments: &[&str]) {
        succeeded(&format!("etcdctl {}", arguments.join(" ")), self.etcdctl(arguments, b""));
    }

    /// Every key, as it is now.
    pub fn everything(&self) -> Vec<KeyValue> {
        key_values(&self.ask(&["get", "", "--prefix"], b""))
    }

    /// The current revision.
    pub fn revision(&self) -> u64 {
        let answer = self.ask(&["get", "/is-anyone-there"], b"");
        answer["header"]["revision"].as_u64().expect("a revision")
    }

    /// A key as it was at a revision.
    pub fn at(&self, key: &str, revision: u64) -> KeyValue {
        let answer = self.ask(&["get", key, "--rev", &revision.to_string()], b"");
        let mut found = key_values(&answer);
        assert_eq!(found.len(), 1, "{key} at revision {revision}");
        found.remove(0)
    }

    /// Whether the server no longer answers for a revision.
    pub fn forgot(&self, revision: u64) -> bool {
        let output = self.etcdctl(&["get", "/", "--rev", &revision.to_string()], b"");
        let said = String::from_utf8_lossy(&output.stderr);
        !output.status.success() && said.contains("required revision has been compacted")
    }

    /// Whether a watch from a revision on is refused, as that is compacted.
    pub fn refuses_watch(&self, revision: u64) -> bool {
        let output = self.etcdctl(&["watch", "/", "--prefix", "--rev", &revision.to_string()], b"");
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains("required revision has been compacted")
    }

    /// HashKV over the history up to a revision.
    pub fn hash_kv(&self, revision: u64) -> u64 {
        let answer = self.ask(&["endpoint", "hashkv", "--rev", &revision.to_string()], b"");
        number(&answer[0]["HashKV"], "hash")
    }

    /// HashKV over the whole history. At a compacted revision this is the one
    /// to ask: 3.4 refuses that revision by number, and later releases answer
    /// with what they kept from before the compaction.
    pub fn hash_kv_now(&self) -> u64 {
        let answer = self.ask(&["endpoint", "hashkv"], b"");
        number(&answer[0]["HashKV"], "hash")
    }

    /// Writes a key; the value goes through standard input, so that it can be any bytes.
    pub fn put(&self, key: &str, value: &[u8]) -> Written {
        written(&self.ask(&["put", key], value))
    }

    /// Deletes a key that is there.
    pub fn delete(&self, key: &str) -> Written {
        let answer = self.ask(&["del", key], b"");
        assert_eq!(answer["deleted"], 1, "{key} was there to delete");
        written(&answer)
    }

    /// A transaction as the API server makes them: only if the key is still at the
    /// revision; `then` has one command a line.
    pub fn if_unchanged(&self, key: &str, revision: u64, then: &str) -> Written {
        let text = format!("mod(\"{key}\") = \"{revision}\"\n\n{then}\n\n\n");
        written(&self.ask(&["txn"], text.as_bytes()))
    }

    /// Compacts the history before a revision, and waits until it is gone from the file.
    pub fn compact(&self, revision: u64) {
        self.say(&["compact", &revision.to_string(), "--physical"]);
    }

    /// Rewrites the server's file without its free pages.
    pub fn defragment(&self) {
        self.say(&["defrag"]);
    }

    /// Takes a snapshot.
    pub fn save(&self, path: &Path) {
        self.say(&["snapshot", "save", path.to_str().expect("a path of ours is text")]);
    }

    /// The kinds of the alarms that are raised; 1 is NOSPACE.
    pub fn alarms(&self) -> Vec<u64> {
        let answer = self.ask(&["alarm", "list"], b"");
        list(&answer["alarms"]).iter().map(|alarm| number(alarm, "alarm")).collect()
    }

    /// Ends every alarm.
    pub fn disarm(&self) {
        self.say(&["alarm", "disarm"]);
    }

    /// The names of etcd's own users or roles (`what` is `user` or `role`).
    pub fn names(&self, what: &str) -> Vec<String> {
        let answer = self.ask(&[what, "list"], b"");
        let names = list(&answer[format!("{what}s")]);
        names.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// Writes a key that lives for so many seconds.
    pub fn put_for(&self, key: &str, seconds: u64) -> u64 {
        let lease = number(&self.ask(&["lease", "grant", &seconds.to_string()], b""), "ID");
        self.say(&["put", key, "short", "--lease", &format!("{lease:x}")]);
        lease
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        !key_values(&self.ask(&["get", key], b"")).is_empty()
    }

    /// The keys that live on a lease.
    pub fn keys_of_lease(&self, lease: u64) -> Vec<String> {
        let answer = self.ask(&["lease", "timetolive", &format!("{lease:x}"), "--keys"], b"");
        list(&answer["keys"]).iter().map(text).collect()
    }
}

fn written(answer: &Value) -> Written {
    // JSON leaves `succeeded` out where it is false.
    let succeeded = answer["succeeded"].as_bool().unwrap_or(false);
    Written { revision: number(&answer["header"], "revision"), succeeded }
}

fn key_values(answer: &Value) -> Vec<KeyValue> {
    let one = |kv: &Value| KeyValue {
        key: text(&kv["key"]),
        value: bytes(&kv["value"]),
        mod_revision: number(kv, "mod_revision"),
        lease: kv["lease"].as_u64().unwrap_or(0),
    };
    list(&answer["kvs"]).iter().map(one).collect()
}

/// A list, which JSON leaves out where it is empty.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(object: &Value, field: &str) -> u64 {
    object[field].as_u64().unwrap_or_else(|| panic!("no number {field} in {object}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap_or("")).expect("etcdctl prints base64")
}

fn text(value: &Value) -> String {
    String::from_utf8(bytes(value)).expect("a key that is text")
}
