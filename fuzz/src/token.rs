//! Tokens: whatever the text, no panic; and the key of a record is one.

use etcd_rekey::k3s::Token;

/// Holds the promise to a text.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = Token::parse(text) else { return };
    let key = token.record_key();
    assert!(key.starts_with(b"/bootstrap/") && key.len() == 23, "12 characters of a hash name the record");
    // White space around it is no part of it; the password is at its end.
    let padded = Token::parse(&format!(" {text}\n")).expect("it is the same");
    assert_eq!(padded.record_key(), key);
    let password = token.passphrases().next().expect("the password");
    assert!(!password.is_empty() && text.trim().ends_with(password));
    assert_eq!(etcd_rekey::k3s::token::record_key(password), key);
}
