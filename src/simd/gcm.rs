//! AES-GCM (NIST SP 800-38D) with nonces of twelve bytes: the counters of
//! sixteen blocks are encrypted at a time, in registers of two, and between
//! the rounds other ciphertext is hashed, which keeps a second unit busy.

use super::aes::{broadcast, encrypt_block};
use super::ghash::{CHUNK, Hash, PAIR};
use super::{BLOCK, GCM_NONCE, POWERS};
use bytemuck::{bytes_of, cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m128i, __m256i, _mm_xor_si128, _mm256_add_epi32, _mm256_aesenc_epi128, _mm256_aesenclast_epi128,
    _mm256_broadcastsi128_si256, _mm256_shuffle_epi8, _mm256_xor_si256,
};
use zeroize::Zeroize;

/// Registers in which counters are encrypted.
const REGISTERS: usize = POWERS / 2;
/// Turns the last word of a block, which counts.
const COUNTER_TURNED: [u8; BLOCK] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 14, 13, 12];

/// What a key comes to: its schedule, and the powers of its H.
#[derive(Clone, Copy)]
pub(super) struct Key<'k> {
    pub schedule: &'k [[u8; BLOCK]],
    pub powers: &'k [[u8; BLOCK]; POWERS],
}

/// Fills in the powers of H.
#[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
pub(super) fn powers(schedule: &[[u8; BLOCK]], powers: &mut [[u8; BLOCK]; POWERS]) {
    super::ghash::powers(encrypt_block(schedule, cast(0u128)), powers);
}

/// Encrypts in place; the tag is returned.
#[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
pub(super) fn seal(key: Key<'_>, nonce: &[u8; GCM_NONCE], aad: &[u8], text: &mut [u8]) -> [u8; BLOCK] {
    let length = text.len();
    let mut stream = Stream::new(key.schedule, nonce);
    let mut hash = Hash::new(key.powers);
    hash.padded(aad);
    let (chunks, rest) = text.as_chunks_mut::<CHUNK>();
    // Each chunk is hashed while the next is encrypted.
    let mut before: Option<&[u8; CHUNK]> = None;
    for chunk in chunks {
        let mixed = match before {
            Some(before) => stream.next_hashing(&mut hash, before),
            None => stream.next(),
        };
        for (pair, mixed) in chunk.as_chunks_mut::<PAIR>().0.iter_mut().zip(mixed) {
            *pair = cast(_mm256_xor_si256(pod_read_unaligned(pair), mixed));
        }
        before = Some(chunk);
    }
    if let Some(before) = before {
        hash.chunk(before);
    }
    if !rest.is_empty() {
        stream.mix_rest(rest);
        hash.padded(rest);
    }
    stream.tag(hash.finish(aad.len(), length))
}

/// Decrypts into `plain`; the tag that `sealed` must have is returned, when
/// both are as long.
#[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
pub(super) fn open(
    key: Key<'_>,
    nonce: &[u8; GCM_NONCE],
    aad: &[u8],
    sealed: &[u8],
    plain: &mut [u8],
) -> [u8; BLOCK] {
    let mut stream = Stream::new(key.schedule, nonce);
    let mut hash = Hash::new(key.powers);
    hash.padded(aad);
    let (chunks, rest) = sealed.as_chunks::<CHUNK>();
    let (plain_chunks, plain_rest) = plain.as_chunks_mut::<CHUNK>();
    for (chunk, plain) in chunks.iter().zip(plain_chunks) {
        let mixed = stream.next_hashing(&mut hash, chunk);
        let pairs = chunk.as_chunks::<PAIR>().0.iter().zip(mixed);
        for (plain, (pair, mixed)) in plain.as_chunks_mut::<PAIR>().0.iter_mut().zip(pairs) {
            *plain = cast(_mm256_xor_si256(pod_read_unaligned(pair), mixed));
        }
    }
    if !rest.is_empty() {
        hash.padded(rest);
        for (plain, sealed) in plain_rest.iter_mut().zip(rest) {
            *plain = *sealed;
        }
        stream.mix_rest(plain_rest);
    }
    stream.tag(hash.finish(aad.len(), sealed.len()))
}

/// The key stream from the second counter on; the first is for the tag.
struct Stream<'k> {
    schedule: &'k [[u8; BLOCK]],
    wide: [__m256i; 15],
    first: __m128i,
    /// The next two counters, their last words turned.
    counters: __m256i,
}

impl<'k> Stream<'k> {
    #[inline]
    #[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
    fn new(schedule: &'k [[u8; BLOCK]], nonce: &[u8; GCM_NONCE]) -> Self {
        let [a, b, c]: [u32; 3] = cast(*nonce);
        Self {
            schedule,
            wide: broadcast(schedule),
            first: cast([a, b, c, 1u32.to_be()]),
            counters: cast([a, b, c, 2, a, b, c, 3]),
        }
    }

    /// The next counters, and the rest of the schedule.
    #[inline]
    #[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
    fn start(&mut self) -> ([__m256i; REGISTERS], &[__m256i], __m256i) {
        let turn = _mm256_broadcastsi128_si256(cast(COUNTER_TURNED));
        let two: __m256i = cast([0u32, 0, 0, 2, 0, 0, 0, 2]);
        let mut states = [self.counters; REGISTERS];
        for state in &mut states {
            *state = _mm256_xor_si256(_mm256_shuffle_epi8(self.counters, turn), self.wide[0]);
            self.counters = _mm256_add_epi32(self.counters, two);
        }
        let last = self.schedule.len().min(15) - 1;
        (states, &self.wide[1..last], self.wide[last])
    }

    /// The stream for a chunk.
    #[inline]
    #[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
    fn next(&mut self) -> [__m256i; REGISTERS] {
        let (mut states, middle, last) = self.start();
        for key in middle {
            round(&mut states, *key);
        }
        finished(states, last)
    }

    /// The same, and hashes another chunk meanwhile.
    #[inline]
    #[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
    fn next_hashing(&mut self, hash: &mut Hash<'_>, chunk: &[u8; CHUNK]) -> [__m256i; REGISTERS] {
        let (mut states, middle, last) = self.start();
        let mut products = hash.products();
        let (hashing, middle) = middle.split_at(REGISTERS.min(middle.len()));
        let pairs = chunk.as_chunks().0.iter().zip(hash.pairs());
        for (key, (pair, powers)) in hashing.iter().zip(pairs) {
            round(&mut states, *key);
            products.pair(pair, powers);
        }
        for key in middle {
            round(&mut states, *key);
        }
        hash.set(products);
        finished(states, last)
    }

    /// Mixes the stream into less than a chunk, the last.
    #[inline]
    #[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
    fn mix_rest(&mut self, rest: &mut [u8]) {
        let mut mixed = self.next();
        for (byte, mixed) in rest.iter_mut().zip(bytes_of(&mixed)) {
            *byte ^= mixed;
        }
        mixed.zeroize();
    }

    #[inline]
    #[target_feature(enable = "aes,avx2,vaes,pclmulqdq,vpclmulqdq")]
    fn tag(&self, hash: __m128i) -> [u8; BLOCK] {
        cast(_mm_xor_si128(encrypt_block(self.schedule, self.first), hash))
    }
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn round(states: &mut [__m256i; REGISTERS], key: __m256i) {
    for state in states {
        *state = _mm256_aesenc_epi128(*state, key);
    }
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn finished(mut states: [__m256i; REGISTERS], key: __m256i) -> [__m256i; REGISTERS] {
    for state in &mut states {
        *state = _mm256_aesenclast_epi128(*state, key);
    }
    states
}

#[cfg(test)]
mod tests {
    use crate::simd::tests::{bytes, key};
    use crate::simd::{GCM_NONCE, Gcm, TAG};
    use ::aes::Aes192;
    use ::aes::cipher::consts::U12;
    use aes_gcm::aead::{AeadInOut, KeyInit};
    use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm};

    /// Ciphertext and tag by the `aes-gcm` crate.
    fn theirs(key: &[u8], nonce: [u8; GCM_NONCE], aad: &[u8], plain: &[u8]) -> (Vec<u8>, [u8; TAG]) {
        let mut text = plain.to_vec();
        let buffer = text.as_mut_slice().into();
        let tag = match key.len() {
            16 => Aes128Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(&nonce.into(), aad, buffer),
            24 => AesGcm::<Aes192, U12>::new_from_slice(key).unwrap().encrypt_inout_detached(
                &nonce.into(),
                aad,
                buffer,
            ),
            _ => Aes256Gcm::new_from_slice(key).unwrap().encrypt_inout_detached(&nonce.into(), aad, buffer),
        };
        (text, tag.unwrap().into())
    }

    /// Seals, opens again, and expects these.
    fn is(gcm: &Gcm, nonce: [u8; GCM_NONCE], aad: &[u8], plain: &[u8], sealed: &[u8], tag: [u8; TAG]) {
        let about = || format!("{} bytes, {} with them", plain.len(), aad.len());
        let (mut text, mut ours) = (plain.to_vec(), [0; TAG]);
        gcm.seal(&nonce, aad, &mut text, &mut ours);
        assert!(text == sealed, "{}", about());
        assert_eq!(ours, tag, "{}", about());
        let mut opened = vec![0xEE; plain.len()];
        gcm.open(&nonce, aad, sealed, &mut opened, &mut ours);
        assert!(opened == plain, "{}", about());
        assert_eq!(ours, tag, "{}", about());
    }

    /// Test cases 1 to 4, 7 to 10 and 13 to 16 of D. McGrew and J. Viega,
    /// "The Galois/Counter Mode of Operation (GCM)", which NIST's own page on
    /// SP 800-38D refers to.
    #[test]
    fn the_answers_of_the_specification() {
        let text = key(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b5\
            25b16aedf5aa0de657ba637b391aafd255",
        );
        let with = key("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let long_key = key("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce: [u8; GCM_NONCE] = key("cafebabefacedbaddecaf888").try_into().unwrap();
        let answers = [
            (
                16,
                "0388dace60b6a392f328c2b971b2fe78",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05\
                 1ba30b396a0aac973d58e091473f5985",
                [
                    "58e2fccefa7e3061367f1d57a4e7455a",
                    "ab6e47d42cec13bdf53a67b21257bddf",
                    "4d5c2af327cd64a62cf35abd2ba6fab4",
                    "5bc94fbc3221a5db94fae95ae7121a47",
                ],
            ),
            (
                24,
                "98e7247c07f0fe411c267e4384b0f600",
                "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f47\
                 18e2448b2fe324d9ccda2710acade256",
                [
                    "cd33b28ac773f74ba00ed1f312572435",
                    "2ff58d80033927ab8ef4d4587514f0fb",
                    "9924a7c8587336bfb118024db8674a14",
                    "2519498e80f1478f37ba55bd6d27618c",
                ],
            ),
            (
                32,
                "cea7403d4d606b6e074ec5d3baf39d18",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
                 c5f61e6393ba7a0abcc9f662898015ad",
                [
                    "530f8afbc74536b9a963b4f1c4cb738b",
                    "d0d1c8a799996bf0265b98b5d48ab919",
                    "b094dac5d93471bdec1a502270e3cc6c",
                    "76fc6ece0f4e1768cddf8853bb2d551b",
                ],
            ),
        ];
        for (length, sealed_zero, sealed, tags) in answers {
            let [empty, zero, whole, short] = tags.map(|tag| key(tag).try_into().unwrap());
            let Some(of_zero) = Gcm::new(&vec![0; length]) else { return };
            is(&of_zero, [0; GCM_NONCE], b"", b"", b"", empty);
            is(&of_zero, [0; GCM_NONCE], b"", &[0; 16], &key(sealed_zero), zero);
            let gcm = Gcm::new(&long_key[..length]).unwrap();
            is(&gcm, nonce, b"", &text, &key(sealed), whole);
            is(&gcm, nonce, &with, &text[..60], &key(sealed)[..60], short);
        }
    }

    #[test]
    fn every_length_is_sealed_and_opened_as_by_the_aes_gcm_crate() {
        for length in (0..1100usize).chain([4095, 4096, 4097, 8192, 8193, 70_001]) {
            let seed = u32::try_from(length).unwrap() * 3;
            for size in [16, 24, 32] {
                let key = bytes(size, seed + 1);
                let Some(gcm) = Gcm::new(&key) else { return };
                let nonce = bytes(GCM_NONCE, seed + 2).try_into().unwrap();
                let plain = bytes(length, seed + 3);
                let aad = bytes((length * 7 + size) % 600, seed + 4);
                let (sealed, tag) = theirs(&key, nonce, &aad, &plain);
                is(&gcm, nonce, &aad, &plain, &sealed, tag);
            }
        }
    }

    /// The counter's carries go through all its bytes but the first.
    #[test]
    fn more_blocks_than_two_bytes_count_are_sealed_as_by_the_aes_gcm_crate() {
        let (key, nonce, plain) = ([1; 16], [0xff; GCM_NONCE], vec![5; (1 << 20) + 300]);
        let Some(gcm) = Gcm::new(&key) else { return };
        let (sealed, tag) = theirs(&key, nonce, b"", &plain);
        is(&gcm, nonce, b"", &plain, &sealed, tag);
    }

    #[test]
    fn texts_and_hash_keys_of_all_ones_or_zeros_are_the_aes_gcm_crates() {
        for (byte, size) in [0x00, 0xff, 0x80, 0x01].into_iter().flat_map(|byte| [(byte, 16), (byte, 32)]) {
            let key = vec![byte; size];
            let Some(gcm) = Gcm::new(&key) else { return };
            for length in 0..600 {
                let (plain, aad) = (vec![byte; length], vec![byte; length % 35]);
                let (sealed, tag) = theirs(&key, [byte; GCM_NONCE], &aad, &plain);
                is(&gcm, [byte; GCM_NONCE], &aad, &plain, &sealed, tag);
            }
        }
    }
}
