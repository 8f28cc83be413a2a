//! Sealed values: whatever the bytes, a value opens as other implementations
//! open it, or is an error; and what is sealed opens again, there as well.
//!
//! The last byte chooses the provider and the length of the key.

use super::opener;
use etcd_rekey::etcd::wire::put_varint;
use etcd_rekey::kube::kms::envelope::Envelope;
use etcd_rekey::kube::{KeyPath, Provider, SealingKey};
use etcd_rekey::kube::{Keyring, Seal};
use std::sync::{Arc, LazyLock};
use zeroize::Zeroizing;

const SECRET: [u8; 32] = [7; 32];

static KEYS: LazyLock<Vec<Arc<SealingKey>>> = LazyLock::new(|| {
    let lengths = Provider::ALL.into_iter().flat_map(|p| p.key_lengths().iter().map(move |n| (p, *n)));
    let key = |(provider, length)| SealingKey::new(provider, "k", Zeroizing::new(SECRET[..length].to_vec()));
    lengths.map(|kind| Arc::new(key(kind).expect("a key"))).collect()
});

/// Holds the promise to a payload (or plaintext), an etcd key, and a choice.
pub fn check(input: &[u8]) {
    let (which, input) = super::choice(input);
    let (bytes, etcd_key) = super::halves(input);
    let number = usize::from(which) % KEYS.len();
    let key = &KEYS[number];
    let mut out = Vec::new();
    let _ = Seal::read(bytes);
    enveloped(bytes);
    let opened = key.open(bytes, etcd_key, &mut out).is_ok();
    let value = [key.prefix(), bytes].concat();
    let secret = if key.provider() == Provider::Secretbox { SECRET.len() } else { secret_len(number) };
    let judge = |value: &[u8]| opener::open(key.provider().name(), "k", &SECRET[..secret], etcd_key, value);
    let judged = judge(&value);
    assert_eq!(opened.then_some(&out), judged.as_ref(), "others open it alike");
    if opened {
        assert_eq!(key.opened_len(bytes), Some(out.len()), "its length was known before");
        for to in KEYS.iter() {
            assert!(key.resealed_len(bytes, to).is_none_or(|length| length == to.sealed_len(out.len())));
        }
    }
    if let Some(path) = KeyPath::parse("/registry/", etcd_key) {
        let mut ring = Keyring::default();
        KEYS.iter().for_each(|key| ring.add(key));
        let foreseen =
            ring.foresee(&value).and_then(|(number, payload)| ring.keys()[number].opened_len(payload));
        if ring.open(&value, etcd_key, &path, &mut out).is_ok() {
            assert!(foreseen.is_none_or(|length| length == out.len()), "what is foreseen comes true");
        }
    }
    let mut sealed = Vec::new();
    let start = key.place(&mut sealed, &vec![which; key.provider().nonce_len()], bytes).expect("a nonce");
    key.seal(vec![(&mut sealed[start..], etcd_key)]).expect("it is sealed");
    assert_eq!(sealed.len(), key.sealed_len(bytes.len()));
    key.open(&sealed[start..], etcd_key, &mut out).expect("it opens");
    assert_eq!(out, bytes);
    assert_eq!(judge(&sealed).as_deref(), Some(bytes), "others open what is sealed");
    together(key, usize::from(which) / KEYS.len() % 20, bytes, etcd_key, judge);
}

/// An envelope of a KMS, taken apart and written again, is the same to whoever
/// reads it.
fn enveloped(bytes: &[u8]) {
    let _ = Envelope::v1(bytes);
    if let Ok(envelope) = Envelope::v2(bytes) {
        let mut again = vec![1 << 3 | 2];
        put_varint(&mut again, u64::try_from(envelope.body.len()).expect("a length"));
        again.extend_from_slice(envelope.body);
        again.extend(envelope.wrapped.tail());
        assert_eq!(Envelope::v2(&again), Ok(envelope));
    }
}

/// Values of many lengths are sealed side by side as each is alone.
fn together(
    key: &SealingKey,
    count: usize,
    bytes: &[u8],
    etcd_key: &[u8],
    judge: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let plain = |i: usize| &bytes[bytes.len() * i / (count + 1)..];
    let mut values: Vec<(Vec<u8>, usize)> = (0..count)
        .map(|i| {
            let mut value = Vec::new();
            let nonce = vec![u8::try_from(i).unwrap_or(0); key.provider().nonce_len()];
            let start = key.place(&mut value, &nonce, plain(i)).expect("a nonce");
            (value, start)
        })
        .collect();
    let placed = values.iter_mut().map(|(value, start)| (&mut value[*start..], etcd_key)).collect();
    key.seal(placed).expect("they are sealed");
    for (i, (value, _)) in values.iter().enumerate() {
        assert_eq!(judge(value).as_deref(), Some(plain(i)), "value {i} of {count}");
    }
}

/// Bytes of the secret of key number `number`.
fn secret_len(number: usize) -> usize {
    let mut lengths = Provider::ALL.into_iter().flat_map(|provider| provider.key_lengths().iter().copied());
    lengths.nth(number).unwrap_or(0)
}
