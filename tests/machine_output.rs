//! Promise: what is printed as JSON is what docs/schema/output.json says, and
//! nothing besides; the tables of docs/json.md and docs/exit-codes.md are those
//! of the program.

mod support;

use etcd_rekey::cli::Exit;
use serde_json::{Value, json};
use std::path::PathBuf;
use support::clusters::Cluster;
use support::folder;
use support::program::{Bench, Ran, run, text};
use support::schema::{Schema, document, fits};

#[test]
fn what_does_not_fit_is_noticed() {
    let schema = Schema(json!({"$defs": {"a": {
        "type": "object", "properties": {"n": {"type": ["integer", "null"], "minimum": 1}}, "required": ["n"]
    }}}));
    let count = |value: Value| {
        let mut errors = Vec::new();
        schema.check(&json!({"$ref": "#/$defs/a"}), &value, "", &mut errors);
        errors.len()
    };
    let found = [json!({"n": 1}), json!({"n": null}), json!({}), json!({"n": 0}), json!({"n": "1"}), json!([])];
    assert_eq!(found.map(count), [0, 0, 1, 1, 1, 1]);
    assert_eq!(count(json!({"n": 1, "m": 1})), 1);
}

struct Files {
    bench: Bench,
    snapshot: PathBuf,
    new: PathBuf,
    old: PathBuf,
}

fn files() -> Files {
    let rotated = folder("kube-rotated");
    Files {
        bench: Bench::new(),
        snapshot: rotated.join("snapshot.db"),
        new: rotated.join("new.yaml"),
        old: rotated.join("old.yaml"),
    }
}

impl Files {
    fn reencrypt(&self, more: &[&str]) -> Ran {
        self.bench.reencrypt(&self.snapshot, &self.new, Some(&self.old), more)
    }
}

#[test]
fn commands_that_write_fit_the_schema() {
    let files = files();
    let record = files.bench.path("audit.json");
    fits("rewrite", &files.reencrypt(&["-w", "json", "--dry-run"]).expect(0).json());
    fits("rewrite", &files.reencrypt(&["-w", "json", "--report", text(&record)]).expect(0).json());
    fits("auditRecord", &serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap());
    let missing = ["-w", "json", "--keep-unreadable", "--force", "--compact"];
    let carried = files.bench.reencrypt(&files.snapshot, &files.new, None, &missing);
    fits("rewrite", &carried.expect(7).json());
    let prepared = files.bench.path("prepared.yaml");
    let args =
        ["prepare", "--encryption-config", text(&files.old), "--write-config", text(&prepared), "-w", "json"];
    fits("configuration", &run(&[&args[..], &["--dry-run"]].concat()).expect(0).json());
    assert!(!prepared.exists());
    fits("configuration", &run(&args).expect(0).json());
    for (cluster, verb) in [
        ("k3s-rotated", "reencrypt"),
        ("k3s-fresh", "prepare"),
        ("k3s-fresh", "rotate-keys"),
        ("k3s-disabled", "enable"),
    ] {
        let bench = Bench::new();
        let record = bench.path("audit.json");
        let more = ["-w", "json", "--report", text(&record)];
        let ran = Cluster::of(cluster).run(verb, &bench.path("out"), &more);
        fits("rewrite", &ran.expect(0).json());
        fits("auditRecord", &serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap());
    }
}

#[test]
fn commands_that_read_fit_the_schema() {
    let files = files();
    let record = files.bench.path("audit.json");
    files.reencrypt(&["--report", text(&record)]).expect(0);
    let (snapshot, output) = (text(&files.snapshot), files.bench.path("out.db"));
    let output = text(&output);
    let keys = ["--encryption-config", text(&files.new), "--decryption-config", text(&files.old)];
    let json = |args: &[&str], code| run(&[args, &["-w", "json"]].concat()).expect(code).json();
    let pair = ["verify", output, "--against", snapshot];
    fits("verify", &json(&[&pair[..], &keys].concat(), 0));
    fits("verify", &json(&[&pair[..], &["--report", text(&record)]].concat(), 0));
    fits("verify", &json(&[&["verify", snapshot, "--against", snapshot][..], &keys].concat(), 6));
    fits("check", &json(&["check", snapshot], 0));
    let mut bad = std::fs::read(&files.snapshot).unwrap();
    bad[5000] ^= 1;
    let bad = files.bench.file("bad.db", bad);
    let found = json(&["check", text(&bad)], 3);
    assert_eq!((&found["ok"], &found["trailer"]), (&false.into(), &"wrong".into()));
    fits("check", &found);
    fits("status", &json(&["status", snapshot], 0));
    fits("status", &json(&["status", snapshot, "--encryption-config", text(&files.new)], 0));
    for name in ["k3s-rotated", "k3s-ha-mismatch", "k3s-disabled", "k3s-compressed"] {
        let cluster = Cluster::of(name);
        fits("status", &json(&["status", text(&cluster.snapshot), "--token-file", text(&cluster.token)], 0));
        fits("status", &json(&["status", text(&cluster.snapshot)], 0));
    }
    fits("list", &json(&["list", snapshot], 0));
    fits("list", &json(&["list", snapshot, "--revisions", "--resource", "secrets"], 0));
    fits("list", &json(&["list", snapshot, "--name", "no such thing"], 0));
    let listed = json(&["list", snapshot], 0);
    for object in listed["objects"].as_array().unwrap() {
        let key = object["key"].as_str().unwrap();
        for more in [&[][..], &["--reveal"]] {
            let mut args = vec!["get", snapshot, key];
            args.extend(["--encryption-config", text(&files.old)]);
            args.extend(more);
            let ran = run(&[&args[..], &["-w", "json"]].concat());
            fits(if ran.code == 0 { "get" } else { "failure" }, &ran.json());
        }
    }
    // Another tenant's key: the record of K3s itself.
    let cluster = Cluster::of("k3s-fresh");
    let status = json(&["status", text(&cluster.snapshot)], 0);
    let key = status["snapshot"]["record"]["keys"][0].as_str().unwrap();
    let foreign = json(&["get", text(&cluster.snapshot), key], 0);
    assert_eq!(foreign["foreign"], true);
    fits("get", &foreign);
}

#[test]
fn failures_and_events_fit_the_schema() {
    let files = files();
    let json = |args: &[&str]| run(&[args, &["-w", "json"]].concat()).json();
    fits("failure", &json(&["check", "no-such-file"]));
    fits("failure", &json(&["check", "a", "--nonsense"]));
    let refused = files.bench.reencrypt(&files.snapshot, &files.new, None, &["-w", "json"]).expect(4).json();
    assert!(!refused["unreadable"].as_array().unwrap().is_empty());
    fits("failure", &refused);
    let events = files.reencrypt(&["--progress", "json", "--progress-every", "10"]).expect(0).err;
    assert!(events.lines().count() > 8, "{events}");
    for event in events.lines() {
        fits("progressEvent", &serde_json::from_str(event).unwrap());
    }
}

#[test]
fn every_phase_is_in_the_schema() {
    let source =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/rekey/progress.rs")).unwrap();
    let arms = source.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""));
    let names: Vec<_> = arms.map(|(_, name)| name.trim_end_matches("\",")).collect();
    assert!(names.len() > 9 && names.contains(&"checking"), "{names:?}");
    for phase in names {
        fits("progressEvent", &json!({"event": "phase", "phase": phase, "total": 0}));
    }
}

/// The first two cells of each row of the table that begins so.
fn rows(document: &str, begins: &str) -> Vec<(String, String)> {
    let (_, table) = document.split_once(begins).unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        (cells.next().unwrap(), cells.next().unwrap())
    })
    .collect()
}

#[test]
fn the_documented_exit_codes_are_those_of_the_program() {
    let documented = rows(&document("exit-codes.md"), "| code | name | when | what to do |");
    let program: Vec<_> =
        Exit::ALL.iter().map(|exit| (exit.code().to_string(), exit.name().to_owned())).collect();
    assert_eq!(documented, program);
}
