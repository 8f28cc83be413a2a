//! Promise: `list` shows what was asked for and nothing else; `get` shows what
//! an object is without its content, and with --reveal as kubectl shows it.

mod support;

use etcd_rekey::etcd::snapshot::hex;
use etcd_rekey::kube::Provider;
use etcd_rekey::kube::manifest::Node;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::builder::{Builder, key, object, seal};
use support::clusters::Cluster;
use support::program::{Bench, Ran, command, run, text};
use support::{config, folder};

fn list(snapshot: &str, more: &[&str]) -> Vec<Value> {
    let found = run(&[&["list", snapshot, "-w", "json"], more].concat()).expect(0).json();
    found["objects"].as_array().unwrap().clone()
}

/// Lines for people: with the heading first.
fn lines(ran: &Ran) -> Vec<Vec<String>> {
    ran.out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

#[test]
fn filters_leave_out_what_does_not_fit_and_only_that() {
    let rotated = folder("kube-rotated");
    let (snapshot, keys) = (rotated.join("snapshot.db"), rotated.join("old.yaml"));
    let snapshot = text(&snapshot);
    let keys = ["--encryption-config", text(&keys)];
    let all = list(snapshot, &[&["--revisions"][..], &keys].concat());
    let field = |object: &Value, name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let expect = |flags: &[&str], fits: &dyn Fn(&Value) -> bool| {
        let found = list(snapshot, &[flags, &keys].concat());
        let revisions = flags.contains(&"--revisions");
        let expected: Vec<_> = all
            .iter()
            .filter(|object| (revisions || object["current"] == true) && fits(object))
            .cloned()
            .collect();
        assert!(!expected.is_empty() && expected.len() < all.len(), "{flags:?}");
        assert_eq!(found, expected, "{flags:?}");
    };
    expect(&[], &|_| true);
    expect(&["--resource", "secrets"], &|object| object["resource"] == "secrets");
    expect(&["--resource", "secrets", "--revisions"], &|object| object["resource"] == "secrets");
    expect(&["-r", "deployments"], &|object| object["resource"] == "deployments.apps");
    expect(&["-r", "deployments.apps"], &|object| object["resource"] == "deployments.apps");
    expect(&["-n", "kube-system"], &|object| object["namespace"] == "kube-system");
    expect(&["--name", "*1"], &|object| field(object, "name").ends_with('1'));
    expect(&["--key", "/registry/secrets/*", "--revisions"], &|object| {
        field(object, "key").starts_with("/registry/secrets/")
    });
    expect(&["--sealed-by", "key-old", "--revisions"], &|object| object["keyName"] == "key-old");
    expect(&["--sealed-by", "aescbc/key-new"], &|object| object["keyName"] == "key-new");
    expect(&["--sealed-by", "aescbc"], &|object| object["provider"] == "aescbc");
    expect(&["--sealed-by", "identity"], &|object| object["provider"] == "identity");
    // Ordered by resource, etcd key and revision.
    let order: Vec<_> = all
        .iter()
        .map(|object| {
            let revision: i64 = field(object, "revision").split('.').next().unwrap().parse().unwrap();
            (field(object, "resource"), field(object, "key"), revision)
        })
        .collect();
    assert!(order.is_sorted());
    assert!(list(snapshot, &["--name", "nothing has this name"]).is_empty());
}

#[test]
fn resources_are_named_as_kubectl_takes_them_and_others_are_refused() {
    let rotated = folder("kube-rotated");
    let snapshot = rotated.join("snapshot.db");
    let snapshot = text(&snapshot);
    for (typed, plural) in [
        ("secret", "secrets"),
        ("Secret", "secrets"),
        ("cm", "configmaps"),
        ("deploy", "deployments.apps"),
        ("deployment.apps", "deployments.apps"),
        ("sa", "serviceaccounts"),
    ] {
        let found = list(snapshot, &["-r", typed]);
        assert!(!found.is_empty(), "{typed}");
        assert_eq!(found, list(snapshot, &["-r", plural]), "{typed}");
        assert!(found.iter().all(|object| object["resource"] == plural), "{typed}");
    }
    // Of what Kubernetes has, none is an answer.
    assert!(list(snapshot, &["-r", "cronjobs"]).is_empty());
    assert!(list(snapshot, &["-r", "cj"]).is_empty());
    for (typed, hint) in [
        ("secretz", "did you mean secrets?"),
        ("secrets.apps", "did you mean secrets?"),
        ("bogus", "it holds configmaps, "),
        ("", "it holds configmaps, "),
    ] {
        let refused = run(&["list", snapshot, "-r", typed]).expect(2);
        assert!(refused.out.is_empty() && refused.err.contains(hint), "{typed}: {}", refused.err);
        assert_eq!(refused.err.lines().count(), 2, "{}", refused.err);
    }
    let refused = run(&["list", snapshot, "-r", "bogus\u{1b}", "-w", "json"]).expect(2).json();
    assert_eq!(refused["error"]["kind"], "not-found");
    assert!(refused["error"]["message"].as_str().unwrap().contains("bogus\\x1b"), "{refused}");
}

#[test]
fn objects_are_named_as_kubectl_takes_them() {
    let made = made();
    let secret = made.get("default/s", &["-w", "json"]).expect(0).json();
    for name in ["secrets/default/s", "secret/default/s", "/registry/secrets/default/s"] {
        assert_eq!(made.get(name, &["-w", "json"]).expect(0).json(), secret, "{name}");
    }
    let widget = made.get("widget/default/w", &[]).expect(0).out;
    assert!(widget.contains("/registry/example.com/widgets/default/w"), "{widget}");
    assert!(made.get("po/default/p", &[]).expect(0).out.contains("/registry/pods/default/p"));
    for name in ["s", "secret/s"] {
        let told = made.get(name, &[]).expect(2).err;
        assert!(told.contains("did you mean default/s?"), "{name}: {told}");
    }
    for name in ["widgets.example.org/default/w", "default/s/", "registry/secrets/default/s"] {
        let told = made.get(name, &[]).expect(2).err;
        assert!(told.contains("RESOURCE/NAMESPACE/NAME"), "{name}: {told}");
    }
    // Two resources of one name: neither is guessed.
    let mut builder = Builder::default();
    builder.record("/registry/jobs/default/j", &object("Job", "default", "j", b"x"));
    let job = br#"{"apiVersion":"example.com/v1","kind":"Job","metadata":{"name":"j","namespace":"default"}}"#;
    builder.record("/registry/example.com/jobs/default/j", job);
    let snapshot = made.bench.file("jobs.db", builder.snapshot());
    let told = run(&["get", text(&snapshot), "jobs/default/j"]).expect(2).err;
    assert!(told.contains("/registry/example.com/jobs/default/j, /registry/jobs/default/j"), "{told}");
    run(&["get", text(&snapshot), "jobs.batch/default/j"]).expect(0);
}

#[test]
fn what_does_not_open_says_what_would_open_it() {
    let cluster = Cluster::of("k3s-fresh");
    let listed = list(text(&cluster.snapshot), &["-r", "secrets", "--sealed-by", "aescbc"]);
    let key = listed[0]["key"].as_str().unwrap();
    let get = |more: &[&str]| {
        let mut program = command(&[&["get", text(&cluster.snapshot), key], more].concat());
        for variable in ["K3S_TOKEN", "K3S_TOKEN_FILE", "RKE2_TOKEN", "RKE2_TOKEN_FILE"] {
            program.env_remove(variable);
        }
        Ran::from(program.output().unwrap())
    };
    let told = get(&[]).expect(0).out;
    assert!(told.contains("does not open") && told.contains("\nto open it, give the server token"), "{told}");
    assert!(get(&["--reveal"]).expect(4).err.contains("give the server token as --token-file"));
    let opened = get(&["--token-file", text(&cluster.token)]).expect(0).out;
    assert!(!opened.contains("to open it"), "{opened}");
    let rotated = folder("kube-rotated");
    let snapshot = rotated.join("snapshot.db");
    let told = run(&["get", text(&snapshot), "team-b/size-4096"]).expect(0).out;
    assert!(told.contains("\nto open it, give the configuration"), "{told}");
}

#[test]
fn a_list_for_people_has_a_column_a_fact() {
    let rotated = folder("kube-rotated");
    let snapshot = rotated.join("snapshot.db");
    let args = ["list", text(&snapshot), "--resource", "secrets"];
    let plain = run(&args).expect(0);
    let rows = lines(&plain);
    assert_eq!(rows[0], ["RESOURCE", "NAMESPACE", "NAME", "REVISION", "AGE", "PROVIDER", "KEY"]);
    assert_eq!(rows.len(), 48);
    assert!(!plain.out.contains("/registry/") && plain.out.lines().all(|line| line.trim_end() == line));
    let verbose = run(&[&args[..], &["-v"]].concat()).expect(0);
    assert!(verbose.out.contains("ETCD KEY") && verbose.out.contains("/registry/secrets/"));
    let boxed = run(&[&args[..], &["-w", "table"]].concat()).expect(0).out;
    let wide: Vec<_> = boxed.lines().map(str::len).collect();
    assert!(boxed.starts_with("+-") && wide.iter().all(|line| *line == wide[0]), "{boxed}");
}

#[test]
fn every_secret_of_a_cluster_is_shown_as_the_api_served_it() {
    let rotated = folder("kube-rotated");
    let (snapshot, keys) = (rotated.join("snapshot.db"), rotated.join("old.yaml"));
    let manifest = std::fs::read_to_string(rotated.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let sha256 = |json: &Value| hex(&Sha256::digest(json.to_string().as_bytes()));
    let mut shown = 0;
    for served in manifest["objects"].as_array().unwrap() {
        let api = served["api"].as_str().unwrap().strip_prefix("/api/v1/namespaces/");
        let Some((namespace, name)) = api.and_then(|path| path.split_once("/secrets/")) else { continue };
        let name = format!("{namespace}/{name}");
        let args = ["get", text(&snapshot), &name, "--encryption-config", text(&keys), "--reveal"];
        // Whole, with who manages what, it is what the API server served.
        let plain = command(&[&args[..], &["--raw"]].concat()).output().unwrap().stdout;
        let version = served["resourceVersion"].as_str().unwrap();
        let whole = json!(Node::whole(&plain, version.parse().unwrap()).unwrap());
        assert_eq!(sha256(&whole), served["object_sha256"], "{name}: {whole}");
        // What is shown is the same without that; hidden, there is no value in it.
        let mut expected = whole;
        expected["metadata"].as_object_mut().unwrap().remove("managedFields");
        let manifest = run(&[&args[..], &["-w", "json"]].concat()).expect(0).json()["manifest"].take();
        assert_eq!(manifest, expected);
        let yaml = run(&args).expect(0).out;
        let back: Value = from_yaml(&yaml);
        assert_eq!(back, expected, "{yaml}");
        let hidden = run(&args[..5]).expect(0).out;
        for (name, value) in expected["data"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            assert!(hidden.contains(name.as_str()), "{hidden}");
            assert!(value.len() < 8 || !hidden.contains(value), "{hidden}");
        }
        shown += 1;
    }
    assert_eq!(shown, 47);
}

/// YAML read by another's parser.
fn from_yaml(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

struct Made {
    bench: Bench,
    snapshot: String,
    keys: String,
}

/// A snapshot with a widget in JSON, a pod, a Secret and another tenant's key.
fn made() -> Made {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let old = key(Provider::Aescbc, "old", 1);
    let widget = br#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"default","annotations":{"a":"hush"}},"spec":{"n":1}}"#;
    builder.record("/registry/example.com/widgets/default/w", widget);
    builder.record("/registry/pods/default/p", &object("Pod", "default", "p", b"x"));
    builder.record("/elsewhere/a", b"theirs");
    builder.record("/elsewhere/sealed", &seal(&old, "/elsewhere/sealed", b"theirs"));
    builder.sealed(&old, "s");
    let snapshot = bench.file("in.db", builder.snapshot());
    let keys = bench.file("old.yaml", config(&[&["secrets"]], "aescbc", "old", 1));
    let (snapshot, keys) = (text(&snapshot).to_owned(), text(&keys).to_owned());
    Made { bench, snapshot, keys }
}

impl Made {
    fn get(&self, key: &str, more: &[&str]) -> Ran {
        assert!(self.bench.path("in.db").exists());
        run(&[&["get", &self.snapshot, key, "--encryption-config", &self.keys], more].concat())
    }
}

#[test]
fn a_key_of_another_tenant_is_told_as_such() {
    let made = made();
    let told = made.get("/elsewhere/a", &[]).expect(0).out;
    assert!(told.contains("outside /registry/: another tenant's") && !told.contains("theirs"), "{told}");
    let told = made.get("/elsewhere/sealed", &[]).expect(0).out;
    assert!(told.contains("looks sealed"), "{told}");
    assert_eq!(made.get("/elsewhere/a", &["--reveal"]).expect(0).out, "theirs");
    let told = made.get("/elsewhere/a", &["-w", "json"]).expect(0).json();
    assert_eq!((&told["foreign"], &told["resource"]), (&json!(true), &Value::Null));
    made.get("/elsewhere/none", &[]).expect(2);
    // Under another prefix it is one of Kubernetes', whose path names no object.
    assert!(
        list(&made.snapshot, &[]).iter().all(|object| !object["key"].as_str().unwrap().contains("elsewhere"))
    );
}

#[test]
fn annotations_are_never_shown_without_being_asked_for() {
    let made = made();
    let key = "/registry/example.com/widgets/default/w";
    for more in [&[][..], &["-w", "json"], &["-w", "table"]] {
        let told = made.get(key, more).expect(0).out;
        assert!(told.contains("Widget") && !told.contains("hush"), "{told}");
    }
    let shown = made.get(key, &["--reveal"]).expect(0).out;
    let expected = "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  annotations:\n    a: hush\n  name: w\n  \
                    namespace: default\n  resourceVersion: \"2\"\nspec:\n  \"n\": 1\n";
    assert_eq!(shown, expected);
    let raw = made.get(key, &["--reveal", "--raw"]).expect(0).out;
    assert!(raw.starts_with("{\"apiVersion\""));
    made.get(key, &["--raw"]).expect(2);
    // What is stored as protobuf, and is no Secret, is shown as it is stored.
    let ran = made.get("/registry/pods/default/p", &["--reveal", "-w", "json"]).expect(0).json();
    assert_eq!(ran["manifest"], Value::Null);
}
