//! The record of a K3s cluster: whatever the bytes, no panic; a record changed
//! is the same but for what was changed, and K3s's own text is written again.
//!
//! The last byte chooses between sealed records, few of which are tried, for
//! that takes 4,096 rounds, and opened ones.

use etcd_rekey::k3s::record::Record;
use etcd_rekey::k3s::{Stage, State, bootstrap};

/// Holds the promise to a record, sealed or opened, and a choice.
pub fn check(input: &[u8]) {
    let (how, bytes) = super::choice(input);
    if how == 1 {
        let opened = bootstrap::open(bytes, "password");
        if let Some(plain) = opened.as_ref().filter(|plain| !plain.is_empty()) {
            let mut wrong = bytes.to_vec();
            wrong[0] ^= 1;
            assert!(bootstrap::open(&wrong, "password").is_none(), "another salt, another key");
            opened_record(plain);
        }
    } else {
        opened_record(bytes);
    }
}

fn opened_record(plain: &[u8]) {
    let Some(record) = Record::parse(plain) else { return };
    assert!(record.same_but_encryption(&record));
    let config = record.config().unwrap_or_default();
    let state = State::of(Stage::Rotate, &config);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let changed = record.with(&config, &state, now);
    let again = Record::parse(&changed).expect("what is written is read");
    assert_eq!((again.config().as_ref(), again.state()), (Some(&config), Some(state.clone())));
    assert!(again.same_but_encryption(&record));
    assert_eq!(again.with(&config, &state, now), changed, "a change made twice is made once");
}
