//! SHA-256 of two streams in step, by the SHA extensions. A round waits for
//! the one before; the rounds of the other stream go into the gap.
//!
//! Source: FIPS 180-4, 6.2; Intel, "SHA Extensions" (2013), for the order of
//! the words in the registers.

use bytemuck::{cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_set_epi64x, _mm_sha256msg1_epu32,
    _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

/// FIPS 180-4, 4.2.2, four to a register.
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

/// One stream: its state as the instructions want it, and sixteen words of
/// its message.
#[derive(Clone, Copy)]
struct Stream {
    abef: __m128i,
    cdgh: __m128i,
    words: [__m128i; 4],
}

impl Stream {
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn of(state: &[u32; 8]) -> Self {
        let [dcba, hgfe]: [__m128i; 2] = cast(*state);
        let cdab = _mm_shuffle_epi32(dcba, 0xb1);
        let efgh = _mm_shuffle_epi32(hgfe, 0x1b);
        Self { abef: _mm_alignr_epi8(cdab, efgh, 8), cdgh: _mm_blend_epi16(efgh, cdab, 0xf0), words: [dcba; 4] }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn state(&self) -> [u32; 8] {
        let feba = _mm_shuffle_epi32(self.abef, 0x1b);
        let dchg = _mm_shuffle_epi32(self.cdgh, 0xb1);
        cast([_mm_blend_epi16(feba, dchg, 0xf0), _mm_alignr_epi8(dchg, feba, 8)])
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn load(&mut self, block: &[u8; 64]) {
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        for (word, bytes) in self.words.iter_mut().zip(block.as_chunks::<16>().0) {
            *word = _mm_shuffle_epi8(pod_read_unaligned(bytes), big_endian);
        }
    }

    /// Four rounds, and the four words that stand in place of theirs twelve
    /// rounds later.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn rounds(&mut self, number: usize) {
        let words = &mut self.words;
        let sum = _mm_add_epi32(words[number % 4], cast(K[number]));
        self.cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, sum);
        self.abef = _mm_sha256rnds2_epu32(self.abef, self.cdgh, _mm_shuffle_epi32(sum, 0x0e));
        if number < 12 {
            let (next, last) = (words[(number + 1) % 4], words[(number + 3) % 4]);
            let middle = _mm_alignr_epi8(last, words[(number + 2) % 4], 4);
            let first = _mm_sha256msg1_epu32(words[number % 4], next);
            words[number % 4] = _mm_sha256msg2_epu32(_mm_add_epi32(first, middle), last);
        }
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn add(&mut self, before: &Self) {
        self.abef = _mm_add_epi32(self.abef, before.abef);
        self.cdgh = _mm_add_epi32(self.cdgh, before.cdgh);
    }
}

/// Adds blocks to two sums: as many of each as the shorter has.
#[target_feature(enable = "sha,sse4.1,ssse3")]
pub(super) fn compress_two(a: &mut [u32; 8], blocks_a: &[[u8; 64]], b: &mut [u32; 8], blocks_b: &[[u8; 64]]) {
    let (mut one, mut two) = (Stream::of(a), Stream::of(b));
    for (block_a, block_b) in blocks_a.iter().zip(blocks_b) {
        let before = (one, two);
        one.load(block_a);
        two.load(block_b);
        for number in 0..16 {
            one.rounds(number);
            two.rounds(number);
        }
        one.add(&before.0);
        two.add(&before.1);
    }
    *a = one.state();
    *b = two.state();
}

#[cfg(test)]
mod tests {
    use crate::simd::Sha;
    use crate::simd::tests::bytes;

    #[test]
    fn sums_in_step_are_the_sha2_crates_for_every_count_of_blocks() {
        let Some(sha) = Sha::detect() else { return };
        let most = if cfg!(miri) { 4 } else { 70 };
        for count in 0..most {
            let (one, two) = (bytes(count * 64, 1), bytes((count + count % 3) * 64, 2));
            let (one, two) = (one.as_chunks().0, two.as_chunks().0);
            let (mut a, mut b) = ([0x0123_4567; 8], [0x89ab_cdef; 8]);
            let (mut expected_a, mut expected_b) = (a, b);
            sha.compress_two(&mut a, one, &mut b, two);
            sha2::block_api::compress256(&mut expected_a, one);
            sha2::block_api::compress256(&mut expected_b, &two[..count]);
            assert_eq!((a, b), (expected_a, expected_b));
        }
    }
}
