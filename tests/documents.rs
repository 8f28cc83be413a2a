//! Promise: what the documents say to type works, and prints what they show;
//! what they link to is there.
//!
//! Each document is walked through in a folder of its own: the commands of its
//! blocks are typed into a shell, with the fixtures given the names the
//! document uses. The program is the published one, which scripts/package has
//! put into the folder that `PACKAGES` names. Where a document leads to a cluster, real etcds and real
//! kube-apiservers take the place of the machines.

#![allow(dead_code, reason = "the modules are shared with tests/real_etcd.rs")]

#[path = "kube_apiserver/api_server.rs"]
mod api_server;
#[path = "real_etcd/client.rs"]
mod client;
#[path = "documents/cluster.rs"]
mod cluster;
#[path = "documents/markdown.rs"]
mod markdown;
#[path = "real_etcd/release.rs"]
mod release;
#[path = "kube_apiserver/served.rs"]
mod served;
#[path = "real_etcd/server.rs"]
mod server;
#[path = "documents/shell.rs"]
mod shell;
mod support;
#[path = "documents/walk.rs"]
mod walk;

use cluster::{ControlPlanes, serves_as_k3s_would, serves_from};
use markdown::{Mark, all, blocks, broken, links, read};
use release::Release;
use server::Server;
use support::clusters::Cluster;
use support::fixture;
use support::plugin::Plugin;
use support::program::{Bench, make_snapshot, text};
use walk::Walk;

#[test]
fn every_link_leads_somewhere() {
    let found = all();
    assert!(found.len() > 20, "{found:?}");
    let broken: Vec<String> = found
        .iter()
        .flat_map(|document| {
            let links = links(&read(document));
            links.into_iter().filter_map(move |(_, target)| broken(document, &target)).collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_document_is_in_the_index_or_linked_from_the_first_page() {
    let index = links(&read("docs/README.md")).into_iter().map(|(_, target)| format!("docs/{target}"));
    let first = links(&read("README.md")).into_iter().map(|(_, target)| target);
    let linked: Vec<String> = index.chain(first).collect();
    for document in all().iter().filter(|document| document.starts_with("docs/")) {
        assert!(document == "docs/README.md" || linked.contains(document), "{document} is linked from nowhere");
    }
}

#[test]
fn every_block_of_commands_says_whether_it_is_run() {
    let mut run = 0;
    for document in all() {
        for block in blocks(&read(&document)) {
            assert!(block.mark != Mark::Missing, "{document}:{}: neither run nor said why not", block.line);
            assert!(!block.commands.is_empty(), "{document}:{}: no command", block.line);
            run += block.commands.len() * usize::from(block.mark == Mark::Run);
        }
    }
    assert!(run > 70, "{run} commands");
}

/// Words users search for lead to a heading or a row of troubleshooting.
#[test]
fn words_of_errors_are_found() {
    let page = read("docs/troubleshooting.md");
    for words in [
        "no matching prefix found",
        "no matching key was found",
        "illegal base64 data",
        "invalid hash",
        "newer than datastore",
        "bootstrap data already found and encrypted with different token",
        "output array was not large enough for encryption",
        "identity transformer tried to read encrypted data",
        "expected sha256",
        "unable to transform key",
        "hash does not match between",
        "incorrect stage",
    ] {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{words}`")));
        let row = row.unwrap_or_else(|| panic!("no row has {words}"));
        assert!(!links(row).is_empty(), "{row}");
    }
    for code in 2..=8 {
        assert!(page.contains(&format!("## Exit code {code}:")), "exit code {code}");
    }
}

/// Documents name tests to be run; each is there.
#[test]
fn tests_that_are_named_exist() {
    let mut named = 0;
    for document in all() {
        for line in read(&document).lines() {
            for words in line.split("cargo test").skip(1) {
                let words: Vec<&str> = words.split('`').next().unwrap().split_whitespace().collect();
                for (number, file) in
                    words.iter().enumerate().filter(|(n, _)| *n > 0 && words[n - 1] == "--test")
                {
                    let path = markdown::root().join("tests").join(file).with_extension("rs");
                    let source = std::fs::read_to_string(&path).unwrap_or_default();
                    assert!(!source.is_empty(), "{document}: there is no test {file}");
                    let test = words.get(number + 1).filter(|word| word.starts_with(char::is_alphabetic));
                    let has = |what: &str, test: &str| source.contains(&format!("{what} {test}"));
                    let there = test.is_none_or(|test| has("fn", test) || has("mod", test));
                    assert!(there, "{document}: {file} has no {test:?}");
                    named += 1;
                }
            }
        }
    }
    assert!(named > 30, "{named}");
}

#[test]
fn the_first_page() {
    let fixtures = std::path::Path::new("fixtures/kube-rotated");
    let mut walk = Walk::of("README.md")
        .given("on-demand-server-1-1764000000", &fixture("k3s-reencrypt_finished", "snapshot.db"))
        .given("token", &fixture("k3s-reencrypt_finished", "token"));
    for file in ["snapshot.db", "old.yaml", "new.yaml"] {
        walk = walk.given(text(&fixtures.join(file)), &fixture("kube-rotated", file));
    }
    walk.finish();
}

#[test]
fn k3s() {
    let cluster = Cluster::of("k3s-reencrypt_finished");
    let mut walk = Walk::of("docs/runbooks/k3s.md")
        .given("on-demand-server-1-1764000000", &cluster.snapshot)
        .given("token", &cluster.token);
    walk.finish();
    serves_as_k3s_would(&cluster, &walk.path("rekeyed"), &walk.path("served"));
}

#[test]
fn k3s_with_several_servers() {
    let cluster = Cluster::of("k3s-ha-mismatch");
    let mut walk = Walk::of("docs/runbooks/k3s-ha.md")
        .given("on-demand-n1-1764000000", &cluster.snapshot)
        .given("token", &cluster.token);
    walk.finish();
    serves_as_k3s_would(&cluster, &walk.path("rekeyed"), &walk.path("served"));
}

#[test]
fn rke2() {
    let bench = Bench::new();
    let k3s = Cluster::of("k3s-fresh");
    let node = serde_json::json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "server-1",
        "labels": {"node-role.kubernetes.io/control-plane": "true"},
        "annotations": {"rke2.io/encryption-config-hash": k3s.recorded("encryption-state.json")}}});
    let cluster = k3s.with_more(&bench, |more| {
        more.record("rke2/apiaddresses", b"10.0.0.1:9345");
        more.record("/registry/minions/server-1", node.to_string().as_bytes());
    });
    let mut walk = Walk::of("docs/runbooks/rke2.md")
        .given("on-demand-server-1-1764000000", &cluster.snapshot)
        .given("token", &cluster.token);
    walk.finish();
}

#[test]
fn kubeadm() {
    let mut walk = Walk::of("docs/runbooks/kubeadm.md");
    let mut planes = ControlPlanes::of("kube-rotated", "old.yaml", &walk.path("planes"));
    planes.each(&mut walk, |walk, _| walk.under("1. Stop every kube-apiserver"));
    planes.assert_manifests(&["etcd.yaml"]);
    planes.enter(&mut walk, 0);
    walk.under("2. Take the snapshot");
    walk.under("3. Rekey it");
    planes.carry(&["rekeyed.db", "new.yaml", "SHA256SUMS"]);
    planes.each(&mut walk, |walk, _| walk.under("4. Restore each member"));
    planes.assert_manifests(&[]);
    planes.each(&mut walk, |walk, _| walk.under("5. Start etcd on all of them"));
    planes.assert_manifests(&["etcd.yaml"]);
    planes.start_etcd();
    planes.enter(&mut walk, 1);
    walk.under("6. Compare the members");
    planes.enter(&mut walk, 0);
    planes.assert_hash(&walk.does("etcd-rekey status rekeyed.db -w json").join("\n"));
    planes.each(&mut walk, |walk, _| walk.under("7. Start kube-apiserver"));
    planes.assert_manifests(&["etcd.yaml", "kube-apiserver.yaml"]);
    planes.assert_serve();
}

#[test]
fn talos() {
    let bench = Bench::new();
    let (snapshot, old) = (bench.path("snapshot.db"), bench.path("old.yaml"));
    make_snapshot(&[
        text(&snapshot),
        "--secrets=100",
        "--revisions=2",
        "--provider=secretbox",
        "--key-name=key2",
        "--config-out",
        text(&old),
    ]);
    let mut walk = Walk::of("docs/runbooks/talos.md").given("snapshot.db", &snapshot).given("old.yaml", &old);
    walk.under("2. Write both configurations");
    walk.does(
        "sed \"s|secret: .*|secret: $(cat new-secret)|\" old.yaml > new.yaml; ! cmp -s old.yaml new.yaml",
    );
    walk.under("3. Rekey");
    let api = serves_from(&walk.path("rekeyed.db"), &walk.path("new.yaml"), &walk.path("served"));
    assert_eq!(api.secrets(), 100);
}

#[test]
fn leaked_key() {
    let mut walk = Walk::of("docs/runbooks/leaked-key.md")
        .given("snapshot.db", &fixture("kube-aescbc256", "snapshot.db"))
        .given("old.yaml", &fixture("kube-aescbc256", "encryption-config.yaml"));
    walk.finish();
    let api = serves_from(&walk.path("rekeyed.db"), &walk.path("new.yaml"), &walk.path("served"));
    assert_eq!(api.secrets(), 47);
}

#[test]
fn a_hundred_thousand_secrets() {
    let bench = Bench::new();
    let (snapshot, old) = (bench.path("snapshot.db"), bench.path("old.yaml"));
    make_snapshot(&[text(&snapshot), "--secrets=100000", "--config-out", text(&old)]);
    let walk = Walk::of("docs/runbooks/before-an-upgrade.md");
    walk.given("snapshot.db", &snapshot).given("old.yaml", &old).finish();
}

#[test]
fn air_gapped() {
    let mut walk = Walk::of("docs/runbooks/air-gapped.md")
        .given("snapshot.db", &fixture("k3s-fresh", "snapshot.db"))
        .given("token", &fixture("k3s-fresh", "token"))
        .given("etcd-rekey", &shell::packages().join("etcd-rekey"));
    walk.does("sha256sum etcd-rekey > SHA256SUMS");
    walk.does("PATH=/usr/bin:/bin");
    walk.finish();
}

#[test]
fn an_interrupted_rotation() {
    let (partial, fresh) = (Cluster::of("k3s-partial"), Cluster::of("k3s-fresh"));
    let bench = Bench::new();
    // As after a crash in `rotate-keys`: the new key is on the disk, and was never saved in the record.
    let mut before = Vec::new();
    support::records(&std::fs::read(&fresh.snapshot).unwrap(), |_, kv| {
        if kv.key.starts_with(b"/bootstrap/") {
            before = kv.value.to_vec();
        }
    });
    let crashed = partial.with_values(&bench, |_, _| before.clone());
    let mut walk = Walk::of("docs/runbooks/interrupted-rotation.md")
        .given("partial.db", &partial.snapshot)
        .given("token", &partial.token)
        .given("server-1/encryption-config.json", &fixture("k3s-partial", "encryption-config.json"))
        .given("crashed.db", &crashed.snapshot)
        .given("mixed.db", &fixture("kube-rotated", "snapshot.db"))
        .given("mixed.yaml", &fixture("kube-rotated", "old.yaml"));
    walk.finish();
    serves_as_k3s_would(&partial, &walk.path("rekeyed"), &walk.path("served"));
    serves_as_k3s_would(&partial, &walk.path("cured"), &walk.path("served-too"));
}

#[test]
fn another_provider() {
    let k3s = Cluster::of("k3s-fresh");
    let mut walk = Walk::of("docs/runbooks/change-provider.md")
        .given("on-demand-server-1-1764000000", &k3s.snapshot)
        .given("token", &k3s.token)
        .given("snapshot.db", &fixture("kube-aescbc256", "snapshot.db"))
        .given("old.yaml", &fixture("kube-aescbc256", "encryption-config.yaml"));
    walk.finish();
    serves_as_k3s_would(&k3s, &walk.path("rekeyed"), &walk.path("served"));
    let api = serves_from(&walk.path("sealed.db"), &walk.path("on.yaml"), &walk.path("served-too"));
    assert_eq!(api.secrets(), 47);
}

#[test]
fn a_kms() {
    let mut walk = Walk::of("docs/kms.md")
        .given("snapshot.db", &fixture("kube-kms", "snapshot.db"))
        .given("old.yaml", &fixture("kube-kms", "encryption-config.yaml"))
        .given("aescbc.db", &fixture("kube-aescbc256", "snapshot.db"))
        .given("aescbc.yaml", &fixture("kube-aescbc256", "encryption-config.yaml"));
    let [v2, v1, new] = ["v2.sock", "v1.sock", "vault.sock"].map(|name| text(&walk.path(name)).to_owned());
    let _lab = [("v2", &v2), ("v1", &v1)].map(|(v, s)| Plugin::start(v, s, &["-key", "2", "-known", "1"]));
    walk.under("Leaving a KMS");
    let vault = Plugin::start("v2", &new, &["-key", "1"]);
    walk.under("Moving to a KMS");
    drop(vault);
    let _vault = Plugin::start("v2", &new, &["-key", "2", "-known", "1"]);
    walk.under("Another key of the same KMS");
}

#[test]
fn a_live_etcd() {
    let mut walk = Walk::of("docs/live.md");
    let etcd = Server::restored(Release::V36, &walk.path("etcd"), &fixture("kube-rotated", "snapshot.db"));
    let programs = std::env::var("ETCD36_BIN").unwrap();
    walk = walk.standing("http://127.0.0.1:23790", &etcd.endpoint()).standing("/opt/etcd-3.6", &programs);
    for file in ["old.yaml", "new.yaml"] {
        walk = walk.given(file, &fixture("kube-rotated", file));
    }
    let etcdctl = format!("etcdctl --endpoints {}", etcd.endpoint());
    walk.does(&format!("until {etcdctl} endpoint status -w json | grep -q storageVersion; do sleep 0.2; done"));
    walk.under("Save");
    walk.does(
        "etcd-rekey reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o rekeyed.db",
    );
    walk.under("Rehearse");
    let restored = Server::restored(Release::V36, &walk.path("restored"), &walk.path("rekeyed.db"));
    let etcdctl = format!("etcdctl --endpoints {}", restored.endpoint());
    walk.does(&format!("{etcdctl} del /registry/secrets/default/tls && {etcdctl} put /registry/new new"));
    walk = walk.standing("http://127.0.0.1:23790", &restored.endpoint());
    walk.under("Compare");
}

#[test]
fn old_copies() {
    let mut walk = Walk::of("docs/runbooks/old-copies.md")
        .given("monday.db", &fixture("kube-rotated", "snapshot.db"))
        .given("tuesday.db", &fixture("kube-rotated", "snapshot.db"))
        .given("old.yaml", &fixture("kube-rotated", "old.yaml"))
        .given("new.yaml", &fixture("kube-rotated", "new.yaml"));
    walk.finish();
}

#[test]
fn going_back() {
    let mut walk = Walk::of("docs/runbooks/go-back.md")
        .given("snapshot.db", &fixture("kube-rotated", "snapshot.db"))
        .given("old.yaml", &fixture("kube-rotated", "old.yaml"))
        .given("new.yaml", &fixture("kube-rotated", "new.yaml"));
    walk.does(
        "etcd-rekey reencrypt snapshot.db --encryption-config new.yaml --decryption-config old.yaml -o rekeyed.db",
    );
    walk.finish();
    let api = serves_from(&walk.path("back.db"), &walk.path("old.yaml"), &walk.path("served"));
    assert_eq!(api.secrets(), 47);
}

#[test]
fn troubleshooting() {
    let wrong = support::config(&[&["secrets"]], "aescbc", "another", 7);
    let mut changed = std::fs::read(fixture("kube-rotated", "snapshot.db")).unwrap();
    changed[500_000] ^= 1;
    let bench = Bench::new();
    let mut walk = Walk::of("docs/troubleshooting.md")
        .given("snapshot.db", &fixture("kube-aescbc256", "snapshot.db"))
        .given("wrong.yaml", &bench.file("wrong.yaml", &wrong))
        .given("no-base64.yaml", &bench.file("no-base64.yaml", wrong.replace("='", "?'")))
        .given("secretbox.db", &fixture("kube-secretbox", "snapshot.db"))
        .given("before.yaml", &fixture("kube-secretbox", "encryption-config.yaml"))
        .given(
            "another-secret.yaml",
            &bench.file("another-secret.yaml", support::config(&[&["secrets"]], "secretbox", "sb1", 7)),
        )
        .given("k3s.db", &fixture("k3s-fresh", "snapshot.db"))
        .given("another-token", &fixture("k3s-secretbox-rotated", "token"))
        .given("changed.db", &bench.file("changed.db", changed));
    walk.finish();
}
