//! Promise: by the data keys of a plugin values are sealed and opened as they
//! must be, whatever the plugin answers; no plugin is started for that.

mod support;

use etcd_rekey::kube::cipher::NotOpened;
use etcd_rekey::kube::kms::data_key::DataKey;
use etcd_rekey::kube::kms::envelope::{Envelope, Kind, MOST_ID, Wrapped};
use etcd_rekey::kube::kms::sealer::Purpose;
use etcd_rekey::kube::kms::service::{Failure, KeyService, Sealed, Status};
use etcd_rekey::kube::kms::{Error, Plugin, PluginSealer, Problem, Remote, Version};
use etcd_rekey::kube::{KeyPath, Keyring, Provider};
use std::sync::{Arc, Mutex};
use support::builder::secret;
use zeroize::Zeroizing;

const ETCD_KEY: &[u8] = b"/registry/secrets/default/a";

/// What a plugin answers; of each list the last goes on for ever.
struct Answers {
    version: &'static str,
    healthz: String,
    status_ids: Vec<String>,
    seal_ids: Vec<String>,
    /// How long sealed data keys are.
    lengths: Vec<usize>,
    /// It opens to other data keys than those it sealed.
    wrong: bool,
    refuses: bool,
    /// What it was asked, and whether patiently.
    asked: Vec<(&'static str, bool)>,
}

/// The plugin: it seals a data key by turning its bytes over.
struct Lab(Mutex<Answers>);

/// How it is asked.
struct Service(Arc<Lab>);

fn next<T: Clone>(list: &mut Vec<T>) -> T {
    if list.len() > 1 { list.remove(0) } else { list[0].clone() }
}

impl KeyService for Service {
    fn status(&self) -> Result<Status, Failure> {
        let mut lab = self.0.0.lock().unwrap();
        lab.asked.push(("status", true));
        let key_id = next(&mut lab.status_ids);
        Ok(Status { version: lab.version.to_owned(), healthz: lab.healthz.clone(), key_id })
    }

    fn encrypt(&self, plain: &[u8]) -> Result<Sealed, Failure> {
        let mut lab = self.0.0.lock().unwrap();
        lab.asked.push(("encrypt", true));
        let mut source: Vec<u8> = plain.iter().map(|byte| !byte).collect();
        source.resize(next(&mut lab.lengths), 7);
        let key_id = next(&mut lab.seal_ids);
        let annotations =
            if lab.version == "v2" { vec![("a.example".to_owned(), b"1".to_vec())] } else { vec![] };
        Ok(Sealed { source, key_id, annotations })
    }

    fn decrypt(&self, wrapped: &Wrapped<'_>, patient: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut lab = self.0.0.lock().unwrap();
        lab.asked.push(("decrypt", patient));
        if lab.refuses {
            return Err(Failure::Refused("no".to_owned()));
        }
        let mut plain: Vec<u8> = wrapped.source.iter().take(32).map(|byte| !byte).collect();
        plain[0] ^= u8::from(lab.wrong);
        Ok(Zeroizing::new(plain))
    }

    fn calls(&self) -> u64 {
        u64::try_from(self.0.0.lock().unwrap().asked.len()).unwrap()
    }
}

impl Lab {
    fn of(version: Version) -> (Arc<Self>, Arc<Remote>) {
        let (name, id) = if version == Version::V1 { ("v1beta1", "") } else { ("v2", "id-1") };
        let lab = Arc::new(Self(Mutex::new(Answers {
            version: name,
            healthz: "ok".to_owned(),
            status_ids: vec![id.to_owned()],
            seal_ids: vec![id.to_owned()],
            lengths: vec![40],
            wrong: false,
            refuses: false,
            asked: Vec::new(),
        })));
        let plugin = Plugin::new(version, "lab", "unix:///lab");
        let remote = Remote::with(plugin, Box::new(Service(Arc::clone(&lab))), 1000);
        (lab, Arc::new(remote))
    }

    fn set(&self, change: impl FnOnce(&mut Answers)) {
        change(&mut self.0.lock().unwrap());
    }

    fn asked(&self, what: &str) -> usize {
        self.0.lock().unwrap().asked.iter().filter(|(call, _)| *call == what).count()
    }
}

/// A value by a sealer; its nonce begins with these bytes.
fn sealed(sealer: &PluginSealer, choice: u8, plain: &[u8]) -> Vec<u8> {
    let mut nonce = vec![9; sealer.nonce_len()];
    nonce[..4].copy_from_slice(&[choice, 0, 0, 0]);
    let mut out = b"before".to_vec();
    let start = sealer.place(&mut out, &nonce, plain).unwrap();
    sealer.seal(&mut out[start..], ETCD_KEY).unwrap();
    assert_eq!(&out[6..start], sealer.prefix());
    assert_eq!(out.len() - 6, sealer.sealed_len(plain.len()));
    let payload = out.split_off(start);
    let told = sealer.opened_len(&payload);
    // Whole blocks of v1 may be CBC.
    assert!(told == Some(plain.len()) || (told.is_none() && sealer.remote().plugin().version == Version::V1));
    payload
}

fn opened(sealer: &PluginSealer, payload: &[u8], etcd_key: &[u8]) -> Result<Vec<u8>, NotOpened> {
    let mut out = Vec::new();
    sealer.open(payload, etcd_key, None, &mut out).map(|()| out)
}

/// A value of v2 as another key, or an older kind of key, has sealed it.
fn of_v2(kind: Kind, key_id: &str) -> Vec<u8> {
    let source = vec![!3; 32];
    let wrapped = Wrapped { kind, source: &source, key_id, annotations: Vec::new() };
    let key = DataKey::new(kind, Zeroizing::new(vec![3; 32])).unwrap();
    let mut body = Vec::new();
    key.place(&mut body, &vec![5; key.nonce_len()], b"plain").unwrap();
    key.seal(&mut body, ETCD_KEY).unwrap();
    let payload = [&[1 << 3 | 2, u8::try_from(body.len()).unwrap()][..], &body, &wrapped.tail()].concat();
    assert_eq!(Envelope::v2(&payload).unwrap().body, body);
    payload
}

fn refused(result: Result<(), Error>) -> Problem {
    result.unwrap_err().problem
}

#[test]
fn v2_seals_with_one_seed_and_knows_its_own_values() {
    let (lab, remote) = Lab::of(Version::V2);
    let [writer, reader] = PluginSealer::writing(&remote);
    assert!(writer.writes() && !reader.writes());
    assert_eq!((writer.prefix(), writer.calls_to_confirm()), (&b"k8s:enc:kms:v2:lab:"[..], 1));
    assert_eq!(reader.calls_to_confirm(), 0);
    // Before it is prepared it neither claims nor opens nor seals.
    let other = of_v2(Kind::Seed, "id-1");
    assert!(!writer.claims(&other) && reader.claims(&other));
    assert!(matches!(opened(&writer, &other, ETCD_KEY), Err(NotOpened::Envelope(_))));
    assert_eq!((writer.nonce_len(), writer.place(&mut Vec::new(), &[0; 44], b"")), (0, None));
    reader.prepare(Purpose::Seal(10)).unwrap();
    assert_eq!(remote.calls(), 0);
    writer.prepare(Purpose::Seal(10)).unwrap();
    assert_eq!((lab.asked("status"), lab.asked("encrypt"), lab.asked("decrypt")), (1, 1, 1));
    assert_eq!(writer.nonce_len(), 44);
    for length in [0, 1, 51, 52, 60, 200, 20_000] {
        let plain = vec![7; length];
        let payload = sealed(&writer, 1, &plain);
        let envelope = Envelope::v2(&payload).unwrap();
        assert_eq!((envelope.wrapped.kind, envelope.wrapped.key_id), (Kind::Seed, "id-1"));
        assert!(writer.claims(&payload) && !reader.claims(&payload));
        for sealer in [&writer, &reader, &PluginSealer::reading(&remote)] {
            assert_eq!(opened(sealer, &payload, ETCD_KEY).as_ref(), Ok(&plain));
            assert!(opened(sealer, &payload, b"/registry/other").is_err());
        }
        assert!(PluginSealer::reading(&remote).claims(&payload));
    }
    assert_eq!(lab.asked("decrypt"), 1, "its seed is known");
    // What another of its keys or an older scheme sealed is the reader's.
    assert!(writer.claims(&other), "any seed of its key is right");
    for (kind, id) in [(Kind::Seed, "id-0"), (Kind::Key, "id-1")] {
        let other = of_v2(kind, id);
        assert!(!writer.claims(&other) && reader.claims(&other));
        assert!(matches!(opened(&writer, &other, ETCD_KEY), Err(NotOpened::Envelope(_))));
        assert_eq!(opened(&reader, &other, ETCD_KEY).as_deref(), Ok(&b"plain"[..]));
    }
    writer.confirm().unwrap();
    reader.confirm().unwrap();
    assert_eq!(lab.asked("status"), 2);
    lab.set(|lab| lab.status_ids = vec!["id-2".to_owned()]);
    let changed = Problem::KeyChanged { before: "\"id-1\"".to_owned(), after: "\"id-2\"".to_owned() };
    assert_eq!(refused(writer.confirm()), changed);
}

#[test]
fn a_plugin_may_change_its_key_between_two_calls_and_not_for_ever() {
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let (lab, remote) = Lab::of(Version::V2);
    lab.set(|lab| (lab.status_ids, lab.seal_ids) = (ids(&["id-1", "id-2"]), ids(&["id-2"])));
    let [writer, _] = PluginSealer::writing(&remote);
    writer.prepare(Purpose::Seal(1)).unwrap();
    assert!(writer.claims(&of_v2(Kind::Seed, "id-2")) && !writer.claims(&of_v2(Kind::Seed, "id-1")));
    assert_eq!((lab.asked("status"), lab.asked("encrypt")), (2, 1));
    // The next attempt fits.
    let (lab, remote) = Lab::of(Version::V2);
    lab.set(|lab| (lab.status_ids, lab.seal_ids) = (ids(&["id-1"]), ids(&["id-0", "id-1"])));
    PluginSealer::writing(&remote)[0].prepare(Purpose::Seal(1)).unwrap();
    assert_eq!((lab.asked("status"), lab.asked("encrypt")), (2, 2));
    // Three attempts are enough.
    let (lab, remote) = Lab::of(Version::V2);
    lab.set(|lab| lab.seal_ids = ids(&["id-9"]));
    let changed = Problem::KeyChanged { before: "\"id-1\"".to_owned(), after: "\"id-9\"".to_owned() };
    assert_eq!(refused(PluginSealer::writing(&remote)[0].prepare(Purpose::Seal(1))), changed);
    assert_eq!((lab.asked("status"), lab.asked("encrypt"), lab.asked("decrypt")), (4, 3, 0));
}

#[test]
fn v1_seals_with_as_many_data_keys_as_the_values_need() {
    for (values, wanted) in [(0, 1), (65_535, 1), (65_536, 2), (200_000, 4)] {
        let (lab, remote) = Lab::of(Version::V1);
        let [writer, reader] = PluginSealer::writing(&remote);
        writer.prepare(Purpose::Seal(values)).unwrap();
        assert_eq!((lab.asked("encrypt"), lab.asked("decrypt")), (wanted, wanted));
        assert_eq!(writer.nonce_len(), 4 + 12);
        let choices: Vec<Vec<u8>> = (0..8)
            .map(|choice| {
                let payload = sealed(&writer, choice, b"plain");
                // Nothing in a value of v1 tells whose it is: all are read by the one that reads.
                assert!(!writer.claims(&payload) && reader.claims(&payload));
                assert_eq!(opened(&writer, &payload, ETCD_KEY).as_deref(), Ok(&b"plain"[..]));
                assert!(opened(&writer, &payload, b"/registry/other").is_err());
                Envelope::v1(&payload).unwrap().wrapped.source.to_vec()
            })
            .collect();
        let different: std::collections::BTreeSet<_> = choices.iter().collect();
        assert_eq!(different.len(), wanted, "chance chooses among all");
        assert!((0..8).all(|i| choices[i] == choices[i % wanted]));
        for length in [0, 1, 3, 4, 5, 20_000] {
            sealed(&writer, 1, &vec![7; length]);
        }
        let other = [&[0, 32][..], &[!3; 32], &[0; 40]].concat();
        assert!(matches!(opened(&writer, &other, ETCD_KEY), Err(NotOpened::Envelope(_))));
        assert_eq!(opened(&reader, &other, ETCD_KEY), Err(NotOpened::Authentication));
        // It must still open what it sealed.
        let before = lab.asked("decrypt");
        writer.confirm().unwrap();
        assert_eq!(lab.asked("decrypt"), before + 1);
        lab.set(|lab| lab.wrong = true);
        assert!(matches!(refused(writer.confirm()), Problem::Nonsense { call: "Decrypt", .. }));
        reader.confirm().unwrap();
    }
}

#[test]
fn data_keys_of_v1_are_all_of_one_length() {
    let (lab, remote) = Lab::of(Version::V1);
    lab.set(|lab| lab.lengths = vec![40, 41, 42, 40, 43]);
    let [writer, _] = PluginSealer::writing(&remote);
    writer.prepare(Purpose::Seal(2 << 16)).unwrap();
    // Three are wanted, and twice as many asked for at most.
    assert_eq!((lab.asked("encrypt"), lab.asked("decrypt")), (6, 2));
    for choice in 0..4 {
        assert_eq!(Envelope::v1(&sealed(&writer, choice, b"x")).unwrap().wrapped.source.len(), 40);
    }
    for (length, taken) in [(0, false), (65_535, true), (65_536, false)] {
        let (lab, remote) = Lab::of(Version::V1);
        lab.set(|lab| lab.lengths = vec![length]);
        let prepared = PluginSealer::writing(&remote)[0].prepare(Purpose::Seal(1));
        assert_eq!(prepared.is_ok(), taken, "{length}");
        if let Err(error) = prepared {
            let what = format!("a data key of {length} bytes");
            assert_eq!(error.problem, Problem::Nonsense { call: "Encrypt", what });
        }
    }
}

#[test]
fn to_prove_nothing_is_sealed() {
    let (lab, remote) = Lab::of(Version::V2);
    let [writer, reader] = PluginSealer::writing(&remote);
    writer.prepare(Purpose::Prove).unwrap();
    assert_eq!(remote.calls(), 1);
    assert_eq!((writer.nonce_len(), writer.place(&mut Vec::new(), &[0; 44], b"")), (0, None));
    assert_eq!(writer.sealed_len(7), writer.prefix().len() + 7);
    assert_eq!(writer.seal(&mut [0; 90], ETCD_KEY), Err(NotOpened::Authentication));
    let (current, old) = (of_v2(Kind::Seed, "id-1"), of_v2(Kind::Seed, "id-0"));
    assert!(writer.claims(&current) && !writer.claims(&old) && reader.claims(&old));
    assert_eq!(opened(&writer, &current, ETCD_KEY).as_deref(), Ok(&b"plain"[..]));
    assert!(matches!(opened(&writer, &old, ETCD_KEY), Err(NotOpened::Envelope(_))));
    writer.confirm().unwrap();
    assert_eq!(lab.asked("status"), 2);
    lab.set(|lab| lab.status_ids = vec!["id-2".to_owned()]);
    assert!(matches!(refused(writer.confirm()), Problem::KeyChanged { .. }));
    // Of v1 any value may be its own, and there is nothing to compare.
    let (lab, remote) = Lab::of(Version::V1);
    let [writer, reader] = PluginSealer::writing(&remote);
    writer.prepare(Purpose::Prove).unwrap();
    let (_, other) = Lab::of(Version::V1);
    let [sealing, _] = PluginSealer::writing(&other);
    sealing.prepare(Purpose::Seal(1)).unwrap();
    let payload = sealed(&sealing, 0, b"plain");
    assert!(!writer.claims(&payload) && reader.claims(&payload));
    assert_eq!(opened(&writer, &payload, ETCD_KEY).as_deref(), Ok(&b"plain"[..]));
    let before = remote.calls();
    writer.confirm().unwrap();
    assert_eq!((remote.calls(), lab.asked("status")), (before, 1));
}

#[test]
fn what_no_cipher_vouches_for_must_be_the_object_its_etcd_key_names() {
    // As kube-apiserver before 1.25 sealed by a plugin: AES-CBC under the data key.
    let value = |plain: &[u8]| {
        let cipher = etcd_rekey::kube::aescbc::AesCbc::new(&[3; 32]).unwrap();
        let mut body = Vec::new();
        etcd_rekey::kube::aescbc::AesCbc::place(&mut body, &[1; 16], plain);
        cipher.seal(&mut [&mut body]);
        [&[0, 32][..], &[!3; 32], &body].concat()
    };
    let (_, remote) = Lab::of(Version::V1);
    let reader = PluginSealer::reading(&remote);
    let path = |key: &'static [u8]| KeyPath::parse("/registry/", key).unwrap();
    let mut out = Vec::new();
    let mut open = |plain: &[u8], path: Option<&KeyPath<'_>>| {
        reader.open(&value(plain), ETCD_KEY, path, &mut out).map(|()| out.clone())
    };
    let object = secret("a");
    assert_eq!(open(&object, Some(&path(ETCD_KEY))), Ok(object.clone()));
    let other = path(b"/registry/secrets/default/b");
    assert_eq!(open(&object, Some(&other)), Err(NotOpened::OtherObject));
    assert_eq!(open(b"no object", Some(&path(ETCD_KEY))), Err(NotOpened::OtherObject));
    assert_eq!(open(&object, None), Err(NotOpened::OtherObject));
    assert_eq!(reader.opened_len(&value(&object)), None);
}

#[test]
fn the_status_is_judged_as_upstream_does() {
    let status = |version: Version, change: &dyn Fn(&mut Answers)| {
        let (lab, remote) = Lab::of(version);
        lab.set(|lab| change(lab));
        remote.status().map_err(|error| error.problem)
    };
    let nonsense = |call, what: &str| Err(Problem::Nonsense { call, what: what.to_owned() });
    for version in ["v2", "v2beta1"] {
        assert!(status(Version::V2, &|lab| lab.version = version).is_ok());
        assert!(status(Version::V1, &|lab| lab.version = version).is_err());
    }
    assert!(status(Version::V1, &|_| ()).is_ok());
    assert_eq!(status(Version::V2, &|lab| lab.version = "v1\u{1b}"), nonsense("Status", "version \"v1\\x1b\""));
    assert_eq!(status(Version::V1, &|lab| lab.version = "v2"), nonsense("Version", "version \"v2\""));
    let ill = status(Version::V2, &|lab| lab.healthz = "x".repeat(201));
    assert_eq!(ill, Err(Problem::Unhealthy(format!("\"{}\"", "x".repeat(200)))));
    for (length, good) in [(0, false), (1, true), (MOST_ID, true), (MOST_ID + 1, false)] {
        let answered = status(Version::V2, &|lab| lab.status_ids = vec!["x".repeat(length)]);
        assert_eq!(answered.is_ok(), good, "{length}");
        if !good {
            assert_eq!(answered, nonsense("Status", &format!("a key id of {length} bytes")));
        }
    }
}

#[test]
fn a_seed_that_comes_back_otherwise_is_not_used() {
    for version in [Version::V1, Version::V2] {
        let (lab, remote) = Lab::of(version);
        lab.set(|lab| lab.wrong = true);
        let [writer, _] = PluginSealer::writing(&remote);
        assert!(matches!(refused(writer.prepare(Purpose::Seal(1))), Problem::Nonsense { call: "Decrypt", .. }));
        assert_eq!(writer.place(&mut Vec::new(), &[0; 60], b""), None);
    }
    // The rules of v2 are kept before it is asked to open.
    let (lab, remote) = Lab::of(Version::V2);
    lab.set(|lab| lab.lengths = vec![MOST_ID + 1]);
    let refused = refused(PluginSealer::writing(&remote)[0].prepare(Purpose::Seal(1)));
    assert!(matches!(refused, Problem::Nonsense { call: "Encrypt", .. }));
    assert_eq!(lab.asked("decrypt"), 0);
}

#[test]
fn a_hundred_refusals_in_a_row_are_waited_for_and_no_more() {
    let (lab, remote) = Lab::of(Version::V1);
    lab.set(|lab| lab.refuses = true);
    let sources: Vec<[u8; 32]> = (0..120).map(|byte| [byte; 32]).collect();
    let wrapped = |source| Wrapped { kind: Kind::V1, source, key_id: "", annotations: Vec::new() };
    for source in &sources {
        assert!(remote.data_key(&wrapped(source)).is_err());
    }
    let patient = lab.0.lock().unwrap().asked.iter().take_while(|(_, patient)| *patient).count();
    assert_eq!((patient, remote.calls()), (100, 120));
    assert_eq!(remote.met(), (120, 0));
    assert!(remote.has_room());
    remote.passed_over(1000);
    assert_eq!(remote.met(), (1120, 120));
}

#[test]
fn plugins_of_one_name_are_tried_in_turn_and_each_stands_once() {
    let (lab, remote) = Lab::of(Version::V1);
    let (second, other) = Lab::of(Version::V1);
    let mut ring = Keyring::default();
    ring.add_remote(&remote, false);
    ring.add_remote(&other, false);
    let [sealing, _] = PluginSealer::writing(&Lab::of(Version::V1).1);
    sealing.prepare(Purpose::Seal(1)).unwrap();
    let value = [sealing.prefix(), &sealed(&sealing, 0, b"no object")].concat();
    let path = KeyPath::parse("/registry/", ETCD_KEY).unwrap();
    let mut out = Vec::new();
    assert_eq!(ring.open(&value, ETCD_KEY, &path, &mut out), Ok(0));
    assert_eq!((lab.asked("decrypt"), second.asked("decrypt")), (1, 0));
    lab.set(|lab| lab.refuses = true);
    let mut ring = Keyring::default();
    let (refusing, remote) = Lab::of(Version::V1);
    refusing.set(|lab| lab.refuses = true);
    ring.add_remote(&remote, false);
    ring.add_remote(&other, false);
    assert_eq!(ring.open(&value, ETCD_KEY, &path, &mut out), Ok(1));
    // By what configurations say of them.
    let mut ring = Keyring::default();
    let named = |name| Plugin::new(Version::V2, name, "unix:///x");
    ring.add(&std::sync::Arc::new(support::builder::key(Provider::Aescbc, "k", 1)));
    for (name, writes) in [("reads", false), ("writes", true), ("reads", false), ("writes", true)] {
        ring.add_plugin(&named(name), writes);
    }
    let told: Vec<_> = ring.keys().iter().map(|key| (key.provider(), key.name())).collect();
    assert_eq!(told, [("aescbc", "k"), ("kms-v2", "reads"), ("kms-v2", "writes"), ("kms-v2", "writes")]);
    assert_eq!(ring.plugins().map(|plugin| plugin.writes()).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(ring.number_of_writer(&named("writes")), Some(2));
    assert_eq!((ring.number_of_writer(&named("reads")), ring.number_of_writer(&named("none"))), (None, None));
}

#[test]
fn fetching_ends_when_it_is_told_to() {
    let sources: Vec<[u8; 32]> = (0..200).map(|byte| [byte; 32]).collect();
    let wanted: Vec<_> = sources
        .iter()
        .map(|source| Wrapped { kind: Kind::V1, source, key_id: "", annotations: Vec::new() })
        .map(|wrapped| (wrapped.fingerprint(), wrapped))
        .collect();
    let (_, remote) = Lab::of(Version::V1);
    remote.fetch(&wanted, &|| true);
    assert_eq!((remote.calls(), remote.known(&wanted[0].0).is_none()), (0, true));
    remote.fetch(&wanted, &|| false);
    assert_eq!((remote.calls(), remote.met()), (200, (200, 0)));
    assert!(wanted.iter().all(|(fingerprint, _)| remote.known(fingerprint).is_some_and(|key| key.is_ok())));
}
