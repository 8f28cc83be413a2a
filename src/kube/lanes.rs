//! Values encrypted side by side.
//!
//! CBC chains the blocks of one value, so a single value keeps only a fraction
//! of the AES unit busy.

use crate::simd::BLOCK;
use zeroize::Zeroizing;

/// How many blocks of each value are taken into the tile at once. Values lie
/// at like places of their pages, so that walking all of them block by block
/// would have them drive each other out of the first-level cache.
const DEEP: usize = 8;

/// One block of each lane.
pub type Row<const L: usize> = [[u8; BLOCK]; L];

/// One value on its way: its blocks, and the next one to encrypt.
struct Lane<'v> {
    blocks: &'v mut [[u8; BLOCK]],
    next: usize,
}

/// Runs up to `L` values in step, each in a lane of the tile that `rows`
/// encrypts, told the last ciphertext of each lane and how many lanes count.
/// A lane whose value is done takes the next one, so values of unequal length
/// keep all lanes busy but at the end.
pub fn encrypt<const L: usize>(values: &mut [&mut [u8]], rows: impl Fn(&mut Row<L>, &mut [Row<L>], usize)) {
    let mut waiting = values.iter_mut().filter_map(|value| {
        let (blocks, _) = value.as_chunks_mut::<BLOCK>();
        Some((*blocks.first()?, Lane { blocks, next: 1 }))
    });
    let mut chain = [[0; BLOCK]; L];
    let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(L);
    for ((iv, lane), state) in waiting.by_ref().take(L).zip(&mut chain) {
        *state = iv;
        lanes.push(lane);
    }
    let mut tile = Zeroizing::new([[[0; BLOCK]; L]; DEEP]);
    while let Some(steps) = lanes.iter().map(|lane| lane.blocks.len() - lane.next).min() {
        // A full batch is cheaper than a handful of single blocks; the idle
        // lanes' results are not used.
        let width = if lanes.len() > 4 { lanes.len().next_multiple_of(8) } else { lanes.len() };
        for step in (0..steps).step_by(DEEP) {
            let deep = DEEP.min(steps - step);
            for (number, lane) in lanes.iter().enumerate() {
                let blocks = &lane.blocks[lane.next..lane.next + deep];
                for (row, block) in tile.iter_mut().zip(blocks) {
                    row[number] = *block;
                }
            }
            rows(&mut chain, &mut tile[..deep], width);
            for (number, lane) in lanes.iter_mut().enumerate() {
                let blocks = &mut lane.blocks[lane.next..lane.next + deep];
                for (row, block) in tile.iter().zip(blocks) {
                    *block = row[number];
                }
                lane.next += deep;
            }
        }
        let mut i = 0;
        while i < lanes.len() {
            if lanes[i].next < lanes[i].blocks.len() {
                i += 1;
            } else if let Some((iv, lane)) = waiting.next() {
                chain[i] = iv;
                lanes[i] = lane;
            } else {
                lanes.swap_remove(i);
                chain[i] = chain[lanes.len()];
            }
        }
    }
}
