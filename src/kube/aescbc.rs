//! The provider `aescbc`: a random 16-byte IV, then AES-CBC over the padded
//! plaintext (PKCS#7). There is no authentication: a wrong key passes the
//! padding check about once in 256 times, so that what comes out must be
//! looked at ([`super::object`]).
//!
//! Source: kubernetes `pkg/storage/value/encrypt/aes/aes.go`.

use super::cipher::{NotOpened, replace};
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, InnerIvInit, KeyInit, consts::U16,
};
use aes::{Aes128, Aes192, Aes256};

/// Bytes of a block, and of the IV.
pub const BLOCK: usize = 16;
/// How many values are encrypted side by side. CBC chains the blocks of one
/// value, so a single value keeps only a fraction of the AES unit busy; the
/// widest backend of the `aes` crate takes 64 blocks at a time.
const LANES: usize = 64;

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
}

impl AesCbc {
    /// The cipher under this key; `None` when it is not 16, 24 or 32 bytes long.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
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
        let (iv, body) = payload.split_first_chunk::<BLOCK>().ok_or(NotOpened::TooShort)?;
        if body.len() % BLOCK != 0 {
            return Err(NotOpened::NotMultiple);
        }
        if body.is_empty() {
            return Err(NotOpened::NoBlock);
        }
        replace(out, body);
        let (blocks, _) = Block::slice_as_chunks_mut(out);
        match self {
            Self::Aes128(aes) => decrypt(&**aes, iv, blocks),
            Self::Aes192(aes) => decrypt(&**aes, iv, blocks),
            Self::Aes256(aes) => decrypt(&**aes, iv, blocks),
        }
        let pad = out.last().copied().unwrap_or(0);
        let length = usize::from(pad);
        // Upstream bounds the pad by the length of the text only; it never
        // writes more than a block.
        if pad == 0 || length > BLOCK || out[out.len() - length..].iter().any(|byte| *byte != pad) {
            return Err(NotOpened::Padding);
        }
        out.truncate(out.len() - length);
        Ok(())
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
            Self::Aes128(aes) => encrypt(&**aes, values),
            Self::Aes192(aes) => encrypt(&**aes, values),
            Self::Aes256(aes) => encrypt(&**aes, values),
        }
    }
}

fn decrypt<C>(aes: &C, iv: &[u8; BLOCK], blocks: &mut [Block])
where
    C: BlockCipherDecrypt<BlockSize = U16> + Clone,
{
    cbc::Decryptor::<&C>::inner_iv_init(aes, iv.into()).decrypt_blocks(blocks);
}

/// One value on its way: its blocks, and the next one to encrypt.
struct Lane<'v> {
    blocks: &'v mut [[u8; BLOCK]],
    next: usize,
}

/// Runs up to [`LANES`] values in step. A lane whose value is done takes the
/// next one, so values of unequal length keep all lanes busy but at the end.
fn encrypt<C: BlockCipherEncrypt<BlockSize = U16>>(aes: &C, values: &mut [&mut [u8]]) {
    let mut waiting = values.iter_mut().filter_map(|value| {
        let (blocks, _) = value.as_chunks_mut::<BLOCK>();
        let iv = *blocks.first()?;
        (blocks.len() > 1).then_some((iv, Lane { blocks, next: 1 }))
    });
    let mut chain = [Block::default(); LANES];
    let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(LANES);
    for ((iv, lane), state) in waiting.by_ref().take(LANES).zip(&mut chain) {
        *state = iv.into();
        lanes.push(lane);
    }
    while let Some(steps) = lanes.iter().map(|lane| lane.blocks.len() - lane.next).min() {
        for _ in 0..steps {
            for (lane, state) in lanes.iter().zip(&mut chain) {
                for (byte, plain) in state.iter_mut().zip(&lane.blocks[lane.next]) {
                    *byte ^= plain;
                }
            }
            // A full batch is cheaper than a handful of single blocks; the
            // idle lanes' results are not used.
            if lanes.len() > 4 {
                aes.encrypt_blocks(&mut chain);
            } else {
                aes.encrypt_blocks(&mut chain[..lanes.len()]);
            }
            for (lane, state) in lanes.iter_mut().zip(&chain) {
                lane.blocks[lane.next] = (*state).into();
                lane.next += 1;
            }
        }
        let mut i = 0;
        while i < lanes.len() {
            if lanes[i].next < lanes[i].blocks.len() {
                i += 1;
            } else if let Some((iv, lane)) = waiting.next() {
                chain[i] = iv.into();
                lanes[i] = lane;
                i += 1;
            } else {
                lanes.swap_remove(i);
                chain[i] = chain[lanes.len()];
            }
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
            key in prop_oneof![proptest::collection::vec(any::<u8>(), 32..=32)],
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
            let cipher = AesCbc::new(&key).unwrap();
            cipher.seal(&mut placed.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
            for (i, (plain, sealed)) in plains.iter().zip(&placed).enumerate() {
                let mut expected = plain.clone();
                expected.resize(plain.len() + 16, 0);
                let expected = cbc::Encryptor::<Aes256>::new_from_slices(&key, &iv(i)).unwrap()
                    .encrypt_padded::<Pkcs7>(&mut expected, plain.len()).unwrap();
                prop_assert_eq!(&sealed[16..], expected);
                prop_assert_eq!(sealed.len(), AesCbc::sealed_len(plain.len()));
                let mut out = Vec::new();
                cipher.open(sealed, &mut out).unwrap();
                prop_assert_eq!(&out, plain);
            }
        }
    }

    #[test]
    fn broken_payloads_have_upstreams_errors() {
        let cipher = AesCbc::new(&[1; 16]).unwrap();
        let mut out = Vec::new();
        assert_eq!(cipher.open(&[0; 15], &mut out), Err(NotOpened::TooShort));
        assert_eq!(cipher.open(&[0; 16], &mut out), Err(NotOpened::NoBlock));
        assert_eq!(cipher.open(&[0; 33], &mut out), Err(NotOpened::NotMultiple));
        assert_eq!(cipher.open(&[0; 32], &mut out), Err(NotOpened::Padding));
    }

    #[test]
    fn only_aes_key_lengths_are_keys() {
        let taken: Vec<usize> = (0..40).filter(|n| AesCbc::new(&vec![0; *n]).is_some()).collect();
        assert_eq!(taken, [16, 24, 32]);
    }
}
