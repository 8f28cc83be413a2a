//! Promise: the command line does what its help says, ends with the documented
//! code, and leaves nothing behind when it fails.

mod support;

use etcd_rekey::kube::Provider;
use std::path::PathBuf;
use support::builder::{Builder, key};
use support::program::{Bench, Ran, command, heeding, run, text};
use support::{config, fixture};

const SECRETS: &[&[&str]] = &[&["secrets"]];

struct Case {
    bench: Bench,
    input: PathBuf,
    new: PathBuf,
    old: PathBuf,
}

/// A snapshot of `secrets` secrets and the configurations to rekey it.
fn case(secrets: usize) -> Case {
    let bench = Bench::new();
    let mut builder = Builder::default();
    for i in 0..secrets {
        builder.sealed(&key(Provider::Aescbc, "old", 1), &format!("s{i}"));
    }
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    Case { bench, input, new, old }
}

impl Case {
    fn run(&self, more: &[&str]) -> Ran {
        self.bench.reencrypt(&self.input, &self.new, Some(&self.old), more)
    }

    fn verify(&self, output: &str, more: &[&str]) -> Ran {
        let output = self.bench.path(output);
        let args = [
            "verify",
            text(&output),
            "--against",
            text(&self.input),
            "--encryption-config",
            text(&self.new),
            "--decryption-config",
            text(&self.old),
        ];
        run(&[&args[..], more].concat())
    }
}

#[test]
fn a_thousand_secrets_end_with_exactly_a_thousand() {
    let case = case(1000);
    let ran = case.run(&[]).expect(0);
    let lines: Vec<&str> = ran.err.lines().collect();
    let expected: Vec<String> = (1..=20).map(|i| format!("reencrypted {} secrets", i * 50)).collect();
    assert_eq!(lines, expected);
    let ran = case.run(&["--force", "--progress-every", "300"]).expect(0);
    assert_eq!(
        ran.err,
        "reencrypted 300 secrets\nreencrypted 600 secrets\nreencrypted 900 secrets\nreencrypted 1000 secrets\n"
    );
    let ran = case.run(&["--force", "--progress", "none"]).expect(0);
    assert_eq!(ran.err, "");
    let ran = case.run(&["--force", "--progress", "json", "--progress-every", "1000"]).expect(0);
    let events: Vec<serde_json::Value> =
        ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let phases: Vec<_> = events.iter().filter_map(|event| event["phase"].as_str()).collect();
    assert_eq!(phases, ["checking", "planning", "reencrypting", "verifying", "making durable"]);
    assert!(events.iter().any(|event| event["reencrypted"] == 1000 && event["unit"] == "secrets"));
}

#[test]
fn a_second_run_changes_nothing_and_says_so() {
    let case = case(30);
    case.run(&[]).expect(0);
    let once = case.bench.path("once.db");
    std::fs::rename(case.bench.path("out.db"), &once).unwrap();
    let again = case.bench.reencrypt(&once, &case.new, None, &[]).expect(0);
    assert!(again.out.starts_with("nothing to reencrypt: all 30 values are under the right key already\n"));
    assert_eq!(std::fs::read(case.bench.path("out.db")).unwrap(), std::fs::read(&once).unwrap());
}

#[test]
fn thread_counts_do_not_change_the_result() {
    let case = case(500);
    for threads in ["1", "2", "16"] {
        case.run(&["--force", "--threads", threads]).expect(0);
        case.verify("out.db", &[]).expect(0);
    }
}

#[test]
fn an_existing_output_is_kept_without_force() {
    let case = case(3);
    case.bench.file("out.db", "precious");
    let refused = case.run(&["-w", "json"]).expect(2).json();
    assert_eq!(refused["error"]["kind"], "output-exists");
    assert_eq!(std::fs::read(case.bench.path("out.db")).unwrap(), b"precious");
    case.run(&["--force"]).expect(0);
}

#[test]
fn the_input_is_never_the_output() {
    let case = case(3);
    let before = std::fs::read(&case.input).unwrap();
    std::os::unix::fs::symlink("in.db", case.bench.path("soft.db")).unwrap();
    std::fs::hard_link(&case.input, case.bench.path("hard.db")).unwrap();
    for name in ["in.db", "soft.db", "hard.db", "../in.db"] {
        let path = if name == "../in.db" {
            std::fs::create_dir_all(case.bench.path("sub")).unwrap();
            case.bench.path("sub/../in.db")
        } else {
            case.bench.path(name)
        };
        let refused = run(&[
            "reencrypt",
            text(&case.input),
            "--encryption-config",
            text(&case.new),
            "--decryption-config",
            text(&case.old),
            "-o",
            text(&path),
            "--force",
            "-w",
            "json",
        ]);
        assert_eq!(refused.expect(2).json()["error"]["kind"], "same-file", "{name}");
    }
    assert_eq!(std::fs::read(&case.input).unwrap(), before);
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let case = case(30);
    let before = case.bench.names();
    let told = case.run(&["--dry-run", "-w", "json"]).expect(0).json();
    assert_eq!((&told["dryRun"], &told["rewritten"], &told["output"]), (&true.into(), &30.into(), &().into()));
    assert_eq!(case.bench.names(), before);
    let written = case.run(&["-w", "json"]).expect(0).json();
    assert_eq!(told["outputBytes"], written["output"]["bytes"]);
    let bytes = std::fs::metadata(case.bench.path("out.db")).unwrap().len();
    assert_eq!(told["outputBytes"], bytes);
}

#[test]
fn io_errors_name_the_file_and_end_with_five() {
    let case = case(3);
    let nowhere = case.bench.path("no/such/dir/out.db");
    let ran = run(&[
        "reencrypt",
        text(&case.input),
        "--encryption-config",
        text(&case.new),
        "--decryption-config",
        text(&case.old),
        "-o",
        text(&nowhere),
    ]);
    assert!(ran.expect(5).err.contains("no/such/dir/out.db"));
    for args in [vec!["check", "no-such-file"], vec!["status", "/"], vec!["check", "/dev/null"]] {
        assert!(run(&args).expect(5).err.contains(args[1]), "{args:?}");
    }
}

#[test]
fn a_bad_configuration_is_refused_with_four_and_no_key_shown() {
    let case = case(3);
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
    for content in [
        format!(
            "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc: {{keys: [{{name: a, secret: {secret}}}]}}\n"
        ),
        format!("kind: Secret\napiVersion: v1\ndata: {{a: {secret}}}\n"),
        format!("{secret}: ]["),
    ] {
        let bad = case.bench.file("bad.yaml", content);
        for how in ["simple", "json"] {
            let ran = case.bench.reencrypt(&case.input, &bad, None, &["-w", how]).expect(4);
            let printed = ran.out + &ran.err;
            assert!(printed.contains("bad.yaml") && !printed.contains("c2Vj"), "{printed}");
        }
    }
}

#[test]
fn usage_errors_end_with_two() {
    for args in [
        &["reencrypt"][..],
        &["nonsense"],
        &["check", "a", "--nonsense"],
        &["reencrypt", "a", "--threads", "-1"],
    ] {
        assert_eq!(run(args).code, 2, "{args:?}");
    }
    run(&["--help"]).expect(0);
    run(&["--version"]).expect(0);
}

#[test]
fn verify_proves_a_good_output_and_names_each_difference() {
    let case = case(50);
    case.run(&[]).expect(0);
    let proven = case.verify("out.db", &["-w", "json"]).expect(0).json();
    assert_eq!((&proven["verified"], &proven["values"]), (&true.into(), &50.into()));

    // The input itself is no output: its values are under the old key, and it
    // is no fresh file.
    std::fs::copy(&case.input, case.bench.path("copy.db")).unwrap();
    let refused = case.verify("copy.db", &["-w", "json"]).expect(6).json();
    assert_eq!(refused["verified"], false);
    assert!(refused["differences"][0].as_str().unwrap().contains("does not open"));

    // Every byte of the output's pages, flipped, with the trailer right.
    let good = std::fs::read(case.bench.path("out.db")).unwrap();
    let file = &good[..good.len() - 32];
    for at in (0..file.len()).step_by(97) {
        let mut bad = file.to_vec();
        bad[at] ^= 0x10;
        case.bench.file("bad.db", support::builder::with_trailer(&bad));
        let code = case.verify("bad.db", &["-w", "json"]).code;
        // In a meta's flags no reader looks; everything else is noticed.
        let meta_flags = [28, 4096 + 28].iter().any(|flags| (*flags..flags + 4).contains(&at));
        assert!(matches!(code, 3 | 6) || meta_flags, "byte {at}: {code}");
    }
}

#[test]
fn get_shows_a_value_only_when_told() {
    let case = case(3);
    let old = ["--encryption-config", text(&case.old)];
    let get = |more: &[&str]| run(&[&["get", text(&case.input), "default/s1"], &old[..], more].concat());
    let hidden = get(&[]).expect(0);
    assert!(hidden.out.contains("/registry/secrets/default/s1") && !hidden.out.contains("s3cr3t"));
    assert!(!get(&["-w", "json"]).expect(0).out.contains("value"));
    assert!(get(&["--reveal"]).expect(0).out.contains("s3cr3t"));
    let json = get(&["--reveal", "-w", "json"]).expect(0).json();
    assert_eq!(json["keyName"], "old");
    let missing = run(&["get", text(&case.input), "default/none"]);
    assert!(missing.expect(2).err.contains("no object default/none"));
    let no_key = run(&["get", text(&case.input), "default/s1", "--reveal"]).expect(4);
    assert!(no_key.err.contains("no key of this name"));
}

#[test]
fn list_and_status_tell_what_seals_what() {
    let case = case(5);
    let list = run(&["list", text(&case.input), "--resource", "secrets", "-w", "json"]).expect(0).json();
    assert_eq!(list["objects"].as_array().unwrap().len(), 5);
    assert_eq!(list["objects"][0]["keyName"], "old");
    let status = run(&["status", text(&case.input), "--encryption-config", text(&case.new), "-w", "json"]);
    let status = status.expect(0).json();
    assert_eq!(status["unreadable"].as_array().unwrap().len(), 5);
    assert_eq!(status["snapshot"]["trailer"], "ok");
    for how in ["simple", "table"] {
        assert!(
            run(&["status", text(&fixture("kube-multi", "snapshot.db")), "-w", how])
                .expect(0)
                .out
                .contains("secretbox")
        );
    }
}

#[test]
fn a_signal_leaves_nothing_behind() {
    let case = case(20_000);
    let before = case.bench.names();
    let mut interrupted = 0;
    for (number, signal, code) in
        [(0, "INT", 130), (1, "TERM", 143), (2, "HUP", 129)].into_iter().cycle().take(12)
    {
        let output = case.bench.path("out.db");
        let mut child = heeding(&[
            "reencrypt",
            text(&case.input),
            "--encryption-config",
            text(&case.new),
            "--decryption-config",
            text(&case.old),
            "-o",
            text(&output),
            "--progress",
            "json",
        ])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
        // The signal comes at another phase each time.
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        for _ in 0..=number {
            lines.next();
        }
        let killed = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(killed.unwrap().success());
        // Read on, so that the program is not held up by a full pipe.
        lines.for_each(drop);
        let ended = child.wait().unwrap().code();
        if ended == Some(code) {
            interrupted += 1;
            assert_eq!(case.bench.names(), before);
        } else {
            // It was done before the signal reached it.
            assert_eq!(ended, Some(0));
            std::fs::remove_file(&output).unwrap();
        }
    }
    assert!(interrupted >= 3, "{interrupted}");
}

#[test]
fn no_file_of_keys_is_ever_written_over() {
    let case = case(3);
    std::os::unix::fs::symlink(&case.new, case.bench.path("soft")).unwrap();
    std::fs::hard_link(&case.old, case.bench.path("hard")).unwrap();
    for target in ["new.yaml", "old.yaml", "soft", "hard"] {
        let (input, to) = (case.input.clone(), case.bench.path(target));
        let before = std::fs::read(&to).unwrap();
        let args = ["reencrypt", text(&input), "--encryption-config", text(&case.new), "--force"];
        let args = [&args[..], &["--decryption-config", text(&case.old), "-o", text(&to)]].concat();
        assert!(run(&args).expect(2).err.contains("another file of this run"), "{target}");
        assert_eq!(std::fs::read(&to).unwrap(), before);
    }
}

#[test]
fn a_prefix_under_which_nothing_lies_is_refused() {
    let case = case(3);
    let refused = case.run(&["--etcd-prefix", "/registri", "-w", "json"]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "etcd-prefix");
    assert!(refused["error"]["message"].as_str().unwrap().contains("/registry/secrets/default/s0"));
    assert!(!case.bench.path("out.db").exists());
    case.run(&[]).expect(0);
    case.verify("out.db", &["--etcd-prefix", "/registri"]).expect(6);
}

#[test]
fn outputs_that_are_no_files_are_refused_whatever_is_forced() {
    let case = case(3);
    let fifo = case.bench.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for target in ["fifo", "", "new/", "-"] {
        let to = if target == "-" {
            "-".to_owned()
        } else {
            format!("{}/{target}", case.bench.dir.path().display())
        };
        let args = ["reencrypt", text(&case.input), "--encryption-config", text(&case.new), "-o", &to];
        let ran = run(&[&args[..], &["--decryption-config", text(&case.old), "--force"]].concat()).expect(2);
        assert!(!ran.err.contains("--force"), "{}", ran.err);
    }
    // And none is waited for as an input.
    let ran = run(&["check", text(&fifo)]).expect(5);
    assert!(ran.err.contains("no regular file"), "{}", ran.err);
}

#[test]
fn a_configuration_without_end_is_refused() {
    let case = case(3);
    let endless = PathBuf::from("/dev/zero");
    let ran = case.bench.reencrypt(&case.input, &endless, None, &[]).expect(5);
    assert!(ran.err.contains("16 MiB"), "{}", ran.err);
    let wide = case.bench.file("wide", b"\xff\xfea\x00p\x00i\x00");
    let ran = case.bench.reencrypt(&case.input, &wide, None, &[]).expect(4);
    assert!(ran.err.contains("UTF-8"), "{}", ran.err);
}

#[test]
fn what_cannot_be_printed_is_no_success() {
    let case = case(3);
    case.run(&[]).expect(0);
    let get = ["get", text(&case.input), "default/s0", "--encryption-config", text(&case.old), "--reveal"];
    for args in [
        &["check", text(&case.input)][..],
        &["list", text(&case.input)],
        &["status", text(&case.input), "-w", "json"],
        &get,
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = Ran::from(command(args).stdout(full).output().unwrap()).expect(5);
        assert!(ran.err.starts_with("error: standard output"), "{}", ran.err);
    }
    // A reader that has seen enough is none of it.
    let mut child = command(&["list", text(&fixture("kube-rotated", "snapshot.db"))])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_object_is_shown_as_it_was_and_not_after_it_was_deleted() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let old = key(Provider::Aescbc, "old", 1);
    let first = builder.sealed(&old, "s");
    builder.tombstone("/registry/secrets/default/s");
    builder.sealed(&old, "other");
    let last = builder.sealed(&old, "s");
    let input = bench.file("in.db", builder.snapshot());
    for (revision, code) in [(first - 1, 2), (first, 0), (first + 1, 2), (first + 2, 2), (last, 0)] {
        run(&["get", text(&input), "default/s", "--revision", &revision.to_string()]).expect(code);
    }
}

#[test]
fn a_limit_of_file_sizes_is_an_error_that_leaves_nothing() {
    let case = case(3000);
    let script = "ulimit -f 100; exec \"$@\"";
    let args = ["reencrypt", text(&case.input), "--encryption-config", text(&case.new), "--decryption-config"];
    let out = case.bench.path("out.db");
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_etcd-rekey")]).args(args);
    let ran = Ran::from(command.args([text(&case.old), "-o", text(&out)]).output().unwrap()).expect(5);
    assert!(ran.err.contains("File too large"), "{}", ran.err);
    assert_eq!(case.bench.names(), ["in.db", "new.yaml", "old.yaml"]);
}

#[test]
fn no_core_of_it_is_ever_dumped() {
    let case = case(3);
    // The pipe lets the program live until it is told to go on.
    let pipe = case.bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let out = case.bench.path("out.db");
    let args = ["reencrypt", text(&case.input), "--encryption-config", text(&case.new), "-o", text(&out)];
    let mut child = support::program::command(&args)
        .args(["--decryption-config", text(&pipe)])
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Opening it waits until the program reads from it.
    let writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    std::io::Write::write_all(&mut &writer, &std::fs::read(&case.old).unwrap()).unwrap();
    drop(writer);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn under_nohup_a_hangup_is_ignored() {
    let case = case(3000);
    // The pipe lets the program live until it is told to go on.
    let pipe = case.bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let out = case.bench.path("out.db");
    let args = ["reencrypt", text(&case.input), "--encryption-config", text(&case.new), "-o", text(&out)];
    let mut child = std::process::Command::new("nohup")
        .arg(env!("CARGO_BIN_EXE_etcd-rekey"))
        .args(args)
        .args(["--decryption-config", text(&pipe), "--progress", "json"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::fs::write(&pipe, std::fs::read(&case.old).unwrap()).unwrap();
    let mut events = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    std::io::BufRead::read_line(&mut events, &mut first).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    // It may be done already; then the signal has nobody to reach.
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
    std::io::Read::read_to_end(&mut events, &mut Vec::new()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_dry_run_refuses_what_the_run_would() {
    let case = case(3);
    case.bench.file("taken", "precious");
    let input = text(&case.input).to_owned();
    let missing = case.bench.path("nowhere").join("out.db");
    let taken = case.bench.path("taken");
    for (target, code) in
        [(text(&taken), 2), (&*input, 2), (text(&missing), 5), (text(case.bench.dir.path()), 2)]
    {
        let args = ["reencrypt", &input, "--encryption-config", text(&case.new), "--decryption-config"];
        let args = [&args[..], &[text(&case.old), "-o", target, "--dry-run"]].concat();
        run(&args).expect(code);
    }
    let before = case.bench.names();
    case.run(&["--dry-run"]).expect(0);
    assert_eq!(case.bench.names(), before);
}

#[test]
fn what_only_a_snapshot_can_have_is_refused_where_none_is_written() {
    let case = case(3);
    let before = case.bench.names();
    let (old, to) = (text(&case.old), case.bench.path("next.yaml"));
    for flag in ["--report=audit.json", "--compact", "--keep-unreadable", "--no-verify"] {
        let args = ["prepare", "--encryption-config", old, "--write-config", text(&to), flag];
        assert!(run(&args).expect(2).err.contains("--output <FILE>"), "{flag}");
    }
    assert_eq!(case.bench.names(), before);
}

#[test]
fn a_dry_run_names_every_file_the_run_would_write_and_refuses_for_each() {
    let case = case(3);
    let before = case.bench.names();
    let (config, record) = (case.bench.path("needed.yaml"), case.bench.path("audit.json"));
    let more = ["--write-config", text(&config), "--report", text(&record)];
    let told = case.run(&[&more[..], &["--dry-run"]].concat()).expect(0).out;
    let names = ["out.db", "needed.yaml", "audit.json", "audit.json.sha256"];
    assert!(names.iter().all(|name| told.contains(&format!("/{name}"))), "{told}");
    assert_eq!(case.bench.names(), before);
    case.run(&more).expect(0);
    let mut expected: Vec<String> = before.into_iter().chain(names.map(str::to_owned)).collect();
    expected.sort();
    assert_eq!(case.bench.names(), expected);
    // Each of them is in the way of the next run, and of its dry run.
    for name in names {
        for other in names.iter().filter(|other| **other != name) {
            std::fs::remove_file(case.bench.path(other)).unwrap();
        }
        for dry in [&[][..], &["--dry-run"]] {
            let refused = case.run(&[&more[..], dry].concat()).expect(2).err;
            assert!(refused.contains(&format!("/{name}: the file exists")), "{refused}");
            assert!(refused.ends_with("; nothing was written\n"), "{refused}");
        }
        std::fs::remove_file(case.bench.path(name)).unwrap();
        case.run(&more).expect(0);
    }
}

#[test]
fn a_command_line_that_is_none_is_told_in_json_where_that_was_asked_for() {
    for words in [
        &["reencrypt", "in.db", "-w", "json"][..],
        &["reencrypt", "in.db", "--write-out=json", "--threads", "abc", "-o", "out.db"],
        &["status", "-wjson", "--no-such-flag"],
    ] {
        let told = run(words).expect(2).json();
        assert_eq!(
            (&told["error"]["kind"], &told["error"]["exitCode"]),
            (&"usage".into(), &2.into()),
            "{words:?}"
        );
        assert!(!told["error"]["message"].as_str().unwrap().is_empty());
    }
    let plain = run(&["reencrypt", "in.db"]).expect(2);
    assert!(plain.out.is_empty() && plain.err.contains("--output"));
    assert!(run(&["--help", "-w", "json"]).expect(0).out.contains("Usage"));
}

#[test]
fn a_slip_at_verify_is_told_before_the_output_is_suspected() {
    let bench = Bench::new();
    let of = |cluster: &str, name: &str| fixture(cluster, name).to_str().unwrap().to_owned();
    let (input, new, old) =
        (of("kube-rotated", "snapshot.db"), of("kube-rotated", "new.yaml"), of("kube-rotated", "old.yaml"));
    let kube = ["--encryption-config", &new, "--decryption-config", &old];
    let (snapshot, token) =
        (of("k3s-reencrypt_finished", "snapshot.db"), of("k3s-reencrypt_finished", "token"));
    let k3s = ["--token-file", &token[..]];
    for (name, verb, input, keys) in
        [("kube", "reencrypt", &input, &kube[..]), ("k3s", "rotate-keys", &snapshot, &k3s[..])]
    {
        let [whole, compacted, copy] =
            ["whole", "compacted", "copy"].map(|of| bench.path(&format!("{name}-{of}")));
        run(&[&[verb, input, "-o", text(&whole)][..], keys].concat()).expect(0);
        run(&[&[verb, input, "--compact", "-o", text(&compacted)][..], keys].concat()).expect(0);
        std::fs::copy(&whole, &copy).unwrap();
        let verify = |output: &str, against: &str, more: &[&str]| {
            run(&[&["verify", output, "--against", against][..], keys, more].concat())
        };
        verify(text(&whole), input, &[]).expect(0);
        verify(text(&compacted), input, &["--compact"]).expect(0);
        for (output, against, more, remedy) in [
            (text(&compacted), &input[..], &[][..], "the output is compacted: add --compact"),
            (input, text(&whole), &[], "the two files are swapped"),
            (input, text(&compacted), &["--compact"], "the two files are swapped"),
            (input, input, &[], "both names are of one file"),
            (text(&whole), input, &["--compact"], "give the configurations and the flags"),
        ] {
            let refused = verify(output, against, more).expect(6).err;
            assert!(refused.lines().last().unwrap().trim().starts_with(remedy), "{name} {remedy}: {refused}");
        }
        // Of an output and its copy nothing is left to rekey: no slip shows in that.
        let same = verify(text(&whole), text(&copy), &[]);
        assert!(same.code == 0 || same.err.contains("both names are of one file"), "{}", same.err);
    }
}
