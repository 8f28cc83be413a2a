//! The provider `aescbc`: a random 16-byte IV, then AES-CBC over the padded
//! plaintext (PKCS#7). There is no authentication: a wrong key passes the
//! padding check about once in 256 times, so that what comes out must be
//! looked at ([`super::object`]).
//!
//! Source: kubernetes `pkg/storage/value/encrypt/aes/aes.go`.

use super::cipher::{NotOpened, sized};
use super::lanes::{Row, encrypt};
use crate::simd::Vaes;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, consts::U16};
use aes::{Aes128, Aes192, Aes256};

/// Bytes of a block, and of the IV.
pub const BLOCK: usize = 16;
/// How many values are encrypted side by side: the widest backend of the
/// `aes` crate takes 64 blocks at a time.
const LANES: usize = 64;
/// How many blocks are decrypted at once: ciphertext and plaintext of so many
/// stay in the first-level cache between the two passes over them.
const RUN: usize = 128;

type Block = Array<u8, U16>;

/// AES-CBC under one key. The ciphers wipe their key schedules when dropped.
#[derive(Clone)]
pub enum AesCbc {
    /// A 16-byte key.
    Aes128(Box<Aes128>),
    /// A 24-byte key.
    Aes192(Box<Aes192>),
    /// A 32-byte key.
    Aes256(Box<Aes256>),
    /// A key of any of these lengths, where the processor has VAES.
    Vaes(Box<Vaes>),
}

impl AesCbc {
    /// The cipher under this key; `None` when it is not 16, 24 or 32 bytes long.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        Vaes::new(key).map(|vaes| Self::Vaes(Box::new(vaes))).or_else(|| Self::portable(key))
    }

    /// The same by the `aes` crate, for every processor.
    fn portable(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(|aes| Self::Aes128(Box::new(aes))),
            24 => Aes192::new_from_slice(key).ok().map(|aes| Self::Aes192(Box::new(aes))),
            32 => Aes256::new_from_slice(key).ok().map(|aes| Self::Aes256(Box::new(aes))),
            _ => None,
        }
    }

    /// Bytes of IV and ciphertext for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(plain: usize) -> usize {
        BLOCK + (plain / BLOCK + 1) * BLOCK
    }

    /// Decrypts into `out`, which is cleared first.
    ///
    /// # Errors
    /// With upstream's meaning; an IV without a block after it, over which
    /// kube-apiserver panics, is an error as well.
    pub fn open(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), NotOpened> {
        let (iv, body) = parts(payload)?;
        sized(out, body.len());
        self.decrypt(iv, body, out);
        let plain = unpadded(out)?;
        out.truncate(plain);
        Ok(())
    }

    /// How long the plaintext is, from the last block alone; whether the rest
    /// opens to anything of use, only [`AesCbc::open`] can tell.
    ///
    /// # Errors
    /// As [`AesCbc::open`].
    pub fn opened_len(&self, payload: &[u8]) -> Result<usize, NotOpened> {
        parts(payload)?;
        let (before, last) = payload.split_at(payload.len() - BLOCK);
        let mut plain = zeroize::Zeroizing::new([0; BLOCK]);
        self.decrypt(&before[before.len() - BLOCK..], last, plain.as_mut_slice());
        Ok(before.len() - BLOCK + unpadded(plain.as_slice())?)
    }

    fn decrypt(&self, iv: &[u8], body: &[u8], out: &mut [u8]) {
        match self {
            Self::Aes128(aes) => decrypt(&**aes, iv, body, out),
            Self::Aes192(aes) => decrypt(&**aes, iv, body, out),
            Self::Aes256(aes) => decrypt(&**aes, iv, body, out),
            Self::Vaes(aes) => {
                let iv = iv.first_chunk().copied().unwrap_or_default();
                aes.decrypt_chained(&iv, body.as_chunks().0, out.as_chunks_mut().0);
            }
        }
    }

    /// Appends what [`AesCbc::seal`] encrypts in place: IV, plaintext, padding.
    pub fn place(out: &mut Vec<u8>, iv: &[u8; BLOCK], plain: &[u8]) {
        out.extend_from_slice(iv);
        out.extend_from_slice(plain);
        let pad = BLOCK - plain.len() % BLOCK;
        out.resize(out.len() + pad, u8::try_from(pad).unwrap_or(0));
    }

    /// Encrypts placed values in place, many side by side.
    pub fn seal(&self, values: &mut [&mut [u8]]) {
        match self {
            Self::Aes128(aes) => encrypt(values, chained(&**aes)),
            Self::Aes192(aes) => encrypt(values, chained(&**aes)),
            Self::Aes256(aes) => encrypt(values, chained(&**aes)),
            Self::Vaes(aes) => encrypt(values, |chain, rows, _| aes.encrypt_rows(chain, rows)),
        }
    }
}

/// IV and ciphertext.
fn parts(payload: &[u8]) -> Result<(&[u8], &[u8]), NotOpened> {
    let (iv, body) = payload.split_at_checked(BLOCK).ok_or(NotOpened::TooShort)?;
    if body.len() % BLOCK != 0 {
        return Err(NotOpened::NotMultiple);
    }
    if body.is_empty() {
        return Err(NotOpened::NoBlock);
    }
    Ok((iv, body))
}

/// The length of a padded plaintext without its padding. Upstream bounds the
/// pad by the length of the text only; it never writes more than a block.
fn unpadded(padded: &[u8]) -> Result<usize, NotOpened> {
    let pad = padded.last().copied().unwrap_or(0);
    let length = padded.len().checked_sub(usize::from(pad)).ok_or(NotOpened::Padding)?;
    if pad == 0 || usize::from(pad) > BLOCK || padded[length..].iter().any(|byte| *byte != pad) {
        return Err(NotOpened::Padding);
    }
    Ok(length)
}

/// Decrypts all blocks by themselves, and then undoes the chaining: two plain
/// loops, which the compiler and the `aes` crate's backends turn into better
/// code than the block mode of the `cbc` crate.
fn decrypt<C>(aes: &C, iv: &[u8], body: &[u8], out: &mut [u8])
where
    C: BlockCipherDecrypt<BlockSize = U16>,
{
    let mut previous = iv;
    for (sealed, plain) in body.chunks(RUN * BLOCK).zip(out.chunks_mut(RUN * BLOCK)) {
        let (from, _) = Block::slice_as_chunks(sealed);
        let (to, _) = Block::slice_as_chunks_mut(plain);
        // Both have the same length.
        let _ = aes.decrypt_blocks_b2b(from, to);
        let (first, rest) = plain.split_at_mut(BLOCK);
        xor(first, previous);
        xor(rest, sealed);
        previous = &sealed[sealed.len() - BLOCK..];
    }
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    for (byte, with) in bytes.iter_mut().zip(with) {
        *byte ^= with;
    }
}

/// Encrypts rows of blocks with the `aes` crate, each of the first `width`
/// lanes chained on its own.
fn chained<C>(aes: &C) -> impl Fn(&mut Row<LANES>, &mut [Row<LANES>], usize)
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    |chain, rows, width| {
        for row in rows {
            let (row, _) = row.as_flattened_mut().split_at_mut(width * BLOCK);
            xor(row, chain.as_flattened());
            let (blocks, _) = Block::slice_as_chunks_mut(row);
            aes.encrypt_blocks(blocks);
            chain.as_flattened_mut()[..width * BLOCK].copy_from_slice(row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cbc::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lanes_encrypt_as_one_value_at_a_time_does(
            key in proptest::collection::vec(any::<u8>(), 32),
            length in prop_oneof![Just(16), Just(24), Just(32)],
            portable in any::<bool>(),
            lengths in proptest::collection::vec(0usize..700, 0..150),
        ) {
            let plains: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(i, n)| vec![u8::try_from(i % 251).unwrap(); *n]).collect();
            let iv = |i: usize| [u8::try_from(i % 256).unwrap(); 16];
            let mut placed: Vec<Vec<u8>> = plains.iter().enumerate().map(|(i, plain)| {
                let mut out = Vec::new();
                AesCbc::place(&mut out, &iv(i), plain);
                out
            }).collect();
            let key = &key[..length];
            let cipher = if portable { AesCbc::portable(key) } else { AesCbc::new(key) }.unwrap();
            cipher.seal(&mut placed.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
            for (i, (plain, sealed)) in plains.iter().zip(&placed).enumerate() {
                let expected = match length {
                    16 => reference::<Aes128>(key, iv(i), plain),
                    24 => reference::<Aes192>(key, iv(i), plain),
                    _ => reference::<Aes256>(key, iv(i), plain),
                };
                prop_assert_eq!(&sealed[16..], expected);
                prop_assert_eq!(sealed.len(), AesCbc::sealed_len(plain.len()));
                let mut out = Vec::new();
                cipher.open(sealed, &mut out).unwrap();
                prop_assert_eq!(&out, plain);
                prop_assert_eq!(cipher.opened_len(sealed), Ok(plain.len()));
            }
        }
    }

    /// The `cbc` crate's.
    fn reference<C>(key: &[u8], iv: [u8; 16], plain: &[u8]) -> Vec<u8>
    where
        C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
    {
        let mut out = plain.to_vec();
        out.resize(plain.len() + 16, 0);
        let encryptor = cbc::Encryptor::<C>::new_from_slices(key, &iv).unwrap();
        encryptor.encrypt_padded::<Pkcs7>(&mut out, plain.len()).unwrap().to_vec()
    }

    #[test]
    fn broken_payloads_have_upstreams_errors() {
        let cipher = AesCbc::new(&[1; 16]).unwrap();
        let mut out = Vec::new();
        assert_eq!(cipher.open(&[0; 15], &mut out), Err(NotOpened::TooShort));
        assert_eq!(cipher.open(&[0; 16], &mut out), Err(NotOpened::NoBlock));
        assert_eq!(cipher.open(&[0; 33], &mut out), Err(NotOpened::NotMultiple));
        assert_eq!(cipher.open(&[0; 32], &mut out), Err(NotOpened::Padding));
        for length in [0, 15, 16, 33, 32] {
            let payload = vec![0; length];
            assert_eq!(cipher.opened_len(&payload).err(), cipher.open(&payload, &mut out).err());
        }
    }

    #[test]
    fn only_whole_padding_of_a_block_or_less_is_taken_off() {
        let padded = |text: &[u8], pad: u8, count: usize| [text, &vec![pad; count]].concat();
        for (bytes, expected) in [
            (padded(b"", 16, 16), Some(0)),
            (padded(&[7; 15], 1, 1), Some(15)),
            (padded(&[7; 13], 3, 3), Some(13)),
            (padded(&[7; 14], 3, 2), None),
            (padded(&[3, 7], 3, 2), None),
            (padded(&[7; 15], 0, 1), None),
            (padded(&[7; 15], 17, 17), None),
            (padded(b"", 16, 8), None),
            (Vec::new(), None),
        ] {
            assert_eq!(unpadded(&bytes).ok(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn values_longer_than_a_run_of_blocks_open_with_and_without_vaes() {
        let plain: Vec<u8> = (0..RUN * BLOCK * 2 + 5).map(|i| u8::try_from(i % 251).unwrap()).collect();
        for cipher in [AesCbc::portable(&[1; 16]), AesCbc::new(&[1; 16])] {
            let cipher = cipher.unwrap();
            let mut sealed = Vec::new();
            AesCbc::place(&mut sealed, &[5; BLOCK], &plain);
            cipher.seal(&mut [&mut sealed]);
            assert_eq!(sealed[BLOCK..], reference::<Aes128>(&[1; 16], [5; BLOCK], &plain));
            let mut out = Vec::new();
            cipher.open(&sealed, &mut out).unwrap();
            assert!(out == plain);
        }
    }

    #[test]
    fn only_aes_key_lengths_are_keys() {
        let taken: Vec<usize> = (0..40).filter(|n| AesCbc::new(&vec![0; *n]).is_some()).collect();
        assert_eq!(taken, [16, 24, 32]);
    }
}
