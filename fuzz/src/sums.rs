//! Hashes: however the bytes are parted, the sums are those of plain
//! implementations.

use etcd_rekey::etcd::Checksum;
use etcd_rekey::etcd::sha256::{BLOCK, Sha256};
use sha2::Digest;

/// CRC-32C, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0x82f6_3b78 & (sum & 1).wrapping_neg()))
    })
}

/// Holds the promise to bytes in two parts; the last byte says where each is
/// cut.
pub fn check(input: &[u8]) {
    let (cut, input) = super::choice(input);
    let (mine, theirs) = super::halves(input);
    let sha2 = |bytes: &[u8]| -> [u8; 32] { sha2::Sha256::digest(bytes).into() };
    let parted = |bytes: &'_ [u8]| -> (usize, usize) {
        let blocks = bytes.len() / BLOCK;
        (usize::from(cut) % (blocks + 1), blocks)
    };
    let blocks = |bytes: &[u8]| bytes.as_chunks::<BLOCK>().0.to_vec();
    let tail = |bytes: &[u8]| bytes.as_chunks::<BLOCK>().1.to_vec();
    let (mut one, mut other) = (Sha256::default(), Sha256::default());
    let (at, _) = parted(mine);
    let (our_blocks, their_blocks) = (blocks(mine), blocks(theirs));
    one.update(&our_blocks[..at]);
    one.update_both(&our_blocks[at..], &mut other, &their_blocks);
    assert_eq!(one.finish(&tail(mine)), sha2(mine));
    assert_eq!(other.finish(&tail(theirs)), sha2(theirs));
    assert_eq!(Sha256::default().finish(mine), sha2(mine));

    let sum = |parts: &[&[u8]]| {
        let mut all = Checksum::default();
        for part in parts {
            let mut next = Checksum::default();
            next.update(part);
            all.append(&next);
        }
        all.value()
    };
    let at = usize::from(cut).min(mine.len());
    let whole = [mine, theirs].concat();
    assert_eq!(sum(&[&mine[..at], &mine[at..], theirs]), crc32c(&whole));
    assert_eq!(sum(&[&whole]), crc32c(&whole));
}
