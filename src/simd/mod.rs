//! Three inner loops in the instructions of x86-64 processors: two SHA-256 in
//! step, AES in 256-bit registers (VAES), and eight blocks of Salsa20 (AVX2). Why they are worth it:
//! `docs/design.md`, "Unsafe code".
//!
//! The loops are safe Rust: the intrinsics are safe in functions that name
//! the features they need, and bytes come and go through `bytemuck`. What is
//! unsafe is one thing only, done in this file: to call such a function from
//! code that does not name its features. The processor must have them, or the
//! behaviour is undefined. It has: a [`Sha`], [`Vaes`] or [`Avx2`] can be
//! made in no other way than by asking it, and who has none cannot call.
//!
//! Where there are no such instructions (or on other processors), nobody gets
//! one, and the `sha2`, `aes` and `salsa20` crates do the work.

#[cfg(target_arch = "x86_64")]
mod aes;
#[cfg(target_arch = "x86_64")]
mod salsa20;
#[cfg(target_arch = "x86_64")]
mod sha256;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of an AES block.
pub const BLOCK: usize = 16;
/// Values encrypted side by side: as many as fill the latency of the AES
/// unit when a register takes two.
pub const LANES: usize = 16;

/// Bytes of a Salsa20 block.
pub const SALSA_BLOCK: usize = 64;
/// Salsa20 blocks made at a time.
pub const SALSA_BLOCKS: usize = 8;

/// One block of each lane.
pub type Row = [[u8; BLOCK]; LANES];

/// The processor has the SHA extensions.
#[derive(Debug, Clone, Copy)]
pub struct Sha(());

impl Sha {
    /// Asks the processor.
    #[must_use]
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("sse4.1")
            && is_x86_feature_detected!("ssse3")
        {
            return Some(Self(()));
        }
        None
    }

    /// Adds blocks to two sums in step: as many of each as the shorter has.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn compress_two(
        self,
        a: &mut [u32; 8],
        blocks_a: &[[u8; 64]],
        b: &mut [u32; 8],
        blocks_b: &[[u8; 64]],
    ) {
        // SAFETY: a `Sha` exists only where `detect` found the features that
        // the function names.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            sha256::compress_two(a, blocks_a, b, blocks_b);
        }
    }
}

/// The processor has AVX2.
#[derive(Debug, Clone, Copy)]
pub struct Avx2(());

impl Avx2 {
    /// Asks the processor.
    #[must_use]
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Some(Self(()));
        }
        None
    }

    /// Mixes the key stream of Salsa20 into whole groups of blocks. `state`
    /// is the sixteen words of its specification; the counter in it is moved
    /// on.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn salsa20(self, state: &mut [u32; 16], text: &mut [[u8; SALSA_BLOCK * SALSA_BLOCKS]]) {
        // SAFETY: an `Avx2` exists only where `detect` found the feature that
        // the function names.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            salsa20::apply(state, text);
        }
    }
}

/// An AES key of a processor that has VAES; wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Vaes {
    encrypt: [[u8; BLOCK]; 15],
    decrypt: [[u8; BLOCK]; 15],
    rounds: usize,
}

impl Vaes {
    /// The schedule of a key of 16, 24 or 32 bytes; `None` for others, and on
    /// processors without VAES.
    #[must_use]
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn new(key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if matches!(key.len(), 16 | 24 | 32)
            && is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
        {
            let rounds = key.len() / 4 + 6;
            let mut new = Self { encrypt: Default::default(), decrypt: Default::default(), rounds };
            // SAFETY: the features that the function names were just found.
            unsafe { aes::expand(key, rounds, &mut new.encrypt, &mut new.decrypt) };
            return Some(new);
        }
        let _ = key;
        None
    }

    /// Decrypts the whole blocks of `sealed`, chained (CBC), into `plain`: as
    /// many as fit both.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn decrypt_chained(&self, iv: &[u8; BLOCK], sealed: &[[u8; BLOCK]], plain: &mut [[u8; BLOCK]]) {
        // SAFETY: a `Vaes` exists only where `new` found the features that
        // the function names.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            aes::decrypt_chained(&self.decrypt[..=self.rounds], iv, sealed, plain);
        }
    }

    /// Encrypts rows in place, each lane chained on its own (CBC): `chain`
    /// holds the last ciphertext of every lane, before and after.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn encrypt_rows(&self, chain: &mut Row, rows: &mut [Row]) {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            aes::encrypt_rows(&self.encrypt[..=self.rounds], chain, rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, consts::U16};
    use ::aes::{Aes128, Aes192, Aes256};

    /// Bytes without a pattern.
    fn bytes(count: usize, seed: u32) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        (0..count).map(|_| next()).collect()
    }

    fn key(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

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

    #[test]
    fn sums_in_step_are_the_sha2_crates_for_every_count_of_blocks() {
        let Some(sha) = Sha::detect() else { return };
        for count in 0..70 {
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
