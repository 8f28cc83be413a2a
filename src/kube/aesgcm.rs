//! The provider `aesgcm`: a random 12-byte nonce, the ciphertext, a 16-byte
//! tag. The etcd key is the associated data.
//!
//! Source: kubernetes `pkg/storage/value/encrypt/aes/aes.go`.

use super::cipher::{NotOpened, replace};
use aes::cipher::consts::U12;
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm as Gcm, Nonce, Tag};

/// Bytes of the nonce.
pub const NONCE: usize = 12;
/// Bytes of the tag.
const TAG: usize = 16;

/// AES-GCM under one key. The ciphers wipe their key schedules when dropped.
#[derive(Clone)]
pub enum AesGcm {
    /// A 16-byte key.
    Aes128(Box<Gcm<Aes128, U12>>),
    /// A 24-byte key.
    Aes192(Box<Gcm<Aes192, U12>>),
    /// A 32-byte key.
    Aes256(Box<Gcm<Aes256, U12>>),
}

impl AesGcm {
    /// The cipher under this key; `None` when it is not 16, 24 or 32 bytes long.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Gcm::new_from_slice(key).ok().map(|gcm| Self::Aes128(Box::new(gcm))),
            24 => Gcm::new_from_slice(key).ok().map(|gcm| Self::Aes192(Box::new(gcm))),
            32 => Gcm::new_from_slice(key).ok().map(|gcm| Self::Aes256(Box::new(gcm))),
            _ => None,
        }
    }

    /// Bytes of nonce, ciphertext and tag for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(plain: usize) -> usize {
        NONCE + plain + TAG
    }

    /// Decrypts into `out`, which is cleared first.
    ///
    /// # Errors
    /// With upstream's meaning.
    pub fn open(&self, payload: &[u8], aad: &[u8], out: &mut Vec<u8>) -> Result<(), NotOpened> {
        let (nonce, body) = payload.split_first_chunk::<NONCE>().ok_or(NotOpened::TooShort)?;
        let (body, tag) = body.split_last_chunk::<TAG>().ok_or(NotOpened::TooShort)?;
        replace(out, body);
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let buffer = InOutBuf::from(out.as_mut_slice());
        match self {
            Self::Aes128(gcm) => gcm.decrypt_inout_detached(&nonce, aad, buffer, &tag),
            Self::Aes192(gcm) => gcm.decrypt_inout_detached(&nonce, aad, buffer, &tag),
            Self::Aes256(gcm) => gcm.decrypt_inout_detached(&nonce, aad, buffer, &tag),
        }
        .map_err(|_| NotOpened::Authentication)
    }

    /// Appends what [`AesGcm::seal`] encrypts in place: nonce, plaintext, and
    /// room for the tag.
    pub fn place(out: &mut Vec<u8>, nonce: &[u8; NONCE], plain: &[u8]) {
        out.extend_from_slice(nonce);
        out.extend_from_slice(plain);
        out.resize(out.len() + TAG, 0);
    }

    /// Encrypts a placed value in place.
    ///
    /// # Errors
    /// When the value is longer than GCM can take (64 GiB), or was not placed.
    pub fn seal(&self, value: &mut [u8], aad: &[u8]) -> Result<(), NotOpened> {
        let (nonce, body) = value.split_first_chunk_mut::<NONCE>().ok_or(NotOpened::TooShort)?;
        let (body, room) = body.split_last_chunk_mut::<TAG>().ok_or(NotOpened::TooShort)?;
        let nonce = Nonce::from(*nonce);
        let buffer = InOutBuf::from(body);
        let tag = match self {
            Self::Aes128(gcm) => gcm.encrypt_inout_detached(&nonce, aad, buffer),
            Self::Aes192(gcm) => gcm.encrypt_inout_detached(&nonce, aad, buffer),
            Self::Aes256(gcm) => gcm.encrypt_inout_detached(&nonce, aad, buffer),
        }
        .map_err(|_| NotOpened::TooLong)?;
        room.copy_from_slice(&tag);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_own_key_and_etcd_key_only() {
        for length in [16, 24, 32] {
            let cipher = AesGcm::new(&vec![3; length]).unwrap();
            for plain in [&b""[..], b"x", &[9; 5000]] {
                let mut sealed = Vec::new();
                AesGcm::place(&mut sealed, &[5; NONCE], plain);
                cipher.seal(&mut sealed, b"/registry/secrets/a/b").unwrap();
                assert_eq!(sealed.len(), AesGcm::sealed_len(plain.len()));
                let mut out = Vec::new();
                cipher.open(&sealed, b"/registry/secrets/a/b", &mut out).unwrap();
                assert_eq!(out, plain);
                assert_eq!(
                    cipher.open(&sealed, b"/registry/secrets/a/c", &mut out),
                    Err(NotOpened::Authentication)
                );
            }
        }
    }

    #[test]
    fn a_short_payload_is_refused() {
        let cipher = AesGcm::new(&[3; 16]).unwrap();
        for length in 0..28 {
            assert_eq!(cipher.open(&vec![0; length], b"", &mut Vec::new()), Err(NotOpened::TooShort));
            assert_eq!(cipher.seal(&mut vec![0; length], b""), Err(NotOpened::TooShort));
        }
    }

    #[test]
    fn only_aes_key_lengths_are_keys() {
        let taken: Vec<usize> = (0..40).filter(|n| AesGcm::new(&vec![0; *n]).is_some()).collect();
        assert_eq!(taken, [16, 24, 32]);
    }
}
