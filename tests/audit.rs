//! Promise: the record of a run tells which files were read and written, so
//! that anybody can find them again, and tells no secret; it is there only when
//! the output is, and is proven.

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::clusters::{Cluster, encodings, holds, keys_of};
use support::program::{Bench, Ran, run, text};
use support::{fixture, folder};

/// A rekeyed fixture with its record.
fn recorded(bench: &Bench, more: &[&str]) -> Ran {
    let rotated = folder("kube-rotated");
    for file in ["snapshot.db", "new.yaml", "old.yaml"] {
        std::fs::copy(rotated.join(file), bench.path(file)).unwrap();
    }
    let (record, input) = (bench.path("audit.json"), bench.path("snapshot.db"));
    let args = [&["--report", text(&record)][..], more].concat();
    bench.reencrypt(&input, &bench.path("new.yaml"), Some(&bench.path("old.yaml")), &args)
}

fn record(bench: &Bench) -> Value {
    serde_json::from_slice(&std::fs::read(bench.path("audit.json")).unwrap()).unwrap()
}

fn verify(bench: &Bench, output: &str, more: &[&str]) -> Ran {
    let (output, input, record) = (bench.path(output), bench.path("snapshot.db"), bench.path("audit.json"));
    let args = ["verify", text(&output), "--against", text(&input), "--report", text(&record)];
    run(&[&args, more].concat())
}

fn sha256sum(directory: &Path, args: &[&str]) -> (bool, String) {
    let ran = Command::new("sha256sum").args(args).current_dir(directory).output().unwrap();
    (ran.status.success(), String::from_utf8(ran.stdout).unwrap())
}

#[test]
fn a_record_tells_what_was_read_written_and_proven() {
    let bench = Bench::new();
    let report = recorded(&bench, &["-w", "json"]).expect(0).json();
    let record = record(&bench);
    for side in ["input", "output"] {
        for field in ["revision", "statusHash", "hashKV", "bytes"] {
            assert_eq!(record[side][field], report[side][field], "{side} {field}");
        }
        assert_eq!(record[side]["trailer"], report[side]["sha256"]);
        let file = record[side]["file"].as_str().unwrap();
        let (_, sum) = sha256sum(bench.dir.path(), &[file]);
        assert_eq!(sum.split(' ').next(), record[side]["sha256"].as_str());
    }
    let secrets = |side: &str| {
        let rows = record[side]["values"].as_array().unwrap();
        let rows = rows.iter().filter(|row| row["resource"] == "secrets");
        rows.map(|row| (row["key"].as_str().unwrap().to_owned(), row["current"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(secrets("input"), [("key-new".to_owned(), 23), ("key-old".to_owned(), 24)]);
    assert_eq!(secrets("output"), [("key-2027".to_owned(), 47)]);
    assert_eq!(record["verified"]["records"], report["records"]);
    assert!(record["started"].as_str().unwrap() <= record["ended"].as_str().unwrap());
    for file in ["audit.json", "audit.json.sha256"] {
        let mode = std::fs::metadata(bench.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn sha256sum_and_verify_find_the_files_again() {
    let bench = Bench::new();
    recorded(&bench, &[]).expect(0);
    let check = || sha256sum(bench.dir.path(), &["-c", "audit.json.sha256"]);
    assert_eq!(check(), (true, "snapshot.db: OK\nout.db: OK\naudit.json: OK\n".to_owned()));
    // Without any key, and with all of them.
    let told = verify(&bench, "out.db", &[]).expect(0).out;
    assert!(told.contains("no value was opened"), "{told}");
    let keys = ["--encryption-config", "new.yaml", "--decryption-config", "old.yaml"]
        .map(|word| if word.starts_with("--") { word.to_owned() } else { text(&bench.path(word)).to_owned() });
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let told = verify(&bench, "out.db", &keys).expect(0).out;
    assert!(told.starts_with("verified: ") && !told.contains("no value was opened"), "{told}");

    // Another output of the same input is not the one recorded.
    let other = Bench::new();
    recorded(&other, &[]).expect(0);
    std::fs::copy(other.path("out.db"), bench.path("other.db")).unwrap();
    let refused = verify(&bench, "other.db", &["-w", "json"]).expect(6).json();
    assert_eq!(refused["verified"], false);
    assert!(refused["differences"][0].as_str().unwrap().starts_with("the output: SHA-256 is "));
    let refused = verify(&bench, "other.db", &[]).expect(6);
    assert!(refused.err.contains("not those of the audit record"), "{}", refused.err);

    std::fs::copy(bench.path("other.db"), bench.path("out.db")).unwrap();
    assert!(!check().0);
}

#[test]
fn sums_hold_in_the_folder_of_the_record_wherever_it_is_carried() {
    let bench = Bench::new();
    let rotated = folder("kube-rotated");
    let case = bench.path("case");
    std::fs::create_dir_all(case.join("out")).unwrap();
    for file in ["snapshot.db", "new.yaml", "old.yaml"] {
        std::fs::copy(rotated.join(file), bench.path(file)).unwrap();
    }
    std::fs::copy(rotated.join("snapshot.db"), case.join("snapshot.db")).unwrap();
    let (config, old) = (bench.path("new.yaml"), bench.path("old.yaml"));
    let keys = ["--encryption-config", text(&config), "--decryption-config", text(&old)];
    let run = |input: &Path, output: &Path, record: &Path| {
        let args = ["reencrypt", text(input), "-o", text(output), "--report", text(record)];
        run(&[&args[..], &keys].concat()).expect(0)
    };
    // In the folder and below it: all of it may be moved.
    let record = case.join("audit.json");
    let told = run(&case.join("snapshot.db"), &case.join("out/rekeyed.db"), &record);
    assert!(told.out.contains("`sha256sum -c` in its folder"), "{}", told.out);
    let good = "snapshot.db: OK\nout/rekeyed.db: OK\naudit.json: OK\n";
    assert_eq!(sha256sum(&case, &["-c", "audit.json.sha256"]), (true, good.to_owned()));
    let moved = bench.path("moved");
    std::fs::rename(&case, &moved).unwrap();
    assert_eq!(sha256sum(&moved, &["-c", "audit.json.sha256"]), (true, good.to_owned()));
    // From elsewhere only by way of the folder.
    assert!(!sha256sum(bench.dir.path(), &["-c", "moved/audit.json.sha256"]).0);
    let mut shell = Command::new("sh");
    shell.args(["-c", "(cd moved && sha256sum -c audit.json.sha256)"]);
    assert!(shell.current_dir(bench.dir.path()).output().unwrap().status.success());
    // Elsewhere: by their whole path, wherever the record is carried.
    std::fs::create_dir(bench.path("records")).unwrap();
    let output = bench.path("rekeyed.db");
    run(&bench.path("snapshot.db"), &output, &bench.path("records/audit.json"));
    std::fs::rename(bench.path("records"), bench.path("carried")).unwrap();
    let (fine, told) = sha256sum(&bench.path("carried"), &["-c", "audit.json.sha256"]);
    assert!(fine && told.contains(&format!("{}: OK", text(&output))), "{told}");
}

#[test]
fn a_text_that_is_no_record_is_refused() {
    let bench = Bench::new();
    recorded(&bench, &[]).expect(0);
    let good = std::fs::read_to_string(bench.path("audit.json")).unwrap();
    for bad in [
        "{}".to_owned(),
        "text\u{1b}[31m".to_owned(),
        good.replace("etcd-rekey audit record", "another"),
        good.replace("\"version\": 1,", "\"version\": 2,"),
    ] {
        bench.file("audit.json", bad);
        let refused = verify(&bench, "out.db", &[]).expect(2);
        assert!(refused.err.contains("no audit record") && !refused.err.contains('\u{1b}'), "{}", refused.err);
        assert_eq!(refused.err.lines().count(), 2);
    }
}

#[test]
fn no_record_without_a_proven_output() {
    let nothing = |bench: &Bench| {
        let names = bench.names();
        assert!(!names.iter().any(|name| name.contains("audit") || name.contains("out")), "{names:?}");
    };
    let bench = Bench::new();
    recorded(&bench, &["--no-verify"]).expect(2);
    nothing(&bench);
    let told = recorded(&bench, &["--dry-run"]).expect(0).out;
    assert!(told.contains("nothing was written"));
    nothing(&bench);
    // A record that cannot be written: the output is not, either.
    for name in ["out.db", "snapshot.db", "no/such/directory", "new.yaml", "."] {
        let bench = Bench::new();
        let rotated = folder("kube-rotated");
        for file in ["snapshot.db", "new.yaml", "old.yaml"] {
            std::fs::copy(rotated.join(file), bench.path(file)).unwrap();
        }
        let at = bench.path(name);
        let (input, new, old) = (bench.path("snapshot.db"), bench.path("new.yaml"), bench.path("old.yaml"));
        for dry in [&[][..], &["--dry-run"]] {
            let more = [&["--report", text(&at), "--overwrite"], dry].concat();
            let ran = bench.reencrypt(&input, &new, Some(&old), &more);
            assert!(ran.code == 2 || ran.code == 5, "{name}: {} {}", ran.code, ran.err);
            nothing(&bench);
        }
    }
    // What is there is kept, the sums too.
    let bench = Bench::new();
    bench.file("audit.json.sha256", "precious");
    assert!(recorded(&bench, &[]).expect(2).err.contains("audit.json.sha256"));
    assert_eq!(std::fs::read(bench.path("audit.json.sha256")).unwrap(), b"precious");
    assert!(!bench.path("out.db").exists());
}

#[test]
fn a_record_of_a_k3s_cluster_holds_no_key_and_no_token() {
    let cluster = Cluster::of("k3s-rotated");
    let bench = Bench::new();
    let (output, config, at) = (bench.path("rekeyed"), bench.path("escrow.json"), bench.path("audit.json"));
    let more = ["--force", "--write-config", text(&config), "--report", text(&at)];
    cluster.run("rotate-keys", &output, &more).expect(0);
    let told = [std::fs::read(&at).unwrap(), std::fs::read(bench.path("audit.json.sha256")).unwrap()].concat();
    let configs = [std::fs::read_to_string(&config).unwrap(), cluster.recorded("encryption-config.json")];
    for secret in configs.iter().flat_map(|config| keys_of(config)) {
        for encoded in encodings(&secret) {
            assert!(!holds(&told, &encoded));
        }
    }
    assert!(!holds(&told, cluster.passphrase().trim().as_bytes()));
    let record = record(&bench);
    assert_eq!(record["k3s"]["program"], "k3s");
    assert_eq!(record["command"], "rotate-keys");
    let args = ["verify", text(&output), "--against", text(&cluster.snapshot), "--report", text(&at)];
    run(&args).expect(0);
    run(&[&args[..], &["--token-file", text(&cluster.token)]].concat()).expect(0);
}

#[test]
fn a_compressed_input_is_recorded_as_the_file_it_is() {
    let cluster = Cluster::of("k3s-compressed");
    let bench = Bench::new();
    let (output, at) = (bench.path("rekeyed"), bench.path("audit.json"));
    cluster.run("rotate-keys", &output, &["--report", text(&at)]).expect(0);
    let record = record(&bench);
    let archive = fixture("k3s-compressed", "snapshot.zip");
    assert_eq!(record["input"]["bytes"], std::fs::metadata(&archive).unwrap().len());
    let (_, sum) = sha256sum(bench.dir.path(), &[text(&archive)]);
    assert_eq!(sum.split(' ').next(), record["input"]["sha256"].as_str());
    let (good, _) = sha256sum(bench.dir.path(), &["-c", "audit.json.sha256"]);
    assert!(good);
}
