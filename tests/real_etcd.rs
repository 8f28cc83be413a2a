//! A rewritten snapshot is one that real etcds take for their own.
//!
//! Each promise is kept for etcd 3.4, 3.5, 3.6 and 3.7: what the program wrote
//! restores, hashes to what the program said, is read back over the network
//! secret by secret, and the server on it lives on like any other: it writes,
//! deletes, compares and swaps, compacts, defragments, restarts, and its next
//! snapshot can be rewritten again.
//!
//! The etcds are those of `ETCD34_BIN`, `ETCD35_BIN` and so on, which scripts/test sets.

#[path = "real_etcd/client.rs"]
mod client;
#[path = "real_etcd/fixture.rs"]
mod fixture;
#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "real_etcd/key_space.rs"]
mod key_space;
#[path = "real_etcd/rekey.rs"]
mod rekey;
#[path = "real_etcd/release.rs"]
mod release;
#[path = "real_etcd/sealing.rs"]
mod sealing;
#[path = "real_etcd/secret.rs"]
mod secret;
#[path = "real_etcd/server.rs"]
mod server;
#[path = "real_etcd/writes.rs"]
mod writes;

use fixture::Fixture;
use key_space::KeySpace;
use rekey::{Rewritten, assert_readable, assert_sound, reencrypt, reencrypt_under, written};
use release::{Release, finish, json};
use sealing::Key;
use server::Server;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use writes::{fill, write_as_an_api_server_does};

/// Makes the tests of a promise: one for each etcd and fixture.
macro_rules! promise {
    ($promise:ident: $($fixture:ident = $folder:literal),+) => {
        mod $promise {
            use super::{Release, $promise};
            mod etcd34 {
                $(#[test] fn $fixture() { super::$promise(super::Release::V34, $folder); })+
            }
            mod etcd35 {
                $(#[test] fn $fixture() { super::$promise(super::Release::V35, $folder); })+
            }
            mod etcd35new {
                $(#[test] fn $fixture() { super::$promise(super::Release::V35New, $folder); })+
            }
            mod etcd36 {
                $(#[test] fn $fixture() { super::$promise(super::Release::V36, $folder); })+
            }
            mod etcd37 {
                $(#[test] fn $fixture() { super::$promise(super::Release::V37, $folder); })+
            }
        }
    };
    ($promise:ident) => {
        promise! {
            $promise:
            // Values under two old keys, one of them long replaced.
            kube_rotated = "kube-rotated",
            // Pages of another size than those of the machine.
            kube_page16k = "kube-page16k",
            // Users, leases, a raised alarm, keys of another tenant.
            kube_leases_auth_alarm = "kube-leases-auth-alarm",
            // Written by etcd 3.4.
            kube_etcd34 = "kube-etcd34"
        }
    };
}

promise!(it_restores_and_hashes_to_what_was_printed);

fn it_restores_and_hashes_to_what_was_printed(release: Release, name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, output) = rewritten(name, &folder);
    assert_status(release, &output);
    let server = Server::restored(release, &folder.path().join("server"), &output.snapshot);
    assert_eq!(server.hash_kv(output.revision), output.hash_kv, "HashKV of the running server");
}

/// All other fixtures, and snapshots made to order, under each provider in turn.
mod whatever_is_rekeyed_restores_and_hashes_to_what_was_printed {
    use super::Release;

    macro_rules! etcds {
        ($($etcd:ident = $release:ident),+) => { $(
            #[test]
            fn $etcd() {
                super::whatever_is_rekeyed_restores(Release::$release);
            }
        )+ };
    }
    etcds! { etcd34 = V34, etcd35 = V35, etcd35new = V35New, etcd36 = V36, etcd37 = V37 }
}

fn whatever_is_rekeyed_restores(release: Release) {
    const PROVIDERS: [&str; 4] = ["aesgcm", "secretbox", "identity", "aescbc"];
    let fixtures = [
        "kube-aes128-192",
        "kube-aescbc256",
        "kube-aesgcm",
        "kube-compacted-residue",
        "kube-identity-then-aescbc",
        "kube-multi",
        "kube-secretbox",
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let mut inputs = Vec::new();
    for name in fixtures {
        let own = Fixture::named(name).configuration("encryption-config.yaml").expect("a configuration");
        inputs.push((name.to_owned(), Fixture::named(name).snapshot(), own));
    }
    for (seed, from) in (1..).zip(["aescbc", "secretbox"]) {
        let (snapshot, own) = (path(&format!("made-{seed}.db")), path(&format!("made-{seed}.yaml")));
        rekey::make_snapshot(&snapshot, &own, from, seed);
        inputs.push((format!("made from {from}"), snapshot, own));
    }
    for ((number, (name, snapshot, own)), to) in (0..).zip(inputs).zip(PROVIDERS.iter().cycle()) {
        let new = path("new.yaml");
        std::fs::write(&new, sealing::configuration(to)).expect("a configuration");
        let output = path(&format!("{number}.db"));
        let flags = ["--encryption-config".as_ref(), new.as_os_str(), "--decryption-config".as_ref()];
        let flags = [&flags[..], &[own.as_os_str(), "--allow-plaintext".as_ref()]].concat();
        let report = rekey::rewrite("reencrypt", &snapshot, &output, &flags);
        let server = Server::restored(release, &path(&format!("server-{number}")), &output);
        let revision = report["output"]["revision"].as_u64().expect("a revision");
        let said = report["output"]["hashKV"].as_u64();
        assert_eq!(Some(server.hash_kv(revision)), said, "{name} to {to}: HashKV of the running server");
        let arguments = ["status".as_ref(), output.as_os_str(), "-w".as_ref(), "json".as_ref()];
        let status = json("snapshot status", release.snapshot(&arguments));
        assert_eq!(status["hash"], report["output"]["statusHash"], "{name} to {to}");
    }
}

promise!(every_secret_is_read_back_over_the_network);

fn every_secret_is_read_back_over_the_network(release: Release, name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fixture, output) = rewritten(name, &folder);
    let live = fixture.live();
    assert_eq!(output.secrets, live.secrets().len() as u64, "secrets in the report");

    let server = Server::restored(release, &folder.path().join("server"), &output.snapshot);
    live.assert_held_by(&server, &output.key);
    for old in fixture.superseded() {
        let expected = old.expected.as_ref().expect("a superseded value");
        expected.assert_is(&server.at(&old.key, old.revision.0), &output.key);
    }
}

promise!(what_was_compacted_on_the_way_is_what_etcd_would_have_left);

fn what_was_compacted_on_the_way_is_what_etcd_would_have_left(release: Release, name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let fixture = Fixture::named(name);
    let own = ["old.yaml", "encryption-config.yaml"].iter().find_map(|file| fixture.configuration(file));
    let own = own.expect("a configuration");
    // Under one key, so that only the compaction makes a difference; then both ways.
    let flags = ["--encryption-config".as_ref(), own.as_os_str()];
    let whole = folder.path().join("whole.db");
    rekey::rewrite("reencrypt", &fixture.snapshot(), &whole, &flags);
    let compacted = folder.path().join("compacted.db");
    let report =
        rekey::rewrite("reencrypt", &whole, &compacted, &[&flags[..], &["--compact".as_ref()]].concat());
    let revision = report["output"]["revision"].as_u64().expect("a revision");

    let server = Server::restored(release, &folder.path().join("server"), &compacted);
    assert_eq!(Some(server.hash_kv_now()), report["output"]["hashKV"].as_u64(), "HashKV as printed");
    assert_eq!(server.revision(), revision);
    assert!(server.forgot(revision - 1), "older revisions are compacted");
    assert!(server.refuses_watch(revision - 1), "and cannot be watched from");
    let by_etcd = Server::restored(release, &folder.path().join("by-etcd"), &whole);
    by_etcd.disarm();
    by_etcd.compact(revision);
    assert_eq!(by_etcd.hash_kv_now(), server.hash_kv_now(), "HashKV after etcd's own compaction");
    let (ours, theirs) = (server.everything(), by_etcd.everything());
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().zip(&theirs).all(|(a, b)| a == b), "every key, value and revision");
}

/// K3s clusters, rekeyed by token alone.
mod k3s_clusters_restore_and_hash_to_what_was_printed {
    use super::Release;

    macro_rules! etcds {
        ($($etcd:ident = $release:ident),+) => { $(
            #[test]
            fn $etcd() {
                super::k3s_clusters_restore(Release::$release);
            }
        )+ };
    }
    etcds! { etcd34 = V34, etcd35 = V35, etcd35new = V35New, etcd36 = V36, etcd37 = V37 }
}

fn k3s_clusters_restore(release: Release) {
    for (name, verb, flag) in [
        ("k3s-midrotatekeys", "rotate-keys", "--force"),
        ("k3s-secretbox-rotated", "rotate-keys", "--compact"),
        ("k3s-disabled", "enable", "--force"),
        ("k3s-compacted", "disable", "--force"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (snapshot, token) = (fixtures::fixture(name, "snapshot.db"), fixtures::fixture(name, "token"));
        let output = folder.path().join("rekeyed.db");
        let flags = ["--token-file".as_ref(), token.as_os_str(), flag.as_ref()];
        let report = rekey::rewrite(verb, &snapshot, &output, &flags);
        let server = Server::restored(release, &folder.path().join("server"), &output);
        assert_eq!(Some(server.hash_kv_now()), report["output"]["hashKV"].as_u64(), "{name}");
        assert!(server.everything().iter().any(|kv| kv.key.starts_with("/bootstrap/")), "{name}");
    }
}

promise!(the_server_on_it_lives_on);

fn the_server_on_it_lives_on(release: Release, name: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (fixture, output) = rewritten(name, &folder);
    let mut server = Server::restored(release, &folder.path().join("server"), &output.snapshot);
    // A restored alarm is still raised, and stops every write.
    server.disarm();

    let mut live = fixture.live();
    write_as_an_api_server_does(&server, &mut live, &output.key);
    live.assert_held_by(&server, &output.key);

    server.put_for("/short-lived", 6);
    let middle = fixture.middle();
    server.compact(middle);
    assert!(server.forgot(middle - 1), "revision {} is compacted", middle - 1);
    server.defragment();
    server.stop();
    server.start();
    expires(&server, "/short-lived");
    live.assert_held_by(&server, &output.key);

    let saved = folder.path().join("saved.db");
    server.save(&saved);
    drop(server);
    assert_sound(&saved);
    let old = written(&output.key, folder.path(), "old.yaml");
    assert_readable(&saved, &old);

    let again = folder.path().join("again");
    std::fs::create_dir(&again).expect("a folder");
    let again = reencrypt_under(&Key::named("key-2028"), &saved, &old, &again);
    assert_holds(release, &folder, &again, &live);
}

/// A lease runs out on the restored server as on any other.
fn expires(server: &Server, key: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.has(key) {
        assert!(Instant::now() < deadline, "the lease of {key} did not run out");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn three_members_restored_from_one_output_agree_with_corruption_checks_on() {
    for (release, checks) in [
        (
            Release::V35New,
            ["--experimental-initial-corrupt-check=true", "--experimental-corrupt-check-time=1s"],
        ),
        (Release::V36, ["--feature-gates=InitialCorruptCheck=true", "--corrupt-check-time=1s"]),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (fixture, output) = rewritten("kube-rotated", &folder);
        let members = Server::cluster(release, &folder.path().join("cluster"), &output.snapshot, 3, &checks);
        for member in &members {
            assert_eq!(member.hash_kv(output.revision), output.hash_kv, "{release:?}");
            fixture.live().assert_held_by(member, &output.key);
        }
        // The periodic check compares them, and would raise an alarm.
        std::thread::sleep(Duration::from_secs(4));
        let done = members[0].put("/after-the-checks", b"1");
        for member in &members {
            assert_eq!(member.alarms(), [0; 0], "{release:?}");
            assert_eq!(member.hash_kv(done.revision), members[0].hash_kv(done.revision), "{release:?}");
        }
    }
}

#[test]
fn a_restore_that_bumps_the_revision_works_and_its_snapshot_is_rekeyed_again() {
    for release in [Release::V35New, Release::V36, Release::V37] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (fixture, output) = rewritten("kube-rotated", &folder);
        let flags = ["--bump-revision", "1000000", "--mark-compacted"];
        let server = Server::restored_with(release, &folder.path().join("server"), &output.snapshot, &flags);
        assert!(server.revision() >= output.revision + 1_000_000);
        assert!(server.forgot(output.revision));
        fixture.live().assert_held_by(&server, &output.key);
        let saved = folder.path().join("saved.db");
        server.save(&saved);
        drop(server);
        assert_sound(&saved);
        let old = written(&output.key, folder.path(), "old.yaml");
        let again = folder.path().join("again");
        std::fs::create_dir(&again).expect("a folder");
        let again = reencrypt_under(&Key::named("key-2028"), &saved, &old, &again);
        assert_holds(release, &folder, &again, &fixture.live());
    }
}

#[test]
fn hashkv_of_etcdutl_is_the_one_that_was_printed() {
    for name in ["kube-rotated", "kube-page16k", "kube-leases-auth-alarm", "kube-etcd34"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (_, output) = rewritten(name, &folder);
        // It writes to the file it is given.
        let copy = folder.path().join("copy.db");
        std::fs::copy(&output.snapshot, &copy).expect("a copy");
        let mut command = Release::V37.command("etcdutl");
        let answer = json("etcdutl hashkv", finish(command.args(["hashkv", "-w", "json"]).arg(&copy), b""));
        assert_eq!(answer["hash"], output.hash_kv, "{name}: {answer}");
    }
}

promise!(users_leases_and_alarms_are_carried_over: kube = "kube-leases-auth-alarm");

fn users_leases_and_alarms_are_carried_over(release: Release, name: &str) {
    const NOSPACE: u64 = 1;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, output) = rewritten(name, &folder);
    let server = Server::restored(release, &folder.path().join("server"), &output.snapshot);

    // There are users and roles, but they were never switched on: no password is asked for.
    assert_eq!(server.names("user"), ["root", "u1"]);
    assert_eq!(server.names("role"), ["r1", "root"]);
    let leased: Vec<_> = server.everything().into_iter().filter(|kv| kv.lease != 0).collect();
    let names: Vec<&str> = leased.iter().map(|kv| kv.key.as_str()).collect();
    let events = "/registry/events/default/";
    assert_eq!(names, ["/other/tenant", &format!("{events}ev.core.1"), &format!("{events}ev.new.1")]);
    for kv in leased {
        assert_eq!(server.keys_of_lease(kv.lease), [kv.key]);
    }
    assert_eq!(server.alarms(), [NOSPACE]);
    assert!(!server.etcdctl(&["put", "/refused"], b"no space").status.success());
    server.disarm();
    server.put("/accepted", b"space");
}

#[test]
fn a_new_snapshot_of_etcd34_is_rewritten() {
    a_new_snapshot_is_rewritten(Release::V34);
}

#[test]
fn a_new_snapshot_of_etcd35_is_rewritten() {
    a_new_snapshot_is_rewritten(Release::V35);
}

fn a_new_snapshot_is_rewritten(release: Release) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = Key::named("key-2027");
    let snapshot = folder.path().join("snapshot.db");
    let live = {
        let server = Server::fresh(release, &folder.path().join("fresh"));
        let live = fill(&server, &key);
        server.save(&snapshot);
        live
    };
    let old = written(&key, folder.path(), "old.yaml");
    let output = reencrypt_under(&Key::named("key-2028"), &snapshot, &old, folder.path());
    assert_eq!(output.secrets, live.secrets().len() as u64, "secrets in the report");
    assert_holds(release, &folder, &output, &live);
}

/// Rewrites a fixture under its own new configuration, or one made for it.
fn rewritten(name: &str, folder: &TempDir) -> (Fixture, Rewritten) {
    let fixture = Fixture::named(name);
    let old = fixture.configuration("old.yaml");
    let old = old.or_else(|| fixture.configuration("encryption-config.yaml"));
    let old = old.expect("a fixture has its configuration");
    let new = fixture.configuration("new.yaml");
    let new = new.unwrap_or_else(|| written(&Key::named("key-2027"), folder.path(), "new.yaml"));
    let output = reencrypt(&fixture.snapshot(), &old, &new, folder.path());
    (fixture, output)
}

/// etcd's own status agrees with the program's report.
fn assert_status(release: Release, output: &Rewritten) {
    let arguments = ["status".as_ref(), output.snapshot.as_os_str(), "-w".as_ref(), "json".as_ref()];
    let status = json("snapshot status", release.snapshot(&arguments));
    assert_eq!(status["hash"], output.status_hash, "{status}");
    assert_eq!(status["revision"], output.revision, "{status}");
}

/// A rewritten snapshot agrees with its report, and the server on it holds all that is expected.
fn assert_holds(release: Release, folder: &TempDir, output: &Rewritten, expected: &KeySpace) {
    assert_status(release, output);
    let server = Server::restored(release, &folder.path().join("next"), &output.snapshot);
    assert_eq!(server.hash_kv(output.revision), output.hash_kv, "HashKV of the running server");
    expected.assert_held_by(&server, &output.key);
}
