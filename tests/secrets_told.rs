//! Promise: no key, no token and no plaintext is told: not by what a command
//! prints when it succeeds or fails, in words or in JSON, not on its command
//! line, not in any file it writes but the configuration it was asked for.

mod support;

use base64::Engine;
use etcd_rekey::kube::{Provider, SealingKey};
use std::path::Path;
use std::process::Stdio;
use support::builder::{Builder, object, seal};
use support::clusters::{Cluster, encodings, held, keys_of};
use support::program::{Bench, Ran, command, text};
use support::{config, fixture};

const SECRETS: &[&[&str]] = &[&["secrets"]];
const PLAIN: &str = "canary-of-a-plaintext-2a7b91";

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// A key in every encoding, and every dozen characters of its base64.
fn needles_of_key(secret: &str) -> Vec<Vec<u8>> {
    encodings(secret).into_iter().chain(needles_of(secret)).collect()
}

/// Every dozen characters of a text.
fn needles_of(secret: &str) -> Vec<Vec<u8>> {
    secret.as_bytes().windows(12).map(<[u8]>::to_vec).collect()
}

/// Runs the program with a directory for its temporary files, where nothing may stay.
fn run(bench: &Bench, args: &[&str], needles: &[Vec<u8>]) -> Ran {
    let scratch = bench.path("scratch");
    std::fs::create_dir_all(&scratch).unwrap();
    let mut command = command(args);
    command.env("TMPDIR", &scratch).env("RUST_BACKTRACE", "full").stdin(Stdio::null());
    let ran = Ran::from(command.output().unwrap());
    for (where_, bytes) in [("output", &ran.out), ("errors", &ran.err)] {
        let found = held(bytes.as_bytes(), needles);
        assert!(
            found.is_none(),
            "{args:?}: {where_}: {:?}: {bytes}",
            found.map(|f| String::from_utf8_lossy(f))
        );
    }
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "{args:?}");
    ran
}

fn yaml(name: &str, secret: &str) -> String {
    config(SECRETS, "aescbc", name, 0).replace(&base64(&[0; 32]), secret)
}

/// What must be in no file of a bench but those named.
fn in_no_file(bench: &Bench, besides: &[&str], needles: &[Vec<u8>]) {
    for name in bench.names() {
        let path = bench.path(&name);
        if path.is_file() && !besides.contains(&name.as_str()) {
            let found = held(&std::fs::read(&path).unwrap(), needles).cloned();
            assert!(found.is_none(), "{name}: {:?}", found.map(|f| String::from_utf8_lossy(&f).into_owned()));
        }
    }
}

fn snapshot(old: &[u8; 32]) -> Builder {
    let key = SealingKey::new(Provider::Aescbc, "old", zeroize::Zeroizing::new(old.to_vec())).unwrap();
    let mut builder = Builder::default();
    for i in 0..20 {
        let (name, etcd_key) = (format!("s{i}"), format!("/registry/secrets/default/s{i}"));
        let plain = object("Secret", "default", &name, PLAIN.as_bytes());
        builder.record(&etcd_key, &seal(&key, &etcd_key, &plain));
    }
    // One whose plaintext is no object, one that belongs to another key, and one that was never sealed.
    for (name, plain) in
        [("broken", PLAIN.as_bytes().to_vec()), ("other", object("Secret", "default", "x", PLAIN.as_bytes()))]
    {
        let etcd_key = format!("/registry/secrets/default/{name}");
        builder.record(&etcd_key, &seal(&key, &etcd_key, &plain));
    }
    builder.record("/registry/secrets/default/open", &object("Secret", "default", "open", PLAIN.as_bytes()));
    builder
}

#[test]
fn by_no_command_in_success_or_failure() {
    let (old, new, wrong) = (random(), random(), random());
    let bench = Bench::new();
    let input = bench.file("in.db", snapshot(&old).snapshot());
    let (old_file, new_file) = (
        bench.file("old.yaml", yaml("old", &base64(&old))),
        bench.file("new.yaml", yaml("new", &base64(&new))),
    );
    let wrong_file = bench.file("wrong.yaml", yaml("old", &base64(&wrong)));
    let mut needles = needles_of(PLAIN);
    for key in [&old, &new, &wrong] {
        needles.extend(needles_of_key(&base64(key)));
    }
    let (input, old_file, new_file, wrong_file) =
        (text(&input), text(&old_file), text(&new_file), text(&wrong_file));
    let (out, made, changed) = (bench.path("out.db"), bench.path("made.yaml"), bench.path("changed.yaml"));
    let (out, made, changed) = (text(&out), text(&made), text(&changed));
    for form in ["simple", "table", "json"] {
        let told = |codes: &[i32], args: &[&str]| {
            let ran = run(&bench, &[args, &["-w", form]].concat(), &needles);
            assert!(codes.contains(&ran.code), "{args:?}: {}: {}{}", ran.code, ran.out, ran.err);
        };
        let rekey = ["reencrypt", input, "-o", out, "--encryption-config", new_file, "--decryption-config"];
        told(&[4], &[&rekey[..], &[old_file]].concat());
        told(&[4], &[&rekey[..], &[wrong_file]].concat());
        told(&[4], &[&rekey[..], &[old_file, "--dry-run"]].concat());
        told(
            &[7],
            &[&rekey[..], &[old_file, "--keep-unreadable", "--write-config", made, "--progress", "json"]]
                .concat(),
        );
        in_no_file(&bench, &["in.db", "old.yaml", "new.yaml", "wrong.yaml", "made.yaml"], &needles);
        let proof = ["verify", out, "--against", input, "--encryption-config", new_file, "--decryption-config"];
        told(&[0], &[&proof[..], &[old_file, "--keep-unreadable"]].concat());
        told(&[6], &[&proof[..], &[old_file]].concat());
        told(&[6], &[&proof[..], &[wrong_file]].concat());
        told(
            &[6],
            &[
                "verify",
                input,
                "--against",
                input,
                "--encryption-config",
                new_file,
                "--decryption-config",
                old_file,
            ],
        );
        std::fs::remove_file(made).unwrap();
        std::fs::remove_file(out).unwrap();
        for config in [old_file, wrong_file] {
            told(&[0], &["status", input, "--encryption-config", config]);
            told(&[0], &["list", input, "--encryption-config", config]);
            for name in ["default/s1", "default/broken", "default/other", "default/open", "default/none"] {
                told(&[0, 2, 4], &["get", input, name, "--encryption-config", config]);
            }
        }
        told(&[0], &["check", input]);
        for verb in ["rotate-keys", "enable"] {
            let args = [verb, input, "-o", out, "--encryption-config", old_file, "--write-config", made];
            told(&[4], &args);
            told(&[7], &[&args[..], &["--keep-unreadable"]].concat());
            // A key that was made, and which no other test knows.
            let keys = std::fs::read_to_string(made).unwrap();
            let keys: Vec<_> = keys.split("secret: ").skip(1).filter_map(|part| part.lines().next()).collect();
            assert!(!keys.is_empty());
            let fresh: Vec<_> = keys.iter().flat_map(|key| needles_of_key(key)).collect();
            in_no_file(&bench, &["in.db", "old.yaml", "new.yaml", "wrong.yaml", "made.yaml"], &fresh);
            for name in [made, out] {
                std::fs::remove_file(name).unwrap();
            }
        }
        told(&[0], &["prepare", "--encryption-config", old_file, "--write-config", made]);
        told(&[0], &["rotate", "--encryption-config", made, "--write-config", changed]);
        told(&[2], &["rotate", "--encryption-config", made, "--write-config", changed]);
        for name in [made, changed] {
            std::fs::remove_file(name).unwrap();
        }
    }
    // And of a file that is damaged under its keys.
    let mut bytes = std::fs::read(input).unwrap();
    let length = bytes.len();
    for at in (0..length).step_by(length / 40) {
        bytes[at] ^= 0x41;
        std::fs::write(bench.path("damaged.db"), &bytes).unwrap();
        bytes[at] ^= 0x41;
        let damaged = bench.path("damaged.db");
        run(&bench, &["check", text(&damaged)], &needles);
        run(&bench, &["status", text(&damaged), "--encryption-config", old_file], &needles);
    }
}

#[test]
fn by_no_error_in_a_configuration() {
    let secret = base64(&random());
    let needles = needles_of_key(&secret);
    let bench = Bench::new();
    let input = bench.file("in.db", snapshot(&[1; 32]).snapshot());
    let good = yaml("key", &secret);
    let quoted = format!("'{secret}'");
    let keys = format!("[{{name: 'key', secret: {quoted}}}]");
    let shape = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replace(from, to)
    };
    let mut texts = vec![
        shape(&quoted, &format!("'{}'", &secret[..43])),
        shape(&quoted, &format!("'{}'", &secret[1..])),
        shape(&quoted, &format!("'{secret}!'")),
        shape(&quoted, &format!("'{secret}{secret}'")),
        shape(&quoted, &format!("'{}'", &secret[..20])),
        shape(&quoted, &format!("[{quoted}]")),
        shape(&quoted, &format!("{{a: {quoted}}}")),
        shape(&quoted, &format!("{{{quoted}: a}}")),
        shape(&quoted, &format!("'{secret}")),
        shape(&quoted, &format!("\"{secret}'")),
        shape(&quoted, &format!("\"\\q{secret}\"")),
        shape(&quoted, &format!("{secret}: x")),
        shape(&quoted, &format!("!!int {secret}")),
        shape(&quoted, &format!("!!binary {secret}")),
        shape(&quoted, &format!("*{secret}")),
        shape(&quoted, &format!("&{secret} x")),
        shape(&quoted, &format!("!{secret} x")),
        shape(&quoted, &format!("|\n{secret}")),
        shape(&quoted, &format!("\t{secret}")),
        shape(&keys, &quoted),
        shape(&keys, &format!("[{quoted}]")),
        shape(&keys, &format!("{{{quoted}: {quoted}}}")),
        shape(&keys, &format!("[{{name: 'key', {quoted}: x}}]")),
        shape(&keys, &format!("[{{name: 'key', secret: {quoted}, secret: {quoted}}}]")),
        shape(&keys, &format!("[{{secret: {quoted}}}]")),
        shape(&keys, &format!("[{{name: 'key', secret: {quoted}}}, {{name: 'key', secret: {quoted}}}]")),
        shape(&format!("{{keys: {keys}}}"), &quoted),
        shape(&format!("aescbc: {{keys: {keys}}}"), &quoted),
        shape("aescbc", "aesXbc"),
        shape("aescbc", "identity"),
        shape("providers:", &format!("providers: {quoted}\n  more:")),
        shape("['secrets']", &quoted),
        secret.clone(),
        quoted.clone(),
        format!("{{{quoted}"),
        format!("[{quoted}]"),
        format!("{quoted}: {quoted}"),
        format!("\"{secret}\" \"{secret}\""),
    ];
    texts.push(serde_json::json!({"kind": "EncryptionConfiguration", "apiVersion": "apiserver.config.k8s.io/v1",
        "resources": [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": [{"name": "k", "secret": &secret[..43]}]}}]}]}).to_string());
    for content in &texts {
        let config = bench.file("config.yaml", content);
        for form in ["simple", "json"] {
            for args in [
                &["reencrypt", text(&input), "--encryption-config", text(&config), "-o", "/nowhere/out.db"][..],
                &["status", text(&input), "--encryption-config", text(&config)],
                &["prepare", "--encryption-config", text(&config), "--write-config", "/nowhere/new.yaml"],
            ] {
                let ran = run(&bench, &[args, &["-w", form]].concat(), &needles);
                assert!(
                    [0, 3, 4, 5].contains(&ran.code),
                    "{args:?}: {}: {}{}\n{content}",
                    ran.code,
                    ran.out,
                    ran.err
                );
            }
        }
    }
}

#[test]
fn by_nothing_about_a_cluster_and_its_token() {
    let cluster = Cluster::of("k3s-rotated");
    let token = cluster.passphrase();
    let token = token.trim();
    let record = std::fs::read_to_string(fixture("k3s-rotated", "encryption-config.json")).unwrap();
    let mut needles = needles_of(token.rsplit(':').next().unwrap());
    for key in keys_of(&record) {
        needles.extend(needles_of_key(&key));
    }
    let bench = Bench::new();
    let (out, config) = (bench.path("out.db"), fixture("k3s-rotated", "encryption-config.json"));
    let snapshot = text(&cluster.snapshot);
    let tokens = [
        token.to_owned(),
        format!("{token}x"),
        token.replace("K10", "K11"),
        token.replace("::", ":"),
        token.replace("server:", "server"),
        token[..token.len() - 1].to_owned(),
        format!("{token}\n{token}"),
        format!("{token}\0"),
        format!("K10{}::server:{}", "a".repeat(64), token.rsplit(':').next().unwrap()),
    ];
    for (number, token) in tokens.iter().enumerate() {
        let file = bench.file("token", token);
        for form in ["simple", "json"] {
            for verb in ["rotate-keys", "prepare", "rotate", "reencrypt", "enable", "disable"] {
                let args = [verb, snapshot, "-o", text(&out), "--token-file", text(&file), "-w", form];
                let ran = run(&bench, &args, &needles);
                assert!([0, 2, 4].contains(&ran.code), "{number} {verb}: {}", ran.err);
                if verb != "disable" {
                    in_no_file(&bench, &["token"], &needles);
                }
                let _ = std::fs::remove_file(&out);
            }
            let of = ["--token-file", text(&file), "-w", form];
            for args in [
                &["status", snapshot, "--server-config", text(&config)][..],
                &["list", snapshot],
                &["get", snapshot, "kube-system/k3s-serving"],
                &["verify", snapshot, "--against", snapshot],
            ] {
                run(&bench, &[args, &of[..]].concat(), &needles);
            }
        }
    }
}

/// The command line as other users of the machine see it, and the variables.
#[test]
fn by_no_process_list() {
    let (old, new) = (random(), random());
    let bench = Bench::new();
    let input = bench.file("in.db", snapshot(&old).snapshot());
    let old_file = bench.file("old.yaml", yaml("old", &base64(&old)));
    let new_text = yaml("new", &base64(&new));
    let pipe = bench.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let out = bench.path("out.db");
    let mut child = command(&["reencrypt", text(&input), "-o", text(&out), "--keep-unreadable"])
        .args(["--decryption-config", text(&old_file), "--encryption-config", text(&pipe)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Opening it waits until the program reads from it.
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    let seen = |file: &str| {
        std::fs::read(Path::new("/proc").join(child.id().to_string()).join(file)).unwrap_or_default()
    };
    let (line, environment) = (seen("cmdline"), seen("environ"));
    assert!(line.windows(9).any(|word| word == b"reencrypt"));
    let needles: Vec<_> =
        [old, new].iter().flat_map(|key| needles_of_key(&base64(key))).chain(needles_of(PLAIN)).collect();
    for bytes in [line, environment] {
        assert!(held(&bytes, &needles).is_none());
    }
    std::io::Write::write_all(&mut writer, new_text.as_bytes()).unwrap();
    drop(writer);
    assert_eq!(child.wait().unwrap().code(), Some(7));
}
