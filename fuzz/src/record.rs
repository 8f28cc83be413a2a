//! Records of bucket `key`: what parses is what another decoder of protobuf
//! reads, and is spliced back to the same bytes but for the value.

use etcd_rekey::etcd::{KeyValue, RevisionKey};
use prost::Message;

/// `mvccpb.KeyValue`, for the other decoder.
#[derive(Clone, PartialEq, Message)]
struct Judge {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(uint64, tag = "2")]
    create_revision: u64,
    #[prost(uint64, tag = "3")]
    mod_revision: u64,
    #[prost(uint64, tag = "4")]
    version: u64,
    #[prost(bytes = "vec", tag = "5")]
    value: Vec<u8>,
    #[prost(uint64, tag = "6")]
    lease: u64,
}

/// Holds the promise to a record and another value.
pub fn check(input: &[u8]) {
    let (record, value) = super::halves(input);
    if let Some(key) = RevisionKey::parse(record) {
        assert_eq!(key.encode(), record);
    }
    let Ok(kv) = KeyValue::parse(record) else { return };
    let judge = Judge::decode(record).expect("the judge reads it as well");
    assert_eq!((kv.key, kv.value), (judge.key.as_slice(), judge.value.as_slice()));
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version, kv.lease),
        (judge.create_revision, judge.mod_revision, judge.version, judge.lease)
    );
    let mut out = Vec::new();
    kv.put_before(&mut out, value.len());
    out.extend_from_slice(value);
    out.extend_from_slice(kv.after);
    assert_eq!(out.len(), kv.spliced_len(value.len()));
    let again = KeyValue::parse(&out).expect("a spliced record parses");
    assert_eq!((again.value, again.before, again.after), (value, kv.before, kv.after));
    let judged = Judge::decode(out.as_slice()).expect("the judge reads the spliced one");
    assert!(judged == Judge { value: value.to_vec(), ..judge }, "the value alone differs");
}
