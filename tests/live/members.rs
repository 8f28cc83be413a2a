//! Clusters of several members: learners, alarms, members that are gone, and
//! members that differ.

use crate::server::Server;
use crate::support::builder::mapped;
use crate::support::program::Bench;
use crate::{RELEASES, Release, compare_with, save_from, snapshot};

fn endpoints(members: &[Server]) -> String {
    members.iter().map(Server::endpoint).collect::<Vec<_>>().join(",")
}

#[test]
fn all_members_are_asked_and_one_that_is_gone_is_named() {
    for release in [Release::V34, Release::V36] {
        let bench = Bench::new();
        let mut members = Server::cluster(release, &bench.path("cluster"), &snapshot(), 3, &[]);
        let all = endpoints(&members);
        let found = compare_with(&snapshot(), &all, &[]).expect(0).json();
        let hashes = found["hashes"]["members"].as_array().unwrap();
        assert_eq!((hashes.len(), &found["hashes"]["agree"]), (3, &true.into()));
        // Those a member knows of.
        let found = compare_with(&snapshot(), &members[1].endpoint(), &["--cluster"]).expect(0).json();
        assert_eq!(found["hashes"]["members"].as_array().unwrap().len(), 3);
        // The one that is asked first goes: the others vouch for the keys, and not for it.
        let gone = members[0].endpoint();
        members[0].kill();
        let found = compare_with(&snapshot(), &all, &["--stall-timeout", "8s"]).expect(8).json();
        assert_eq!((&found["equal"], &found["keys"]["missing"]["count"]), (&true.into(), &0.into()));
        assert_eq!(found["hashes"]["members"][0]["asked"], gone.as_str());
        assert!(found["hashes"]["members"][0]["error"].is_string());
        compare_with(&snapshot(), &endpoints(&members[1..]), &[]).expect(0);
        // Two of three are gone: nobody can vouch for the cluster.
        members[1].kill();
        compare_with(&snapshot(), &members[2].endpoint(), &["--stall-timeout", "8s"]).expect(8);
    }
}

#[test]
fn members_restored_from_different_files_are_found() {
    let bench = Bench::new();
    let bytes = std::fs::read(snapshot()).unwrap();
    let other = mapped(&bytes, |kv| kv.key.starts_with(b"/registry/secrets/").then(|| b"other".to_vec()));
    let other = bench.file("other.db", other);
    let files = [snapshot(), snapshot(), other];
    let files: Vec<&std::path::Path> = files.iter().map(AsRef::as_ref).collect();
    let members = Server::cluster_of(Release::V35New, &bench.path("cluster"), &files, &[]);
    let found = compare_with(&snapshot(), &endpoints(&members), &[]).expect(6).json();
    assert_eq!((&found["hashes"]["agree"], &found["equal"]), (&false.into(), &false.into()));
}

#[test]
fn members_of_two_clusters_are_told() {
    let bench = Bench::new();
    let one = Server::restored(Release::V36, &bench.path("one"), &snapshot());
    let two = Server::restored(Release::V36, &bench.path("two"), &snapshot());
    let told =
        compare_with(&snapshot(), &format!("{},{}", one.endpoint(), two.endpoint()), &[]).expect(8).json();
    assert_eq!(told["error"]["kind"], "other-cluster");
}

#[test]
fn a_learner_is_refused() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = Server::restored(release, &bench.path("server"), &snapshot());
        let learner = server.learner(&bench.path("learner"));
        let refused = save_from(&bench, &learner.endpoint(), &["-w", "json"]).expect(8).json();
        assert_eq!(refused["error"]["kind"], "learner", "{release:?}");
        let refused = compare_with(&snapshot(), &learner.endpoint(), &[]).expect(8).json();
        assert_eq!(refused["error"]["kind"], "learner", "{release:?}");
        assert!(!bench.path("out.db").exists());
        // The voting member vouches for the cluster without it.
        let found = compare_with(&snapshot(), &server.endpoint(), &["--cluster"]).expect(0).json();
        assert_eq!(found["hashes"]["members"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn alarms_are_told() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = Server::fresh_with(release, &bench.path("server"), &["--quota-backend-bytes=400000"]);
        let value = vec![b'x'; 60_000];
        let full = || server.etcdctl(&["put", "/key"], &value).status.success();
        assert!((0..100).any(|_| !full()), "{release:?}: the quota is never full");
        let saved = save_from(&bench, &server.endpoint(), &["-w", "json"]).expect(0).json();
        let alarm = saved["member"]["alarms"][0].as_str().unwrap();
        assert_eq!(alarm, format!("NOSPACE of member {}", saved["member"]["id"].as_str().unwrap()));
        let told = save_from(&bench, &server.endpoint(), &["--overwrite"]).expect(0);
        assert!(told.out.contains("warning: NOSPACE of member"), "{}", told.out);
        let found = compare_with(&bench.path("out.db"), &server.endpoint(), &[]).expect(0).json();
        assert!(found["warnings"][0].as_str().unwrap().contains("NOSPACE"), "{found}");
    }
}
