//! AES (FIPS 197) in registers of two blocks: CBC decryption, where all
//! blocks of a value are independent, and CBC encryption of many values side
//! by side, where those of one value are not.

use super::{BLOCK, LANES, Row};
use bytemuck::{bytes_of, cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m128i, __m256i, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesimc_si128, _mm_aeskeygenassist_si128,
    _mm_extract_epi32, _mm_set1_epi32, _mm_xor_si128, _mm256_aesdec_epi128, _mm256_aesdeclast_epi128,
    _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_broadcastsi128_si256, _mm256_xor_si256,
};

/// Fills both schedules (FIPS 197, 5.2; the second for the equivalent inverse
/// cipher, 5.3.5).
#[target_feature(enable = "aes,avx2,vaes")]
pub(super) fn expand(
    key: &[u8],
    rounds: usize,
    encrypt: &mut [[u8; BLOCK]; 15],
    decrypt: &mut [[u8; BLOCK]; 15],
) {
    let length = key.len() / 4;
    let words = encrypt.as_flattened_mut();
    words[..key.len()].copy_from_slice(key);
    let mut constant = 1u8;
    for number in length..(rounds + 1) * 4 {
        let at = number * 4;
        let [.., a, b, c, d] = words[..at] else { return };
        let mut word = u32::from_le_bytes([a, b, c, d]);
        if number % length == 0 {
            word = substituted(word).rotate_right(8) ^ u32::from(constant);
            constant = (constant << 1) ^ if constant & 0x80 == 0 { 0 } else { 0x1b };
        } else if length == 8 && number % length == 4 {
            word = substituted(word);
        }
        for (i, byte) in word.to_le_bytes().into_iter().enumerate() {
            words[at + i] = words[at + i - key.len()] ^ byte;
        }
    }
    for (number, inverse) in decrypt.iter_mut().take(rounds + 1).enumerate() {
        let key = encrypt[rounds - number];
        let middle = number > 0 && number < rounds;
        *inverse = if middle { cast(_mm_aesimc_si128(cast(key))) } else { key };
    }
}

/// The S-box over each byte of a word, in constant time.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn substituted(word: u32) -> u32 {
    let assisted = _mm_aeskeygenassist_si128(_mm_set1_epi32(word.cast_signed()), 0);
    _mm_extract_epi32(assisted, 0).cast_unsigned()
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn broadcast(keys: &[[u8; BLOCK]]) -> [__m256i; 15] {
    let mut wide = [cast([0u8; 32]); 15];
    for (wide, key) in wide.iter_mut().zip(keys) {
        *wide = _mm256_broadcastsi128_si256(cast(*key));
    }
    wide
}

/// Blocks of CBC, decrypted: whole registers first, sixteen blocks at a time.
#[target_feature(enable = "aes,avx2,vaes")]
pub(super) fn decrypt_chained(
    keys: &[[u8; BLOCK]],
    iv: &[u8; BLOCK],
    sealed: &[[u8; BLOCK]],
    plain: &mut [[u8; BLOCK]],
) {
    let wide = broadcast(keys);
    let wide = &wide[..keys.len().min(15)];
    let length = sealed.len().min(plain.len());
    let mut at = 0;
    let mut previous = *iv;
    macro_rules! registers {
        ($count:literal) => {
            if length - at >= 2 * $count {
                let (from, to) = (&sealed[at..at + 2 * $count], &mut plain[at..at + 2 * $count]);
                decrypt_registers::<$count>(wide, &previous, from, to);
                at += 2 * $count;
                previous = sealed[at - 1];
            }
        };
    }
    while length - at >= 16 {
        registers!(8);
    }
    registers!(4);
    registers!(2);
    registers!(1);
    if let (true, [first, middle @ .., last]) = (at < length, keys) {
        let mut state: __m128i = _mm_xor_si128(cast(sealed[at]), cast(*first));
        for key in middle {
            state = _mm_aesdec_si128(state, cast(*key));
        }
        plain[at] = cast(_mm_xor_si128(_mm_aesdeclast_si128(state, cast(*last)), cast(previous)));
    }
}

/// `COUNT` registers of two blocks.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn decrypt_registers<const COUNT: usize>(
    keys: &[__m256i],
    previous: &[u8; BLOCK],
    sealed: &[[u8; BLOCK]],
    plain: &mut [[u8; BLOCK]],
) {
    let [first, middle @ .., last] = keys else { return };
    let bytes = sealed.as_flattened();
    let mut states = [*first; COUNT];
    for (state, pair) in states.iter_mut().zip(bytes.as_chunks::<32>().0) {
        *state = _mm256_xor_si256(*state, pod_read_unaligned(pair));
    }
    for key in middle {
        for state in &mut states {
            *state = _mm256_aesdec_epi128(*state, *key);
        }
    }
    // What each block is chained to lies one block before it.
    let mut before = [pod_read_unaligned::<__m256i>(&[0; 32]); COUNT];
    before[0] = cast([*previous, sealed[0]]);
    for (before, pair) in before[1..].iter_mut().zip(bytes[BLOCK..].as_chunks::<32>().0) {
        *before = pod_read_unaligned(pair);
    }
    let out = plain.as_flattened_mut().as_chunks_mut::<32>().0;
    for ((state, before), out) in states.into_iter().zip(before).zip(out) {
        let state = _mm256_aesdeclast_epi128(state, *last);
        out.copy_from_slice(bytes_of(&_mm256_xor_si256(state, before)));
    }
}

/// See [`super::Vaes::encrypt_rows`].
#[target_feature(enable = "aes,avx2,vaes")]
pub(super) fn encrypt_rows(keys: &[[u8; BLOCK]], chain: &mut Row, rows: &mut [Row]) {
    let wide = broadcast(keys);
    let [first, middle @ .., last] = &wide[..keys.len().min(15)] else { return };
    let mut states: [__m256i; LANES / 2] = cast(*chain);
    for row in rows {
        let (pairs, _) = row.as_flattened_mut().as_chunks_mut::<32>();
        for (state, pair) in states.iter_mut().zip(&*pairs) {
            let block = _mm256_xor_si256(pod_read_unaligned(pair), *first);
            *state = _mm256_xor_si256(*state, block);
        }
        for key in middle {
            for state in &mut states {
                *state = _mm256_aesenc_epi128(*state, *key);
            }
        }
        for (state, pair) in states.iter_mut().zip(pairs) {
            *state = _mm256_aesenclast_epi128(*state, *last);
            pair.copy_from_slice(bytes_of(state));
        }
    }
    *chain = cast(states);
}
