//! How a passphrase seals the record.
//!
//! ```text
//! salt, 16 hexadecimal characters   ':'   base64( nonce 12 | ciphertext | tag 16 )
//! ```
//!
//! The key is PBKDF2-HMAC-SHA1 of the passphrase with the salt's characters
//! (not the bytes they stand for), 4096 rounds, 32 bytes; the cipher is
//! AES-256-GCM without associated data. Source: K3s `pkg/cluster/encrypt.go`.

use crate::etcd::snapshot::hex;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const ROUNDS: u32 = 4096;
const NONCE: usize = 12;
const TAG: usize = 16;
const SALT: usize = 8;

fn cipher(passphrase: &str, salt: &[u8]) -> Aes256Gcm {
    let mut key = Zeroizing::new([0u8; 32]);
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(passphrase.as_bytes(), salt, ROUNDS, key.as_mut_slice());
    Aes256Gcm::new((&*key).into())
}

/// Opens a record; `None` when it is damaged, or sealed with something else.
#[must_use]
pub fn open(value: &[u8], passphrase: &str) -> Option<Zeroizing<Vec<u8>>> {
    let colon = value.iter().position(|byte| *byte == b':')?;
    let (salt, text) = (&value[..colon], &value[colon + 1..]);
    let sealed = STANDARD.decode(text).ok()?;
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut plain = Zeroizing::new(ciphertext.to_vec());
    let opened = cipher(passphrase, salt).decrypt_inout_detached(
        nonce.into(),
        b"",
        plain.as_mut_slice().into(),
        tag.into(),
    );
    opened.ok().map(|()| plain)
}

/// Seals a record with fresh salt and nonce.
///
/// # Errors
/// When the operating system gives no random numbers.
pub fn seal(plain: &[u8], passphrase: &str) -> Result<Vec<u8>, getrandom::Error> {
    let mut salt = [0; SALT];
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut nonce)?;
    seal_with(plain, passphrase, &hex(&salt), nonce)
}

pub(super) fn seal_with(
    plain: &[u8],
    passphrase: &str,
    salt: &str,
    nonce: [u8; NONCE],
) -> Result<Vec<u8>, getrandom::Error> {
    // Room for all of it at once: a buffer that grew would leave plaintext behind.
    let mut sealed = Vec::with_capacity(NONCE + plain.len() + TAG);
    sealed.extend(nonce);
    sealed.extend(plain);
    let tag = cipher(passphrase, salt.as_bytes())
        .encrypt_inout_detached((&nonce).into(), b"", (&mut sealed[NONCE..]).into())
        // It refuses more than 64 GiB only.
        .map_err(|_| getrandom::Error::UNEXPECTED)?;
    sealed.extend(tag);
    Ok(format!("{salt}:{}", STANDARD.encode(&sealed)).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_passphrase_alone() {
        let value = seal(b"plain", "secret").unwrap();
        assert_eq!(open(&value, "secret").unwrap().as_slice(), b"plain");
        assert!(open(&value, "other").is_none());
        assert_ne!(seal(b"plain", "secret").unwrap(), value);
        for at in 0..value.len() {
            let mut bad = value.clone();
            bad[at] ^= 1;
            assert!(open(&bad, "secret").is_none(), "{at}");
        }
        for length in 0..value.len() {
            assert!(open(&value[..length], "secret").is_none());
        }
    }

    #[test]
    fn the_form_is_k3s_own() {
        let value = seal_with(b"{}\n", "pw", "0011223344556677", [7; 12]).unwrap();
        assert!(value.starts_with(b"0011223344556677:"));
        assert_eq!(value.len(), 17 + 44);
        assert_eq!(open(&value, "pw").unwrap().as_slice(), b"{}\n");
    }
}
