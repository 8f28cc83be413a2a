//! Promise: values leave a KMS plugin, move to one, and change its key, with
//! few calls; and a plugin that does not do its part leaves nothing behind.

mod support;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use cbc::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use etcd_rekey::kube::kms;
use etcd_rekey::kube::kms::client::Client;
use etcd_rekey::kube::kms::envelope::{Kind, Wrapped};
use etcd_rekey::kube::kms::service::{Failure, KeyService};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::builder::{Builder, secret};
use support::clusters::Cluster;
use support::judge::{by_revision, oracle, values};
use support::plugin::{Plugin, by_plugins};
use support::program::{Bench, Ran, run, text};
use support::{blocks, config, fixture};

/// A plugin's endpoint in a bench.
fn at(bench: &Bench, name: &str) -> String {
    text(&bench.path(name)).to_owned()
}

/// Both plugins of the fixture `kube-kms`, in `bench`.
fn lab(bench: &Bench, flags: &[&str]) -> [Plugin; 2] {
    ["v2", "v1"].map(|version| Plugin::start(version, &at(bench, &format!("{version}.sock")), flags))
}

/// The flags by which they are found.
fn found(plugins: &[Plugin; 2]) -> [String; 4] {
    let flag = || "--kms-endpoint".to_owned();
    let [v2, v1] = plugins;
    [flag(), format!("labv2={}", v2.endpoint()), flag(), format!("lab:v1={}", v1.endpoint())]
}

fn refs(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

/// Kubernetes reads the output as it read the fixture, and nothing is stale.
#[track_caller]
fn judged(fixture: &str, output: &Path, config: &Path) {
    let read = values(output, config);
    for line in &read {
        assert_eq!(line["error"], Value::Null, "{line}");
        assert_ne!(line["stale"], true, "{line}");
    }
    assert_eq!(by_revision(&read), by_revision(&oracle(fixture)));
}

fn plugin_of<'r>(report: &'r Value, version: &str) -> &'r Value {
    report["kms"].as_array().unwrap().iter().find(|plugin| plugin["version"] == version).unwrap()
}

fn sealed_count(report: &Value) -> u64 {
    report["rewritten"].as_u64().unwrap() + report["rewrittenOld"].as_u64().unwrap()
}

#[test]
fn a_cluster_leaves_its_plugins_with_a_call_a_data_key() {
    let input = fixture("kube-kms", "snapshot.db");
    let old = fixture("kube-kms", "encryption-config.yaml");
    for provider in ["aescbc", "aesgcm", "secretbox", "identity"] {
        let bench = Bench::new();
        let plugins = lab(&bench, &["-key", "2", "-known", "1"]);
        let new = bench.file("new.yaml", config(blocks("kube-kms"), provider, "fresh", 0x42));
        let flags = found(&plugins);
        let more = [&refs(&flags)[..], &["-w", "json", "--allow-plaintext"]].concat();
        let report = bench.reencrypt(&input, &new, Some(&old), &more).expect(0).json();
        assert_eq!((sealed_count(&report), &report["verified"]), (100, &Value::Bool(true)));
        judged("kube-kms", &bench.path("out.db"), &new);
        let [v2, v1] = plugins.map(Plugin::ended);
        let keys = plugin_of(&report, "v2")["dataKeys"].as_u64().unwrap();
        assert!((2..20).contains(&keys), "93 values share {keys} data keys");
        assert_eq!(plugin_of(&report, "v2")["calls"], keys);
        assert_eq!(u64::try_from(v2.of("Decrypt")).unwrap(), keys);
        assert_eq!((v2.0.len(), v1.of("Decrypt"), v1.0.len()), (v2.of("Decrypt"), 7, 7));
        let mut ids: Vec<_> = v2.0.iter().map(|call| call["uid"].as_str().unwrap().to_owned()).collect();
        assert!(ids.iter().all(|id| id.len() == 36));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), v2.0.len(), "each call has an id of its own");
    }
}

#[test]
fn a_cluster_moves_to_a_plugin_of_either_version() {
    let input = fixture("kube-aescbc256", "snapshot.db");
    let old = fixture("kube-aescbc256", "encryption-config.yaml");
    for (version, name, calls) in [
        ("v2", "vault", [("Decrypt", 1), ("Encrypt", 1), ("Status", 2), ("Version", 0)]),
        ("v1", "va:ult", [("Decrypt", 2), ("Encrypt", 1), ("Status", 0), ("Version", 1)]),
    ] {
        let bench = Bench::new();
        let plugin = Plugin::start(version, &at(&bench, "kms.sock"), &["-key", "7"]);
        let endpoint = plugin.endpoint();
        let new = bench.file("new.yaml", by_plugins(&[("secrets", version, name, &endpoint)]));
        let dry = bench.reencrypt(&input, &new, Some(&old), &["-w", "json", "--dry-run"]).expect(0).json();
        let before = plugin.ended();
        let plugin = Plugin::start(version, &at(&bench, "kms.sock"), &["-key", "7"]);
        let left = bench.path("left.yaml");
        let more = ["-w", "json", "--write-config", text(&left)];
        let report = bench.reencrypt(&input, &new, Some(&old), &more).expect(0).json();
        assert_eq!((sealed_count(&report), &report["verified"]), (69, &Value::Bool(true)));
        assert_eq!(report["outputBytes"], dry["outputBytes"]);
        let met = plugin.ended();
        assert_eq!(met.all(), calls, "{version}");
        // A dry run says what the run will ask, and does not ask all of it.
        assert_eq!(dry["kms"][0]["calls"], report["kms"][0]["calls"]);
        assert_eq!(report["kms"][0]["calls"], met.0.len());
        assert_eq!(before.0.len() + 1, met.0.len());

        let plugin = Plugin::start(version, &at(&bench, "kms.sock"), &["-key", "7"]);
        let output = bench.path("out.db");
        judged("kube-aescbc256", &output, &new);
        judged("kube-aescbc256", &output, &left);
        let verify = |config: &Path| {
            let configs = ["--encryption-config", text(config), "--decryption-config", text(&old)];
            run(&[&["verify", text(&output), "--against", text(&input)], &configs[..]].concat())
        };
        verify(&new).expect(0);
        let listed =
            run(&["list", text(&output), "-w", "json", "--encryption-config", text(&new)]).expect(0).json();
        let provider = format!("kms-{version}");
        let of_plugin = |row: &&Value| row["provider"] == provider.as_str() && row["keyName"] == name;
        assert_eq!(listed["objects"].as_array().unwrap().iter().filter(of_plugin).count(), 47);
        // Without a plugin named, its name is read from the values, whole.
        let status = run(&["status", text(&output), "-w", "json"]).expect(0).json();
        let rows = status["values"].as_array().unwrap();
        assert!(rows.iter().any(|row| row["provider"] == provider.as_str() && row["key"] == name), "{rows:?}");
        drop(plugin);

        // Another key of the plugin's: what was written is not what it would write.
        let _plugin = Plugin::start(version, &at(&bench, "kms.sock"), &["-key", "8", "-known", "7"]);
        verify(&new).expect(if version == "v2" { 6 } else { 0 });
    }
}

#[test]
fn a_plugin_changes_its_key() {
    let bench = Bench::new();
    let input = fixture("kube-kms", "snapshot.db");
    let plugins = lab(&bench, &["-key", "3", "-known", "1,2"]);
    let [v2, v1] = &plugins;
    let both = [("secrets", "v2", "labv2", v2.endpoint()), ("configmaps", "v1", "lab:v1", v1.endpoint())];
    let both: Vec<_> = both.iter().map(|(r, v, n, e)| (*r, *v, *n, e.as_str())).collect();
    let config = bench.file("config.yaml", by_plugins(&both));
    let report = bench.reencrypt(&input, &config, None, &["-w", "json"]).expect(0).json();
    assert_eq!((sealed_count(&report), report["unchanged"].as_u64()), (100, Some(0)));
    judged("kube-kms", &bench.path("out.db"), &config);
    // The old key is not needed any more, and nothing of v2 is left to do; of
    // v1 nobody can tell.
    drop(plugins);
    let plugins = lab(&bench, &["-key", "3"]);
    let (first, again) = (bench.path("out.db"), bench.path("again.db"));
    let args = ["reencrypt", text(&first), "--encryption-config", text(&config), "-o", text(&again)];
    let report = run(&[&args[..], &["-w", "json"]].concat()).expect(0).json();
    assert_eq!((sealed_count(&report), report["unchanged"].as_u64()), (7, Some(93)));
    let calls = plugins.map(Plugin::ended)[0].all();
    assert_eq!(calls, [("Decrypt", 2), ("Encrypt", 1), ("Status", 2), ("Version", 0)]);
    let _plugins = lab(&bench, &["-key", "3"]);
    judged("kube-kms", &again, &config);
}

#[test]
fn values_go_from_plugin_to_plugin_and_back() {
    let bench = Bench::new();
    let [v2, v1] = lab(&bench, &["-key", "2", "-known", "1"]);
    let mut input = fixture("kube-kms", "snapshot.db");
    let mut old = fixture("kube-kms", "encryption-config.yaml");
    let [e2, e1] = [v2.endpoint(), v1.endpoint()];
    let steps = [
        by_plugins(&[("secrets", "v1", "one", &e1), ("configmaps", "v2", "two", &e2)]),
        config(blocks("kube-kms"), "secretbox", "box", 9),
        by_plugins(&[("secrets", "v2", "two", &e2), ("configmaps", "v1", "one", &e1)]),
        by_plugins(&[("secrets", "v2", "zwei", &e2), ("configmaps", "v2", "drei", &e2)]),
    ];
    for (number, step) in steps.iter().enumerate() {
        let new = bench.file(&format!("{number}.yaml"), step);
        let output = bench.path(&format!("{number}.db"));
        let mut args = vec!["reencrypt", text(&input), "--encryption-config", text(&new), "-o", text(&output)];
        let places = [format!("labv2={e2}"), format!("lab:v1={e1}")];
        args.extend(["--decryption-config", text(&old)]);
        if number == 0 {
            args.extend(["--kms-endpoint", &places[0], "--kms-endpoint", &places[1]]);
        }
        run(&args).expect(0);
        judged("kube-kms", &output, &new);
        (input, old) = (output, new);
    }
}

/// The plugin's cipher, for values made to order.
fn wrapped(id: &str, data_key: &[u8]) -> Vec<u8> {
    let key: [u8; 32] = Sha256::digest(format!("kube-lab-kms-{id}")).into();
    let cipher = aes_gcm::Aes256Gcm::new((&key).into());
    let sealed = cipher.encrypt((&[5; 12]).into(), data_key).unwrap();
    [format!("{id}|").as_bytes(), &[5; 12], &sealed].concat()
}

/// A secret sealed by v1, with a data key of its own; `cbc` as before 1.25.
fn of_v1(id: &str, number: u16, cbc: bool) -> (String, Vec<u8>) {
    let name = format!("s{number}");
    let etcd_key = format!("/registry/secrets/default/{name}");
    let mut data_key = [0x11; 32];
    data_key[..2].copy_from_slice(&number.to_be_bytes());
    let source = wrapped(id, &data_key);
    let plain = secret(&name);
    let body = if cbc {
        let mut out = vec![0; plain.len() + 16];
        out[..plain.len()].copy_from_slice(&plain);
        let cipher = cbc::Encryptor::<aes::Aes256>::new((&data_key).into(), (&[6; 16]).into());
        let sealed = cipher.encrypt_padded::<Pkcs7>(&mut out, plain.len()).unwrap();
        [&[6; 16][..], sealed].concat()
    } else {
        let cipher = aes_gcm::Aes256Gcm::new((&data_key).into());
        let payload = Payload { msg: &plain, aad: etcd_key.as_bytes() };
        [&[6; 12][..], &cipher.encrypt((&[6; 12]).into(), payload).unwrap()].concat()
    };
    let length = u16::try_from(source.len()).unwrap().to_be_bytes();
    (etcd_key, [b"k8s:enc:kms:v1:v:1:", &length[..], &source, &body].concat())
}

/// A snapshot of so many of them, and the configuration that opens it.
fn many(bench: &Bench, count: u16, endpoint: &str, timeout: &str) -> (PathBuf, PathBuf) {
    let mut builder = Builder::default();
    for number in 0..count {
        let (etcd_key, value) = of_v1("1", number, number % 2 == 1);
        builder.record(&etcd_key, &value);
    }
    let config = by_plugins(&[("secrets", "v1", "v:1", endpoint)])
        .replace("timeout: 3s", &format!("timeout: {timeout}"));
    (bench.file("in.db", builder.snapshot()), bench.file("old.yaml", config))
}

fn fresh(bench: &Bench) -> PathBuf {
    bench.file("new.yaml", config(&[&["secrets"]], "secretbox", "fresh", 0x42))
}

#[test]
fn data_keys_of_v1_are_asked_for_once_each_and_many_at_a_time() {
    let bench = Bench::new();
    let plugin = Plugin::start("v1", &at(&bench, "kms.sock"), &["-sleep", "50ms"]);
    let (input, old) = many(&bench, 200, &plugin.endpoint(), "30s");
    let began = Instant::now();
    let report = bench.reencrypt(&input, &fresh(&bench), Some(&old), &["-w", "json"]).expect(0).json();
    let took = began.elapsed();
    assert_eq!((sealed_count(&report), &report["verified"]), (200, &Value::Bool(true)));
    let told = bench.reencrypt(&input, &fresh(&bench), Some(&old), &["--dry-run", "--overwrite"]).expect(0).out;
    assert!(told.contains("KMS plugin v:1 at unix://"), "{told}");
    assert!(told.contains("200 data keys; it would be called 200 times"), "{told}");
    let calls = plugin.ended();
    assert_eq!(calls.of("Decrypt"), 400, "once for each run");
    assert!((2..=16).contains(&calls.at_once()), "{} at once", calls.at_once());
    assert!(took < Duration::from_secs(8), "{took:?}: one after another it is ten seconds");
    for line in values(&bench.path("out.db"), &bench.path("new.yaml")) {
        assert_eq!(line["error"], Value::Null, "{line}");
    }
}

#[test]
fn one_value_costs_one_call() {
    let bench = Bench::new();
    let plugin = Plugin::start("v1", &at(&bench, "kms.sock"), &[]);
    let (input, old) = many(&bench, 20, &plugin.endpoint(), "3s");
    let got =
        run(&["get", text(&input), "default/s7", "--reveal", "--encryption-config", text(&old)]).expect(0);
    assert!(got.out.contains("s3cr3t"));
    assert_eq!(plugin.ended().of("Decrypt"), 1);
}

#[test]
fn an_abstract_socket_and_a_plugin_that_starts_late_are_reached() {
    let bench = Bench::new();
    let name = format!("@etcd-rekey-test-{}", std::process::id());
    let (input, old) = many(&bench, 3, &format!("unix:///{name}"), "20s");
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        Plugin::start("v1", &name, &["-failing", "4"])
    });
    bench.reencrypt(&input, &fresh(&bench), Some(&old), &[]).expect(0);
    let calls = late.join().unwrap().ended();
    assert!((7..=8).contains(&calls.of("Decrypt")), "{}", calls.of("Decrypt"));
}

#[test]
fn what_may_pass_is_asked_for_again_with_growing_pauses_by_who_is_patient() {
    let bench = Bench::new();
    let socket = at(&bench, "kms.sock");
    let source = wrapped("1", &[0x11; 32]);
    let data_key = Wrapped { kind: Kind::V1, source: &source, key_id: "", annotations: Vec::new() };
    // Within three seconds there is room for pauses of 20, 40, 80 and so on to 1280 ms.
    for (code, patient, calls, refused) in [
        ("UNKNOWN", true, 2..=8, true),
        ("UNKNOWN", false, 1..=1, true),
        ("NOT_FOUND", true, 1..=1, true),
        ("UNAVAILABLE", false, 2..=8, false),
    ] {
        let plugin = Plugin::start("v1", &socket, &["-refuse", code]);
        let mut known = kms::plugin::Plugin::new(kms::Version::V1, "v:1", &plugin.endpoint());
        known.timeout = Duration::from_secs(3);
        let client = Client::of(known);
        let answer = client.decrypt(&data_key, patient).map(drop);
        let told = plugin.ended().of("Decrypt");
        assert!(calls.contains(&told), "{code}: {told} calls");
        assert_eq!(client.calls(), u64::try_from(told).unwrap());
        assert!(
            if refused {
                matches!(&answer, Err(Failure::Refused(why)) if why.contains("not for you"))
            } else {
                matches!(&answer, Err(Failure::Unreachable(why)) if why.contains("not for you"))
            },
            "{code}: {answer:?}"
        );
    }
    // Who answers at last is not held to what it said before.
    let plugin = Plugin::start("v1", &socket, &["-failing", "2"]);
    let client = Client::of(kms::plugin::Plugin::new(kms::Version::V1, "v:1", &plugin.endpoint()));
    assert_eq!(client.decrypt(&data_key, false).unwrap().as_slice(), [0x11; 32]);
    assert_eq!((client.calls(), plugin.ended().of("Decrypt")), (3, 3));
}

/// Expects a refusal that names plugin and socket, and nothing written.
#[track_caller]
fn nothing_written(bench: &Bench, ran: Ran, code: i32, says: &str) {
    let ran = ran.expect(code);
    assert!(ran.err.contains(says), "{}", ran.err);
    for name in ["v:1", "kms.sock"] {
        assert!(ran.err.contains(name), "{name}: {}", ran.err);
    }
    assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
    let left: Vec<_> = bench.names().into_iter().filter(|name| name.contains("out")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_plugin_that_fails_to_open_data_keys_leaves_nothing_behind() {
    for (flags, code, says) in [
        (&["-die-after", "7"][..], 8, "cannot be reached"),
        (&["-sleep", "20s"], 8, "does not answer Decrypt within 4s"),
        (&["-failing", "100000"], 8, "not yet"),
        (&["-refuse", "PERMISSION_DENIED"], 4, "refuses Decrypt: PermissionDenied"),
        (&["-refuse", "UNKNOWN", "-after", "12"], 4, "refuses Decrypt: Unknown"),
        (&["-garbage", "short"], 4, "answers Decrypt with nonsense: a data key of 5 bytes"),
        (&["-garbage", "empty"], 4, "answers Decrypt with nonsense: a data key of 0 bytes"),
        (&["-key", "9"], 4, "there is no key \"1\""),
    ] {
        let bench = Bench::new();
        let plugin = Plugin::start("v1", &at(&bench, "kms.sock"), flags);
        let (input, old) = many(&bench, 20, &plugin.endpoint(), "4s");
        let began = Instant::now();
        let ran = bench.reencrypt(&input, &fresh(&bench), Some(&old), &[]);
        assert!(began.elapsed() < Duration::from_secs(20));
        nothing_written(&bench, ran, code, says);
    }
    // Nobody there at all.
    let bench = Bench::new();
    let (input, old) = many(&bench, 20, &format!("unix://{}", at(&bench, "kms.sock")), "4s");
    let ran = bench.reencrypt(&input, &fresh(&bench), Some(&old), &[]);
    nothing_written(&bench, ran, 8, "No such file");
    // Whoever only looks is told all the same.
    let status =
        run(&["status", text(&input), "-w", "json", "--encryption-config", text(&old)]).expect(0).json();
    assert_eq!(status["unreadable"].as_array().unwrap().len(), 20);
    // What answers is no plugin of this version.
    let _plugin = Plugin::start("v2", &at(&bench, "kms.sock"), &[]);
    let ran = bench.reencrypt(&input, &fresh(&bench), Some(&old), &[]);
    nothing_written(&bench, ran, 4, "Unimplemented");
}

#[test]
fn wrong_data_keys_open_nothing() {
    let bench = Bench::new();
    let plugin = Plugin::start("v1", &at(&bench, "kms.sock"), &["-garbage", "wrong"]);
    let (input, old) = many(&bench, 20, &plugin.endpoint(), "4s");
    let refused = bench.reencrypt(&input, &fresh(&bench), Some(&old), &["-w", "json"]).expect(4).json();
    assert_eq!(refused["error"]["kind"], "unreadable");
    assert_eq!(refused["unreadable"].as_array().unwrap().len(), 20);
}

#[test]
fn what_a_plugin_refuses_can_be_carried_over_and_what_it_cannot_be_asked_is_not() {
    let bench = Bench::new();
    let socket = at(&bench, "kms.sock");
    let mut builder = Builder::default();
    for number in 0..200u16 {
        let (etcd_key, value) = of_v1(if number < 150 { "lost" } else { "1" }, number, false);
        builder.record(&etcd_key, &value);
    }
    let input = bench.file("in.db", builder.snapshot());
    let endpoint = format!("unix://{socket}");
    let old = bench.file("old.yaml", by_plugins(&[("secrets", "v1", "v:1", &endpoint)]));
    let more = ["-w", "json", "--keep-unreadable"];
    let absent = bench.reencrypt(&input, &fresh(&bench), Some(&old), &more).expect(8).json();
    assert_eq!(absent["error"]["kind"], "kms-unreachable");
    let _plugin = Plugin::start("v1", &socket, &[]);
    let report = bench.reencrypt(&input, &fresh(&bench), Some(&old), &more).expect(7).json();
    let kept = report["carriedOver"].as_array().unwrap();
    assert_eq!((kept.len(), sealed_count(&report)), (150, 50));
    assert!(
        kept.iter()
            .all(|value| value["keyName"] == "v:1" && value["error"].as_str().unwrap().contains("NotFound"))
    );
}

#[test]
fn a_plugin_that_fails_to_seal_leaves_nothing_behind() {
    let input = fixture("kube-aescbc256", "snapshot.db");
    let own = fixture("kube-aescbc256", "encryption-config.yaml");
    for (version, flags, code, says) in [
        ("v2", &["-healthz", "sick\u{1b}"][..], 4, "not healthy: \"sick\\x1b\""),
        ("v2", &["-version", "v3"], 4, "answers Status with nonsense: version \"v3\""),
        ("v1", &["-version", "v1"], 4, "answers Version with nonsense: version \"v1\""),
        ("v2", &["-garbage", "no-id"], 4, "a key id of 0 bytes"),
        ("v2", &["-garbage", "empty"], 4, "answers Encrypt with nonsense: the data key is empty"),
        ("v1", &["-garbage", "empty"], 4, "answers Encrypt with nonsense: a data key of 0 bytes"),
        ("v2", &["-garbage", "huge"], 4, "the data key is longer than 1024 bytes"),
        ("v1", &["-garbage", "huge"], 4, "a data key of "),
        ("v2", &["-garbage", "wrong"], 4, "not the data key it has just sealed"),
        ("v1", &["-garbage", "wrong"], 4, "not the data key it has just sealed"),
        (
            "v2",
            &["-refuse", "FAILED_PRECONDITION", "-refuse-only", "Encrypt"],
            4,
            "refuses Encrypt: FailedPrecondition",
        ),
        ("v1", &["-refuse", "INTERNAL", "-refuse-only", "Decrypt"], 4, "refuses Decrypt: Internal"),
        ("v2", &["-sleep", "20s"], 8, "does not answer Status"),
        // When all is written and proven, but has no name yet.
        ("v2", &["-change-after", "3"], 4, "has changed its key from \"1\" to \"other\""),
        ("v2", &["-die-after", "3"], 8, "does not answer Status"),
        ("v1", &["-die-after", "3"], 8, "does not answer Decrypt"),
        ("v1", &["-refuse", "NOT_FOUND", "-after", "3"], 4, "refuses Decrypt: NotFound"),
    ] {
        let bench = Bench::new();
        let plugin = Plugin::start(version, &at(&bench, "kms.sock"), flags);
        let name = if version == "v1" { "v:1" } else { "v 1" };
        let new =
            by_plugins(&[("secrets", version, name, &plugin.endpoint())]).replace("timeout: 3s", "timeout: 4s");
        let new = bench.file("new.yaml", new);
        let mut ran = bench.reencrypt(&input, &new, Some(&own), &[]);
        ran.err = ran.err.replace("v 1", "v:1");
        nothing_written(&bench, ran, code, says);
    }
    // Between two calls it may change: then it is asked again.
    let bench = Bench::new();
    let plugin = Plugin::start("v2", &at(&bench, "kms.sock"), &["-change-after", "1"]);
    let new = bench.file("new.yaml", by_plugins(&[("secrets", "v2", "v", &plugin.endpoint())]));
    bench.reencrypt(&input, &new, Some(&own), &[]).expect(0);
    judged("kube-aescbc256", &bench.path("out.db"), &new);
}

#[test]
fn only_plugins_that_are_needed_are_asked() {
    let bench = Bench::new();
    let input = fixture("kube-aescbc256", "snapshot.db");
    let own = fixture("kube-aescbc256", "encryption-config.yaml");
    let nowhere = "  - kms: {apiVersion: v2, name: gone, endpoint: 'unix:///nowhere'}\n  - identity: {}\n";
    let new = config(&[&["secrets"]], "aescbc", "new", 9).replace("  - identity: {}\n", nowhere);
    let new = bench.file("new.yaml", new);
    bench.reencrypt(&input, &new, Some(&own), &[]).expect(0);
    let unknown =
        bench.reencrypt(&input, &new, Some(&own), &["--overwrite", "--kms-endpoint", "other=unix:///x"]);
    assert!(unknown.expect(2).err.contains("other"));
    for bad in ["gone", "gone=/x", "=unix:///x", "gone=unix:x"] {
        bench.reencrypt(&input, &new, Some(&own), &["--overwrite", "--kms-endpoint", bad]).expect(2);
    }
}

#[test]
fn what_a_plugin_sealed_in_a_k3s_cluster_comes_under_the_clusters_own_key() {
    let bench = Bench::new();
    let plain = Cluster::of("k3s-fresh");
    let judged = |snapshot: &Path| {
        let read = values(snapshot, &bench.file("record.json", plain.config(snapshot)));
        assert!(read.iter().all(|line| line["error"] == Value::Null), "{read:?}");
        read.len()
    };
    let cluster = plain.with_more(&bench, |more| {
        for number in 0..12 {
            let (etcd_key, value) = of_v1("1", number, number % 2 == 1);
            more.record(&etcd_key, &value);
        }
    });
    let out = bench.path("out.db");
    // K3s knows no plugin: nothing but a configuration that names it opens these.
    let ran = cluster.run("rotate-keys", &out, &["-w", "json"]).expect(4).json();
    assert_eq!(ran["unreadable"].as_array().unwrap().len(), 12, "{ran}");
    let plugin = Plugin::start("v1", &at(&bench, "kms.sock"), &[]);
    let config = bench.file("kms.yaml", by_plugins(&[("secrets", "v1", "v:1", &plugin.endpoint())]));
    let named = ["--decryption-config", text(&config)];
    let report = cluster.run("rotate-keys", &out, &[&named[..], &["-w", "json"]].concat()).expect(0).json();
    assert_eq!((&report["verified"], plugin_of(&report, "v1")["dataKeys"].as_u64()), (&true.into(), Some(12)));
    cluster.verify(&out, &named).expect(0);
    assert_eq!(plugin.ended().of("Decrypt"), 24, "once for each run");
    // What was written needs no plugin, and the record's configuration names none.
    assert!(!cluster.config(&out).contains("kms"));
    assert_eq!(judged(&out), judged(&plain.snapshot) + 12);
    let status = cluster.status(&out, &["-w", "json"]).json();
    assert!(status["unreadable"].as_array().unwrap().is_empty(), "{status}");
    assert!(cluster.verify(&out, &[]).expect(6).err.contains("it changed, and cannot be opened"));
}
