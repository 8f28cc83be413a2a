//! Tokens, and the record they open: whatever the bytes, no panic; and a
//! record changed is the same but for what was changed.
#![no_main]

use etcd_rekey::k3s::Token;
use etcd_rekey::k3s::record::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(token) = Token::parse(text)
    {
        assert!(token.record_key().starts_with(b"/bootstrap/"));
    }
    if let Some(files) = Record::parse(bytes) {
        let _ = (files.config(), files.state(), files.newest());
        assert!(files.same_but_encryption(&files));
    }
});
