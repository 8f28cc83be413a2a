//! What is saved is what the server holds, or nothing is.

use crate::proxy::{Proxy, Ways};
use crate::server::Server;
use crate::support::program::{Bench, heeding, run, text};
use crate::{RELEASES, Release, restored, save_from, snapshot};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn what_is_saved_is_sound_and_is_what_the_server_holds() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = restored(&bench, release, &snapshot());
        server.put("/registry/more", b"value");
        let saved = save_from(&bench, &server.endpoint(), &["-w", "json"]).expect(0).json();
        let out = bench.path("out.db");
        assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        run(&["check", text(&out)]).expect(0);
        let revision = server.revision();
        assert_eq!(saved["snapshot"]["revision"], revision, "{release:?}");
        assert_eq!(saved["snapshot"]["hashKV"], server.hash_kv(revision), "{release:?}");
        let bytes = std::fs::read(&out).unwrap();
        assert_eq!(saved["snapshot"]["bytes"], bytes.len());
        let trailer: String = bytes[bytes.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(saved["snapshot"]["sha256"], trailer.as_str());
        let line = match release {
            Release::V34 => "3.4.",
            Release::V36 => "3.6.",
            _ => "3.5.",
        };
        assert!(saved["member"]["version"].as_str().unwrap().starts_with(line), "{saved}");
        assert_eq!((&saved["member"]["leader"], &saved["member"]["learner"]), (&true.into(), &false.into()));
        // etcd's own client saves the same.
        let theirs = bench.path("theirs.db");
        server.save(&theirs);
        let status = |path| run(&["status", text(path), "-w", "json"]).expect(0).json()["snapshot"].clone();
        assert_eq!(status(&out)["statusHash"], status(&theirs)["statusHash"], "{release:?}");
        // And it restores.
        let again = Server::restored(release, &bench.path("again"), &out);
        assert_eq!(again.everything().len(), server.everything().len());
        // Nothing was written.
        assert_eq!(server.revision(), revision);
    }
}

#[test]
fn what_is_there_is_replaced_only_when_told_and_nobody_is_asked_before_that() {
    let bench = Bench::new();
    bench.file("out.db", "mine");
    let refused = save_from(&bench, "http://127.0.0.1:1", &["-w", "json"]).expect(2).json();
    assert_eq!(refused["error"]["kind"], "output-exists");
    let server = restored(&bench, Release::V36, &snapshot());
    save_from(&bench, &server.endpoint(), &["--overwrite"]).expect(0);
    run(&["check", text(&bench.path("out.db"))]).expect(0);
}

#[test]
fn a_connection_that_breaks_leaves_nothing() {
    for release in RELEASES {
        let bench = Bench::new();
        let server = restored(&bench, release, &snapshot());
        for cut_after in [100_000, 600_000, 1_000_000] {
            let proxy = Proxy::before(server.port(), Ways { cut_after: cut_after.into(), ..Ways::default() });
            let failed = save_from(&bench, &proxy.endpoint(), &["-w", "json"]).expect(8).json();
            assert_eq!(failed["error"]["kind"], "cut-short", "{failed}");
            assert_eq!(bench.names(), [format!("server-{release:?}")]);
        }
    }
}

#[test]
fn a_connection_that_falls_silent_is_given_up_and_leaves_nothing() {
    let bench = Bench::new();
    let server = restored(&bench, Release::V35New, &snapshot());
    let proxy = Proxy::before(server.port(), Ways { hold_after: 200_000.into(), ..Ways::default() });
    let begun = Instant::now();
    let failed =
        save_from(&bench, &proxy.endpoint(), &["-w", "json", "--stall-timeout", "1500ms"]).expect(8).json();
    assert_eq!(failed["error"]["kind"], "stalled");
    assert!(begun.elapsed() < Duration::from_secs(20));
    proxy.ways.held.store(false, Ordering::Relaxed);
    assert_eq!(bench.names(), ["server-V35New"]);
}

#[test]
fn bytes_that_were_changed_on_the_way_are_noticed() {
    let bench = Bench::new();
    let server = restored(&bench, Release::V36, &snapshot());
    let proxy = Proxy::before(server.port(), Ways { lying: true.into(), ..Ways::default() });
    let failed = save_from(&bench, &proxy.endpoint(), &["-w", "json"]).expect(3).json();
    assert_eq!(failed["error"]["kind"], "trailer-mismatch");
    assert_eq!(bench.names(), ["server-V36"]);
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    let bench = Bench::new();
    let server = restored(&bench, Release::V36, &snapshot());
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let proxy = Proxy::before(server.port(), Ways { hold_after: 200_000.into(), ..Ways::default() });
        let out = bench.path("out.db");
        let mut child =
            heeding(&["snapshot", "save", text(&out), "--endpoints", &proxy.endpoint()]).spawn().unwrap();
        while !proxy.ways.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = child.id().to_string();
        assert!(
            std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(code));
        proxy.ways.held.store(false, Ordering::Relaxed);
        assert_eq!(bench.names(), ["server-V36"]);
    }
}

#[test]
fn nobody_there_and_several_endpoints_are_told_apart() {
    let bench = Bench::new();
    let nobody = save_from(&bench, "http://127.0.0.1:1", &["-w", "json"]).expect(8).json();
    assert_eq!(nobody["error"]["kind"], "unreachable");
    let several = save_from(&bench, "http://127.0.0.1:1,http://127.0.0.1:2", &["-w", "json"]).expect(2).json();
    assert_eq!(several["error"]["kind"], "usage");
    assert!(bench.names().is_empty());
}
