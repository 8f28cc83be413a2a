//! The provider `secretbox`: a random 24-byte nonce, then NaCl's secretbox
//! (a 16-byte Poly1305 tag, then XSalsa20 ciphertext). No associated data.
//!
//! Source: kubernetes `pkg/storage/value/encrypt/secretbox/secretbox.go`.

use super::cipher::{NotOpened, replace};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of the nonce.
pub const NONCE: usize = 24;
/// Bytes of the tag.
const TAG: usize = 16;

/// Secretbox under one key.
#[derive(Clone)]
pub struct Secretbox(Zeroizing<[u8; 32]>);

impl Secretbox {
    /// The cipher under this key; `None` when it is not 32 bytes long.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(|key| Self(Zeroizing::new(key)))
    }

    /// Bytes of nonce, tag and ciphertext for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(plain: usize) -> usize {
        NONCE + TAG + plain
    }

    /// The key stream behind its first 32 bytes, which key Poly1305.
    fn start(&self, nonce: &[u8; NONCE]) -> (XSalsa20, Poly1305) {
        let mut stream = XSalsa20::new((&*self.0).into(), nonce.into());
        let mut key = [0; 32];
        stream.apply_keystream(&mut key);
        let mac = Poly1305::new((&key).into());
        key.zeroize();
        (stream, mac)
    }

    /// Decrypts into `out`, which is cleared first.
    ///
    /// # Errors
    /// With upstream's meaning.
    pub fn open(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NotOpened> {
        let (nonce, body) = payload.split_first_chunk::<NONCE>().ok_or(NotOpened::TooShort)?;
        let (tag, body) = body.split_first_chunk::<TAG>().ok_or(NotOpened::TooShort)?;
        let (mut stream, mac) = self.start(nonce);
        if !bool::from(mac.compute_unpadded(body).as_slice().ct_eq(tag)) {
            return Err(NotOpened::Authentication);
        }
        replace(out, body);
        stream.apply_keystream(out);
        Ok(())
    }

    /// Appends what [`Secretbox::seal`] encrypts in place: nonce, room for the
    /// tag, plaintext.
    pub fn place(out: &mut Vec<u8>, nonce: &[u8; NONCE], plain: &[u8]) {
        out.extend_from_slice(nonce);
        out.resize(out.len() + TAG, 0);
        out.extend_from_slice(plain);
    }

    /// Encrypts a placed value in place.
    ///
    /// # Errors
    /// When the value was not placed.
    pub fn seal(&self, value: &mut [u8]) -> Result<(), NotOpened> {
        let (nonce, body) = value.split_first_chunk_mut::<NONCE>().ok_or(NotOpened::TooShort)?;
        let (room, body) = body.split_first_chunk_mut::<TAG>().ok_or(NotOpened::TooShort)?;
        let (mut stream, mac) = self.start(nonce);
        stream.apply_keystream(body);
        room.copy_from_slice(&mac.compute_unpadded(body));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto_secretbox::aead::{Aead, KeyInit};

    #[test]
    fn another_implementation_opens_what_ours_sealed_and_the_other_way_round() {
        let ours = Secretbox::new(&[7; 32]).unwrap();
        let theirs = crypto_secretbox::XSalsa20Poly1305::new((&[7; 32]).into());
        for length in [0, 1, 15, 31, 32, 33, 63, 64, 65, 4097, 70_000] {
            let plain = vec![0xC3; length];
            let mut sealed = Vec::new();
            Secretbox::place(&mut sealed, &[9; NONCE], &plain);
            ours.seal(&mut sealed).unwrap();
            assert_eq!(sealed.len(), Secretbox::sealed_len(length));
            assert_eq!(theirs.decrypt((&[9; NONCE]).into(), &sealed[NONCE..]).unwrap(), plain);
            let other = theirs.encrypt((&[9; NONCE]).into(), &plain[..]).unwrap();
            assert_eq!(other, sealed[NONCE..]);
            let mut out = Vec::new();
            ours.open(&sealed, &mut out).unwrap();
            assert_eq!(out, plain);
        }
    }

    #[test]
    fn a_changed_or_short_payload_is_refused() {
        let cipher = Secretbox::new(&[7; 32]).unwrap();
        let mut sealed = Vec::new();
        Secretbox::place(&mut sealed, &[9; NONCE], b"value");
        cipher.seal(&mut sealed).unwrap();
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert_eq!(cipher.open(&bad, &mut Vec::new()), Err(NotOpened::Authentication));
        }
        assert_eq!(cipher.open(&sealed[..39], &mut Vec::new()), Err(NotOpened::TooShort));
    }
}
