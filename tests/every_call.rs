//! Promise: whichever call to the system fails, of reading as of writing, the
//! input stays as it was, there is no output or a complete one, no other file,
//! and the error names the file and the cause. What is interrupted, or done in
//! part, is done to its end.
//!
//! The program runs under a tracer: each call of each kind on each of its
//! files fails in its turn, the first, the second and so on to the last, once
//! and from then on. Built in release only: debug assertions would make the
//! hundreds of runs take minutes. `scripts/test` runs it.
#![cfg(not(debug_assertions))]

mod support;
#[path = "support/tracer.rs"]
mod tracer;

use etcd_rekey::kube::Provider;
use nix::errno::Errno;
use std::collections::{BTreeMap, HashSet};
use support::builder::{Builder, key};
use support::clusters::Cluster;
use support::program::{Bench, run, text};
use support::{config, fixture};
use tracer::{Answer, Call, Traced, traced};

/// A command, and the files there are before and after it.
struct Scenario {
    bench: Bench,
    args: Vec<String>,
    /// What it writes, in the order it gets its names.
    outputs: &'static [&'static str],
    /// What proves the outputs.
    proof: Vec<String>,
    /// What the file system cannot do.
    lacks: fn(&Call) -> Option<Errno>,
}

fn words(bench: &Bench, words: &[&str]) -> Vec<String> {
    // What has a dot and no slash is a file of the bench.
    let of = |word: &&str| match word {
        word if word.contains('.') && !word.contains('/') => text(&bench.path(word)).to_owned(),
        word => (*word).to_owned(),
    };
    words.iter().map(of).collect()
}

impl Scenario {
    fn new(bench: Bench, args: &[&str], outputs: &'static [&'static str], proof: &[&str]) -> Self {
        let (args, proof) = (words(&bench, args), words(&bench, proof));
        Self { bench, args, outputs, proof, lacks: |_| None }
    }

    fn traced(&self, mut answer: impl FnMut(&Call) -> Answer) -> Traced {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        traced(&args, &self.bench.dir.path().canonicalize().unwrap(), |call| match answer(call) {
            Answer::Pass => (self.lacks)(call).map_or(Answer::Pass, Answer::Fail),
            other => other,
        })
    }

    /// Every file that is no output, with its content.
    fn inputs(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.bench.names().into_iter().filter(|name| !self.outputs.contains(&name.as_str()));
        names.map(|name| (name.clone(), std::fs::read(self.bench.path(&name)).unwrap())).collect()
    }

    fn written(&self) -> Vec<&'static str> {
        self.outputs.iter().copied().filter(|name| self.bench.path(name).exists()).collect()
    }

    fn prove(&self) {
        let proof: Vec<&str> = self.proof.iter().map(String::as_str).collect();
        if !proof.is_empty() {
            run(&proof).expect(0);
        }
    }

    fn remove_outputs(&self) {
        for name in self.written() {
            std::fs::remove_file(self.bench.path(name)).unwrap();
        }
    }

    /// What must hold after calls have failed, in this order.
    fn judge(&self, inputs: &BTreeMap<String, Vec<u8>>, failed: &[Call], ran: &Traced, mode: &str) {
        let what = format!("{} ({mode}): exit code {}\n{}{}", failed[0], ran.code, ran.out, ran.err);
        assert_eq!(&self.inputs(), inputs, "{what}");
        let written = self.written();
        if ran.code == 0 {
            assert!(failed.iter().all(is_spared), "it was passed over: {what}");
            assert_eq!(written, self.outputs, "{what}");
        } else {
            assert_eq!(ran.code, 5, "{what}");
            assert!(ran.err.contains("(os error 5)"), "{what}");
            let mut named = failed.iter().flat_map(|call| self.names(call));
            assert!(named.any(|name| ran.err.contains(&name)), "{what}");
            // A key without its snapshot does no harm; a snapshot without its key would.
            assert!(written.is_empty() || ran.err.contains("its name could not be made durable"), "{what}");
        }
        if written.last() == self.outputs.last() && !self.outputs.is_empty() {
            assert_eq!(written, self.outputs, "{what}");
            self.prove();
        }
        self.remove_outputs();
    }

    /// What an error calls the file of a call: an output by the name it would
    /// have got, a folder by what lies in it, and what an archive is unpacked
    /// to by the archive.
    fn names(&self, failed: &Call) -> Vec<String> {
        match failed.target.strip_suffix(".*.tmp").and_then(|name| name.strip_prefix('.')) {
            Some(name) => vec![name.to_owned()],
            None if failed.name == "open a nameless file" => vec!["in.zip".to_owned()],
            None if failed.target == "." => self.outputs.iter().map(|name| (*name).to_owned()).collect(),
            None if failed.target == "(nameless)" => vec!["in.zip".to_owned()],
            None => vec![failed.target.clone()],
        }
    }

    /// Every kind of call that a run makes, and all calls in their order.
    fn calls(&self) -> (Vec<Call>, Vec<Call>) {
        let mut calls = Vec::new();
        let ran = self.traced(|call| {
            calls.push(call.clone());
            Answer::Pass
        });
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert!(ran.undumpable, "it reads before it closes its memory to others");
        assert_eq!(self.written(), self.outputs);
        self.in_order(&calls);
        self.prove();
        self.remove_outputs();
        let mut met = HashSet::new();
        (calls.iter().filter(|call| met.insert((*call).clone())).cloned().collect(), calls)
    }

    /// Fails every call; returns how many runs that took.
    fn exhaust(&self) -> usize {
        let (kinds, calls) = self.calls();
        let inputs = self.inputs();
        let most = |kind: &Call| calls.iter().filter(|call| *call == kind).count();
        let mut runs = 0;
        for kind in &kinds {
            for for_ever in [false, true] {
                for nth in 1..=most(kind) {
                    let (mut met, mut failed) = (0, Vec::new());
                    let ran = self.traced(|call| {
                        met += usize::from(call == kind);
                        let again = !failed.is_empty() && for_ever && !call.name.starts_with("unlink");
                        if again || (call == kind && met == nth && failed.is_empty()) {
                            failed.push(call.clone());
                            return Answer::Fail(Errno::EIO);
                        }
                        Answer::Pass
                    });
                    runs += 1;
                    if failed.is_empty() {
                        // Threads differ from run to run in how often they ask.
                        assert_eq!(ran.code, 0, "{kind}: {}", ran.err);
                        self.remove_outputs();
                        break;
                    }
                    let mode = format!("number {nth}, {}", if for_ever { "for ever" } else { "once" });
                    self.judge(&inputs, &failed, &ran, &mode);
                }
            }
        }
        println!("{}: {} kinds of calls, {runs} runs", self.args[0], kinds.len());
        runs
    }

    /// Fails every call once, and every attempt to remove a file: what led
    /// there is told, what stays has no output's name or is named, and the
    /// next run takes away what has none.
    fn with_nothing_removed(&self) {
        let (kinds, _) = self.calls();
        let inputs = self.inputs();
        let mut left = 0;
        for kind in &kinds {
            let mut failed = false;
            let ran = self.traced(|call| {
                if call.name.starts_with("unlink") || (call == kind && !failed) {
                    failed |= call == kind;
                    return Answer::Fail(Errno::EIO);
                }
                Answer::Pass
            });
            let what = format!("{kind}: exit code {}\n{}{}", ran.code, ran.out, ran.err);
            let told = ran.code == 5 && ran.err.contains("(os error 5)");
            assert!(told || ran.code == 0 && is_spared(kind), "{what}");
            for (name, content) in &inputs {
                assert_eq!(&std::fs::read(self.bench.path(name)).unwrap(), content, "{what}");
            }
            for name in self.written() {
                assert!(ran.code == 0 || ran.err.contains(name), "{what}");
            }
            if self.written().last() == self.outputs.last() {
                self.prove();
            }
            self.remove_outputs();
            let stays: Vec<_> =
                self.bench.names().into_iter().filter(|name| !inputs.contains_key(name)).collect();
            for name in &stays {
                let of = self.outputs.iter().any(|output| name.starts_with(&format!(".{output}.")));
                assert!(of && name.strip_suffix(".tmp").is_some(), "{name}: {what}");
            }
            left += stays.len();
            assert_eq!(self.traced(|_| Answer::Pass).code, 0, "{what}");
            self.remove_outputs();
            assert_eq!(self.inputs(), inputs, "{what}");
        }
        assert!(left > 0);
    }

    /// The content is durable before its name, and the key before what it seals.
    fn in_order(&self, calls: &[Call]) {
        let last = |name: &str, target: &str| {
            calls.iter().rposition(|call| call.name.starts_with(name) && call.target == target)
        };
        let mut before = None;
        for output in self.outputs {
            let content = last("fsync", &format!(".{output}.*.tmp")).unwrap();
            let name = last("rename", output).unwrap();
            assert!(content < name, "{output}: {calls:?}");
            assert!(before < Some(name), "{output}: {calls:?}");
            let directory = calls[name..].iter().position(|call| call.name == "fsync" && call.target == ".");
            before = Some(name + directory.unwrap());
        }
    }

    /// Every call that can be interrupted is, the first time it is made.
    fn interrupted(&self) {
        let mut interrupted = HashSet::new();
        let mut count = 0;
        let ran = self.traced(|call| {
            let may_be = matches!(
                call.name,
                "open"
                    | "openat"
                    | "read"
                    | "pread64"
                    | "write"
                    | "pwrite64"
                    | "fsync"
                    | "fdatasync"
                    | "msync"
                    | "ftruncate"
                    | "fallocate"
                    | "flock"
                    | "statfs"
                    | "fstatfs"
            );
            // Two in a row of one kind: the second is the first made again.
            if may_be && interrupted.insert(call.clone()) {
                count += 1;
                return Answer::Fail(Errno::EINTR);
            }
            interrupted.remove(call);
            Answer::Pass
        });
        assert_eq!(ran.code, 0, "{count} calls interrupted: {}{}", ran.out, ran.err);
        assert!(count > 0);
        assert_eq!(self.written(), self.outputs);
        self.prove();
        self.remove_outputs();
    }

    /// Every read and write does half of what was asked for.
    fn in_part(&self) {
        let ran = self.traced(|_| Answer::Short);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert_eq!(self.written(), self.outputs);
        self.prove();
        self.remove_outputs();
    }

    fn all(&self) {
        self.exhaust();
        self.interrupted();
        self.in_part();
    }
}

/// Calls that may fail without the run failing: they look for what other runs
/// left behind, lock for other runs to see, give back what is done with, or
/// tell apart the folders of files whose names differ anyway.
fn is_spared(call: &Call) -> bool {
    let folder_told_apart = call.name == "readlink" && call.target == ".";
    matches!(call.name, "flock" | "list" | "getdents64" | "close" | "fcntl") || folder_told_apart
}

fn sealed(bench: &Bench, secrets: u32) {
    let mut builder = Builder::default();
    for i in 0..secrets {
        builder.sealed(&key(Provider::Aescbc, "old", 1), &format!("s{i}"));
    }
    bench.file("in.db", builder.snapshot());
    bench.file("old.yaml", config(&[&["secrets"]], "aescbc", "old", 1));
}

/// A new key for secrets, in a configuration of its own.
fn new_key() -> Scenario {
    let bench = Bench::new();
    sealed(&bench, 40);
    let args = ["rotate-keys", "in.db", "--encryption-config", "old.yaml", "--write-config", "new.yaml", "-o"];
    let proof = ["verify", "out.db", "--against", "in.db", "--encryption-config", "new.yaml"];
    let proof = [&proof[..], &["--decryption-config", "old.yaml"]].concat();
    Scenario::new(bench, &[&args[..], &["out.db"]].concat(), &["new.yaml", "out.db"], &proof)
}

#[test]
fn of_a_new_key_for_secrets() {
    new_key().all();
}

/// A new key for a K3s cluster, whose snapshot is called `input`.
fn new_key_of(cluster: &'static str, input: &str) -> Scenario {
    let bench = Bench::new();
    let cluster = Cluster::of(cluster);
    std::fs::copy(&cluster.snapshot, bench.path(input)).unwrap();
    std::fs::copy(&cluster.token, bench.path("token.txt")).unwrap();
    let args = ["rotate-keys", input, "--token-file", "token.txt", "-o", "out.db"];
    let proof = ["verify", "out.db", "--against", input, "--token-file", "token.txt"];
    Scenario::new(bench, &args, &["out.db"], &proof)
}

#[test]
fn of_a_compressed_snapshot_with_a_record() {
    new_key_of("k3s-compressed", "in.zip").all();
}

#[test]
fn of_a_snapshot_with_a_record() {
    new_key_of("k3s-reencrypt_finished", "in.db").all();
}

#[test]
fn on_a_file_system_that_takes_no_room_ahead_and_knows_no_flag_of_renames() {
    let scenario = new_key();
    let lacks = |call: &Call| match call.name {
        "fallocate" => Some(Errno::EOPNOTSUPP),
        "renameat2" => Some(Errno::EINVAL),
        _ => None,
    };
    let scenario = Scenario { lacks, ..scenario };
    let (kinds, _) = scenario.calls();
    for name in ["ftruncate", "rename"] {
        assert!(kinds.iter().any(|call| call.name == name), "{name}");
    }
    scenario.all();
}

#[test]
fn on_a_file_system_that_removes_nothing() {
    new_key().with_nothing_removed();
}

#[test]
fn of_several_resources() {
    let bench = Bench::new();
    std::fs::copy(fixture("kube-multi", "snapshot.db"), bench.path("in.db")).unwrap();
    std::fs::copy(fixture("kube-multi", "encryption-config.yaml"), bench.path("old.yaml")).unwrap();
    bench.file("new.yaml", config(support::blocks("kube-multi"), "secretbox", "new", 2));
    let args = ["reencrypt", "in.db", "--encryption-config", "new.yaml", "--decryption-config", "old.yaml"];
    let proof = ["verify", "out.db", "--against", "in.db", "--encryption-config", "new.yaml"];
    let proof = [&proof[..], &["--decryption-config", "old.yaml"]].concat();
    Scenario::new(bench, &[&args[..], &["-o", "out.db"]].concat(), &["out.db"], &proof).all();
}

#[test]
fn of_commands_that_write_a_configuration_alone_or_nothing() {
    let with = |args: &[&str], outputs| {
        let bench = Bench::new();
        sealed(&bench, 3);
        Scenario::new(bench, args, outputs, &[]).all();
    };
    with(&["prepare", "--encryption-config", "old.yaml", "--write-config", "new.yaml"], &["new.yaml"]);
    with(&["check", "in.db"], &[]);
    with(&["status", "in.db", "--encryption-config", "old.yaml"], &[]);
    with(&["list", "in.db", "--encryption-config", "old.yaml"], &[]);
    with(&["get", "in.db", "default/s1", "--encryption-config", "old.yaml", "--reveal"], &[]);
}
