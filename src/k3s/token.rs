//! The server token, from which the record's etcd key and its passphrase come.
//!
//! Source: K3s `pkg/clientaccess/token.go`, `pkg/util/token.go`.

use super::RECORD;
use crate::etcd::snapshot::hex;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why a text is no server token; each in K3s's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the messages tell")]
pub enum TokenError {
    #[error("token must not be empty")]
    Empty,
    #[error("invalid token CA hash length")]
    CaHashLength,
    #[error("invalid token format")]
    Format,
    #[error(
        "failed to normalize server token; must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>"
    )]
    Bootstrap,
    #[error("what was given as the server token is none: it looks like an etcd snapshot")]
    Snapshot,
    #[error("what was given as the server token is none: it is no text")]
    NotText,
}

/// A server token. What is sealed with it is sealed with its password alone.
#[derive(Clone)]
pub struct Token {
    password: Zeroizing<String>,
    whole: Zeroizing<String>,
}

const PREFIX: &str = "K10";
/// Characters of a SHA-256 in hexadecimal.
const CA_HASH: usize = 64;
/// How many characters of the passphrase's hash name a record.
const SHORT_HASH: usize = 12;

impl Token {
    /// Parses a token as a server does: `K10<CA hash>::<user>:<password>`, or
    /// the password alone. White space around it is no part of it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        let credentials = match text.strip_prefix(PREFIX) {
            None if is_bootstrap_token(text) => return Err(TokenError::Bootstrap),
            None => return Ok(Self::of(text, text)),
            Some(rest) => match rest.split_once("::") {
                None => rest,
                Some((hash, _)) if !matches!(hash.len(), 0 | CA_HASH) => return Err(TokenError::CaHashLength),
                Some((_, credentials)) => credentials,
            },
        };
        if is_bootstrap_token(credentials) {
            return Err(TokenError::Bootstrap);
        }
        match credentials.split_once(':') {
            Some((_, password)) if !password.is_empty() => Ok(Self::of(password, text)),
            _ => Err(TokenError::Format),
        }
    }

    fn of(password: &str, whole: &str) -> Self {
        Self { password: password.to_owned().into(), whole: whole.to_owned().into() }
    }

    /// The passphrases a record may be sealed with, the usual one first: the
    /// password; the whole token and nothing at all are what old versions
    /// used, which K3s still takes.
    pub fn passphrases(&self) -> impl Iterator<Item = &str> {
        [self.password.as_str(), self.whole.as_str(), ""].into_iter()
    }

    /// Whether it begins with a byte order mark, as some editors write one.
    /// Servers take it for a part of the token, and so is it here.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.whole.starts_with('\u{feff}')
    }

    /// The etcd key of the record it seals.
    #[must_use]
    pub fn record_key(&self) -> Vec<u8> {
        record_key(&self.password)
    }
}

/// The etcd key of the record a passphrase seals.
#[must_use]
pub fn record_key(passphrase: &str) -> Vec<u8> {
    let hash = hex(&Sha256::digest(passphrase.as_bytes()));
    [RECORD, &hash.as_bytes()[..SHORT_HASH]].concat()
}

/// Whether a text is a kubeadm bootstrap token: `[a-z0-9]{6}\.[a-z0-9]{16}`.
fn is_bootstrap_token(text: &str) -> bool {
    let part = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.split_once('.').is_some_and(|(id, secret)| part(id, 6) && part(secret, 16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Result<String, TokenError> {
        Token::parse(text).map(|token| token.password.to_string())
    }

    #[test]
    fn every_form_of_a_token_gives_its_password() {
        let hash = "ab".repeat(32);
        for (text, expected) in [
            ("abc", "abc"),
            ("  abc\n", "abc"),
            ("with:colons::too", "with:colons::too"),
            (&format!("K10{hash}::server:abc"), "abc"),
            (&format!("K10{hash}::node:a:b::c"), "a:b::c"),
            ("K10::server:abc", "abc"),
            ("K10server:abc", "abc"),
            // Nearly bootstrap tokens.
            ("abcde.0123456789abcdef", "abcde.0123456789abcdef"),
            ("abcdef.0123456789abcde", "abcdef.0123456789abcde"),
            ("abcdeF.0123456789abcdef", "abcdeF.0123456789abcdef"),
            ("abcdef.0123456789abcde-", "abcdef.0123456789abcde-"),
        ] {
            assert_eq!(password(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_as_k3s_tells_them() {
        let hash = "ab".repeat(32);
        for (text, expected) in [
            ("", TokenError::Empty),
            (" \n", TokenError::Empty),
            ("K10abc::server:pw", TokenError::CaHashLength),
            ("K10abc", TokenError::Format),
            (&format!("K10{hash}::server:"), TokenError::Format),
            (&format!("K10{hash}::server"), TokenError::Format),
            ("abcdef.0123456789abcdef", TokenError::Bootstrap),
            ("K10::abcdef.0123456789abcdef", TokenError::Bootstrap),
        ] {
            assert_eq!(password(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_counts_as_servers_count_it_and_is_known() {
        let token = Token::parse("\u{feff}abc\n").unwrap_or_else(|e| panic!("{e}"));
        assert!(token.is_marked());
        assert_eq!(token.record_key(), record_key("\u{feff}abc"));
        assert!(!Token::parse("abc\u{feff}").unwrap_or_else(|e| panic!("{e}")).is_marked());
    }

    #[test]
    fn the_record_is_named_by_the_hash_of_the_password() {
        assert_eq!(record_key(""), b"/bootstrap/e3b0c44298fc");
        let token = Token::parse("1d2c3b4a5968778695a4b3c2d1e0f001").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(token.record_key(), b"/bootstrap/d95765b5ed24");
    }
}
