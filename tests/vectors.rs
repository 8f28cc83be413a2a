//! Promise: values sealed by others open, to the byte.

mod support;

use etcd_rekey::kube::{KeyPath, Keyring, Provider};
use serde_json::Value;
use std::sync::Arc;
use support::opener;

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_known_answers_of_each_provider_open_and_are_sealed_alike() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/kube-values.json")).unwrap();
    let etcd_key = vectors["etcd_key"].as_str().unwrap().as_bytes();
    let path = KeyPath::parse("/registry/", etcd_key).unwrap();
    let secret: [u8; 32] = bytes(&vectors["key32_hex"]).try_into().unwrap();
    let plain = bytes(&vectors["plaintext_hex"]);
    for provider in Provider::ALL {
        let sealing =
            etcd_rekey::kube::SealingKey::new(provider, "key1", zeroize::Zeroizing::new(secret.to_vec()));
        let sealing = Arc::new(sealing.unwrap());
        let value = bytes(&vectors[provider.name()]);
        let mut ring = Keyring::default();
        ring.add(&sealing);
        let mut out = Vec::new();
        assert_eq!(ring.open(&value, etcd_key, &path, &mut out), Ok(0), "{provider}");
        assert_eq!(out, plain, "{provider}");

        // Sealed again with the vector's own nonce, it is the vector.
        let at = sealing.prefix().len();
        let nonce = value[at..at + provider.nonce_len()].to_vec();
        let mut sealed = Vec::new();
        let start = sealing.place(&mut sealed, &nonce, &plain).unwrap();
        sealing.seal(vec![(&mut sealed[start..], etcd_key)]).unwrap();
        assert_eq!(sealed, value, "{provider}");
        assert_eq!(opener::open(provider.name(), "key1", &secret, etcd_key, &sealed), Some(plain.clone()));
    }
}

#[test]
fn an_aligned_cbc_plaintext_has_a_whole_block_of_padding() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/kube-values.json")).unwrap();
    let value = bytes(&vectors["aescbc_aligned"]);
    let payload = value.strip_prefix(b"k8s:enc:aescbc:v1:key1:").unwrap();
    let cipher = etcd_rekey::kube::aescbc::AesCbc::new(&bytes(&vectors["key32_hex"])).unwrap();
    let mut out = Vec::new();
    cipher.open(payload, &mut out).unwrap();
    assert_eq!(out, bytes(&vectors["aescbc_aligned_len32_plain_hex"]));
}

#[test]
fn the_known_record_of_k3s_opens_and_is_written_alike() {
    use etcd_rekey::k3s::record::Record;
    use etcd_rekey::k3s::{Stage, State, Token, bootstrap, stage};
    let vectors: Value = serde_json::from_str(include_str!("vectors/k3s-bootstrap.json")).unwrap();
    let text = |name: &str| vectors[name].as_str().unwrap();
    let token = |text: &str| Token::parse(text).unwrap_or_else(|e| panic!("{e}"));
    for form in [text("token"), text("passphrase")] {
        let token = token(form);
        assert_eq!(token.passphrases().next(), Some(text("passphrase")));
        assert_eq!(token.record_key(), text("etcd_key").as_bytes());
    }
    assert_eq!(etcd_rekey::k3s::token::record_key(""), text("empty_key").as_bytes());
    assert!(text("etcd_key").ends_with(text("token_hash_annotation")));

    let plain = bootstrap::open(text("etcd_value").as_bytes(), text("passphrase")).unwrap();
    assert_eq!(plain.as_slice(), text("plaintext").as_bytes());
    assert!(bootstrap::open(text("etcd_value").as_bytes(), text("token")).is_none());

    let record = Record::parse(&plain).unwrap();
    let config = record.config().unwrap();
    assert_eq!(config.as_slice(), text("encryption_config").as_bytes());
    assert_eq!(stage::config_hash(&config), text("encryption_config_sha256"));
    assert_eq!(record.state().unwrap().to_string(), text("encryption_hash_file"));
    assert_eq!(State::of(Stage::Start, &config), record.state().unwrap());
    // Parsed and written again, configuration and record are K3s's own bytes.
    let parsed = etcd_rekey::kube::EncryptionConfiguration::parse(text("encryption_config")).unwrap();
    assert_eq!(parsed.to_json().as_bytes(), config.as_slice());
    let again = record.with(&config, &record.state().unwrap(), record.newest().unwrap());
    assert_eq!(again.as_slice(), text("plaintext").as_bytes());
}

#[test]
fn the_known_answers_of_kms_open_and_are_sealed_alike() {
    use etcd_rekey::kube::kms::data_key::DataKey;
    use etcd_rekey::kube::kms::envelope::{Envelope, Kind, Wrapped};
    use etcd_rekey::kube::kms::service::{Failure, KeyService, Sealed, Status};
    use etcd_rekey::kube::kms::{Plugin, Remote, Version};
    use zeroize::Zeroizing;

    /// Knows one data key.
    struct Known(Vec<u8>);
    impl KeyService for Known {
        fn status(&self) -> Result<Status, Failure> {
            Err(Failure::Refused("status".to_owned()))
        }
        fn encrypt(&self, _: &[u8]) -> Result<Sealed, Failure> {
            Err(Failure::Refused("encrypt".to_owned()))
        }
        fn decrypt(&self, wrapped: &Wrapped<'_>, _: bool) -> Result<Zeroizing<Vec<u8>>, Failure> {
            assert!(!wrapped.source.is_empty());
            Ok(Zeroizing::new(self.0.clone()))
        }
        fn calls(&self) -> u64 {
            0
        }
    }

    let vectors: Value = serde_json::from_str(include_str!("vectors/kube-values.json")).unwrap();
    let etcd_key = vectors["etcd_key"].as_str().unwrap().as_bytes();
    let path = KeyPath::parse("/registry/", etcd_key).unwrap();
    let (secret, plain) = (bytes(&vectors["key32_hex"]), bytes(&vectors["plaintext_hex"]));
    for (name, version, kind) in [
        ("kms_v1_gcm", Version::V1, Kind::V1),
        ("kms_v1_cbc_legacy", Version::V1, Kind::V1),
        ("kms_v2_seed", Version::V2, Kind::Seed),
    ] {
        let value = bytes(&vectors[name]);
        let mut ring = Keyring::default();
        let remote =
            Remote::with(Plugin::new(version, "myplugin", "unix:///x"), Box::new(Known(secret.clone())), 10);
        ring.add_remote(&Arc::new(remote), false);
        let mut out = Vec::new();
        assert_eq!(ring.open(&value, etcd_key, &path, &mut out), Ok(0), "{name}");
        assert_eq!(out, plain, "{name}");
        if name.ends_with("legacy") {
            continue;
        }
        // Sealed again with the vector's own random bytes, it is the vector.
        let payload =
            value.strip_prefix(format!("k8s:enc:kms:{}:myplugin:", version.name()).as_bytes()).unwrap();
        let envelope = if kind == Kind::V1 { Envelope::v1(payload) } else { Envelope::v2(payload) }.unwrap();
        let key = DataKey::new(kind, Zeroizing::new(secret.clone())).unwrap();
        let mut body = Vec::new();
        key.place(&mut body, &envelope.body[..key.nonce_len()], &plain).unwrap();
        key.seal(&mut body, etcd_key).unwrap();
        assert_eq!(body, envelope.body, "{name}");
        assert_eq!(DataKey::opened_len(kind, &body), Some(plain.len()));
        if kind == Kind::Seed {
            assert!(payload.ends_with(&envelope.wrapped.tail()), "{name}");
        }
    }
}
