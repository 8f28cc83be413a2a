//! The provider `aesgcm`: a random 12-byte nonce, the ciphertext, a 16-byte
//! tag. The etcd key is the associated data.
//!
//! Source: kubernetes `pkg/storage/value/encrypt/aes/aes.go`.

use super::cipher::{NotOpened, replace, sized};
use crate::simd::{self, TAG};
use aes::cipher::consts::{U12, U16};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm as Gcm, Nonce, P_MAX, Tag};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Bytes of the nonce.
pub const NONCE: usize = 12;
/// AES-GCM under one key. The ciphers wipe their key schedules when dropped.
#[derive(Clone)]
pub enum AesGcm {
    /// A 16-byte key.
    Aes128(Box<Gcm<Aes128, U12>>),
    /// A 24-byte key.
    Aes192(Box<Gcm<Aes192, U12>>),
    /// A 32-byte key.
    Aes256(Box<Gcm<Aes256, U12>>),
    /// A key of any of these lengths, where the processor has VAES and
    /// VPCLMULQDQ.
    Vaes(Box<simd::Gcm>),
}

impl AesGcm {
    /// The cipher under this key; `None` when it is not 16, 24 or 32 bytes long.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        simd::Gcm::new(key).map(|gcm| Self::Vaes(Box::new(gcm))).or_else(|| Self::portable(key))
    }

    /// The same by the `aes-gcm` crate, for every processor.
    fn portable(key: &[u8]) -> Option<Self> {
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
        match self {
            Self::Aes128(gcm) => open(&**gcm, nonce, aad, body, tag, out),
            Self::Aes192(gcm) => open(&**gcm, nonce, aad, body, tag, out),
            Self::Aes256(gcm) => open(&**gcm, nonce, aad, body, tag, out),
            Self::Vaes(gcm) => open_by_vaes(gcm, nonce, aad, body, tag, out),
        }
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
        match self {
            Self::Aes128(gcm) => seal(&**gcm, nonce, aad, body, room),
            Self::Aes192(gcm) => seal(&**gcm, nonce, aad, body, room),
            Self::Aes256(gcm) => seal(&**gcm, nonce, aad, body, room),
            Self::Vaes(_) if body.len() as u64 > P_MAX => Err(NotOpened::TooLong),
            Self::Vaes(gcm) => {
                gcm.seal(nonce, aad, body, room);
                Ok(())
            }
        }
    }
}

/// Decrypts by the `aes-gcm` crate, which looks at the tag first.
fn open<C>(
    gcm: &C,
    nonce: &[u8; NONCE],
    aad: &[u8],
    body: &[u8],
    tag: &[u8; TAG],
    out: &mut Vec<u8>,
) -> Result<(), NotOpened>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16>,
{
    replace(out, body);
    let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
    gcm.decrypt_inout_detached(&nonce, aad, InOutBuf::from(out.as_mut_slice()), &tag)
        .map_err(|_| NotOpened::Authentication)
}

/// Decrypts and computes the tag in one pass: what came out under another tag
/// is wiped before anybody sees it.
fn open_by_vaes(
    gcm: &simd::Gcm,
    nonce: &[u8; NONCE],
    aad: &[u8],
    body: &[u8],
    tag: &[u8; TAG],
    out: &mut Vec<u8>,
) -> Result<(), NotOpened> {
    if body.len() as u64 > P_MAX {
        return Err(NotOpened::Authentication);
    }
    sized(out, body.len());
    let mut expected = [0; TAG];
    gcm.open(nonce, aad, body, out, &mut expected);
    if !bool::from(expected.ct_eq(tag)) {
        out.zeroize();
        return Err(NotOpened::Authentication);
    }
    Ok(())
}

fn seal<C>(
    gcm: &C,
    nonce: &[u8; NONCE],
    aad: &[u8],
    body: &mut [u8],
    room: &mut [u8; TAG],
) -> Result<(), NotOpened>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16>,
{
    let tag = gcm
        .encrypt_inout_detached(&Nonce::from(*nonce), aad, InOutBuf::from(body))
        .map_err(|_| NotOpened::TooLong)?;
    *room = tag.into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_under_its_own_key_and_etcd_key_only() {
        for cipher in [16, 24, 32].into_iter().flat_map(|length| both(&vec![3; length])) {
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

    /// What [`AesGcm::new`] gives, which may be by VAES, and what is for every
    /// processor.
    fn both(key: &[u8]) -> [AesGcm; 2] {
        [AesGcm::new(key).unwrap(), AesGcm::portable(key).unwrap()]
    }

    #[test]
    fn every_length_is_sealed_and_opened_alike_with_and_without_vaes() {
        for length in (0..600).chain([8191, 8192, 70_001]) {
            let [fast, portable] = both(&[7; 32]).map(|cipher| {
                let mut sealed = Vec::new();
                AesGcm::place(&mut sealed, &[5; NONCE], &vec![0xC3; length]);
                cipher.seal(&mut sealed, b"/registry/secrets/a/b").unwrap();
                sealed
            });
            assert!(fast == portable, "{length} bytes");
            for cipher in both(&[7; 32]) {
                let mut out = b"older plaintext".to_vec();
                cipher.open(&fast, b"/registry/secrets/a/b", &mut out).unwrap();
                assert!(out == vec![0xC3; length], "{length} bytes");
            }
        }
    }

    #[test]
    fn a_changed_payload_is_refused_and_nothing_of_its_plaintext_is_left() {
        for cipher in both(&[3; 24]) {
            let mut sealed = Vec::new();
            let plain = [0x55; 300];
            AesGcm::place(&mut sealed, &[5; NONCE], &plain);
            cipher.seal(&mut sealed, b"aad").unwrap();
            let mut out = Vec::new();
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(cipher.open(&bad, b"aad", &mut out), Err(NotOpened::Authentication), "bit {bit}");
                assert!(!out.windows(16).any(|window| window == &plain[..16]));
            }
            assert_eq!(cipher.open(&sealed, b"ab", &mut out), Err(NotOpened::Authentication));
            cipher.open(&sealed, b"aad", &mut out).unwrap();
            assert_eq!(out, plain);
        }
    }

    #[test]
    fn a_short_payload_is_refused() {
        for cipher in both(&[3; 16]) {
            for length in 0..28 {
                assert_eq!(cipher.open(&vec![0; length], b"", &mut Vec::new()), Err(NotOpened::TooShort));
                assert_eq!(cipher.seal(&mut vec![0; length], b""), Err(NotOpened::TooShort));
            }
        }
    }

    #[test]
    fn only_aes_key_lengths_are_keys() {
        let taken: Vec<usize> = (0..40).filter(|n| AesGcm::new(&vec![0; *n]).is_some()).collect();
        assert_eq!(taken, [16, 24, 32]);
    }
}
