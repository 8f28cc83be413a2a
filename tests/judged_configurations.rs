//! Promise: a configuration is accepted when kube-apiserver accepts it, refused
//! with the same meaning when it refuses it, and the same key writes.

mod support;

use etcd_rekey::kube::{EncryptionConfiguration, GroupResource, Precedence, Writer};
use std::path::{Path, PathBuf};
use support::fixtures::unpacked;
use support::judge::judge;
use support::program::text;

/// The table, good and bad.
fn table() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configurations");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 130);
    files
}

fn ours(file: &Path) -> Result<Precedence, String> {
    judged(&std::fs::read_to_string(file).unwrap())
}

fn judged(text: &str) -> Result<Precedence, String> {
    let parsed = EncryptionConfiguration::parse(text).map_err(|error| error.to_string())?;
    Precedence::of(&parsed).map_err(|error| error.to_string())
}

/// What upstream's messages say, each in words that ours have as well.
const MEANINGS: [&str; 22] = [
    "at least one",
    "mandatory field",
    "more than one provider",
    "provider does not contain any",
    "not of the expected length",
    "base64 encoded",
    "capital letters",
    "use '*.'",
    "do not have REST",
    "Use 'events'",
    "'extensions' group",
    "across groups",
    "multiple times",
    "overlapping",
    "masked by earlier rule",
    "must not contain ':'",
    "duplicate KMS",
    "unsupported scheme",
    "unsupported apiVersion",
    "positive value",
    "invalid endpoint",
    "cachesize is not supported",
];

#[test]
fn configurations_are_accepted_and_refused_as_kube_apiserver_does() {
    let files = table();
    let answers = judge("load", &files.iter().map(|file| text(file)).collect::<Vec<_>>(), b"").unwrap();
    assert_eq!(answers.len(), files.len());
    for (file, answer) in files.iter().zip(&answers) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(answer["file"], name);
        let ours = ours(file);
        let theirs = answer["error"].as_str().unwrap_or_default();
        let complaint = ours.as_ref().err().cloned().unwrap_or_default();
        assert_eq!(answer["accepted"], ours.is_ok(), "{name}: upstream {theirs:?}, ours {complaint:?}");
        assert_eq!(answer["accepted"], name.starts_with("good-"), "{name}: {theirs}");
        for meaning in MEANINGS.iter().filter(|meaning| theirs.contains(**meaning)) {
            assert!(complaint.contains(meaning), "{name}: upstream {theirs:?}, ours {complaint:?}");
        }
    }
}

/// What fuzzing kept: none is refused that kube-apiserver accepts. A few texts
/// are taken for YAML, or for an endpoint with a host, that Go's parsers refuse;
/// nothing else may be accepted that kube-apiserver refuses.
#[test]
fn what_fuzzing_kept_is_judged_as_kube_apiserver_does() {
    let corpora = unpacked(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora.tar.xz"));
    let entries = std::fs::read_dir(corpora.join("configuration")).unwrap();
    let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let (mut accepted, mut lax) = (0, 0);
    for files in files.chunks(500) {
        let answers = judge("load", &files.iter().map(|file| text(file)).collect::<Vec<_>>(), b"").unwrap();
        assert_eq!(answers.len(), files.len());
        for (file, answer) in files.iter().zip(&answers) {
            let ours = String::from_utf8(std::fs::read(file).unwrap())
                .map_err(|error| error.to_string())
                .and_then(|text| judged(&text));
            let theirs = answer["error"].as_str();
            accepted += usize::from(theirs.is_none());
            match (&ours, theirs) {
                (Ok(_), None) | (Err(_), Some(_)) => {}
                (Ok(_), Some(theirs)) => {
                    let parsers = [": yaml: ", "json parse error: ", "provider, error: parse "];
                    let syntax = parsers.iter().any(|what| theirs.contains(what));
                    assert!(syntax, "{}: {theirs}", file.display());
                    println!("taken here alone: {theirs}");
                    lax += 1;
                }
                (Err(ours), None) => panic!("{}: accepted there, and here: {ours}", file.display()),
            }
        }
    }
    println!("{} configurations, {accepted} accepted, {lax} here alone", files.len());
    assert!(accepted > 100 && lax * 100 < files.len(), "{accepted}, {lax} of {}", files.len());
}

#[test]
fn the_same_key_writes_each_resource() {
    let resources = [
        "secrets",
        "configmaps",
        "events",
        "pods",
        "deployments.apps",
        "daemonsets.apps",
        "widgets.example.com",
        "gadgets.other.example.org",
        "roles.rbac.authorization.k8s.io",
        "leases.coordination.k8s.io",
        "nodes",
        "customresourcedefinitions.apiextensions.k8s.io",
    ];
    let mut asked = 0;
    for file in table() {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        // To seal, a KMS plugin would have to be there.
        if !name.starts_with("good-") || name.contains("kms") {
            continue;
        }
        let ours = ours(&file).unwrap();
        let args: Vec<&str> = std::iter::once(text(&file)).chain(resources).collect();
        for answer in judge("writer", &args, b"").unwrap() {
            let resource = GroupResource::parse(answer["resource"].as_str().unwrap());
            let prefix = match ours.writer(&resource) {
                Writer::Key(key) => String::from_utf8(key.prefix().to_vec()).unwrap(),
                Writer::Identity | Writer::Kms(_) => String::new(),
            };
            assert_eq!(answer["prefix"], prefix, "{name} {resource}");
            asked += 1;
        }
    }
    assert!(asked > 300, "{asked}");
}
