//! Five inner loops in the instructions of x86-64 processors: two SHA-256 in
//! step, AES in 256-bit registers (VAES), alone and with the hash of GCM
//! (VPCLMULQDQ), eight blocks of Salsa20 and four of Poly1305 (AVX2). Why
//! they are worth it: `docs/design.md`, "Unsafe code".
//!
//! The loops are safe Rust: the intrinsics are safe in functions that name
//! the features they need, and bytes come and go through `bytemuck`. What is
//! unsafe is one thing only, done in this file: to call such a function from
//! code that does not name its features. The processor must have them, or the
//! behaviour is undefined. It has: a [`Sha`], [`Vaes`], [`Gcm`] or [`Avx2`]
//! can be made in no other way than by asking it, and who has none cannot
//! call.
//!
//! Where there are no such instructions (or on other processors), nobody gets
//! one, and the `sha2`, `aes`, `aes-gcm`, `salsa20` and `poly1305` crates do
//! the work.

#[cfg(target_arch = "x86_64")]
mod aes;
#[cfg(target_arch = "x86_64")]
mod gcm;
#[cfg(target_arch = "x86_64")]
mod ghash;
#[cfg(target_arch = "x86_64")]
mod poly1305;
#[cfg(target_arch = "x86_64")]
mod salsa20;
#[cfg(target_arch = "x86_64")]
mod sha256;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of an AES block.
pub const BLOCK: usize = 16;
/// Bytes of a tag, of Poly1305 and of GCM.
pub const TAG: usize = 16;
/// Values encrypted side by side: as many as fill the latency of the AES
/// unit when a register takes two.
pub const LANES: usize = 16;

/// Bytes of a Salsa20 block.
pub const SALSA_BLOCK: usize = 64;
/// Salsa20 blocks made at a time.
pub const SALSA_BLOCKS: usize = 8;

/// Bytes of the nonces that GCM is done with here.
pub const GCM_NONCE: usize = 12;
/// Blocks of GCM that are encrypted at a time, and hashed with one reduction.
const POWERS: usize = 16;

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

    /// Writes the Poly1305 tag of `text` under a key for it alone.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn poly1305(self, key: &[u8; 32], text: &[u8], tag: &mut [u8; TAG]) {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            *tag = poly1305::tag(key, text);
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

/// An AES key for GCM, of a processor that has VAES and multiplies without
/// carries two blocks at a time (VPCLMULQDQ); wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Gcm {
    aes: Vaes,
    powers: [[u8; BLOCK]; POWERS],
}

impl Gcm {
    /// What a key of 16, 24 or 32 bytes comes to; `None` for others, and on
    /// processors without the instructions.
    #[must_use]
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn new(key: &[u8]) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("vpclmulqdq") {
            let mut new = Self { aes: Vaes::new(key)?, powers: [[0; BLOCK]; POWERS] };
            // SAFETY: two of the features that the function names were just
            // found, the others by `Vaes::new`.
            unsafe { gcm::powers(&new.aes.encrypt[..=new.aes.rounds], &mut new.powers) };
            return Some(new);
        }
        let _ = key;
        None
    }

    #[cfg(target_arch = "x86_64")]
    fn key(&self) -> gcm::Key<'_> {
        gcm::Key { schedule: &self.aes.encrypt[..=self.aes.rounds], powers: &self.powers }
    }

    /// Encrypts in place, and writes the tag.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn seal(&self, nonce: &[u8; GCM_NONCE], aad: &[u8], text: &mut [u8], tag: &mut [u8; TAG]) {
        // SAFETY: a `Gcm` exists only where `new` found the features that the
        // function names.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            *tag = gcm::seal(self.key(), nonce, aad, text);
        }
    }

    /// Decrypts into `plain`, which must be as long, and writes the tag that
    /// `sealed` must have: with another, `plain` is not to be used.
    #[allow(unsafe_code, reason = "the features that the function names were found")]
    pub fn open(
        &self,
        nonce: &[u8; GCM_NONCE],
        aad: &[u8],
        sealed: &[u8],
        plain: &mut [u8],
        tag: &mut [u8; TAG],
    ) {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            *tag = gcm::open(self.key(), nonce, aad, sealed, plain);
        }
    }
}

/// What the tests of the loops share.
#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    /// Bytes without a pattern.
    pub(super) fn bytes(count: usize, seed: u32) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        (0..count).map(|_| next()).collect()
    }

    /// Bytes from hexadecimal.
    pub(super) fn key(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }
}
