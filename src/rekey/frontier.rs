//! How much of the output lies on the disk, from its first byte on without a
//! gap. Parts are written by many threads and end in no order; what follows
//! behind (the sum, the disk's own write-back) needs them in order.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The end of what is written.
#[derive(Debug)]
pub struct Frontier {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes of each part that is written but for one before it.
    ahead: Vec<Option<u64>>,
    next: usize,
    bytes: u64,
    closed: bool,
}

impl Frontier {
    /// Nothing written of so many parts.
    #[must_use]
    pub fn new(parts: usize) -> Self {
        let state = State { ahead: vec![None; parts], next: 0, bytes: 0, closed: false };
        Self { state: Mutex::new(state), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note that a part is written, and how long it was.
    pub fn written(&self, part: usize, bytes: u64) {
        let mut state = self.state();
        if let Some(place) = state.ahead.get_mut(part) {
            *place = Some(bytes);
        }
        let before = state.bytes;
        while let Some(bytes) = state.ahead.get(state.next).copied().flatten() {
            state.next += 1;
            state.bytes += bytes;
        }
        if state.bytes > before {
            self.moved.notify_all();
        }
    }

    /// Nothing more will be written: it is all there, or the run has failed.
    pub fn close(&self) {
        self.state().closed = true;
        self.moved.notify_all();
    }

    /// How many bytes are written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Waits until `bytes` or more are written, or nothing more will be;
    /// returns how many are, and whether there may be more.
    pub fn wait(&self, bytes: u64) -> (u64, bool) {
        let mut state = self.state();
        while state.bytes < bytes && !state.closed {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (state.bytes, !state.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_when_none_before_them_is_missing() {
        let frontier = Frontier::new(4);
        let mut seen = Vec::new();
        for (part, bytes) in [(1, 10), (0, 5), (3, 7), (2, 1)] {
            frontier.written(part, bytes);
            seen.push(frontier.bytes());
        }
        assert_eq!(seen, [0, 15, 15, 23]);
        assert_eq!(frontier.wait(23), (23, true));
    }

    #[test]
    fn who_waits_is_woken_by_progress_and_by_the_end() {
        let frontier = Frontier::new(2);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| frontier.wait(4));
            frontier.written(0, 4);
            assert_eq!(first.join().unwrap().0, 4);
            let second = scope.spawn(|| frontier.wait(9));
            frontier.close();
            assert_eq!(second.join().unwrap(), (4, false));
        });
    }
}
