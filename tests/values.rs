//! Promise: no value is lost, guessed at, or sealed by the wrong rule.

mod support;

use etcd_rekey::kube::{Provider, SealingKey};
use support::builder::{Builder, key, object, seal, secret};
use support::program::{Bench, Ran, run, text};
use support::{config, contents, opener, records};

const SECRETS: &[&[&str]] = &[&["secrets"]];

/// Rekeys a built snapshot from the key `old` of 1s to the key `new` of 2s.
fn rekey(bench: &Bench, builder: &Builder, more: &[&str]) -> Ran {
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    bench.reencrypt(&input, &new, Some(&old), &[&["-w", "json"], more].concat())
}

fn old() -> SealingKey {
    key(Provider::Aescbc, "old", 1)
}

/// The value stored under a key in the output, at its newest revision.
fn value(bench: &Bench, etcd_key: &str) -> Vec<u8> {
    let mut found = None;
    records(&std::fs::read(bench.path("out.db")).unwrap(), |_, kv| {
        if kv.key == etcd_key.as_bytes() {
            found = Some(kv.value.to_vec());
        }
    });
    found.unwrap()
}

fn opened(bench: &Bench, etcd_key: &str) -> Option<Vec<u8>> {
    opener::open("aescbc", "new", &[2; 32], etcd_key.as_bytes(), &value(bench, etcd_key))
}

#[test]
fn a_wrong_key_stops_the_run_with_every_value_listed() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    for i in 0..300 {
        builder.sealed(&key(Provider::Aescbc, "old", 9), &format!("s{i}"));
    }
    let refused = rekey(&bench, &builder, &[]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "unreadable");
    let listed = refused["unreadable"].as_array().unwrap();
    assert_eq!(listed.len(), 300);
    assert_eq!(listed[0]["key"], "/registry/secrets/default/s0");
    assert_eq!((&listed[0]["provider"], &listed[0]["keyName"]), (&"aescbc".into(), &"old".into()));
    // About one in 256 passes the padding check; the object check stops it.
    for value in listed {
        let error = value["error"].as_str().unwrap();
        assert!(error.contains("padding") || error.contains("not the object"), "{error}");
    }
    assert!(!bench.path("out.db").exists());
}

#[test]
fn a_missing_key_is_told_apart_from_a_wrong_one() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "good");
    builder.sealed(&key(Provider::Aescbc, "lost", 9), "bad");
    let refused = rekey(&bench, &builder, &[]).expect(4).json();
    assert_eq!(refused["unreadable"][0]["keyName"], "lost");
    assert_eq!(refused["unreadable"][0]["error"], "no key of this name was given");

    let kept = rekey(&bench, &builder, &["--keep-unreadable"]).expect(7).json();
    assert_eq!((&kept["secrets"], &kept["verified"]), (&1.into(), &true.into()));
    assert_eq!(kept["carriedOver"][0]["key"], "/registry/secrets/default/bad");
    assert!(value(&bench, "/registry/secrets/default/bad").starts_with(b"k8s:enc:aescbc:v1:lost:"));
    assert_eq!(opened(&bench, "/registry/secrets/default/good"), Some(secret("good")));
}

#[test]
fn names_with_colons_and_keys_of_one_name_are_told_apart() {
    let bench = Bench::new();
    let name = "aescbckey-2026-11-24T02:15:42Z";
    let mut builder = Builder::default();
    builder.sealed(&key(Provider::Aescbc, name, 3), "colons");
    builder.sealed(&key(Provider::Aescbc, "same", 4), "first");
    builder.sealed(&key(Provider::Aescbc, "same", 5), "second");
    builder.sealed(&key(Provider::Aescbc, "new", 6), "named-like-the-new-one");
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let mut args = vec![];
    let files: Vec<_> = [(name, 3), ("same", 4), ("same", 5), ("new", 6)]
        .iter()
        .enumerate()
        .map(|(i, (name, byte))| bench.file(&format!("{i}.yaml"), config(SECRETS, "aescbc", name, *byte)))
        .collect();
    for file in &files {
        args.extend(["--decryption-config", text(file)]);
    }
    bench.reencrypt(&input, &new, None, &args).expect(0);
    for name in ["colons", "first", "second", "named-like-the-new-one"] {
        assert_eq!(opened(&bench, &format!("/registry/secrets/default/{name}")), Some(secret(name)));
    }
}

#[test]
fn an_iv_without_ciphertext_is_an_error_and_no_panic() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let value = [&b"k8s:enc:aescbc:v1:old:"[..], &[7; 16]].concat();
    builder.record("/registry/secrets/default/iv-only", &value);
    let refused = rekey(&bench, &builder, &[]).expect(4).json();
    assert_eq!(refused["unreadable"][0]["error"], "the stored data is an IV without ciphertext");
}

#[test]
fn plaintext_secrets_are_sealed_and_empty_values_left_alone() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.record("/registry/secrets/default/plain", &secret("plain"));
    builder.record("/registry/secrets/default/plain", &secret("plain"));
    builder.record("/registry/secrets/default/empty", b"");
    builder.record("/registry/configmaps/default/plain", &object("ConfigMap", "default", "plain", b"x"));
    // The mark that `snapshot restore --bump-revision` leaves.
    builder.raw(false, b"");
    let report = rekey(&bench, &builder, &[]).expect(0).json();
    assert_eq!((&report["rewritten"], &report["rewrittenOld"]), (&1.into(), &1.into()));
    assert_eq!(report["values"][0]["from"]["provider"], "identity");
    assert_eq!(opened(&bench, "/registry/secrets/default/plain"), Some(secret("plain")));
    assert_eq!(value(&bench, "/registry/secrets/default/empty"), b"");
    assert_eq!(
        value(&bench, "/registry/configmaps/default/plain"),
        object("ConfigMap", "default", "plain", b"x")
    );
}

#[test]
fn keys_of_another_tenant_stay_as_they_are() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "ours");
    let theirs = [&b"k8s:enc:aescbc:v1:old:"[..], &[3; 48]].concat();
    builder.record("/tenant/secrets/default/a", &theirs);
    builder.record("compact_rev_key", b"5");
    builder.record("/registryx/secrets/default/a", &theirs);
    let report = rekey(&bench, &builder, &[]).expect(0).json();
    assert_eq!(report["foreignSealed"], 2);
    assert_eq!(value(&bench, "/tenant/secrets/default/a"), theirs);
}

#[test]
fn another_etcd_prefix_is_kubernetes_where_it_is_named() {
    let bench = Bench::new();
    let etcd_key = "/kubernetes.io/secrets/default/a";
    let mut builder = Builder::default();
    let gcm = key(Provider::Aesgcm, "old", 1);
    builder.record(etcd_key, &seal(&gcm, etcd_key, &secret("a")));
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(SECRETS, "aesgcm", "old", 1));
    for prefix in ["kubernetes.io", "/kubernetes.io", "/kubernetes.io/"] {
        bench.reencrypt(&input, &new, Some(&old), &["--etcd-prefix", prefix, "--force"]).expect(0);
        assert_eq!(opened(&bench, etcd_key), Some(secret("a")));
    }
    // Nothing under the usual prefix: another one is meant.
    let refused = bench.reencrypt(&input, &new, Some(&old), &["-w", "json", "--force"]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "etcd-prefix");
    // Two tenants in one etcd: only one of them is asked for.
    builder.record("/registry/configmaps/default/c", &object("ConfigMap", "default", "c", b"x"));
    let input = bench.file("in.db", builder.snapshot());
    let report = bench.reencrypt(&input, &new, Some(&old), &["-w", "json", "--force"]).expect(0).json();
    assert_eq!((&report["rewritten"], &report["foreignSealed"]), (&0.into(), &1.into()));
}

#[test]
fn a_configuration_for_everything_seals_everything_kubernetes_seals() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let custom =
        br#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"default"}}"#;
    let sealed = [
        ("/registry/configmaps/default/c", object("ConfigMap", "default", "c", b"x")),
        ("/registry/example.com/widgets/default/w", custom.to_vec()),
        ("/registry/clusterroles/system:admin", object("ClusterRole", "", "system:admin", b"x")),
        ("/registry/novelties/default/n", object("Novelty", "default", "n", b"x")),
    ];
    for (etcd_key, plain) in &sealed {
        builder.record(etcd_key, plain);
    }
    let range = object("RangeAllocation", "", "", b"x");
    for etcd_key in
        ["/registry/ranges/servicenodeports", "/registry/masterleases/10.0.0.1", "/registry/peerserverleases/x"]
    {
        builder.record(etcd_key, &range);
    }
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(&[&["*.*"]], "aescbc", "new", 2));
    let run = bench.reencrypt(&input, &new, None, &[]).expect(0);
    assert!(run.err.ends_with("reencrypted 4 values\n"), "{}", run.err);
    for (etcd_key, plain) in &sealed {
        assert_eq!(opened(&bench, etcd_key).as_ref(), Some(plain), "{etcd_key}");
    }
    assert_eq!(value(&bench, "/registry/masterleases/10.0.0.1"), range);

    // Of a resource the table does not know, the object tells the group.
    let named = bench.file("named.yaml", config(&[&["novelties.example.org"]], "aescbc", "new", 2));
    let mut builder = Builder::default();
    let novelty =
        br#"{"apiVersion":"example.org/v1","kind":"Novelty","metadata":{"name":"n","namespace":"default"}}"#;
    builder.record("/registry/novelties/default/n", novelty);
    let input = bench.file("novelty.db", builder.snapshot());
    bench.reencrypt(&input, &named, None, &["--force"]).expect(0);
    assert_eq!(opened(&bench, "/registry/novelties/default/n").as_deref(), Some(&novelty[..]));
}

#[test]
fn ranges_an_old_release_sealed_by_the_rules_of_services_stay_sealed() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let etcd_key = "/registry/ranges/serviceips";
    builder.record(etcd_key, &seal(&old(), etcd_key, &object("RangeAllocation", "", "", b"x")));
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(&[&["services"]], "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(&[&["services"]], "aescbc", "old", 1));
    bench.reencrypt(&input, &new, Some(&old), &[]).expect(0);
    assert_eq!(opened(&bench, etcd_key), Some(object("RangeAllocation", "", "", b"x")));
}

#[test]
fn sealed_values_become_plaintext_only_when_allowed() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "a");
    let configmap = "/registry/configmaps/default/c";
    let content = object("ConfigMap", "default", "c", b"x");
    builder.record(configmap, &seal(&old(), configmap, &content));
    // The new configuration does not name config maps.
    let refused = rekey(&bench, &builder, &[]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "would-be-plaintext");
    assert!(refused["error"]["message"].as_str().unwrap().contains("configmaps"));
    assert!(!bench.path("out.db").exists());
    let report = rekey(&bench, &builder, &["--allow-plaintext"]).expect(0).json();
    assert_eq!((&report["secrets"], &report["verified"]), (&1.into(), &true.into()));
    assert_eq!(value(&bench, configmap), content);
    assert_eq!(opened(&bench, "/registry/secrets/default/a"), Some(secret("a")));
}

#[test]
fn two_keys_that_both_fit_are_an_error() {
    // Two CBC keys that open one value to the same object cannot be made;
    // one key listed under one name twice is one key.
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "a");
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    let again = bench.file("again.yaml", config(SECRETS, "aescbc", "old", 1));
    bench.reencrypt(&input, &new, Some(&old), &["--decryption-config", text(&again)]).expect(0);
}

#[test]
fn large_values_leases_alarms_unknown_buckets_and_page_sizes_survive() {
    for page_size in [4096, 16384, 65536] {
        for own_pages in [false, true] {
            let bench = Bench::new();
            let mut builder =
                Builder { page_size, own_pages, freelist: page_size == 4096, ..Builder::default() };
            builder.free = vec![b"k8s:enc:aescbc:v1:old:residue".to_vec(); 3];
            for i in 0..200 {
                builder.sealed(&old(), &format!("s{i}"));
            }
            let big = object("Secret", "default", "big", &vec![0xEE; 900 << 10]);
            let etcd_key = "/registry/secrets/default/big";
            builder.record(etcd_key, &seal(&old(), etcd_key, &big));
            builder.tombstone("/registry/secrets/default/s7");
            builder.put("alarm", b"\x08\x01\x10\x01", b"");
            builder.put("lease", &7u64.to_be_bytes(), b"\x08\x07\x10\x3c");
            builder.put("zz_unknown", b"key", b"value");
            builder.put("zz_unknown", b"empty", b"");
            builder.buckets.get_mut(&b"zz_unknown"[..]).unwrap().0 = 42;
            let report = rekey(&bench, &builder, &[]).expect(0).json();
            assert_eq!((&report["secrets"], &report["rewrittenOld"]), (&200.into(), &1.into()));
            assert_eq!(opened(&bench, etcd_key), Some(big));
            let before = contents(&builder.snapshot());
            let after = std::fs::read(bench.path("out.db")).unwrap();
            assert!(!after.windows(7).any(|window| window == b"residue"));
            let after = contents(&after);
            let not_keys = |all: &[(Vec<u8>, Vec<u8>, Vec<u8>)]| {
                all.iter().filter(|(bucket, _, _)| bucket != b"key").cloned().collect::<Vec<_>>()
            };
            assert_eq!(not_keys(&before), not_keys(&after));
            let status = run(&["status", text(&bench.path("out.db")), "-w", "json"]).expect(0).json();
            assert_eq!(status["snapshot"]["pageSize"], page_size);
            assert_eq!(status["residue"]["freePages"], 0);
            let bytes = std::fs::read(bench.path("out.db")).unwrap();
            let db = etcd_rekey::bolt::Database::open(&bytes[..bytes.len() - 32]).unwrap();
            let found = etcd_rekey::bolt::survey(&db, etcd_rekey::bolt::Thoroughness::FULL);
            assert_eq!(found.bucket(b"zz_unknown").unwrap().1.sequence, 42);
        }
    }
}

#[test]
fn a_copy_of_a_live_database_is_taken_with_skip_hash_check() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "a");
    // A live file is longer than its high-water mark; what lies there is void.
    let raw = [builder.file(), b"k8s:enc:remains of a write".repeat(4096)].concat();
    assert_eq!(raw.len() % 4096, 0);
    let input = bench.file("db", &raw);
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    let old = bench.file("old.yaml", config(SECRETS, "aescbc", "old", 1));
    let refused = bench.reencrypt(&input, &new, Some(&old), &["-w", "json"]).expect(3).json();
    assert_eq!(refused["error"]["kind"], "missing-trailer");
    bench.reencrypt(&input, &new, Some(&old), &["--skip-hash-check"]).expect(0);
    let after = std::fs::read(bench.path("out.db")).unwrap();
    assert!(!after.windows(7).any(|window| window == b"remains"));
    run(&["check", text(&bench.path("out.db"))]).expect(0);
}

#[test]
fn control_characters_in_keys_never_reach_the_terminal() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    let value = [&b"k8s:enc:aescbc:v1:na\x1b[2Jme:"[..], &[7; 48]].concat();
    builder.record("/registry/secrets/default/\x1b[31mred\nnew\u{202e}line", &value);
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", config(SECRETS, "aescbc", "new", 2));
    for ran in [
        bench.reencrypt(&input, &new, None, &[]).expect(4),
        run(&["list", text(&input)]).expect(0),
        run(&["status", text(&input)]).expect(0),
    ] {
        let printed = ran.out + &ran.err;
        assert!(!printed.contains(['\x1b', '\u{202e}']), "{printed:?}");
    }
}

#[test]
fn a_sealed_value_under_the_prefix_is_never_left_out() {
    for etcd_key in ["/registry/lonely", "/registry/example.com/x"] {
        let bench = Bench::new();
        let mut builder = Builder::default();
        builder.sealed(&old(), "s");
        builder.record(etcd_key, b"k8s:enc:aescbc:v1:gone:0123456789abcdef0123456789abcdef");
        let refused = rekey(&bench, &builder, &[]).expect(4).json();
        assert_eq!(refused["unreadable"][0]["key"], etcd_key);
        let kept = rekey(&bench, &builder, &["--keep-unreadable"]).expect(7).json();
        assert_eq!(kept["carriedOver"][0]["key"], etcd_key);
    }
}

#[test]
fn the_record_of_a_k3s_cluster_is_none_of_kubernetes_values() {
    let bench = Bench::new();
    let input = support::fixture("k3s-fresh", "snapshot.db");
    let own = support::fixture("k3s-fresh", "encryption-config.json");
    let new = bench.file("all.yaml", support::config(&[&["*.*"]], "aescbc", "new", 9));
    for prefix in ["/", "/registry"] {
        let ran = bench.reencrypt(&input, &new, Some(&own), &["--etcd-prefix", prefix]);
        assert!(ran.expect(2).err.contains("record"), "{prefix}");
    }
}

#[test]
fn resources_out_of_a_snapshot_never_reach_the_terminal_raw() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "s");
    builder.record("/registry/\u{1b}[31mEVIL\r/a/b", b"plain");
    builder.record("/registry/evil.\u{1b}]0;x\u{7}/plural/a/b", b"plain");
    let input = bench.file("in.db", builder.snapshot());
    let all = bench.file("all.yaml", support::config(&[&["*.*"]], "aescbc", "new", 9));
    let own = bench.file("old.yaml", support::config(&[&["secrets"]], "aescbc", "old", 1));
    let mut printed = Vec::new();
    for args in [&["list", text(&input)][..], &["status", text(&input), "-v"]] {
        printed.push(run(args).expect(0).out);
    }
    printed.push(bench.reencrypt(&input, &all, Some(&own), &[]).out);
    for text in printed {
        assert!(!text.contains(['\u{1b}', '\r', '\u{7}']), "{text:?}");
        assert!(text.contains("EVIL"), "{text}");
    }
}

#[test]
fn keys_of_one_name_are_told_apart_in_the_report() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "s");
    let input = bench.file("in.db", builder.snapshot());
    let new = bench.file("new.yaml", support::config(&[&["secrets"]], "aescbc", "old", 9));
    let own = bench.file("old.yaml", support::config(&[&["secrets"]], "aescbc", "old", 1));
    let told = bench.reencrypt(&input, &new, Some(&own), &[]).expect(0).out;
    assert!(told.contains("another key of this name"), "{told}");
}

#[test]
fn a_plugin_that_writes_is_never_left_out_of_a_configuration() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "s");
    let input = bench.file("in.db", builder.snapshot());
    let own = bench.file("old.yaml", support::config(&[&["secrets"]], "aescbc", "old", 1));
    let plugin = "  - kms: {apiVersion: v2, name: vault, endpoint: 'unix:///vault.sock'}\n";
    let with_plugin =
        support::config(&[&["secrets"]], "aescbc", "new", 9).replace("  - identity: {}\n", plugin);
    let new = bench.file("new.yaml", with_plugin);
    let left = bench.path("left.yaml");
    bench.reencrypt(&input, &new, Some(&own), &["--write-config", text(&left)]).expect(0);
    // Nothing needs the plugin behind the key that writes: it goes as other keys do.
    assert!(!std::fs::read_to_string(&left).unwrap().contains("vault"));
    let elsewhere = support::config(&[&["secrets"], &["configmaps"]], "aescbc", "new", 9);
    let (secrets, configmaps) = elsewhere.rsplit_once("  - aescbc").unwrap();
    let rest = configmaps.split_once('\n').unwrap().1;
    let new = bench.file("new.yaml", format!("{secrets}{plugin}{rest}"));
    let refused = bench.reencrypt(&input, &new, Some(&own), &["--write-config", text(&left), "--overwrite"]);
    assert!(refused.expect(8).err.contains("vault"));
    for step in ["rotate-keys", "disable"] {
        let output = bench.path("other.db");
        let args = [step, text(&input), "--encryption-config", text(&new), "--write-config", text(&left)];
        let refused = run(&[&args[..], &["-o", text(&output), "--overwrite"]].concat()).expect(4);
        assert!(refused.err.contains("vault"), "{}", refused.err);
    }
}

#[test]
fn without_a_place_for_its_marks_there_is_no_compaction() {
    let bench = Bench::new();
    let mut builder = Builder::default();
    builder.sealed(&old(), "a");
    builder.sealed(&old(), "a");
    builder.buckets.remove(b"meta".as_slice());
    for more in [&["--compact"][..], &["--compact", "--dry-run"]] {
        let refused = rekey(&bench, &builder, more).expect(3).json();
        assert_eq!(refused["error"]["kind"], "no-meta-bucket");
        assert!(!bench.path("out.db").exists());
    }
    rekey(&bench, &builder, &[]).expect(0);
    assert!(opened(&bench, "/registry/secrets/default/a").is_some());
}
