//! AES (FIPS 197) in registers of two blocks: CBC decryption, where all
//! blocks of a value are independent, and CBC encryption of many values side
//! by side, where those of one value are not.

use super::{BLOCK, LANES, Row};
use bytemuck::{bytes_of, cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m128i, __m256i, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aesenclast_si128,
    _mm_aesimc_si128, _mm_extract_epi32, _mm_set1_epi32, _mm_setzero_si128, _mm_xor_si128,
    _mm256_aesdec_epi128, _mm256_aesdeclast_epi128, _mm256_aesenc_epi128, _mm256_aesenclast_epi128,
    _mm256_broadcastsi128_si256, _mm256_xor_si256,
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

/// The S-box over each byte of a word, in constant time: a last round under a
/// key of zeros, whose shift of rows moves nothing where all columns are alike.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn substituted(word: u32) -> u32 {
    let columns = _mm_set1_epi32(word.cast_signed());
    _mm_extract_epi32(_mm_aesenclast_si128(columns, _mm_setzero_si128()), 0).cast_unsigned()
}

/// One block.
#[target_feature(enable = "aes,avx2,vaes")]
pub(super) fn encrypt_block(keys: &[[u8; BLOCK]], block: __m128i) -> __m128i {
    let [first, middle @ .., last] = keys else { return block };
    let mut state = _mm_xor_si128(block, cast(*first));
    for key in middle {
        state = _mm_aesenc_si128(state, cast(*key));
    }
    _mm_aesenclast_si128(state, cast(*last))
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
pub(super) fn broadcast(keys: &[[u8; BLOCK]]) -> [__m256i; 15] {
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

#[cfg(test)]
mod tests {
    use crate::simd::tests::{bytes, key};
    use crate::simd::{BLOCK, LANES, Row, Vaes};
    use ::aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, consts::U16};
    use ::aes::{Aes128, Aes192, Aes256};

    fn xor(a: &[u8], b: &[u8]) -> [u8; BLOCK] {
        std::array::from_fn(|i| a[i] ^ b[i])
    }

    /// CBC by the `aes` crate, block by block.
    fn chained<C>(key: &[u8], iv: [u8; BLOCK], plain: &[[u8; BLOCK]]) -> Vec<[u8; BLOCK]>
    where
        C: KeyInit + BlockCipherEncrypt<BlockSize = U16> + BlockCipherDecrypt<BlockSize = U16>,
    {
        let cipher = C::new_from_slice(key).unwrap();
        let mut last = iv;
        plain
            .iter()
            .map(|block| {
                let mut block: Array<u8, U16> = xor(block, &last).into();
                cipher.encrypt_block(&mut block);
                last = block.into();
                last
            })
            .collect()
    }

    fn expected(key: &[u8], iv: [u8; BLOCK], plain: &[[u8; BLOCK]]) -> Vec<[u8; BLOCK]> {
        match key.len() {
            16 => chained::<Aes128>(key, iv, plain),
            24 => chained::<Aes192>(key, iv, plain),
            _ => chained::<Aes256>(key, iv, plain),
        }
    }

    /// The answers of FIPS 197, appendix C.
    #[test]
    fn aes_gives_the_answers_of_the_standard() {
        let all = key("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
        let plain: [u8; BLOCK] = key("00112233445566778899aabbccddeeff").try_into().unwrap();
        let answers = [
            (16, "69c4e0d86a7b0430d8cdb78070b4c55a"),
            (24, "dda97ca4864cdfe06eaf70a0ec0d7191"),
            (32, "8ea2b7ca516745bfeafc49904b496089"),
        ];
        for (length, answer) in answers {
            let Some(aes) = Vaes::new(&all[..length]) else { return };
            let (mut chain, mut rows) = ([[0; BLOCK]; LANES], [[plain; LANES]]);
            aes.encrypt_rows(&mut chain, &mut rows);
            assert!(rows[0].iter().chain(&chain).all(|block| block[..] == key(answer)));
            let mut opened = [[0; BLOCK]];
            aes.decrypt_chained(&[0; BLOCK], &rows[0][..1], &mut opened);
            assert_eq!(opened, [plain]);
        }
    }

    /// Every way in which a length falls apart into registers, and every
    /// byte in the key schedule.
    #[test]
    fn aes_is_the_aes_crates_for_every_count_of_blocks_and_every_byte_of_a_key() {
        for length in [16, 24, 32] {
            for byte in 0..=255 {
                let mut key = bytes(length, u32::from(byte) + 7);
                key[usize::from(byte) % length] = byte;
                key[length - 1] = byte;
                let Some(aes) = Vaes::new(&key) else { return };
                let iv: [u8; BLOCK] = bytes(BLOCK, u32::from(byte)).try_into().unwrap();
                let plain = bytes(usize::from(byte % 70) * BLOCK, 3);
                let (plain, _) = plain.as_chunks::<BLOCK>();
                let sealed = expected(&key, iv, plain);
                let mut opened = vec![[0xEE; BLOCK]; plain.len()];
                aes.decrypt_chained(&iv, &sealed, &mut opened);
                assert!(opened == plain, "key of {length}, {} blocks", plain.len());

                let mut rows: Vec<Row> = plain
                    .iter()
                    .map(|block| std::array::from_fn(|i| xor(block, &[u8::try_from(i).unwrap(); BLOCK])))
                    .collect();
                let lanes: Vec<_> = (0..LANES)
                    .map(|lane| expected(&key, iv, &rows.iter().map(|row| row[lane]).collect::<Vec<_>>()))
                    .collect();
                let mut chain = [iv; LANES];
                aes.encrypt_rows(&mut chain, &mut rows);
                for (number, lane) in lanes.iter().enumerate() {
                    assert!(rows.iter().map(|row| row[number]).eq(lane.iter().copied()));
                    assert_eq!(chain[number], lane.last().copied().unwrap_or(iv));
                }
            }
        }
    }

    #[test]
    fn only_aes_key_lengths_have_a_schedule() {
        for length in 0..40 {
            assert!(matches!(length, 16 | 24 | 32) || Vaes::new(&vec![0; length]).is_none());
        }
    }
}
