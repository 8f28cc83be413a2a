//! GHASH (NIST SP 800-38D, 6.4), many blocks for one reduction: each is
//! multiplied by its own power of H, and the products are added up as they
//! are.
//!
//! GHASH counts bits from the other end than processors do. Turned byte by
//! byte its blocks are those of POLYVAL (RFC 8452, 3 and appendix A), whose
//! products are divided by x^128, as they come out of Montgomery's reduction.

use super::{BLOCK, POWERS};
use bytemuck::{cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m128i, __m256i, _mm_shuffle_epi8, _mm_xor_si128, _mm256_broadcastsi128_si256, _mm256_castsi256_si128,
    _mm256_clmulepi64_epi128, _mm256_extracti128_si256, _mm256_set1_epi64x, _mm256_shuffle_epi8,
    _mm256_shuffle_epi32, _mm256_xor_si256, _mm256_zextsi128_si256,
};

/// The last byte first.
const TURNED: [u8; BLOCK] = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
/// The high half of POLYVAL's polynomial, x^128 + x^127 + x^126 + x^121 + 1.
const POLYNOMIAL: u64 = 0xc200_0000_0000_0000;

/// Bytes for which there is one reduction.
pub(super) const CHUNK: usize = POWERS * BLOCK;
/// Bytes in a register.
pub(super) const PAIR: usize = 2 * BLOCK;

/// The powers of H, the highest first: as the blocks of a chunk take them.
#[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
pub(super) fn powers(h: __m128i, powers: &mut [[u8; BLOCK]; POWERS]) {
    // POLYVAL has H times x for it.
    let number: u128 = cast(turned(h));
    let over = 0u128.wrapping_sub(number >> 127);
    let h = number << 1 ^ (over & (u128::from(POLYNOMIAL) << 64 | 1));
    let mut power = cast(h);
    for place in powers.iter_mut().rev() {
        *place = cast(power);
        let mut next = Products::none();
        next.add(_mm256_zextsi128_si256(power), _mm256_zextsi128_si256(cast(h)));
        power = next.reduced();
    }
}

/// A sum over what was hashed.
pub(super) struct Hash<'k> {
    powers: &'k [[u8; BLOCK]; POWERS],
    sum: __m128i,
}

impl<'k> Hash<'k> {
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn new(powers: &'k [[u8; BLOCK]; POWERS]) -> Self {
        Self { powers, sum: cast(0u128) }
    }

    /// Adds a whole chunk.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn chunk(&mut self, chunk: &[u8; CHUNK]) {
        let mut products = self.products();
        for (pair, powers) in chunk.as_chunks().0.iter().zip(self.pairs()) {
            products.pair(pair, powers);
        }
        self.set(products);
    }

    /// To which the products of a chunk are to be added, pair by pair.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn products(&self) -> Products {
        Products { first: _mm256_zextsi128_si256(self.sum), ..Products::none() }
    }

    /// The powers of each pair.
    #[inline]
    pub(super) fn pairs(&self) -> &'k [[u8; PAIR]] {
        self.powers.as_flattened().as_chunks().0
    }

    /// When all were added, they are the new sum.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn set(&mut self, products: Products) {
        self.sum = products.reduced();
    }

    /// Adds bytes; the last block is filled up with zeros.
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn padded(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(CHUNK) {
            let mut products = Products::none();
            let powers = &self.powers[POWERS - part.len().div_ceil(BLOCK)..];
            for (bytes, power) in part.chunks(BLOCK).zip(powers) {
                let mut block = [0; BLOCK];
                block[..bytes.len()].copy_from_slice(bytes);
                let block = _mm_xor_si128(turned(cast(block)), self.sum);
                self.sum = cast(0u128);
                products.add(_mm256_zextsi128_si256(block), _mm256_zextsi128_si256(cast(*power)));
            }
            self.sum = products.reduced();
        }
    }

    /// The hash, with the lengths in bits of what was hashed as last block.
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn finish(mut self, aad: usize, text: usize) -> __m128i {
        let lengths = u128::from(aad as u64 * 8) << 64 | u128::from(text as u64 * 8);
        self.padded(&lengths.to_be_bytes());
        turned(self.sum)
    }
}

#[inline]
#[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
fn turned(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, cast(TURNED))
}

/// Products that were not reduced yet, of 256 bits in three parts that
/// overlap: from bit 0, from bit 64, from bit 128.
pub(super) struct Products {
    /// What the first blocks are added to before they are multiplied.
    first: __m256i,
    low: __m256i,
    middle: __m256i,
    high: __m256i,
}

impl Products {
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    fn none() -> Self {
        let none = cast([0u64; 4]);
        Self { first: none, low: none, middle: none, high: none }
    }

    /// Adds two blocks times their powers.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    pub(super) fn pair(&mut self, blocks: &[u8; PAIR], powers: &[u8; PAIR]) {
        let turn = _mm256_broadcastsi128_si256(cast(TURNED));
        let blocks = _mm256_shuffle_epi8(pod_read_unaligned(blocks), turn);
        self.add(_mm256_xor_si256(blocks, self.first), pod_read_unaligned(powers));
        self.first = cast([0u64; 4]);
    }

    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    fn add(&mut self, blocks: __m256i, powers: __m256i) {
        self.low = _mm256_xor_si256(self.low, _mm256_clmulepi64_epi128::<0x00>(blocks, powers));
        self.high = _mm256_xor_si256(self.high, _mm256_clmulepi64_epi128::<0x11>(blocks, powers));
        self.middle = _mm256_xor_si256(self.middle, _mm256_clmulepi64_epi128::<0x01>(blocks, powers));
        self.middle = _mm256_xor_si256(self.middle, _mm256_clmulepi64_epi128::<0x10>(blocks, powers));
    }

    /// Their sum, divided by x^128: a multiple of the polynomial clears the
    /// low 64 bits, and again the next.
    #[inline]
    #[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
    fn reduced(self) -> __m128i {
        let middle = _mm256_xor_si256(self.middle, cleared(self.low));
        let high = _mm256_xor_si256(self.high, cleared(middle));
        _mm_xor_si128(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high))
    }
}

/// What a number gives to the one 64 bits above it when its low 64 bits are
/// cleared.
#[inline]
#[target_feature(enable = "avx2,pclmulqdq,vpclmulqdq")]
fn cleared(number: __m256i) -> __m256i {
    let polynomial = _mm256_set1_epi64x(POLYNOMIAL.cast_signed());
    let product = _mm256_clmulepi64_epi128::<0x00>(number, polynomial);
    _mm256_xor_si256(_mm256_shuffle_epi32::<0x4e>(number), product)
}
