//! SHA-256 in whole blocks, so that two sums can be computed in step.
//!
//! One sum is a chain: each round waits for the one before, and a core spends
//! most of its time waiting. Two chains fill each other's gaps: on one core
//! two sums in step take little more than half of what they take one after
//! the other. The rounds are [`crate::simd`]'s where the processor has the
//! instructions, and else, as for a single sum, the `sha2` crate's.
//!
//! Source: FIPS 180-4.

use crate::simd::Sha;
use sha2::block_api::compress256;

/// Bytes of a block.
pub const BLOCK: usize = 64;

/// The state before the first block (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A running SHA-256.
#[derive(Debug, Clone, Copy)]
pub struct Sha256 {
    state: [u32; 8],
    blocks: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: INITIAL, blocks: 0 }
    }
}

impl Sha256 {
    fn count(&mut self, blocks: usize) {
        self.blocks += u64::try_from(blocks).unwrap_or(0);
    }

    /// Adds whole blocks.
    pub fn update(&mut self, blocks: &[[u8; BLOCK]]) {
        compress256(&mut self.state, blocks);
        self.count(blocks.len());
    }

    /// Adds blocks to each of two sums, in step.
    pub fn update_both(&mut self, mine: &[[u8; BLOCK]], other: &mut Self, theirs: &[[u8; BLOCK]]) {
        let common = mine.len().min(theirs.len());
        let (mine_in_step, mine_left) = mine.split_at(common);
        let (theirs_in_step, theirs_left) = theirs.split_at(common);
        match Sha::detect() {
            Some(sha) => sha.compress_two(&mut self.state, mine_in_step, &mut other.state, theirs_in_step),
            None => in_turn(&mut self.state, mine_in_step, &mut other.state, theirs_in_step),
        }
        self.count(common);
        other.count(common);
        self.update(mine_left);
        other.update(theirs_left);
    }

    /// The sum of everything added so far and of `tail`, which may be of any
    /// length.
    #[must_use]
    pub fn finish(mut self, tail: &[u8]) -> [u8; 32] {
        let (blocks, rest) = tail.as_chunks::<BLOCK>();
        self.update(blocks);
        let bits = (self.blocks * 64 + u64::try_from(rest.len()).unwrap_or(0)) * 8;
        let mut end = rest.to_vec();
        end.push(0x80);
        let room = BLOCK - 8;
        end.resize(if end.len() <= room { room } else { BLOCK + room }, 0);
        end.extend(bits.to_be_bytes());
        self.update(end.as_chunks::<BLOCK>().0);
        let mut sum = [0; 32];
        for (bytes, word) in sum.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        sum
    }
}

/// Block by block in turn: the processor overlaps what it can.
fn in_turn(a: &mut [u32; 8], blocks_a: &[[u8; BLOCK]], b: &mut [u32; 8], blocks_b: &[[u8; BLOCK]]) {
    for (one, two) in blocks_a.iter().zip(blocks_b) {
        compress256(a, std::slice::from_ref(one));
        compress256(b, std::slice::from_ref(two));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::Digest;

    proptest! {
        #[test]
        fn sums_in_step_are_those_of_another_implementation(
            a in proptest::collection::vec(any::<u8>(), 0..1000),
            b in proptest::collection::vec(any::<u8>(), 0..1000),
        ) {
            let ((blocks_a, tail_a), (blocks_b, tail_b)) = (a.as_chunks(), b.as_chunks());
            let (mut sum_a, mut sum_b) = (Sha256::default(), Sha256::default());
            sum_a.update_both(blocks_a, &mut sum_b, blocks_b);
            prop_assert_eq!(sum_a.finish(tail_a), <[u8; 32]>::from(sha2::Sha256::digest(&a)));
            prop_assert_eq!(sum_b.finish(tail_b), <[u8; 32]>::from(sha2::Sha256::digest(&b)));
            let common = blocks_a.len().min(blocks_b.len());
            let (mut one, mut two) = (INITIAL, INITIAL);
            in_turn(&mut one, &blocks_a[..common], &mut two, &blocks_b[..common]);
            let (mut sum_a, mut sum_b) = (Sha256::default(), Sha256::default());
            sum_a.update(&blocks_a[..common]);
            sum_b.update(&blocks_b[..common]);
            prop_assert_eq!((one, two), (sum_a.state, sum_b.state));
        }
    }

    #[test]
    fn every_length_around_a_block_is_padded_right() {
        for length in 0..200 {
            let bytes = vec![7; length];
            assert_eq!(Sha256::default().finish(&bytes), <[u8; 32]>::from(sha2::Sha256::digest(&bytes)));
        }
    }
}
