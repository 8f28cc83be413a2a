//! Sealed values: whatever the bytes, a value opens or is an error; and what
//! is sealed opens again.
#![no_main]

use etcd_rekey::kube::object::Object;
use etcd_rekey::kube::sealed::{Keyring, Seal};
use etcd_rekey::kube::{KeyPath, Provider, SealingKey};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use zeroize::Zeroizing;

static KEYS: LazyLock<Vec<Arc<SealingKey>>> = LazyLock::new(|| {
    let key = |provider| SealingKey::new(provider, "k", Zeroizing::new(vec![7; 32])).expect("a key");
    Provider::ALL.into_iter().map(|provider| Arc::new(key(provider))).collect()
});

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (which, etcd_key, bytes) = input;
    let key = &KEYS[usize::from(which) % KEYS.len()];
    let mut out = Vec::new();
    let _ = Object::parse(bytes);
    let _ = Seal::read(bytes);
    let _ = key.open(bytes, etcd_key, &mut out);
    let value = [key.prefix(), bytes].concat();
    if let Some(path) = KeyPath::parse("/registry/", etcd_key) {
        let mut ring = Keyring::default();
        KEYS.iter().for_each(|key| ring.add(key));
        let foreseen = ring.foresee(&value).and_then(|(number, payload)| ring.keys()[number].opened_len(payload));
        if ring.open(&value, etcd_key, &path, &mut out).is_ok() {
            assert_eq!(foreseen, Some(out.len()), "what is foreseen comes true");
        }
    }
    let mut sealed = Vec::new();
    let start = key.place(&mut sealed, &vec![which; key.provider().nonce_len()], bytes).expect("a nonce");
    key.seal(vec![(&mut sealed[start..], etcd_key)]).expect("it is sealed");
    assert_eq!(sealed.len(), key.sealed_len(bytes.len()));
    key.open(&sealed[start..], etcd_key, &mut out).expect("it opens");
    assert_eq!(out, bytes);
});
