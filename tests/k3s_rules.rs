//! Promise: what a verb makes of a record, and when it is refused, is what K3s
//! makes of it and refuses; a record is told from what only looks like one.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use etcd_rekey::bolt::Entry;
use etcd_rekey::etcd::history::Record as Stored;
use etcd_rekey::etcd::{Revision as At, RevisionKey, wire};
use etcd_rekey::k3s::change::Request;
use etcd_rekey::k3s::cluster::{Gathering, Revision};
use etcd_rekey::k3s::node::{Node, Program};
use etcd_rekey::k3s::record::Record;
use etcd_rekey::k3s::stage::config_hash;
use etcd_rekey::k3s::status::Status;
use etcd_rekey::k3s::{Cluster, Error, Stage, State, Token, Verb, bootstrap};
use etcd_rekey::kube::Provider;
use jiff::Timestamp;
use zeroize::Zeroizing;

const VERBS: [Verb; 7] = [
    Verb::Prepare,
    Verb::Rotate,
    Verb::Reencrypt { skip: false },
    Verb::Reencrypt { skip: true },
    Verb::RotateKeys,
    Verb::Enable,
    Verb::Disable,
];

/// A provider with keys of these names.
fn keys(provider: &str, names: &[&str]) -> String {
    let secret = STANDARD.encode([7; 32]);
    let keys: Vec<_> =
        names.iter().map(|name| format!("{{\"name\":\"{name}\",\"secret\":\"{secret}\"}}")).collect();
    format!("{{\"{provider}\":{{\"keys\":[{}]}}}}", keys.join(","))
}

const IDENTITY: &str = "{\"identity\":{}}";

fn block(resources: &str, providers: &[&str]) -> String {
    format!("{{\"resources\":[{resources}],\"providers\":[{}]}}", providers.join(","))
}

fn config(blocks: &[String]) -> String {
    let blocks = blocks.join(",");
    format!(
        "{{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"resources\":[{blocks}]}}"
    )
}

fn secrets(providers: &[&str]) -> String {
    config(&[block("\"secrets\"", providers)])
}

fn record(config: Option<&str>, state: Option<&str>) -> Vec<u8> {
    let file = |name: &str, text: &str| {
        let text = STANDARD.encode(text);
        format!("\"{name}\":{{\"Timestamp\":\"2026-05-01T10:00:00Z\",\"Content\":\"{text}\"}}")
    };
    let mut files = vec![file("ClientCA", "ca")];
    files.extend(config.map(|config| file("EncryptionConfig", config)));
    files.extend(state.map(|state| file("EncryptionHash", state)));
    format!("{{{}}}\n", files.join(",")).into_bytes()
}

/// A cluster whose record holds a configuration at a stage.
fn cluster(config: Option<&str>, stage: Option<&str>) -> Cluster {
    let said = stage.map(|stage| format!("{stage}-{}", config_hash(config.unwrap_or_default().as_bytes())));
    Cluster {
        key: "/bootstrap/x".to_owned(),
        revisions: vec![Revision {
            entry: 9,
            passphrase: Zeroizing::new("pw".to_owned()),
            plain: Zeroizing::new(record(config, said.as_deref())),
        }],
        unopened: Vec::new(),
        damaged: Vec::new(),
        nodes: Vec::new(),
        program: Program::K3s,
    }
}

fn now() -> Timestamp {
    "2026-11-24T02:15:42Z".parse().unwrap()
}

fn ask(verb: Verb) -> Request {
    Request { verb, force: false, provider: None, now: now() }
}

fn refused(cluster: &Cluster, request: &Request) -> Error {
    cluster.change(request).err().unwrap()
}

fn node(name: &str, annotation: &str) -> Node {
    Node { name: name.to_owned(), annotation: annotation.to_owned(), program: Program::K3s }
}

/// Names of the keys a configuration has, in order; the provider before each.
fn names(config: &etcd_rekey::kube::EncryptionConfiguration) -> Vec<String> {
    config.keys().map(|key| format!("{} {}", key.provider(), key.name())).collect()
}

#[test]
fn verbs_have_the_names_of_the_command_line() {
    let told: Vec<_> = VERBS.iter().map(|verb| (verb.name(), verb.rewrites())).collect();
    let expected = [
        ("prepare", false),
        ("rotate", false),
        ("reencrypt", true),
        ("reencrypt", true),
        ("rotate-keys", true),
        ("enable", true),
        ("disable", true),
    ];
    assert_eq!(told, expected);
}

#[test]
fn each_verb_follows_its_stages_alone() {
    let text = secrets(&[&keys("aescbc", &["a", "b"]), IDENTITY]);
    for stage in ["start", "prepare", "rotate", "reencrypt_active", "reencrypt_finished", "novel"] {
        for verb in VERBS {
            let at = cluster(Some(&text), Some(stage));
            let (good, allowed) = match verb {
                Verb::Prepare | Verb::RotateKeys => {
                    (matches!(stage, "start" | "reencrypt_finished"), "start or reencrypt_finished")
                }
                Verb::Rotate => (stage == "prepare", "prepare"),
                Verb::Reencrypt { .. } => (stage == "rotate", "rotate"),
                Verb::Enable | Verb::Disable => {
                    (!matches!(stage, "prepare" | "rotate" | "reencrypt_active"), "")
                }
            };
            let changed = at.change(&ask(verb));
            let place = "the snapshot's record".to_owned();
            match changed {
                Ok(_) => assert!(good, "{verb:?} at {stage}"),
                Err(error) => {
                    assert!(!good, "{verb:?} at {stage}: {error}");
                    let (verb, stage) = (verb.name(), stage.to_owned());
                    let expected = match allowed {
                        "" => Error::UnderWay { verb, stage },
                        _ => Error::IncorrectStage { verb, stage, allowed, place },
                    };
                    assert_eq!(error, expected);
                }
            }
            let forced = at.change(&Request { force: true, ..ask(verb) }).unwrap();
            let becomes = match verb {
                Verb::Prepare => Stage::Prepare,
                Verb::Rotate => Stage::Rotate,
                Verb::Reencrypt { skip: true } => {
                    State::parse(&format!("{stage}-0")).and_then(|state| state.known()).unwrap_or(Stage::Rotate)
                }
                _ => Stage::ReencryptFinished,
            };
            assert_eq!(forced.state, State::of(becomes, &forced.bytes));
            assert_eq!(forced.bytes.as_slice(), forced.config.to_json().as_bytes());
        }
    }
}

#[test]
fn each_verb_changes_the_keys_as_k3s_does() {
    let text = secrets(&[&keys("aescbc", &["a", "b"]), IDENTITY]);
    let made = "aescbc aescbckey-2026-11-24T02:15:42Z";
    for (verb, expected) in [
        (Verb::Prepare, vec!["aescbc a", "aescbc b", made]),
        (Verb::Rotate, vec!["aescbc b", "aescbc a"]),
        (Verb::Reencrypt { skip: false }, vec!["aescbc a"]),
        (Verb::Reencrypt { skip: true }, vec!["aescbc a", "aescbc b"]),
        (Verb::RotateKeys, vec![made]),
        (Verb::Enable, vec!["aescbc a"]),
        (Verb::Disable, vec!["aescbc a", "aescbc b"]),
    ] {
        let request = Request { force: true, ..ask(verb) };
        let change = cluster(Some(&text), Some("start")).change(&request).unwrap();
        assert_eq!(names(&change.config), expected, "{verb:?}");
    }
    let other = Request { provider: Some(Provider::Secretbox), ..ask(Verb::RotateKeys) };
    let change = cluster(Some(&text), Some("start")).change(&other).unwrap();
    assert_eq!(names(&change.config), ["secretbox secretboxkey-2026-11-24T02:15:42Z"]);
}

#[test]
fn a_name_that_is_taken_is_not_given_again() {
    let taken = ["aescbckey-2026-11-24T02:15:42Z", "aescbckey-2026-11-24T02:15:43Z", "aescbckey"];
    let text = secrets(&[&keys("aescbc", &taken), IDENTITY]);
    let change = cluster(Some(&text), Some("start")).change(&ask(Verb::Prepare)).unwrap();
    assert_eq!(names(&change.config)[3], "aescbc aescbckey-2026-11-24T02:15:44Z");
    // Times are whole seconds, as K3s's are.
    let text = secrets(&[&keys("aescbc", &["a"]), IDENTITY]);
    let request = Request { now: "2026-11-24T02:15:42.9Z".parse().unwrap(), ..ask(Verb::Prepare) };
    let change = cluster(Some(&text), Some("start")).change(&request).unwrap();
    assert_eq!(names(&change.config)[1], "aescbc aescbckey-2026-11-24T02:15:42Z");
}

#[test]
fn where_nothing_is_written_with_a_key_there_is_none_to_rotate() {
    let key = keys("aescbc", &["a", "b"]);
    let disabled = secrets(&[IDENTITY, &key]);
    for (config, stage) in [(Some(disabled.as_str()), Some("start")), (None, None)] {
        let told = stage.unwrap_or("none").to_owned();
        for verb in [Verb::Prepare, Verb::Rotate, Verb::RotateKeys] {
            let at = cluster(config, stage);
            assert_eq!(refused(&at, &ask(verb)), Error::Disabled { stage: told.clone() });
            let forced = Request { force: true, ..ask(verb) };
            assert_eq!(refused(&at, &forced), Error::Disabled { stage: told.clone() });
        }
        let change = cluster(config, stage).change(&ask(Verb::Enable)).unwrap();
        let first = if stage.is_some() { "aescbc a" } else { "aescbc aescbckey-2026-11-24T02:15:42Z" };
        assert_eq!(names(&change.config), [first]);
    }
    for verb in [Verb::Reencrypt { skip: false }, Verb::Disable] {
        assert_eq!(refused(&cluster(None, None), &ask(verb)), Error::Disabled { stage: "none".to_owned() });
    }
    let one = secrets(&[&keys("aescbc", &["a"]), IDENTITY]);
    let at = cluster(Some(&one), Some("prepare"));
    assert_eq!(refused(&at, &ask(Verb::Rotate)), Error::NoSecondKey { stage: "prepare".to_owned() });
}

#[test]
fn secretbox_is_rotated_at_once_only() {
    let text = secrets(&[&keys("secretbox", &["a", "b"]), IDENTITY]);
    for (verb, stage) in [
        (Verb::Prepare, "start"),
        (Verb::Rotate, "prepare"),
        (Verb::Reencrypt { skip: false }, "rotate"),
        (Verb::Reencrypt { skip: true }, "rotate"),
    ] {
        let error = Error::Secretbox { verb: verb.name(), stage: stage.to_owned() };
        assert_eq!(refused(&cluster(Some(&text), Some(stage)), &ask(verb)), error);
    }
    for verb in [Verb::RotateKeys, Verb::Enable, Verb::Disable] {
        assert!(cluster(Some(&text), Some("start")).change(&ask(verb)).is_ok());
    }
    let behind = secrets(&[&keys("aescbc", &["a"]), &keys("secretbox", &["b"]), IDENTITY]);
    assert!(cluster(Some(&behind), Some("start")).change(&ask(Verb::Prepare)).is_ok());
}

#[test]
fn a_hash_that_is_not_the_configurations_is_told() {
    let text = secrets(&[&keys("aescbc", &["a"]), IDENTITY]);
    let mut at = cluster(Some(&text), None);
    at.revisions[0].plain = Zeroizing::new(record(Some(&text), Some("start-00")));
    let place = "the snapshot's record".to_owned();
    let error = Error::InvalidHash { hash: "00".to_owned(), place, stage: "start".to_owned() };
    assert_eq!(refused(&at, &ask(Verb::Prepare)), error);
    // Without a state the stage is the first, and the hash the configuration's.
    let without = cluster(Some(&text), None);
    assert_eq!(without.current().unwrap().state, Some(State::of(Stage::Start, text.as_bytes())));
    assert!(without.change(&ask(Verb::Prepare)).is_ok());
}

#[test]
fn servers_are_asked_where_they_say_what_the_record_says_or_are_a_step_ahead() {
    let text = secrets(&[&keys("aescbc", &["a", "b"]), IDENTITY]);
    let hash = config_hash(text.as_bytes());
    let said = |stage: &str| format!("{stage}-{hash}");
    let mut at = cluster(Some(&text), Some("rotate"));
    let current = at.current().unwrap();
    assert!(at.answering(&current).is_none());
    assert_eq!(at.stage(&current), State::parse(&said("rotate")));
    at.nodes = vec![node("n1", &said("prepare")), node("n2", "rotate-00")];
    assert!(at.answering(&current).is_none());
    at.nodes.push(node("n3", &said("rotate")));
    assert_eq!(at.answering(&current).unwrap().name, "n3");
    assert_eq!(at.stage(&current), State::parse(&said("rotate")));
    at.nodes.truncate(2);
    at.nodes.push(node("n4", "reencrypt_active-00"));
    assert!(at.answering(&current).is_none(), "another configuration");
    at.nodes.push(node("n5", &said("reencrypt_active")));
    assert_eq!(at.answering(&current).unwrap().name, "n5");
    assert_eq!(at.stage(&current), State::parse(&said("reencrypt_active")));
    // Those that differ from the first one.
    assert_eq!(at.differing(), ["n2", "n4", "n5"]);
    let mismatch = "hash does not match between n1 and n2".to_owned();
    assert_eq!(at.mismatch(), Some(mismatch.clone()));
    let error = Error::HashMismatch { mismatch, stage: "reencrypt_active".to_owned() };
    assert_eq!(refused(&at, &ask(Verb::Reencrypt { skip: false })), error);
    // Servers of one mind, whose stage it is.
    at.nodes = vec![node("n1", &said("rotate")), node("n2", &said("rotate"))];
    assert_eq!((at.differing(), at.mismatch()), (Vec::<String>::new(), None));
    let place = "node n1".to_owned();
    let (stage, allowed) = ("rotate".to_owned(), "prepare");
    let error = Error::IncorrectStage { verb: "rotate", stage, allowed, place };
    assert_eq!(refused(&at, &ask(Verb::Rotate)), error);
    at.nodes.clear();
    assert_eq!(at.mismatch(), None);
}

#[test]
fn configurations_that_k3s_would_not_rotate_are_named() {
    let (cbc, box_) = (keys("aescbc", &["a"]), keys("secretbox", &["b"]));
    let kms = "{\"kms\":{\"name\":\"vault\",\"endpoint\":\"unix:///x\"}}";
    let current = |text: &str| cluster(Some(text), None).current().map(|_| ());
    let secrets_twice = config(&[block("\"secrets\"", &[&cbc]), block("\"configmaps\"", &[&cbc])]);
    assert_eq!(current(&secrets_twice), Err(Error::Blocks(2)));
    let more = config(&[block("\"secrets\",\"configmaps\",\"*.apps\"", &[&cbc])]);
    assert_eq!(current(&more), Err(Error::Resources(vec!["configmaps".to_owned(), "*.apps".to_owned()])));
    assert_eq!(current(&secrets(&[&cbc, &box_, IDENTITY])), Ok(()));
    assert_eq!(current(&secrets(&[&cbc, &box_, IDENTITY, IDENTITY])), Err(Error::Providers(4)));
    assert_eq!(current(&secrets(&[&cbc, &cbc, IDENTITY])), Err(Error::Twice(Provider::Aescbc)));
    let gcm = keys("aesgcm", &["a"]);
    assert_eq!(current(&secrets(&[&gcm, IDENTITY])), Err(Error::UnsupportedKeys("aesgcm".to_owned())));
    assert_eq!(current(&secrets(&[kms, IDENTITY])), Err(Error::UnsupportedKeys("kms vault".to_owned())));
    assert!(matches!(current("no configuration"), Err(Error::Config(_))));
    let masked = config(&[block("\"*.*\"", &[&cbc]), block("\"secrets\"", &[&cbc])]);
    assert!(matches!(current(&masked), Err(Error::Config(_))));
    // Their keys open values all the same; those without any are passed over.
    let mut at = cluster(Some(&more), None);
    for (entry, text) in [(1, "no configuration".to_owned()), (2, secrets(&[&gcm]))] {
        let plain = Zeroizing::new(record(Some(&text), None));
        at.revisions.insert(0, Revision { entry, passphrase: Zeroizing::default(), plain });
    }
    let found: Vec<_> = at.configs().iter().map(names).collect();
    assert_eq!(found, [["aescbc a"], ["aesgcm a"]]);
    assert_eq!(at.config_bytes().unwrap().as_slice(), more.as_bytes());
    assert!(cluster(None, None).config_bytes().is_none());
}

#[test]
fn revisions_are_rewritten_where_no_older_key_is_needed_any_more() {
    let text = secrets(&[&keys("aescbc", &["a"]), IDENTITY]);
    let mut at = cluster(Some(&text), Some("start"));
    for (entry, password) in [(3, "older"), (5, "pw")] {
        let plain = Zeroizing::new(record(None, None));
        let revision = Revision { entry, passphrase: Zeroizing::new(password.to_owned()), plain };
        at.revisions.insert(0, revision);
    }
    let no_record = Revision {
        entry: 1,
        passphrase: Zeroizing::new("pw".to_owned()),
        plain: Zeroizing::new(b"none".to_vec()),
    };
    at.revisions.insert(0, no_record);
    for (verb, entries) in [(Verb::Prepare, &[9][..]), (Verb::RotateKeys, &[3, 5, 9])] {
        let request = ask(verb);
        let change = at.change(&request).unwrap();
        let values = at.rewritten(&change, &request).unwrap();
        assert_eq!(values.keys().copied().collect::<Vec<_>>(), entries);
        for (entry, value) in &values {
            let password = if *entry == 3 { "older" } else { "pw" };
            let plain = bootstrap::open(value, password).unwrap();
            let record = Record::parse(&plain).unwrap();
            assert_eq!(record.config().as_ref(), Some(&change.bytes));
            assert_eq!(record.state().as_ref(), Some(&change.state));
            assert_eq!(record.newest(), Some(now()));
        }
    }
    assert_eq!(at.newest(), "2026-05-01T10:00:00Z".parse().ok());
}

#[test]
fn the_status_is_k3s_own() {
    assert_eq!(cluster(None, None).status(&[]).unwrap(), Status::default());
    let none = "Encryption Status: Disabled, no configuration file found\n";
    assert_eq!(cluster(None, None).status(&[]).unwrap().text(), none);
    let text = secrets(&[&keys("secretbox", &["s"]), &keys("aescbc", &["a", "b"]), IDENTITY]);
    let at = cluster(Some(&text), Some("rotate"));
    let good = ("server-1".to_owned(), Zeroizing::new(text.clone().into_bytes()));
    let status = at.status(std::slice::from_ref(&good)).unwrap();
    assert_eq!((status.enable, status.hash_match, status.stage.as_str()), (Some(true), true, "rotate"));
    let lines = [
        "Encryption Status: Enabled",
        "Current Rotation Stage: rotate",
        "Server Encryption Hashes: All hashes match",
        "",
        "Active  Key Type           Name",
        "------  --------           ----",
        " *      XSalsa20-POLY1305  s",
        "        AES-CBC            a",
        "        AES-CBC            b",
        "",
        "",
    ];
    assert_eq!(status.text(), lines.join("\n"));
    // A file of a server that is another one.
    let bad = ("server-2".to_owned(), Zeroizing::new(b"other".to_vec()));
    let status = at.status(&[good, bad]).unwrap();
    assert_eq!(
        (status.hash_match, status.hash_error.as_str()),
        (false, "hash does not match between the snapshot and server-2")
    );
    assert!(status.text().contains("Server Encryption Hashes: hash does not match between the snapshot and"));
    let disabled = secrets(&[IDENTITY, &keys("aescbc", &["a"])]);
    let status = cluster(Some(&disabled), Some("start")).status(&[]).unwrap();
    assert_eq!((status.enable, status.active_key.as_str()), (Some(false), ""));
    assert_eq!(status.inactive_keys, ["AES-CBC a"]);
    assert!(status.text().starts_with("Encryption Status: Disabled\n"));
}

#[test]
fn what_does_not_open_is_told_and_refused() {
    let mut at = cluster(None, None);
    assert_eq!((at.complete(), at.unread()), (Ok(()), Vec::new()));
    at.damaged =
        vec![("/bootstrap/x".to_owned(), "5.0".to_owned()), ("/bootstrap/x".to_owned(), "6.0".to_owned())];
    let revisions = vec!["/bootstrap/x at revision 5.0".to_owned(), "/bootstrap/x at revision 6.0".to_owned()];
    assert_eq!(at.complete(), Err(Error::DamagedOld { revisions }));
    assert_eq!(at.unread(), ["/bootstrap/x"]);
    at.unopened = vec!["/bootstrap/a".to_owned()];
    assert_eq!(at.complete(), Err(Error::Unopened { keys: vec!["/bootstrap/a".to_owned()] }));
    assert_eq!(at.unread(), ["/bootstrap/a", "/bootstrap/x"]);
}

/// The etcd entries of a snapshot: key, value, whether it is the newest; none is a tombstone without a value.
fn gathered(entries: &[(&[u8], &[u8], bool)], open: impl FnOnce(Gathering<'_>)) {
    let stored: Vec<_> = (2..)
        .zip(entries)
        .map(|(main, (key, value, _))| {
            let mut record = Vec::new();
            for (tag, content) in [(0x0a, key), (0x2a, value)] {
                record.push(tag);
                wire::put_varint(&mut record, u64::try_from(content.len()).unwrap());
                record.extend(*content);
            }
            let tombstone = *value == b"deleted";
            (RevisionKey { revision: At { main, sub: 0 }, tombstone }.encode(), record)
        })
        .collect();
    let mut gathering = Gathering::default();
    for (number, ((key, value), (_, _, live))) in (0..).zip(stored.iter().zip(entries)) {
        let entry = Stored::parse(number, &Entry { flags: 0, key, value }).unwrap();
        let mut part = Gathering::default();
        part.add(number, entry, *live, b"/registry/minions/");
        gathering.append(part);
    }
    open(gathering);
}

fn tokens(passwords: &[&str]) -> Vec<Token> {
    passwords.iter().map(|password| Token::parse(password).unwrap()).collect()
}

#[test]
fn a_record_is_opened_as_k3s_opens_it() {
    let plain = record(None, None);
    let (key, old_key) = (tokens(&["pw"])[0].record_key(), tokens(&["old"])[0].record_key());
    let sealed = |password: &str| bootstrap::seal(&plain, password).unwrap();
    let (good, old) = (sealed("pw"), sealed("old"));
    let told = |key: &[u8]| String::from_utf8(key.to_vec()).unwrap();
    let server = |name: &str, of: &str, label: &str| {
        format!(
            "{{\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"node-role.kubernetes.io/control-plane\":\"{label}\"}},\"annotations\":{{\"{of}.io/encryption-config-hash\":\"start-1\"}}}}}}"
        )
        .into_bytes()
    };
    let (n1, n2) = (server("n1", "k3s", "true"), server("n2", "k3s", "true"));
    let error = |entries: &[(&[u8], &[u8], bool)], passwords: &[&str]| {
        let mut found = None;
        gathered(entries, |gathering| found = gathering.open(&tokens(passwords)).err());
        found
    };
    assert_eq!(error(&[(b"/registry/a", b"x", true)], &["pw"]), Some(Error::NoRecord));
    let held = vec![told(&key)];
    assert_eq!(error(&[(&key, &good, true)], &[]), Some(Error::NoToken { held: held.clone() }));
    assert_eq!(error(&[(&key, &good, false)], &["pw"]), Some(Error::Deleted { held: held.clone() }));
    let given = vec![told(&old_key)];
    assert_eq!(
        error(&[(&key, &good, true)], &["old"]),
        Some(Error::WrongToken { given, held: held.clone(), marked: false })
    );
    let mut both = vec![told(&key), told(&old_key)];
    both.sort();
    let several = error(&[(&key, &good, true), (&old_key, &old, true)], &["pw", "old"]);
    assert_eq!(several, Some(Error::SeveralRecords { held: both }));
    assert_eq!(error(&[(&key, b"", true)], &["pw"]), Some(Error::Locked { key: told(&key) }));
    let damaged = Some(Error::Damaged { key: told(&key), revision: "2.0".to_owned() });
    assert_eq!(error(&[(&key, b"x", true)], &["pw"]), damaged);
    let none = bootstrap::seal(b"none", "pw").unwrap();
    assert_eq!(error(&[(&key, &none, true)], &["pw"]), damaged);
    // Old revisions may be locked, damaged, of another token or deleted; the current one is last.
    let entries: &[(&[u8], &[u8], bool)] = &[
        (&key, b"", false),
        (&key, &good, false),
        (&key, b"x", false),
        (&old_key, &old, false),
        (&old_key, b"deleted", false),
        (b"/registry/minions/n2", &n2, true),
        (b"/registry/minions/n1", &n1, false),
        (b"/registry/minions/n1", &n1, true),
        (b"/registry/other", &n1, true),
        (&key, &good, true),
        (&key, &good, false),
    ];
    gathered(entries, |gathering| {
        assert!(gathering.holds_record());
        assert_eq!(gathering.records(true), [told(&key)]);
        let mut all = vec![told(&key), told(&old_key)];
        all.sort();
        assert_eq!(gathering.records(false), all);
        let found = gathering.open(&tokens(&["pw"])).ok().unwrap();
        assert_eq!(found.key, told(&key));
        assert_eq!(found.revisions.iter().map(|revision| revision.entry).collect::<Vec<_>>(), [1, 10, 9]);
        assert!(found.revisions.iter().all(|revision| *revision.plain == plain));
        assert_eq!(found.damaged, [(told(&key), "4.0".to_owned())]);
        assert_eq!(found.unopened, [told(&old_key)]);
        assert_eq!(found.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["n1", "n2"]);
        assert_eq!((found.program, found.program.name()), (Program::K3s, "k3s"));
    });
    gathered(entries, |gathering| {
        let found = gathering.open(&tokens(&["pw", "old"])).ok().unwrap();
        assert_eq!(found.revisions.iter().map(|revision| revision.entry).collect::<Vec<_>>(), [1, 3, 10, 9]);
        assert_eq!((found.unopened.len(), found.revisions[1].passphrase.as_str()), (0, "old"));
    });
    gathered(&[(b"/registry/a", b"x", true)], |gathering| assert!(!gathering.holds_record()));
    // Which program it is, a server says, or a key of RKE2's own.
    for more in [(&b"rke2/x"[..], &b"x"[..]), (b"/registry/minions/n", &server("n", "rke2", "true"))] {
        gathered(&[(more.0, more.1, true), (&key, &good, true)], |gathering| {
            let found = gathering.open(&tokens(&["pw"])).ok().unwrap();
            assert_eq!((found.program, found.program.name()), (Program::Rke2, "rke2"));
        });
    }
    let agent = server("n", "rke2", "false");
    gathered(&[(&key, &good, true), (b"/registry/minions/n", &agent, true)], |gathering| {
        let found = gathering.open(&tokens(&["pw"])).ok().unwrap();
        assert_eq!((found.program, found.nodes.len()), (Program::K3s, 0));
    });
}
