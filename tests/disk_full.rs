//! Promise: a disk that is full, and a limit of file sizes, at whatever byte,
//! are an error that leaves nothing behind; and what room a run will need is
//! known, to the byte, before it writes anything, in a dry run too.

mod support;

use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use support::clusters::Cluster;
use support::program::{Bench, Ran, run, text};
use support::{KUBE_FIXTURES, blocks, config, fixture};

const STEP: u64 = 4096;

/// `rotate-keys` of a bench, which leaves its key beside the output, in `folder`.
fn rotate_keys(bench: &Bench, folder: &Path) -> Vec<String> {
    let input = |name: &str| text(&bench.path(name)).to_owned();
    let output = |name: &str| text(&folder.join(name)).to_owned();
    let mut words =
        ["rotate-keys", &input("in.db"), "--encryption-config", &input("old.yaml")].map(str::to_owned).to_vec();
    words.extend(["--write-config".to_owned(), output("new.yaml"), "-o".to_owned(), output("out.db")]);
    words
}

fn words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// The program in a shell that runs `before` first.
fn after(before: &str, args: &[&str]) -> Ran {
    let script = format!("{before}; exec \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash", env!("CARGO_BIN_EXE_etcd-rekey")]).args(args);
    Ran::from(command.output().unwrap())
}

#[test]
fn a_limit_of_file_sizes_at_every_step() {
    let bench = Bench::with_secrets(150);
    let args = rotate_keys(&bench, bench.dir.path());
    run(&words(&args)).expect(0);
    let need = std::fs::metadata(bench.path("out.db")).unwrap().len();
    for name in ["out.db", "new.yaml"] {
        std::fs::remove_file(bench.path(name)).unwrap();
    }
    for limit in (0..need).step_by(STEP.try_into().unwrap()) {
        let ran = after(&format!("ulimit -f {}", limit / 1024), &words(&args)).expect(5);
        assert!(ran.err.contains("File too large"), "{limit}: {}", ran.err);
        let path = if limit == 0 { "new.yaml" } else { "out.db" };
        assert!(ran.err.contains(path), "{limit}: {}", ran.err);
        assert_eq!(bench.names(), ["in.db", "old.yaml"], "{limit}");
    }
    after(&format!("ulimit -f {}", need.div_ceil(1024)), &words(&args)).expect(0);
}

#[test]
fn a_limit_of_file_sizes_on_commands_that_write_no_snapshot() {
    let bench = Bench::with_secrets(1);
    let (old, new, input) = (bench.path("old.yaml"), bench.path("new.yaml"), bench.path("in.db"));
    let prepare = ["prepare", "--encryption-config", text(&old), "--write-config", text(&new)];
    let ran = after("ulimit -f 0", &prepare).expect(5);
    assert!(ran.err.contains("File too large"), "{}", ran.err);
    assert_eq!(bench.names(), ["in.db", "old.yaml"]);
    // What is printed, into a file that may not grow.
    let printed = bench.file("printed", "");
    let before = format!("exec > {}; ulimit -f 0", text(&printed));
    let ran = after(&before, &["status", text(&input), "--encryption-config", text(&old)]).expect(5);
    assert!(ran.err.contains("standard output: File too large"), "{}", ran.err);
}

/// Runs the program on a file system of `bytes`, mounted for it alone, and
/// returns what was left there besides.
fn on_small_disk(bench: &Bench, bytes: u64, args: &[&str]) -> (Ran, Vec<String>) {
    let (folder, list) = (bench.path("small"), bench.path("list"));
    std::fs::create_dir_all(&folder).unwrap();
    let script = r#"mount -t tmpfs -o size="$1" none "$2" || exit 99
        folder=$2 list=$3; shift 3; "$@"; code=$?; ls -A "$folder" > "$list"; exit $code"#;
    let user = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let mut command = Command::new("unshare");
    command.args([user, "bash", "-c", script, "bash", &bytes.to_string(), text(&folder), text(&list)]);
    let ran = Ran::from(command.arg(env!("CARGO_BIN_EXE_etcd-rekey")).args(args).output().unwrap());
    assert!(ran.code < 99, "a tmpfs is missing; mounting one needs root or user namespaces: {}", ran.err);
    let left = std::fs::read_to_string(&list).unwrap().lines().map(str::to_owned).collect();
    (ran, left)
}

#[test]
fn a_disk_of_every_size_up_to_what_is_needed() {
    let bench = Bench::with_secrets(150);
    let folder = bench.path("small");
    let args = rotate_keys(&bench, &folder);
    let args = [&words(&args)[..], &["-w", "json"]].concat();
    let (ran, left) = on_small_disk(&bench, 1 << 20, &args);
    assert_eq!(left, ["new.yaml", "out.db"]);
    let need = ran.expect(0).json()["output"]["bytes"].as_u64().unwrap().next_multiple_of(STEP) + STEP;
    let mut foreseen = 0;
    for bytes in (STEP..need).step_by(STEP.try_into().unwrap()) {
        let (ran, left) = on_small_disk(&bench, bytes, &args);
        let error = ran.expect(5).json()["error"].clone();
        assert!(left.is_empty(), "{bytes}: {left:?}");
        foreseen += u32::from(error["kind"] == "no-space");
        let message = error["message"].as_str().unwrap();
        assert!(error["kind"] == "no-space" || message.contains("No space left on device"), "{bytes}: {error}");
        let dry = on_small_disk(&bench, bytes, &[&args[..], &["--dry-run"]].concat());
        assert_eq!(dry.0.code, 5, "{bytes}: {}", dry.0.out);
        assert!(dry.1.is_empty());
    }
    assert!(foreseen > 5, "{foreseen}");
    let (dry, _) = on_small_disk(&bench, need, &[&args[..], &["--dry-run"]].concat());
    let disk = dry.expect(0).json()["disk"].clone();
    assert_eq!((&disk["needed"], &disk["free"]), (&(need - STEP + 32).into(), &need.into()));
    let (ran, left) = on_small_disk(&bench, need, &args);
    ran.expect(0);
    assert_eq!(left, ["new.yaml", "out.db"]);
}

#[test]
fn an_archive_that_cannot_be_unpacked_there() {
    let bench = Bench::new();
    let cluster = Cluster::of("k3s-compressed");
    let out = bench.path("small").join("out.db");
    let args = ["rotate-keys", text(&cluster.snapshot), "--token-file", text(&cluster.token), "-o", text(&out)];
    for bytes in [STEP, 1 << 18, 1 << 20] {
        let (ran, left) = on_small_disk(&bench, bytes, &args);
        let ran = ran.expect(5);
        assert!(ran.err.contains("No space left on device") || ran.err.contains("are needed"), "{}", ran.err);
        assert!(left.is_empty(), "{left:?}");
    }
    on_small_disk(&bench, 1 << 26, &args).0.expect(0);
}

/// What a run says it will write is what it writes, and what that takes.
#[test]
fn the_need_is_known_before() {
    let predicted = |run: &dyn Fn(&[&str]) -> Ran, bench: &Bench, what: &str| {
        let dry: Value = run(&["--dry-run", "-w", "json"]).expect(0).json();
        let foretold = dry["outputBytes"].as_u64().unwrap();
        run(&[]).expect(0);
        let out = std::fs::metadata(bench.path("out.db")).unwrap();
        assert_eq!(foretold, out.len(), "{what}");
        let taken = out.blocks() * 512;
        assert!(taken.abs_diff(foretold) * 20 <= foretold, "{what}: {taken} taken, {foretold} foretold");
    };
    let providers = ["aescbc", "aesgcm", "secretbox"].into_iter().cycle();
    for (name, provider) in KUBE_FIXTURES.into_iter().filter(|name| *name != "kube-kms").zip(providers) {
        let bench = Bench::new();
        let new = bench.file("new.yaml", config(blocks(name), provider, "fresh", 0x42));
        let (input, old) = (fixture(name, "snapshot.db"), fixture(name, "encryption-config.yaml"));
        let run = |more: &[&str]| bench.reencrypt(&input, &new, Some(&old), more);
        predicted(&run, &bench, name);
    }
    for name in ["k3s-fresh", "k3s-compressed", "k3s-rotated"] {
        let bench = Bench::new();
        let cluster = Cluster::of(name);
        let forced =
            |more: &[&str]| cluster.run("rotate-keys", &bench.path("out.db"), &[&["--force"], more].concat());
        predicted(&forced, &bench, name);
        std::fs::remove_file(bench.path("out.db")).unwrap();
        let compact = |more: &[&str]| {
            cluster.run("rotate-keys", &bench.path("out.db"), &[&["--force", "--compact"], more].concat())
        };
        predicted(&compact, &bench, name);
    }
}
