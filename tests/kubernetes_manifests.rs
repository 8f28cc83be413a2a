//! Promise: the manifests in docs/kubernetes are such as a real cluster takes,
//! and what the Job runs does its work.

#![allow(dead_code, reason = "the modules are shared with tests/real_etcd.rs")]

#[path = "kube_apiserver/api_server.rs"]
mod api_server;
#[path = "real_etcd/client.rs"]
mod client;
#[path = "real_etcd/release.rs"]
mod release;
#[path = "real_etcd/server.rs"]
mod server;
mod support;

use api_server::ApiServer;
use release::Release;
use serde_json::{Value, json};
use server::Server;
use std::path::Path;
use support::program::{Bench, Ran, command};
use support::{config, fixture};

fn manifest(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kubernetes").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn job() -> Value {
    serde_saphyr::from_str(&manifest("job.yaml")).unwrap()
}

/// Runs nothing, keeps nothing, and takes no field it does not know.
const STRICT: &str = "?dryRun=All&fieldValidation=Strict";

#[test]
fn a_real_api_server_takes_every_field() {
    let bench = Bench::new();
    let etcd = Server::fresh(Release::V36, &bench.path("etcd"));
    let plain = bench.file("plain.yaml", config(&[&["secrets"]], "identity", "", 0));
    let api = ApiServer::start(&bench.path("api"), &etcd.endpoint(), &plain);

    let jobs = format!("/apis/batch/v1/namespaces/default/jobs{STRICT}");
    let taken = api.post_yaml(&jobs, &manifest("job.yaml"));
    assert_eq!(taken["kind"], "Job", "{taken}");
    let typo = manifest("job.yaml").replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    let refused = api.post_yaml(&jobs, &typo);
    assert!(refused["message"].as_str().unwrap_or_default().contains("unknown field"), "{refused}");
    let policies = format!("/apis/networking.k8s.io/v1/namespaces/default/networkpolicies{STRICT}");
    let taken = api.post_yaml(&policies, &manifest("network-policy.yaml"));
    assert_eq!(taken["kind"], "NetworkPolicy", "{taken}");
    assert_eq!(taken["spec"]["podSelector"]["matchLabels"], job()["spec"]["template"]["metadata"]["labels"]);

    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict",
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    api.send("POST", "/api/v1/namespaces", &namespace);
    let mut pod = job()["spec"]["template"].clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("etcd-rekey");
    let pods = format!("/api/v1/namespaces/strict/pods{STRICT}");
    let admitted = api.post_yaml(&pods, &pod.to_string());
    assert_eq!(admitted["kind"], "Pod", "{admitted}");
    let root = pod.to_string().replace("\"runAsNonRoot\":true", "\"runAsNonRoot\":false");
    let refused = api.post_yaml(&pods, &root);
    assert!(refused["message"].as_str().unwrap_or_default().contains("PodSecurity"), "{refused}");
}

#[test]
fn the_container_is_held_to_its_volumes() {
    let spec = &job()["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["automountServiceAccountToken"], false);
    let image = manifest("Containerfile");
    assert!(image.contains("\nFROM scratch\n") && image.contains("\nUSER 65532:65532\n"), "{image}");
    assert_eq!(spec["securityContext"]["runAsUser"], 65532);
}

#[test]
fn what_the_job_runs_does_its_work() {
    let bench = Bench::new();
    let (work, keys) = (bench.path("work"), bench.path("keys"));
    std::fs::create_dir(&work).unwrap();
    std::fs::create_dir(&keys).unwrap();
    std::fs::copy(fixture("kube-aescbc256", "snapshot.db"), work.join("snapshot.db")).unwrap();
    std::fs::copy(fixture("kube-aescbc256", "encryption-config.yaml"), keys.join("enc.yaml")).unwrap();
    let args: Vec<String> = job()["spec"]["template"]["spec"]["containers"][0]["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arg| arg.as_str().unwrap().replace("/keys", keys.to_str().unwrap()))
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = Ran::from(command(&args).current_dir(&work).output().unwrap()).expect(0);
    assert!(ran.out.contains("verified: "), "{}", ran.out);
    for file in ["rekeyed.db", "new.yaml"] {
        assert!(work.join(file).is_file(), "{file}");
    }
}
