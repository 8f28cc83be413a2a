//! What stands in for the machines a document is about: real etcds and real
//! kube-apiservers.

use crate::api_server::ApiServer;
use crate::release::Release;
use crate::served::{assert_serves, manifest, sha256};
use crate::server::Server;
use crate::support::clusters::Cluster;
use crate::support::fixture;
use crate::walk::Walk;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A cluster that was restored from a snapshot.
pub struct Restored {
    api: ApiServer,
    _etcd: Server,
}

impl Restored {
    /// How many secrets it serves.
    pub fn secrets(&self) -> usize {
        self.all_secrets().len()
    }

    fn all_secrets(&self) -> Vec<Value> {
        self.api.get(&["/api/v1/secrets"])[0]["items"].as_array().unwrap().clone()
    }
}

/// Restores a snapshot, and has kube-apiserver read it by a configuration; it
/// is ready only when it can read every secret. `home` must not exist.
pub fn serves_from(snapshot: &Path, config: &Path, home: &Path) -> Restored {
    std::fs::create_dir(home).unwrap();
    let etcd = Server::restored(Release::V36, &home.join("etcd"), snapshot);
    let api = ApiServer::start(&home.join("api"), &etcd.endpoint(), config);
    Restored { api, _etcd: etcd }
}

/// Does with a snapshot what a restore by K3s does with it: etcd restores it, the
/// token opens its record (Go's cryptography does that here), and
/// kube-apiserver reads the secrets by the configuration in there.
pub fn serves_as_k3s_would(cluster: &Cluster, snapshot: &Path, home: &Path) {
    let config = home.with_extension("json");
    std::fs::write(&config, cluster.config(snapshot)).unwrap();
    assert_eq!(cluster.stage(snapshot), "reencrypt_finished");
    let restored = serves_from(snapshot, &config, home);
    let served = restored.all_secrets();
    let expected = cluster.manifest();
    assert!(served.len() >= expected.len() && !expected.is_empty(), "{} secrets", served.len());
    for (name, secret) in expected {
        // K3s rewrites this one when it likes.
        if name == "kube-system/k3s-serving" {
            continue;
        }
        let (namespace, own) = name.split_once('/').unwrap();
        let same =
            |item: &&Value| item["metadata"]["namespace"] == namespace && item["metadata"]["name"] == own;
        let found = served.iter().find(same).unwrap_or_else(|| panic!("{name} is not served"));
        assert_eq!(found["metadata"]["resourceVersion"], secret["resourceVersion"], "{name}");
        let data = found.get("data").cloned().unwrap_or_else(|| serde_json::json!({}));
        assert_eq!(sha256(&data), secret["sha256"], "{name}");
    }
}

/// Three control planes as kubeadm makes them: manifests, a configuration and
/// a data directory each. Where a kubelet would start what its manifests say,
/// the test does.
pub struct ControlPlanes {
    fixture: &'static str,
    home: PathBuf,
    /// The etcd from before, until it is stopped.
    before: Option<Server>,
    members: Vec<Server>,
    running: bool,
}

impl ControlPlanes {
    /// Control planes with the content of a fixture. `home` must not exist.
    pub fn of(name: &'static str, config: &str, home: &Path) -> Self {
        std::fs::create_dir(home).unwrap();
        let before = Server::restored(Release::V36, &home.join("before"), &fixture(name, "snapshot.db"));
        let members = Server::members(Release::V36, &home.join("members"), 3, &[]);
        for (number, member) in members.iter().enumerate() {
            let plane = home.join(number.to_string());
            std::fs::create_dir_all(plane.join("manifests")).unwrap();
            for manifest in ["etcd.yaml", "kube-apiserver.yaml"] {
                std::fs::write(plane.join("manifests").join(manifest), "kind: Pod\n").unwrap();
            }
            std::fs::copy(fixture(name, config), plane.join("enc.yaml")).unwrap();
            std::fs::create_dir_all(member.data().join("member")).unwrap();
        }
        Self { fixture: name, home: home.to_owned(), before: Some(before), members, running: false }
    }

    fn plane(&self, number: usize) -> PathBuf {
        self.home.join(number.to_string())
    }

    /// Sits down at a control plane, and sets what the document says to set.
    pub fn enter(&self, walk: &mut Walk, number: usize) {
        let (plane, member) = (self.plane(number), &self.members[number]);
        let etcd = match &self.before {
            Some(before) if !self.running => before.endpoint(),
            _ => member.endpoint(),
        };
        walk.does(&format!(
            "cd {plane}; NAME={} PEER={} CLUSTER={} DATA={}; CONFIG={plane}/enc.yaml MANIFESTS={plane}/manifests; \
             export ETCDCTL_ENDPOINTS={etcd}",
            member.name(),
            member.peer_url(),
            member.initial_cluster(),
            member.data().display(),
            plane = plane.display(),
        ));
    }

    /// Does something at each of them.
    pub fn each(&self, walk: &mut Walk, mut work: impl FnMut(&mut Walk, usize)) {
        for number in 0..self.members.len() {
            self.enter(walk, number);
            work(walk, number);
        }
    }

    /// Which pods the kubelets would run.
    pub fn assert_manifests(&self, expected: &[&str]) {
        for number in 0..self.members.len() {
            let entries = std::fs::read_dir(self.plane(number).join("manifests")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, expected, "control plane {number}");
        }
    }

    /// Copies files from the first to the others.
    pub fn carry(&self, files: &[&str]) {
        for number in 1..self.members.len() {
            for file in files {
                std::fs::copy(self.plane(0).join(file), self.plane(number).join(file)).unwrap();
            }
        }
    }

    /// What the kubelets do once etcd's manifests are back.
    pub fn start_etcd(&mut self) {
        drop(self.before.take());
        Server::start_together(&mut self.members);
        self.running = true;
    }

    /// Every member has the hash that `status` told of the snapshot.
    pub fn assert_hash(&self, status: &str) {
        let status: Value = serde_json::from_str(status).unwrap();
        let expected = status["snapshot"]["hashKV"].as_u64().expect("a hash");
        for member in &self.members {
            assert_eq!(member.hash_kv_now(), expected);
        }
    }

    /// A kube-apiserver on each member, by the configuration that lies there,
    /// serves every object as it was.
    pub fn assert_serve(&self) {
        for (number, member) in self.members.iter().enumerate() {
            let config = self.plane(number).join("enc.yaml");
            let api = ApiServer::start(&self.plane(number).join("api"), &member.endpoint(), &config);
            assert_serves(&api, self.fixture, &manifest(self.fixture));
        }
    }
}
