//! Promise: a real kube-apiserver on a real etcd serves from a rekeyed snapshot
//! what it served before: the same objects with the same resource versions, the
//! same lists; and it goes on from there.
//!
//! The programs are those of `ETCD36_BIN` and `KUBE_APISERVER`, which
//! scripts/test sets.

#![allow(dead_code, reason = "the modules are shared with tests/real_etcd.rs")]

#[path = "kube_apiserver/api_server.rs"]
mod api_server;
#[path = "real_etcd/client.rs"]
mod client;
#[path = "real_etcd/release.rs"]
mod release;
#[path = "kube_apiserver/served.rs"]
mod served;
#[path = "real_etcd/server.rs"]
mod server;
mod support;

use api_server::ApiServer;
use release::Release;
use serde_json::{Value, json};
use served::{assert_serves, manifest};
use server::Server;
use support::program::{Bench, Ran, run, text};
use support::{blocks, config, fixture};

fn secret(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"a": value}})
}

/// Rekeys a fixture, restores it, and has Kubernetes live on it.
fn kubernetes_lives_on(name: &str, provider: &str) {
    const SECRETS: &str = "/api/v1/namespaces/default/secrets";
    let bench = Bench::new();
    let new = bench.file("new.yaml", config(blocks(name), provider, "fresh:key", 0x42));
    let input = fixture(name, "snapshot.db");
    bench.reencrypt(&input, &new, Some(&fixture(name, "encryption-config.yaml")), &[]).expect(0);
    let mut etcd = Server::restored(Release::V36, &bench.path("etcd"), &bench.path("out.db"));
    etcd.disarm();
    let manifest = manifest(name);
    let mut api = ApiServer::start(&bench.path("api"), &etcd.endpoint(), &new);
    assert_serves(&api, name, &manifest);

    let created = api.send("POST", SECRETS, &secret("made-after", "one"));
    assert_eq!(created["data"]["a"], "b25l", "{created}");
    let path = format!("{SECRETS}/made-after");
    let patched = api.send("PATCH", &path, &json!({"stringData": {"a": "two"}}));
    assert_eq!(patched["data"]["a"], "dHdv", "{patched}");
    api.send("POST", SECRETS, &secret("gone-after", "x"));
    api.send("DELETE", &format!("{SECRETS}/gone-after"), &json!({}));
    // A secret that was sealed by the rekeying, changed and deleted by Kubernetes.
    let changed =
        api.send("PATCH", &format!("{SECRETS}/one-byte"), &json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(changed["metadata"]["labels"]["a"], "b", "{changed}");
    api.stop();

    etcd.compact(etcd.revision() - 1);
    etcd.defragment();
    etcd.stop();
    etcd.start();
    let api = ApiServer::start(&bench.path("api-again"), &etcd.endpoint(), &new);
    let mut after = manifest.clone();
    after["objects"].as_array_mut().unwrap().retain(|object| object["api"] != format!("{SECRETS}/one-byte"));
    let secrets = after["lists"][SECRETS].as_u64().unwrap();
    after["lists"][SECRETS] = json!(secrets + 1);
    assert_serves(&api, name, &after);
    assert_eq!(api.get(&[&path])[0]["data"]["a"], "dHdv");
    drop(api);

    let saved = bench.path("saved.db");
    etcd.save(&saved);
    let read: Ran = run(&["status", text(&saved), "--encryption-config", text(&new), "-w", "json"]).expect(0);
    assert_eq!(read.json()["unreadable"], json!([]));
}

macro_rules! fixtures {
    ($($test:ident: $folder:literal to $provider:literal),+) => {
        $(#[test] fn $test() { kubernetes_lives_on($folder, $provider); })+
    };
}

fixtures! {
    aescbc_to_secretbox: "kube-aescbc256" to "secretbox",
    rotated_to_aescbc: "kube-rotated" to "aescbc",
    aesgcm_to_aescbc: "kube-aesgcm" to "aescbc",
    secretbox_to_aesgcm: "kube-secretbox" to "aesgcm",
    plaintext_history_to_aesgcm: "kube-identity-then-aescbc" to "aesgcm",
    everything_to_secretbox: "kube-multi" to "secretbox",
    short_keys_to_aescbc: "kube-aes128-192" to "aescbc",
    compacted_to_aescbc: "kube-compacted-residue" to "aescbc",
    leases_and_alarm_to_aescbc: "kube-leases-auth-alarm" to "aescbc",
    large_pages_to_secretbox: "kube-page16k" to "secretbox",
    etcd34_to_aesgcm: "kube-etcd34" to "aesgcm"
}
