//! Promise: whatever names, values, archives, configurations and files are put
//! before it, it ends by itself, with a documented exit code, and prints
//! nothing that steers a terminal.

mod support;

use etcd_rekey::kube::Provider;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::builder::{Builder, key, object, seal, with_trailer};
use support::config;
use support::program::{Bench, Ran, command, text};

const SECRETS: &[&[&str]] = &[&["secrets"]];

/// Runs the program; it must end by itself, with a documented code.
#[track_caller]
fn ends(args: &[&str]) -> Ran {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut child = command(args)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it hangs: {args:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |file: &mut std::fs::File| {
        std::io::Seek::rewind(file).unwrap();
        std::io::read_to_string(file).unwrap()
    };
    let ran = Ran { code: status.code().unwrap_or(-1), out: text(&mut out), err: text(&mut err) };
    assert!([0, 2, 3, 4, 5, 6, 7, 8].contains(&ran.code), "{args:?}: {} {}", ran.code, ran.err);
    assert!(!ran.err.contains("panicked"), "{args:?}: {}", ran.err);
    ran
}

/// Nothing but printable characters and ends of lines; of characters that
/// have no width or turn the text around, none.
#[track_caller]
fn harmless(ran: &Ran, what: &str) {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    for printed in [&ran.out, &ran.err] {
        if let Some(at) = printed.find(steers) {
            let around: String =
                printed[..at].chars().rev().take(60).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{what}: {:?} after {around:?}", printed[at..].chars().next());
        }
    }
}

/// Names that somebody may have chosen who means harm.
fn names() -> Vec<Vec<u8>> {
    let long = "n".repeat(32 << 10);
    let texts = [
        "\x1b[31mred\x1b[2J",
        "\x1b]0;title\x07",
        "\x1b]8;;http://evil/\x1b\\link",
        "a\r\nb",
        "tab\there",
        "nul\0nul",
        "\u{9b}31m",
        "\u{85}",
        "\u{7f}",
        "bidi\u{202e}evil",
        "\u{2066}isolate\u{2069}",
        "\u{200f}mark\u{200b}zero",
        "\u{2028}line\u{2029}",
        "\u{feff}bom",
        "\u{ad}soft",
        "\u{e0041}tag",
        "'; rm -rf ~; '",
        "{\"json\": \"\\\"}",
        "%s%n",
        "back\\slash\\x1b",
        "../../../etc/passwd",
        "\u{e9}t\u{e9}",
        &long,
    ];
    let bytes: [&[u8]; 3] = [b"\xff\xfe\x80", b"cut\xe2\x80", b"over\xc0\xaflong"];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain(bytes.map(<[u8]>::to_vec)).collect()
}

#[test]
fn keys_and_names_out_of_a_snapshot() {
    let bench = Bench::new();
    let (old, lost) = (key(Provider::Aescbc, "old", 1), key(Provider::Aescbc, "lost", 9));
    let mut builder = Builder::default();
    for name in names() {
        // As a secret that opens, where its name is one that a secret can have here; as one that does not;
        // as a resource, a group, a namespace, a key and a provider's name; and as no key of Kubernetes.
        let etcd_key = [&b"/registry/secrets/default/"[..], &name].concat();
        if let Ok(text) = std::str::from_utf8(&etcd_key) {
            let name = std::str::from_utf8(&name).unwrap();
            let plain = object("Secret", "default", name, b"s3cr3t");
            builder.record(text, &seal(&old, text, &plain));
            builder.record(format!("{text}x"), &seal(&lost, text, &plain));
        }
        builder.record([&b"/registry/secrets/"[..], &name, b"/unsealed"].concat(), b"no object");
        builder.record([&b"/registry/"[..], &name, b"/a/b"].concat(), b"plain");
        builder.record([&b"/registry/group."[..], &name, b"/widgets/a/b"].concat(), b"plain");
        builder.record(&name, b"k8s:enc:aescbc:v1:x:0123456789abcdef0123456789abcdef");
        for prefix in [&b"k8s:enc:aescbc:v1:"[..], b"k8s:enc:", b"k8s:enc:kms:v2:"] {
            let value = [prefix, &name[..name.len().min(100)], b":", &[7; 48]].concat();
            builder.record([&b"/registry/secrets/sealed/"[..], &name].concat(), &value);
        }
    }
    let input = bench.file("in.db", builder.snapshot());
    let (old, new) = (
        bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1)),
        bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2)),
    );
    let all = bench.file("all.yaml", config(&[&["*.*"]], "aescbc", "new", 2));
    let out = bench.path("out.db");
    let (input, old, new, all, out) = (text(&input), text(&old), text(&new), text(&all), text(&out));
    for form in ["simple", "table", "json"] {
        let number = std::cell::Cell::new(0);
        let told = |code: &[i32], args: &[&str]| {
            number.set(number.get() + 1);
            let ran = ends(&[args, &["-w", form]].concat());
            assert!(code.contains(&ran.code), "{args:?}: {} {:.2000}", ran.code, ran.err);
            harmless(&ran, &format!("{form}, {args:?}"));
            if form == "json" {
                ran.json();
            }
            ran
        };
        told(&[0], &["check", input]);
        told(&[0], &["list", input]);
        told(&[0], &["list", input, "--encryption-config", old]);
        told(&[0], &["status", input]);
        told(&[0], &["status", input, "--encryption-config", old]);
        for config in [new, all] {
            let args =
                ["reencrypt", input, "--encryption-config", config, "--decryption-config", old, "-o", out];
            told(&[4], &args);
            told(&[4], &[&args[..], &["--dry-run"]].concat());
            assert!(!Path::new(out).exists());
        }
        let args = ["reencrypt", input, "--encryption-config", new, "--decryption-config", old, "-o", out];
        told(&[7], &[&args[..], &["--keep-unreadable"]].concat());
        let proof = ["verify", out, "--against", input, "--encryption-config", new, "--decryption-config", old];
        told(&[0], &[&proof[..], &["--keep-unreadable"]].concat());
        // And one in which everything differs.
        told(&[6], &proof);
        told(&[6], &["verify", out, "--against", input, "--encryption-config", old, "--keep-unreadable"]);
        std::fs::remove_file(out).unwrap();
        assert_eq!(number.get(), 13);
        for name in names() {
            let Ok(name) = std::str::from_utf8(&name) else { continue };
            if !name.contains('\0') {
                told(&[0, 2], &["get", input, &format!("default/{name}"), "--encryption-config", old]);
            }
        }
    }
}

#[test]
fn names_and_values_of_configurations() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&key(Provider::Aescbc, "old", 1), "s");
    let input = bench.file("in.db", builder.snapshot());
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    let out = bench.path("out.db");
    let good = config(SECRETS, "aescbc", "NAME", 2);
    let kms = "  - kms: {apiVersion: v2, name: NAME, endpoint: 'unix:///kms.sock', timeout: 20ms}\n  - identity: {}\n";
    for name in names() {
        let Ok(name) = std::str::from_utf8(&name) else { continue };
        let quoted = serde_json::to_string(name).unwrap();
        let head = &good[..good.find("  - aescbc").unwrap()];
        let texts = [
            good.replace("'NAME'", &quoted),
            good.replace("NAME", name),
            good.replace("'secrets'", &quoted),
            good.replace("secrets", name),
            good.replace("aescbc:", &format!("{quoted}:")),
            good.replace("'NAME'", "good").replace("EncryptionConfiguration", name),
            format!("{head}{}", kms.replace("NAME", &quoted)),
            format!("{head}{}", kms.replace("unix:///kms.sock", name)),
            good.replace("secret: '", &format!("secret: '{name}")),
            name.to_owned(),
        ];
        for content in texts {
            let new = bench.file("new.yaml", &content);
            for form in ["simple", "json"] {
                let args = ["reencrypt", text(&input), "--encryption-config", text(&new), "-w", form];
                let ran = ends(&[&args[..], &["--decryption-config", text(&old), "-o", text(&out)]].concat());
                harmless(&ran, &content);
                if ran.code == 0 {
                    for command in ["status", "list"] {
                        let args = [command, text(&out), "--encryption-config", text(&new), "-w", form];
                        harmless(&ends(&args), &content);
                    }
                    std::fs::remove_file(&out).unwrap();
                }
                assert!(!out.exists());
            }
        }
    }
}

#[test]
fn configurations_that_unfold_or_nest() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&key(Provider::Aescbc, "old", 1), "s");
    let input = bench.file("in.db", builder.snapshot());
    let out = bench.path("out.db");
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..40 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs += &format!("a{i}: &a{i} [{refs}]\n");
    }
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
    let deep = 1 << 17;
    let texts = [
        format!("{laughs}{head}resources: *a39\n"),
        format!("{head}resources:\n- &x\n  resources: [secrets]\n  providers: [*x]\n"),
        format!("{head}resources: &x [*x]\n"),
        format!("{head}<<: &x {{<<: *x}}\n"),
        format!("{head}resources: {}{}\n", "[".repeat(deep), "]".repeat(deep)),
        format!("{head}resources: {}\n", "{a: ".repeat(deep)),
        format!("{head}resources: {}\n", "- ".repeat(deep)),
        format!(
            "{head}resources:\n{}",
            "- resources: [secrets]\n  providers: [{identity: {}}]\n".repeat(20_000)
        ),
        format!("{head}{}", "kind: EncryptionConfiguration\n".repeat(10_000)),
        format!("{head}resources: !!binary {}\n", "A".repeat(1 << 20)),
        format!("\"{}\": 1\n", "k".repeat(1 << 20)),
        format!("{head}resources: \"{}\n", "\\x1b".repeat(1 << 18)),
        "%YAML 9.9\n%TAG ! !\n---\n...\n---\n".repeat(1000),
        "&a ".repeat(deep),
        "? ".repeat(deep),
    ];
    for (number, content) in texts.iter().enumerate() {
        let new = bench.file("new.yaml", content);
        // Half a gigabyte of memory is far more than any configuration takes.
        let script = "ulimit -v 4000000; exec timeout 60 \"$@\"";
        let mut shell = Command::new("bash");
        shell.args(["-c", script, "bash", env!("CARGO_BIN_EXE_etcd-rekey"), "reencrypt", text(&input), "-o"]);
        let ran = Ran::from(shell.args([text(&out), "--encryption-config", text(&new)]).output().unwrap());
        assert_eq!(ran.code, 4, "{number}: {:.1000}", ran.err);
        assert!(ran.err.len() < 10_000, "{number}: {} bytes are said", ran.err.len());
        harmless(&ran, &format!("{number}"));
        assert_eq!(bench.names(), ["in.db", "new.yaml"]);
    }
}

fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn archives_of_every_kind() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("in")).unwrap();
    let mut builder = Builder::default();
    builder.sealed(&key(Provider::Aescbc, "old", 1), "s");
    let snapshot = builder.snapshot();
    let (old, new) = (
        bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1)),
        bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2)),
    );
    let input = bench.path("in/snapshot.zip");
    let run = |content: &[u8]| {
        std::fs::write(&input, content).unwrap();
        let out = bench.path("in/out.db");
        let args =
            ["reencrypt", text(&input), "--encryption-config", text(&new), "-o", text(&out), "-w", "json"];
        let ran = ends(&[&args[..], &["--decryption-config", text(&old)]].concat());
        harmless(&ran, "an archive");
        let mut names: Vec<_> =
            std::fs::read_dir(bench.path("in")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), if ran.code == 0 { 2 } else { 1 }, "{names:?}");
        assert_eq!(bench.names(), ["in", "new.yaml", "old.yaml"], "nothing is written beside");
        let _ = std::fs::remove_file(out);
        ran
    };
    // Names are none of its business, wherever they lead.
    for name in ["../../evil", "/etc/evil", "..\\evil", "C:\\evil", "a/b/c", "\x1b[31m\u{202e}", "", "."] {
        run(&archive(&[(name, &snapshot)])).expect(0);
    }
    let refused = |content: &[u8], kind: &str| {
        let error = run(content).expect(3).json()["error"].clone();
        assert_eq!(error["kind"], kind, "{error}");
    };
    refused(&archive(&[("a", &snapshot), ("b", &snapshot)]), "zip");
    refused(&archive(&[("a", &snapshot), ("a/../a", b"")]), "zip");
    refused(&archive(&[("folder/", b"")]), "zip");
    refused(&archive(&[]).into_iter().chain(*b"PK\x03\x04").rev().collect::<Vec<_>>(), "not-a-snapshot");
    let inner = archive(&[("a", &snapshot)]);
    refused(&archive(&[("a.zip", &inner)]), "not-a-snapshot");
    refused(&archive(&[("empty", b"")]), "not-a-snapshot");
    // A link to a file is the text of its path.
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("link", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    refused(&writer.finish().unwrap().into_inner(), "not-a-snapshot");
    // A bomb: it is unpacked only as far as it says, and what it says must be possible.
    let zeros = vec![0; 64 << 20];
    let bomb = archive(&[("bomb", &zeros)]);
    assert!(bomb.len() < 100_000);
    refused(&bomb, "not-a-snapshot");
    let central = bomb.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
    for (says, field) in [(u32::MAX - 1, "more"), (1 << 12, "less")] {
        let mut lying = bomb.clone();
        for at in [22, central + 24] {
            lying[at..at + 4].copy_from_slice(&says.to_le_bytes());
        }
        let error = run(&lying).expect(3).json()["error"].clone();
        assert_eq!(error["kind"], "zip", "{field}: {error}");
    }
}

/// Every argument that names a file, given what is none.
#[test]
fn files_that_are_none() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&key(Provider::Aescbc, "old", 1), "s");
    let input = bench.file("in.db", builder.snapshot());
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let (fifo, folder, out) = (bench.path("fifo"), bench.path("folder"), bench.path("out.db"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::create_dir(&folder).unwrap();
    let socket = bench.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink("nowhere", bench.path("dangling")).unwrap();
    std::os::unix::fs::symlink("loop", bench.path("loop")).unwrap();
    let good = [
        "reencrypt",
        "IN",
        "--encryption-config",
        "NEW",
        "--decryption-config",
        "OLD",
        "-o",
        "OUT",
        "--write-config",
        "LEFT",
    ];
    let commands: [&[&str]; 6] = [
        &good,
        &["reencrypt", "IN", "--token-file", "TOKEN", "-o", "OUT"],
        &["status", "IN", "--server-config", "SERVER", "--encryption-config", "OLD"],
        &["verify", "OTHER", "--against", "IN", "--encryption-config", "NEW", "--decryption-config", "OLD"],
        &["prepare", "--encryption-config", "OLD", "--write-config", "LEFT"],
        &["get", "IN", "default/s", "--encryption-config", "OLD"],
    ];
    let bad: Vec<PathBuf> = ["/dev/full", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem"]
        .map(PathBuf::from)
        .into_iter()
        .chain(
            ["fifo", "folder", "socket", "dangling", "loop", "in.db/below", "missing/below"]
                .map(|name| bench.path(name)),
        )
        .chain([bench.path(&"n".repeat(300)), bench.path(&"long/".repeat(1000)), PathBuf::from("")])
        .collect();
    let before = bench.names();
    for command in commands {
        for role in command.iter().filter(|word| word.chars().all(|c| c.is_ascii_uppercase())) {
            for path in &bad {
                // A pipe of keys is waited for, as by any program: that is how keys come that lie in no file.
                let of_keys = !["IN", "OUT", "LEFT", "OTHER"].contains(role);
                if of_keys && *path == fifo {
                    continue;
                }
                let word = |word: &&str| match *word {
                    word if word == *role => text(path).to_owned(),
                    "IN" | "OTHER" => text(&input).to_owned(),
                    "NEW" => text(&new).to_owned(),
                    "OLD" | "SERVER" => text(&old).to_owned(),
                    "OUT" => text(&out).to_owned(),
                    "LEFT" => text(&bench.path("left.yaml")).to_owned(),
                    word => word.to_owned(),
                };
                let words: Vec<String> = command.iter().map(word).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let ran = ends(&words);
                // Nothing is there to compare where a record is missing.
                let compared = *role == "SERVER" && ["/dev/null", "/dev/stdin"].contains(&text(path));
                let fails = [2, 3, 4, 5].contains(&ran.code);
                assert!(fails || compared, "{words:?}: {} {}{}", ran.code, ran.out, ran.err);
                assert_eq!(bench.names(), before, "{words:?}");
            }
        }
    }
}

#[test]
fn outputs_where_others_may_write() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&key(Provider::Aescbc, "old", 1), "s");
    let input = bench.file("in.db", builder.snapshot());
    let (old, new) = (
        bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1)),
        bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2)),
    );
    let precious = bench.file("precious", "precious");
    for (mode, sticky) in [(0o777, false), (0o1777, true)] {
        let folder = bench.path(if sticky { "sticky" } else { "open" });
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
        // What others may have put there under the names of temporary files.
        let name = |number: u32| folder.join(format!(".out.db.{number:016x}.tmp"));
        std::os::unix::fs::symlink(&precious, name(1)).unwrap();
        std::fs::hard_link(&precious, name(2)).unwrap();
        assert!(Command::new("mkfifo").arg(name(3)).status().unwrap().success());
        std::fs::create_dir(name(4)).unwrap();
        let out = folder.join("out.db");
        let args = ["reencrypt", text(&input), "--encryption-config", text(&new), "-o", text(&out)];
        let args = [&args[..], &["--decryption-config", text(&old)]].concat();
        ends(&args).expect(0);
        let made = std::fs::symlink_metadata(&out).unwrap();
        assert!(made.is_file());
        assert_eq!(made.mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
        // A link is never followed to be written through, whatever is forced.
        std::fs::remove_file(&out).unwrap();
        for target in [text(&precious), "nowhere", "/dev/full"] {
            std::os::unix::fs::symlink(target, &out).unwrap();
            ends(&args).expect(2);
            ends(&[&args[..], &["--overwrite"]].concat()).expect(2);
            std::fs::remove_file(&out).unwrap();
        }
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
        assert!(!folder.join("nowhere").exists());
    }
}

/// A link that appears while the output is written is replaced, not followed.
#[test]
fn a_link_that_appears_meanwhile_is_not_followed() {
    use etcd_rekey::output::{Output, SystemDisk};
    let bench = Bench::new();
    let precious = bench.file("precious", "precious");
    for replace in [false, true] {
        let out = bench.path("out.db");
        let mut output = Output::begin(&SystemDisk, &out, &[], 5, replace).unwrap();
        output.write_all_at(b"bytes", 0).unwrap();
        std::os::unix::fs::symlink(&precious, &out).unwrap();
        assert_eq!(output.publish().is_ok(), replace);
        assert_eq!(std::fs::symlink_metadata(&out).unwrap().is_file(), replace);
        assert_eq!(std::fs::read(&precious).unwrap(), b"precious");
        std::fs::remove_file(&out).unwrap();
    }
}

/// Values as large as bbolt takes, and a snapshot of nothing but one of them.
#[test]
fn values_at_the_limits() {
    let bench = Bench::new();
    let old = key(Provider::Aescbc, "old", 1);
    let mut builder = Builder::default();
    for bytes in [0, 1, 4000, 4096, 65535, 65536, 1 << 20, 8 << 20] {
        let name = format!("s{bytes}");
        let etcd_key = format!("/registry/secrets/default/{name}");
        let plain = object("Secret", "default", &name, &vec![b'x'; bytes]);
        builder.record(&etcd_key, &seal(&old, &etcd_key, &plain));
    }
    let input = bench.file("in.db", with_trailer(&builder.file()));
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    let new = bench.file("new.yaml", config(SECRETS, "secretbox", "new", 2));
    let ran = bench.reencrypt(&input, &new, Some(&old), &["-w", "json"]).expect(0).json();
    assert_eq!(ran["rewritten"], 8);
}
