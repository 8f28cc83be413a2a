//! Promise: what scripts/package makes can be installed and run on a machine
//! that has nothing else, and says what it is made of.
//!
//! `PACKAGES` is the folder it was made in; scripts/test sets it.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::fixture;
use support::program::Bench;

fn packages() -> PathBuf {
    let folder = std::env::var_os("PACKAGES").expect("PACKAGES is not set: run the tests with scripts/test");
    PathBuf::from(folder)
}

fn package() -> PathBuf {
    let entries = std::fs::read_dir(packages()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "deb")).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn succeeded(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{command:?}: {status}\n{out}{err}");
    out
}

/// Runs the program with a folder for its root, in which nothing else is. Who
/// is not root becomes it in a namespace of its own.
fn in_root(root: &Path, program: &str, args: &[&str]) -> String {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "chroot"]);
    if rustix::process::geteuid().is_root() {
        command = Command::new("chroot");
    }
    succeeded(
        command.arg(root).arg(program).args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
    )
}

/// Rekeys a snapshot in there, and has the output proven by the program in there.
fn rekeys(root: &Path, program: &str) {
    std::fs::create_dir(root.join("work")).unwrap();
    for file in ["snapshot.db", "old.yaml", "new.yaml"] {
        std::fs::copy(fixture("kube-rotated", file), root.join("work").join(file)).unwrap();
    }
    let keys = ["--encryption-config=/work/new.yaml", "--decryption-config=/work/old.yaml"];
    let run = [&["reencrypt", "/work/snapshot.db", "-o", "/work/rekeyed.db"], &keys[..]].concat();
    let said = in_root(root, program, &run);
    assert!(said.contains("reencrypted 47 secrets and 46 old revisions"), "{said}");
    let proof = [&["verify", "/work/rekeyed.db", "--against", "/work/snapshot.db"], &keys[..]].concat();
    assert!(in_root(root, program, &proof).starts_with("verified: "));
    assert!(root.join("work/rekeyed.db").is_file());
}

#[test]
fn the_binary_runs_where_there_is_nothing_else() {
    let bench = Bench::new();
    let root = bench.path("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::copy(packages().join("etcd-rekey"), root.join("etcd-rekey")).unwrap();
    let version = in_root(&root, "/etcd-rekey", &["--version"]);
    assert_eq!(version, concat!("etcd-rekey ", env!("CARGO_PKG_VERSION"), "\n"));
    rekeys(&root, "/etcd-rekey");
}

#[test]
fn the_package_is_installed_runs_and_goes() {
    let bench = Bench::new();
    let root = bench.path("root");
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let dpkg = |args: &[&str]| {
        let mut command = Command::new("dpkg");
        command.arg("--root").arg(&root).args(["--force-not-root", "--force-script-chrootless"]).args(args);
        succeeded(&mut command)
    };
    dpkg(&["--install", package().to_str().unwrap()]);
    let installed = dpkg(&["--listfiles", "etcd-rekey"]);
    for file in [
        "/usr/bin/etcd-rekey",
        "/usr/share/bash-completion/completions/etcd-rekey",
        "/usr/share/zsh/vendor-completions/_etcd-rekey",
        "/usr/share/fish/vendor_completions.d/etcd-rekey.fish",
        "/usr/share/man/man1/etcd-rekey.1.gz",
        "/usr/share/doc/etcd-rekey/copyright",
        "/usr/share/doc/etcd-rekey/THIRD-PARTY-LICENSES",
        "/usr/share/doc/etcd-rekey/docs/runbooks/k3s.md",
    ] {
        assert!(installed.lines().any(|line| line == file), "{file} is not in:\n{installed}");
    }
    rekeys(&root, "/usr/bin/etcd-rekey");
    // Whoever compares sums compares one program.
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert!(read(&root.join("usr/bin/etcd-rekey")) == read(&packages().join("etcd-rekey")));
    let commands = in_root(&root, "/usr/bin/etcd-rekey", &["--help"]);
    for command in ["reencrypt", "rotate-keys", "verify", "check", "status", "list", "get", "snapshot"] {
        assert!(commands.contains(command), "{commands}");
        assert!(installed.contains(&format!("/usr/share/man/man1/etcd-rekey-{command}.1.gz")), "{installed}");
    }
    dpkg(&["--purge", "etcd-rekey"]);
    assert!(!root.join("usr/bin/etcd-rekey").exists());
}

#[test]
fn the_package_has_the_terms_of_the_project() {
    let said = succeeded(Command::new("dpkg-deb").arg("--field").arg(package()));
    assert!(said.contains(concat!("Version: ", env!("CARGO_PKG_VERSION"))), "{said}");
    // It is static.
    let depends = said.lines().find_map(|line| line.strip_prefix("Depends:"));
    assert_eq!(depends.unwrap_or_default().trim(), "", "{said}");
    let licence = std::fs::read_to_string(packages().join("LICENSE")).unwrap();
    assert!(licence.contains("Apache License") && licence.contains("Version 2.0"));
}

#[test]
fn the_sums_are_those_of_the_files() {
    let said = succeeded(Command::new("sha256sum").args(["-c", "SHA256SUMS"]).current_dir(packages()));
    assert_eq!(said.lines().filter(|line| line.ends_with(": OK")).count(), 5, "{said}");
}

/// What scripts/static-target says where rustc has a folder for musl, or has none.
fn static_target(bench: &Bench, libraries: &Path) -> String {
    let rustc = bench.file("rustc", format!("#!/bin/sh\necho {}\n", libraries.display()));
    std::fs::set_permissions(&rustc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", rustc.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/static-target");
    let mut command = Command::new(script);
    succeeded(command.env("PATH", path).env_remove("CARGO_BUILD_TARGET").env_remove("RUSTFLAGS"))
}

#[test]
fn a_static_program_is_built_with_musl_or_without() {
    let bench = Bench::new();
    let musl = static_target(&bench, &bench.path(""));
    assert!(musl.contains("-linux-musl\n") && musl.contains("+crt-static"), "{musl}");
    let glibc = static_target(&bench, &bench.path("nowhere"));
    assert!(glibc.contains("-linux-gnu\n") && glibc.contains("+crt-static"), "{glibc}");
    // Without this, it would ask glibc when it runs, and find nothing.
    assert!(glibc.contains("getrandom_backend") && !musl.contains("getrandom_backend"), "{glibc}");
}

/// Every crate that cargo links into the program.
fn linked() -> BTreeSet<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--features", "live", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let lines = String::from_utf8(tree.stdout).unwrap();
    let name = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    lines.lines().map(name).filter(|name| !name.is_empty() && name != "etcd-rekey").collect()
}

#[test]
fn every_crate_is_in_the_bill_of_materials_and_its_licence_is_here() {
    let bill = std::fs::read_to_string(packages().join("etcd-rekey.cdx.json")).unwrap();
    assert!(!bill.contains(env!("CARGO_MANIFEST_DIR")), "it tells where it was made");
    let bill: Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let components = bill["components"].as_array().unwrap();
    let named: BTreeSet<&str> =
        components.iter().map(|component| component["name"].as_str().unwrap()).collect();
    let licences = std::fs::read_to_string(packages().join("THIRD-PARTY-LICENSES")).unwrap();
    let linked = linked();
    assert!(linked.len() > 50, "{linked:?}");
    for name in &linked {
        assert!(named.contains(name.as_str()), "{name} is not in the bill of materials");
        assert!(licences.contains(&format!("\n{name} ")), "{name} has no licence");
    }
    for component in components {
        assert!(component["licenses"].is_array(), "{component}");
    }
}
