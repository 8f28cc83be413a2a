//! The provider `secretbox`: a random 24-byte nonce, then NaCl's secretbox
//! (a 16-byte Poly1305 tag, then XSalsa20 ciphertext). No associated data.
//!
//! Source: kubernetes `pkg/storage/value/encrypt/secretbox/secretbox.go`.

use super::cipher::{NotOpened, replace};
use crate::simd::{Avx2, SALSA_BLOCK, SALSA_BLOCKS, TAG};
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::cipher::consts::U10;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use salsa20::{Salsa20, hsalsa};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of the nonce.
pub const NONCE: usize = 24;
/// "expand 32-byte k", as Salsa20 spreads it over its state.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

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

    /// What seals and opens under one nonce: the key stream, and the key of
    /// the tag.
    fn start(&self, nonce: &[u8; NONCE]) -> (Stream, Zeroizing<[u8; 32]>) {
        let (first, last) = nonce.split_at(16);
        let mut first_half = [0; 16];
        first_half.copy_from_slice(first);
        let key = Zeroizing::new(<[u8; 32]>::from(hsalsa::<U10>((&*self.0).into(), &first_half.into())));
        let mut last_half = [0; 8];
        last_half.copy_from_slice(last);
        let mut stream = Stream::new(&key, last_half);
        let mut mac_key = Zeroizing::new([0; 32]);
        stream.start.apply_keystream(mac_key.as_mut_slice());
        (stream, mac_key)
    }

    /// Decrypts into `out`, which is cleared first.
    ///
    /// # Errors
    /// With upstream's meaning.
    pub fn open(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NotOpened> {
        let (nonce, body) = payload.split_first_chunk::<NONCE>().ok_or(NotOpened::TooShort)?;
        let (tag, body) = body.split_first_chunk::<TAG>().ok_or(NotOpened::TooShort)?;
        let (stream, mac_key) = self.start(nonce);
        let avx2 = Avx2::detect();
        if !bool::from(mac(&mac_key, body, avx2).ct_eq(tag)) {
            return Err(NotOpened::Authentication);
        }
        replace(out, body);
        stream.apply(out, avx2);
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
        let (stream, mac_key) = self.start(nonce);
        let avx2 = Avx2::detect();
        stream.apply(body, avx2);
        *room = mac(&mac_key, body, avx2);
        Ok(())
    }
}

/// The tag of a ciphertext.
fn mac(key: &[u8; 32], sealed: &[u8], avx2: Option<Avx2>) -> [u8; TAG] {
    let Some(avx2) = avx2 else {
        return Poly1305::new(key.into()).compute_unpadded(sealed).into();
    };
    let mut tag = [0; TAG];
    avx2.poly1305(key, sealed, &mut tag);
    tag
}

/// The key stream of one value. Its first 32 bytes key the tag.
struct Stream {
    /// The stream from its beginning, by the `salsa20` crate.
    start: Salsa20,
    /// The state from which its second block is made.
    second: Zeroizing<[u32; 16]>,
}

impl Stream {
    fn new(key: &[u8; 32], nonce: [u8; 8]) -> Self {
        let mut state = Zeroizing::new([0; 16]);
        for (place, word) in [0, 5, 10, 15].into_iter().zip(CONSTANTS) {
            state[place] = word;
        }
        let words = key.as_chunks::<4>().0.iter().chain(nonce.as_chunks::<4>().0);
        for (place, word) in [1, 2, 3, 4, 11, 12, 13, 14, 6, 7].into_iter().zip(words) {
            state[place] = u32::from_le_bytes(*word);
        }
        state[8] = 1;
        Self { start: Salsa20::new(key.into(), (&nonce).into()), second: state }
    }

    /// Mixes the stream into `text`, behind the 32 bytes already taken: eight
    /// blocks at a time where the processor can.
    fn apply(mut self, text: &mut [u8], avx2: Option<Avx2>) {
        let Some(avx2) = avx2 else {
            self.start.apply_keystream(text);
            return;
        };
        let (in_first_block, rest) = text.split_at_mut(text.len().min(SALSA_BLOCK - 32));
        self.start.apply_keystream(in_first_block);
        let (groups, rest) = rest.as_chunks_mut();
        avx2.salsa20(&mut self.second, groups);
        if !rest.is_empty() {
            // In words: memory is wiped element by element.
            let mut words = Zeroizing::new([0u64; SALSA_BLOCK * SALSA_BLOCKS / 8]);
            let group: &mut [[u8; SALSA_BLOCK * SALSA_BLOCKS]; 1] = bytemuck::cast_mut(&mut *words);
            group[0][..rest.len()].copy_from_slice(rest);
            avx2.salsa20(&mut self.second, group);
            rest.copy_from_slice(&group[0][..rest.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto_secretbox::aead::{Aead, KeyInit};
    use salsa20::cipher::StreamCipherSeek;

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
    fn every_length_is_the_same_stream_with_and_without_avx2() {
        for length in (0..1700).chain([8191, 8192, 70_001]) {
            let key = [u8::try_from(length % 256).unwrap(); 32];
            let [fast, portable] = [Avx2::detect(), None].map(|avx2| {
                let mut text = vec![0xA5; length];
                let (stream, _) = Secretbox::new(&key).unwrap().start(&[3; NONCE]);
                stream.apply(&mut text, avx2);
                text
            });
            assert!(fast == portable, "{length} bytes");
        }
    }

    #[test]
    fn every_length_has_the_same_tag_with_and_without_avx2() {
        for length in (0..600).chain([8191, 8192, 70_001]) {
            let (key, text) = ([u8::try_from(length % 251).unwrap() + 1; 32], vec![0xA5; length]);
            assert_eq!(mac(&key, &text, Avx2::detect()), mac(&key, &text, None), "{length} bytes");
        }
    }

    #[test]
    fn blocks_are_counted_beyond_32_bits() {
        let Some(avx2) = Avx2::detect() else { return };
        let before = (1u64 << 32) - 3;
        let mut stream = Stream::new(&[1; 32], [2; 8]);
        (stream.second[8], stream.second[9]) = (u32::MAX - 2, 0);
        let mut groups = [[0; SALSA_BLOCK * SALSA_BLOCKS]; 2];
        avx2.salsa20(&mut stream.second, &mut groups);
        let mut expected = [[0; SALSA_BLOCK * SALSA_BLOCKS]; 2];
        stream.start.seek(before * SALSA_BLOCK as u64);
        stream.start.apply_keystream(expected.as_flattened_mut());
        assert!(groups == expected);
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
        for length in 0..NONCE + TAG {
            assert_eq!(cipher.open(&sealed[..length], &mut Vec::new()), Err(NotOpened::TooShort));
            assert_eq!(cipher.seal(&mut vec![0; length]), Err(NotOpened::TooShort));
        }
    }
}
