//! The SHA-256 of input and output, which their trailers hold.
//!
//! A sum cannot be parted among cores, so that nothing is faster than the one
//! over the output; all else is done beside it. The output's is computed over
//! what is read back of it, close behind the end of what is written, and the
//! input's in step with it ([`crate::etcd::sha256`]).

use super::frontier::Frontier;
use crate::etcd::sha256::{BLOCK, Sha256};

/// Bytes between two looks around.
const STEP: usize = 256 << 10;

/// A sum over a stretch of bytes, as far as it has got.
#[derive(Debug, Clone)]
pub struct Sum<'b> {
    bytes: &'b [u8],
    at: usize,
    state: Sha256,
}

impl<'b> Sum<'b> {
    /// The sum over all of `bytes`, not begun.
    #[must_use]
    pub fn of(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, state: Sha256::default() }
    }

    /// Whole blocks from here on: as many as lie before `end`, [`STEP`] at most.
    fn ahead(&self, end: usize) -> &'b [[u8; BLOCK]] {
        let end = end.min(self.bytes.len()).min(self.at + STEP);
        let (blocks, _) = self.bytes.get(self.at..end).unwrap_or_default().as_chunks();
        blocks
    }

    /// One step; false when there was nothing to do.
    fn step(&mut self, end: usize) -> bool {
        let blocks = self.ahead(end);
        self.state.update(blocks);
        self.at += blocks.len() * BLOCK;
        !blocks.is_empty()
    }

    /// One step of both; false when there was nothing to do.
    fn step_both(&mut self, end: usize, other: &mut Sum<'_>, other_end: usize) -> bool {
        let (mine, theirs) = (self.ahead(end), other.ahead(other_end));
        self.state.update_both(mine, &mut other.state, theirs);
        self.at += mine.len() * BLOCK;
        other.at += theirs.len() * BLOCK;
        !mine.is_empty() || !theirs.is_empty()
    }

    /// Goes on for as long as `go_on` says so, and there is something left.
    pub fn advance(&mut self, go_on: impl Fn() -> bool) {
        while go_on() && self.step(usize::MAX) {}
    }

    /// The sum, computed to its end unless told to stop.
    #[must_use]
    pub fn finish(mut self, go_on: impl Fn() -> bool) -> Option<[u8; 32]> {
        self.advance(&go_on);
        go_on().then(|| self.state.finish(self.bytes.get(self.at..).unwrap_or_default()))
    }
}

/// Computes both sums to their ends, in step; `None` when told to stop.
#[must_use]
pub fn both(mut a: Sum<'_>, mut b: Sum<'_>, go_on: impl Fn() -> bool) -> Option<([u8; 32], [u8; 32])> {
    while go_on() && a.step_both(usize::MAX, &mut b, usize::MAX) {}
    Some((a.finish(&go_on)?, b.finish(&go_on)?))
}

/// Follows an output that is being written, and takes the input along; ends
/// when nothing more will be written, with the output's sum if it is all
/// there.
#[must_use]
pub fn follow(
    input: &mut Sum<'_>,
    mut output: Sum<'_>,
    frontier: &Frontier,
    go_on: impl Fn() -> bool,
) -> Option<[u8; 32]> {
    loop {
        let end = usize::try_from(frontier.bytes()).unwrap_or(0);
        if !go_on() {
            return None;
        }
        // The input does not run ahead of an output that will need it to
        // keep step, unless there is nothing else to do.
        if input.step_both(usize::MAX, &mut output, end) {
            continue;
        }
        let at = u64::try_from(output.at).unwrap_or(u64::MAX);
        if let (bytes, false) = frontier.wait(at + 1)
            && bytes == at
        {
            break;
        }
    }
    if output.at < output.bytes.len() { None } else { output.finish(go_on) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest;

    fn digest(bytes: &[u8]) -> [u8; 32] {
        sha2::Sha256::digest(bytes).into()
    }

    #[test]
    fn both_sums_are_those_of_their_bytes() {
        let (a, b) = (vec![1; 1_000_001], vec![2; 600_000]);
        assert_eq!(both(Sum::of(&a), Sum::of(&b), || true), Some((digest(&a), digest(&b))));
        assert_eq!(both(Sum::of(&a), Sum::of(&b), || false), None);
    }

    #[test]
    fn an_output_is_followed_to_its_end() {
        let (input, output) = (vec![1; 700_003], vec![2; 4096 * 300]);
        let frontier = Frontier::new(300);
        let mut sum = Sum::of(&input);
        let followed = std::thread::scope(|scope| {
            let follower = scope.spawn(|| follow(&mut sum, Sum::of(&output), &frontier, || true));
            for part in (0..300).rev() {
                frontier.written(part, 4096);
            }
            frontier.close();
            follower.join().unwrap()
        });
        assert_eq!(followed, Some(digest(&output)));
        assert_eq!(sum.finish(|| true), Some(digest(&input)));
    }

    #[test]
    fn an_output_that_is_never_finished_has_no_sum() {
        let frontier = Frontier::new(2);
        frontier.written(0, 4096);
        frontier.close();
        let mut input = Sum::of(b"input");
        assert_eq!(follow(&mut input, Sum::of(&[0; 8192]), &frontier, || true), None);
        assert_eq!(input.finish(|| true), Some(digest(b"input")));
    }
}
