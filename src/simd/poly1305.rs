//! Poly1305, four blocks at a time: limbs of 26 bits, limb n of all four in
//! one register. Nothing depends on what the key or the text is.
//!
//! Sources: RFC 8439, 2.5; M. Goll and S. Gueron, "Vectorization of Poly1305
//! message authentication code" (2015).

use bytemuck::{cast, pod_read_unaligned};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_mul_epu32, _mm256_or_si256, _mm256_set1_epi64x,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
};
use std::hint::black_box;

const BLOCK: usize = 16;
/// Blocks in a register's lanes.
const LANES: usize = 4;
/// Bytes of a block a lane.
const GROUP: usize = BLOCK * LANES;
/// Bits of a limb.
const BITS: u32 = 26;
const LIMB: u64 = (1 << BITS) - 1;
/// The bit above a whole block's 128, in the highest limb.
const ABOVE: u64 = 1 << 24;

/// A number of 130 bits, of which a limb may run over a little.
type Number = [u64; 5];
/// The same of each lane.
type Numbers = [__m256i; 5];

/// The tag of the text under a key for it alone.
#[target_feature(enable = "avx2")]
pub(super) fn tag(key: &[u8; 32], text: &[u8]) -> [u8; BLOCK] {
    let [r, s]: [u128; 2] = cast(*key);
    let r = limbs(r & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff);
    let mut sums: Numbers = [cast([0u64; LANES]); 5];

    // The blocks before the first that is whole are zero, and zero adds
    // nothing: so the rest are groups, and every lane is multiplied alike.
    let blocks = text.len().div_ceil(BLOCK);
    let empty = blocks.next_multiple_of(LANES) - blocks;
    let (first, text) = text.split_at(text.len().min((LANES - empty) * BLOCK));
    let (groups, last) = text.as_chunks::<GROUP>();

    let two = product(&r, &r);
    let four = product(&two, &two);
    if !first.is_empty() {
        sums = in_part(first, empty);
    }
    let step = Factor::new([&four; LANES]);
    // `black_box`: the compiler must not know in the loops what is above the
    // low 32 bits of lanes. Where it knows, it masks nothing there, forgets
    // why, and multiplies 64 bits by 64, at three times the cost.
    //
    // Of two groups the first can be multiplied while the sums are, and one
    // carry does for both.
    let (pairs, groups) = groups.as_chunks::<2>();
    if !pairs.is_empty() {
        let two_steps = Factor::new([&product(&four, &four); LANES]);
        sums = black_box(sums);
        for [one, two] in pairs {
            let (two_steps, step) = (black_box(&two_steps), black_box(&step));
            let products = added(two_steps.times(&sums), step.times(&numbers(one, [ABOVE; LANES])));
            sums = added(lanes_carried(products), numbers(two, [ABOVE; LANES]));
        }
    }
    sums = black_box(sums);
    for group in groups {
        let step = black_box(&step);
        sums = added(lanes_carried(step.times(&sums)), numbers(group, [ABOVE; LANES]));
    }
    if !last.is_empty() {
        sums = added(lanes_carried(step.times(&sums)), in_part(last, 0));
    }

    // Lanes stand for blocks as `numbers` has them.
    let three = product(&two, &r);
    let sums = lanes_carried(Factor::new([&four, &two, &three, &r]).times(&sums));
    let mut sum = [0; 5];
    for (sum, lanes) in sum.iter_mut().zip(sums) {
        let lanes: [u64; LANES] = cast(lanes);
        *sum = lanes[0] + lanes[1] + lanes[2] + lanes[3];
    }
    whole(&carried(&carried(&sum))).wrapping_add(s).to_le_bytes()
}

/// A number to multiply by, of each lane, and its limbs by five: what runs
/// over bit 130 comes back at bit 0 so often.
struct Factor {
    limbs: Numbers,
    by_five: Numbers,
}

impl Factor {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new([a, b, c, d]: [&Number; LANES]) -> Self {
        let mut new = Self { limbs: [cast([0u64; LANES]); 5], by_five: [cast([0u64; LANES]); 5] };
        for i in 0..5 {
            new.limbs[i] = cast([a[i], b[i], c[i], d[i]]);
            new.by_five[i] = _mm256_add_epi64(new.limbs[i], _mm256_slli_epi64::<2>(new.limbs[i]));
        }
        new
    }

    /// Limbs of the other may have up to 28 bits, and those of what comes out
    /// have less than 60.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn times(&self, other: &Numbers) -> Numbers {
        let mut sums = [cast([0u64; LANES]); 5];
        for (at, sum) in sums.iter_mut().enumerate() {
            for (i, limb) in other.iter().enumerate() {
                let factor = if i <= at { self.limbs[at - i] } else { self.by_five[at + 5 - i] };
                *sum = _mm256_add_epi64(*sum, _mm256_mul_epu32(*limb, factor));
            }
        }
        sums
    }
}

/// Carries until limbs have 26 bits, and two of them a little more; two
/// carries run side by side.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes_carried(mut numbers: Numbers) -> Numbers {
    let limb = _mm256_set1_epi64x(LIMB.cast_signed());
    for (from, to) in [(0, 1), (3, 4), (1, 2), (4, 0), (2, 3), (0, 1), (3, 4)] {
        let over = _mm256_srli_epi64::<26>(numbers[from]);
        numbers[from] = _mm256_and_si256(numbers[from], limb);
        if from == 4 {
            numbers[to] = _mm256_add_epi64(numbers[to], _mm256_slli_epi64::<2>(over));
        }
        numbers[to] = _mm256_add_epi64(numbers[to], over);
    }
    numbers
}

#[inline]
#[target_feature(enable = "avx2")]
fn added(mut one: Numbers, other: Numbers) -> Numbers {
    for (one, other) in one.iter_mut().zip(other) {
        *one = _mm256_add_epi64(*one, other);
    }
    one
}

/// The blocks of a group as numbers: the first, third, second and fourth.
/// `above` are the bits above their 128, in the same order.
#[inline]
#[target_feature(enable = "avx2")]
fn numbers(group: &[u8; GROUP], above: [u64; LANES]) -> Numbers {
    let limb = _mm256_set1_epi64x(LIMB.cast_signed());
    let (one, two) = group.split_at(GROUP / 2);
    let (one, two) = (pod_read_unaligned(one), pod_read_unaligned(two));
    let (low, high) = (_mm256_unpacklo_epi64(one, two), _mm256_unpackhi_epi64(one, two));
    let middle = _mm256_or_si256(_mm256_srli_epi64::<52>(low), _mm256_slli_epi64::<12>(high));
    [
        _mm256_and_si256(low, limb),
        _mm256_and_si256(_mm256_srli_epi64::<26>(low), limb),
        _mm256_and_si256(middle, limb),
        _mm256_and_si256(_mm256_srli_epi64::<14>(high), limb),
        _mm256_or_si256(_mm256_srli_epi64::<40>(high), cast(above)),
    ]
}

/// A group of which some blocks are missing before `bytes`, and some bytes
/// behind them.
#[inline]
#[target_feature(enable = "avx2")]
fn in_part(bytes: &[u8], empty: usize) -> Numbers {
    let mut group = [0; GROUP + 1];
    let end = empty * BLOCK + bytes.len();
    group[empty * BLOCK..end].copy_from_slice(bytes);
    // The bit above the last block is above its own last byte; when it is
    // whole, that is outside.
    group[end] = 1;
    let whole = end / BLOCK;
    let mut above = [0; LANES];
    for (above, block) in above.iter_mut().zip([0, 2, 1, 3]) {
        *above = if block >= empty && block < whole { ABOVE } else { 0 };
    }
    numbers(group.first_chunk().unwrap_or(&[0; GROUP]), above)
}

fn limbs(number: u128) -> Number {
    let [low, high]: [u64; 2] = cast(number);
    [low & LIMB, low >> 26 & LIMB, (low >> 52 | high << 12) & LIMB, high >> 14 & LIMB, high >> 40]
}

fn product(one: &Number, other: &Number) -> Number {
    let mut sum = [0; 5];
    for (i, a) in one.iter().enumerate() {
        for (j, b) in other.iter().enumerate() {
            sum[(i + j) % 5] += a * b * if i + j < 5 { 1 } else { 5 };
        }
    }
    carried(&carried(&sum))
}

/// What runs over a limb goes to the next. Twice, and no limb runs over.
fn carried(number: &Number) -> Number {
    let (mut carried, mut over) = (*number, 0);
    for limb in &mut carried {
        *limb += over;
        over = *limb >> BITS;
        *limb &= LIMB;
    }
    carried[0] += over * 5;
    carried
}

/// The low 128 bits of the number modulo 2^130 - 5. The number is less than
/// 2^130: it is the modulus or more when five more run over.
fn whole(number: &Number) -> u128 {
    let over = number.iter().fold(5, |over, limb| (limb + over) >> BITS);
    let low = number.iter().rev().fold(0u128, |above, limb| above << BITS | u128::from(*limb));
    low.wrapping_add(u128::from(over * 5))
}

#[cfg(test)]
mod tests {
    use crate::simd::Avx2;
    use crate::simd::tests::{bytes, key};
    use ::poly1305::Poly1305;
    use ::poly1305::universal_hash::KeyInit;

    fn ours(avx2: Avx2, key: &[u8; 32], text: &[u8]) -> [u8; 16] {
        let mut tag = [0; 16];
        avx2.poly1305(key, text, &mut tag);
        tag
    }

    fn theirs(key: &[u8; 32], text: &[u8]) -> [u8; 16] {
        Poly1305::new(key.into()).compute_unpadded(text).into()
    }

    /// RFC 8439, 2.5.2 and appendix A.3: key, text in hexadecimal, tag.
    #[test]
    fn the_answers_of_the_standard() {
        let Some(avx2) = Avx2::detect() else { return };
        let ietf = "Any submission to the IETF intended by the Contributor for publication as all or part of an IETF \
            Internet-Draft or RFC and any statement made within the context of an IETF activity is considered an \
            \"IETF Contribution\". Such statements include oral statements in IETF sessions, as well as written and \
            electronic communications made at any time or place, which are addressed to";
        let poem = "'Twas brillig, and the slithy toves\nDid gyre and gimble in the wabe:\nAll mimsy were the \
            borogoves,\nAnd the mome raths outgrabe.";
        let zero = "00000000000000000000000000000000";
        let ones = "ffffffffffffffffffffffffffffffff";
        let one = "01000000000000000000000000000000";
        let two = "02000000000000000000000000000000";
        let one_and_four = "01000000000000000400000000000000";
        let long = "e33594d7505e43b900000000000000003394d7505e4379cd01000000000000000000000000000000000000000000\
            000001000000000000000000000000000000";
        let group = "Cryptographic Forum Research Group";
        let (two_r, two_s) = ("85d6be7857556d337f4452fe42d506a8", "0103808afb0db2fd4abff6af4149f51b");
        let (s, poem_r, poem_s) = (
            "36e5f6b5c5e06070f0efca96227a863e",
            "1c9240a5eb55d38af333888604f6b5f0",
            "473917c1402b80099dca5cbc207075c0",
        );
        let answers: [(&str, &str, Vec<u8>, &str); 12] = [
            (two_r, two_s, group.into(), "a8061dc1305136c6c22b8baf0c0127a9"),
            (zero, zero, vec![0; 64], zero),
            (zero, s, ietf.into(), s),
            (s, zero, ietf.into(), "f3477e7cd95417af89a6b8794c310cf0"),
            (poem_r, poem_s, poem.into(), "4541669a7eaaee61e708dc7cbcc5eb62"),
            (two, zero, key(ones), "03000000000000000000000000000000"),
            (two, ones, key(two), "03000000000000000000000000000000"),
            (
                one,
                zero,
                key(&format!("{ones}f0{}11000000000000000000000000000000", &ones[2..])),
                "05000000000000000000000000000000",
            ),
            (one, zero, key(&format!("{ones}fb{}{}", "fe".repeat(15), "01".repeat(16))), zero),
            (two, zero, key(&format!("fd{}", &ones[2..])), "faffffffffffffffffffffffffffffff"),
            (one_and_four, zero, key(long), "14000000000000005500000000000000"),
            (one_and_four, zero, key(&long[..96]), "13000000000000000000000000000000"),
        ];
        for (number, (r, s, text, tag)) in answers.into_iter().enumerate() {
            let key_of_it: [u8; 32] = key(&format!("{r}{s}")).try_into().unwrap();
            assert_eq!(ours(avx2, &key_of_it, &text)[..], key(tag), "answer {number}");
        }
    }

    #[test]
    fn every_length_has_the_poly1305_crates_tag() {
        let Some(avx2) = Avx2::detect() else { return };
        for length in (0..1100).chain([4095, 4096, 8191, 8192, 8193, 70_001]) {
            let seed = u32::try_from(length).unwrap();
            let (key, text) = (bytes(32, seed + 1).try_into().unwrap(), bytes(length, seed + 5000));
            assert_eq!(ours(avx2, &key, &text), theirs(&key, &text), "{length} bytes");
        }
    }

    /// Blocks, r and s out of numbers whose sums and products carry far, or
    /// come to the modulus or just beside it.
    #[test]
    fn every_carry_is_the_poly1305_crates() {
        let Some(avx2) = Avx2::detect() else { return };
        let beside =
            |end: u8| u128::from_le_bytes([[end].as_slice(), &[0xff; 15]].concat().try_into().unwrap());
        let blocks = [
            0,
            1,
            2,
            5,
            u128::MAX,
            beside(0xfa),
            beside(0xfb),
            beside(0xfc),
            1 << 127,
            u128::from(u64::MAX),
            u128::MAX << 64,
            (1 << 26) - 1,
            u128::MAX << 104,
        ];
        let keys = [0, 1, 2, 4, u128::MAX, 1 << 123, 1 << 64, 0x0fff_fffc << 96, 0x0fff_ffff];
        let mut choices = bytes(200_000, 11).into_iter().map(usize::from).cycle();
        let mut any = |of: &[u128]| of[choices.next().unwrap_or(0) % of.len()].to_le_bytes();
        for case in 0..6000 {
            let key: [u8; 32] = [any(&keys), any(&blocks)].concat().try_into().unwrap();
            let text: Vec<u8> = (0..case % 19).flat_map(|_| any(&blocks)).collect();
            let cut = &text[..text.len() - (case / 19 % 16).min(text.len())];
            assert_eq!(ours(avx2, &key, cut), theirs(&key, cut), "{key:?}, {cut:?}");
        }
        // One and two and three times the modulus, and beside them.
        let one = [1u128.to_le_bytes(), [0; 16]].concat().try_into().unwrap();
        for (count, end) in [3, 7, 11].into_iter().flat_map(|count| (0xe0..=0xff).map(move |end| (count, end)))
        {
            let mut text = vec![0; count * 16];
            text[..16].copy_from_slice(&beside(end).to_le_bytes());
            assert_eq!(ours(avx2, &one, &text), theirs(&one, &text), "{count} blocks, {end}");
        }
        // The largest sums: all ones for as long as the lanes are summed.
        for length in 0..1100 {
            let text = vec![0xff; length];
            assert_eq!(ours(avx2, &[0xff; 32], &text), theirs(&[0xff; 32], &text), "{length} bytes");
        }
    }
}
