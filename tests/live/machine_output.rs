//! What is printed as JSON is what docs/schema/output.json says; with -q
//! nothing is said, and with -v each phase.

use crate::support::program::{Bench, Ran, command, text};
use crate::support::schema::fits;
use crate::{Release, compare_with, restored, save_from, secrets, snapshot};

#[test]
fn results_and_events_fit_the_schema() {
    let bench = Bench::new();
    let server = restored(&bench, Release::V36, &snapshot());
    let endpoint = server.endpoint();
    let planned = save_from(&bench, &endpoint, &["-w", "json", "--dry-run"]).expect(0).json();
    fits("savePlan", &planned);
    assert!(!bench.path("out.db").exists());
    let out = bench.path("out.db");
    let saved = ["snapshot", "save", text(&out), "--endpoints", &endpoint, "-w", "json", "--progress", "json"];
    let saved = crate::run(&saved).expect(0);
    fits("save", &saved.json());
    assert_eq!(planned["member"]["id"], saved.json()["member"]["id"]);
    // What it needs is known before: the file of a server that is not in use does not change.
    let (needed, bytes) = (planned["disk"]["needed"].as_u64(), saved.json()["snapshot"]["bytes"].as_u64());
    assert_eq!(needed, bytes);
    let mut events = saved.err;
    let rotated = crate::support::folder("kube-rotated");
    let (new, old) = (rotated.join("new.yaml"), rotated.join("old.yaml"));
    let keys = ["--encryption-config", text(&new), "--decryption-config", text(&old)];
    fits("compare", &compare_with(&snapshot(), &endpoint, &[]).expect(0).json());
    // Old keys, a key that is missing, a value that no key opens, a member that is gone.
    fits("compare", &compare_with(&snapshot(), &endpoint, &keys).expect(6).json());
    let found = compare_with(&snapshot(), &endpoint, &["--encryption-config", text(&new)]);
    let found = found.json();
    fits("compare", &found);
    assert_eq!(found["values"]["unreadableCount"], 47);
    // What did not open is no row of what did.
    let rows = found["values"]["seals"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["resource"] != "secrets"), "{found}");
    server.delete(&secrets()[0]);
    server.compact(server.revision());
    let both = format!("{endpoint},http://127.0.0.1:1");
    let args = ["--stall-timeout", "5s"];
    fits("compare", &compare_with(&snapshot(), &both, &args).json());
    fits("failure", &compare_with(&snapshot(), "http://127.0.0.1:1", &args).expect(8).json());
    let programs = Release::V36.program("etcd");
    let original = snapshot();
    let rehearsed = command(&["snapshot", "rehearse", text(&original), "--progress", "json", "-w", "json"])
        .args(["--etcd-bin-dir", text(programs.parent().unwrap())])
        .output();
    let rehearsed = Ran::from(rehearsed.unwrap()).expect(0);
    fits("rehearse", &rehearsed.json());
    events += &rehearsed.err;
    assert!(events.lines().count() > 8, "{events}");
    for event in events.lines() {
        fits("progressEvent", &serde_json::from_str(event).unwrap());
    }
}

#[test]
fn quiet_says_nothing_and_verbose_each_phase() {
    let bench = Bench::new();
    let server = restored(&bench, Release::V36, &snapshot());
    let (out, endpoint) = (bench.path("out.db"), server.endpoint());
    let programs = Release::V36.program("etcd");
    let programs = text(programs.parent().unwrap()).to_owned();
    for (words, phase) in [
        (&["save", text(&out), "--overwrite", "--endpoints", &endpoint][..], "receiving"),
        (&["compare", text(&out), "--endpoints", &endpoint], "comparing"),
        (&["rehearse", text(&out), "--etcd-bin-dir", &programs], "restoring"),
    ] {
        let run =
            |flag| Ran::from(command(&[&["snapshot"], words, &[flag]].concat()).output().unwrap()).expect(0);
        let quiet = run("-q");
        assert!(quiet.out.is_empty() && quiet.err.is_empty(), "{} {}", quiet.out, quiet.err);
        let told = run("-v");
        let begins = format!("{phase}: ");
        assert!(told.err.lines().any(|line| line.starts_with(&begins) && line.ends_with(" s")), "{}", told.err);
        assert!(!told.out.is_empty());
    }
}
