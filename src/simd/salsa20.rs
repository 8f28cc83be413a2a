//! Salsa20, eight blocks at a time: word n of all eight in one register.
//!
//! Source: D. J. Bernstein, "Salsa20 specification" (2005).

use super::{SALSA_BLOCK, SALSA_BLOCKS};
use bytemuck::{bytes_of, cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64, _mm256_xor_si256,
};

/// Words of the state that count blocks: the low one, the high one.
const COUNTER: [usize; 2] = [8, 9];

type Words = [__m256i; 16];

macro_rules! quarter {
    ($x:ident, $a:literal, $b:literal, $c:literal, $d:literal) => {
        $x[$b] = stirred::<7, 25>($x[$b], $x[$a], $x[$d]);
        $x[$c] = stirred::<9, 23>($x[$c], $x[$b], $x[$a]);
        $x[$d] = stirred::<13, 19>($x[$d], $x[$c], $x[$b]);
        $x[$a] = stirred::<18, 14>($x[$a], $x[$d], $x[$c]);
    };
}

/// `word ^ ((one + two) <<< LEFT)`; `RIGHT` is 32 less `LEFT`.
#[inline]
#[target_feature(enable = "avx2")]
fn stirred<const LEFT: i32, const RIGHT: i32>(word: __m256i, one: __m256i, two: __m256i) -> __m256i {
    let sum = _mm256_add_epi32(one, two);
    let turned = _mm256_or_si256(_mm256_slli_epi32::<LEFT>(sum), _mm256_srli_epi32::<RIGHT>(sum));
    _mm256_xor_si256(word, turned)
}

/// See [`super::Avx2::salsa20`].
#[target_feature(enable = "avx2")]
pub(super) fn apply(state: &mut [u32; 16], text: &mut [[u8; SALSA_BLOCK * SALSA_BLOCKS]]) {
    for text in text {
        let mut start: Words = [cast([0u32; 8]); 16];
        for (words, word) in start.iter_mut().zip(*state) {
            *words = _mm256_set1_epi32(word.cast_signed());
        }
        let count = u64::from(state[COUNTER[0]]) | u64::from(state[COUNTER[1]]) << 32;
        let counts: [u64; SALSA_BLOCKS] = std::array::from_fn(|i| count.wrapping_add(i as u64));
        let low = counts.map(|count| (count & 0xffff_ffff) as u32);
        let high = counts.map(|count| (count >> 32) as u32);
        (start[COUNTER[0]], start[COUNTER[1]]) = (cast(low), cast(high));
        let mut x = start;
        for _ in 0..10 {
            quarter!(x, 0, 4, 8, 12);
            quarter!(x, 5, 9, 13, 1);
            quarter!(x, 10, 14, 2, 6);
            quarter!(x, 15, 3, 7, 11);
            quarter!(x, 0, 1, 2, 3);
            quarter!(x, 5, 6, 7, 4);
            quarter!(x, 10, 11, 8, 9);
            quarter!(x, 15, 12, 13, 14);
        }
        for (word, start) in x.iter_mut().zip(start) {
            *word = _mm256_add_epi32(*word, start);
        }
        let (blocks, _) = text.as_chunks_mut::<SALSA_BLOCK>();
        for half in 0..2 {
            for (words, block) in turned(&x, half * 8).into_iter().zip(&mut *blocks) {
                let half = &mut block[half * 32..][..32];
                let mixed = _mm256_xor_si256(words, pod_read_unaligned(half));
                half.copy_from_slice(bytes_of(&mixed));
            }
        }
        let next = count.wrapping_add(SALSA_BLOCKS as u64);
        (state[COUNTER[0]], state[COUNTER[1]]) = ((next & 0xffff_ffff) as u32, (next >> 32) as u32);
    }
}

/// Eight words of eight blocks, from a register a word to a register a block.
#[inline]
#[target_feature(enable = "avx2")]
fn turned(x: &Words, from: usize) -> [__m256i; 8] {
    let pair = |i: usize| {
        let (a, b) = (x[from + i], x[from + i + 1]);
        (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b))
    };
    let (low01, high01) = pair(0);
    let (low23, high23) = pair(2);
    let (low45, high45) = pair(4);
    let (low67, high67) = pair(6);
    // Blocks n and n + 4, first and last four words.
    let first = [
        _mm256_unpacklo_epi64(low01, low23),
        _mm256_unpackhi_epi64(low01, low23),
        _mm256_unpacklo_epi64(high01, high23),
        _mm256_unpackhi_epi64(high01, high23),
    ];
    let last = [
        _mm256_unpacklo_epi64(low45, low67),
        _mm256_unpackhi_epi64(low45, low67),
        _mm256_unpacklo_epi64(high45, high67),
        _mm256_unpackhi_epi64(high45, high67),
    ];
    let mut blocks = [first[0]; 8];
    for n in 0..4 {
        blocks[n] = _mm256_permute2x128_si256::<0x20>(first[n], last[n]);
        blocks[n + 4] = _mm256_permute2x128_si256::<0x31>(first[n], last[n]);
    }
    blocks
}
