//! What becomes of every entry, packed.

use super::rules::{MOST_KEYS, State};

/// What becomes of one entry of the `key` bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is copied.
    None,
    /// Its value is sealed anew.
    Reseal {
        /// What it is now.
        from: State,
        /// What it is to be.
        to: State,
    },
    /// Its value is replaced by this one of the values given.
    Replace(usize),
    /// It is left out.
    Drop,
}

/// The changes, packed to eight bytes an entry.
#[derive(Debug, Default)]
pub struct Changes {
    codes: Vec<(u16, u16)>,
    lengths: Vec<u32>,
}

/// In place of a first state: no change, another value, or none at all.
/// Key numbers stay below them.
const COPY: u16 = u16::MAX;
const REPLACE: u16 = u16::MAX - 1;
const DROP: u16 = u16::MAX - 2;

fn code(state: State) -> u16 {
    match state {
        State::Plain => 0,
        State::Key(number) => number + 1,
    }
}

fn state(code: u16) -> State {
    code.checked_sub(1).map_or(State::Plain, State::Key)
}

impl Changes {
    /// Room for so many entries, all to be copied.
    pub(super) fn of(entries: u64) -> Self {
        let entries = usize::try_from(entries).unwrap_or(0);
        Self { codes: vec![(COPY, 0); entries], lengths: vec![0; entries] }
    }

    /// All of them, to be filled.
    pub(super) fn all(&mut self) -> ChangesPart<'_> {
        ChangesPart { codes: &mut self.codes, lengths: &mut self.lengths }
    }

    /// The number of the entry `count` kept ones after number `from`.
    #[must_use]
    pub fn after(&self, from: u64, count: u64) -> u64 {
        let mut at = usize::try_from(from).unwrap_or(usize::MAX);
        for _ in 0..count {
            at = self.kept_from(at) + 1;
        }
        u64::try_from(at).unwrap_or(u64::MAX)
    }

    fn kept_from(&self, from: usize) -> usize {
        let codes = self.codes.get(from..).unwrap_or_default();
        from + codes.iter().take_while(|(first, _)| *first == DROP).count()
    }

    /// What becomes of entry number `entry`, and how long its record will be.
    #[must_use]
    pub fn get(&self, entry: u64) -> Option<(Change, usize)> {
        let entry = usize::try_from(entry).ok()?;
        let (from, to) = *self.codes.get(entry)?;
        let change = match from {
            COPY => Change::None,
            REPLACE => Change::Replace(usize::from(to)),
            DROP => Change::Drop,
            _ => Change::Reseal { from: state(from), to: state(to) },
        };
        Some((change, crate::bolt::page::index(*self.lengths.get(entry)?)))
    }
}

/// A stretch of the changes, filled from its beginning.
pub(super) struct ChangesPart<'c> {
    codes: &'c mut [(u16, u16)],
    lengths: &'c mut [u32],
}

impl ChangesPart<'_> {
    /// The first so many entries, and the rest.
    pub(super) fn split(self, entries: u64) -> (Self, Self) {
        let at = usize::try_from(entries).unwrap_or(usize::MAX).min(self.codes.len());
        let (codes, more_codes) = self.codes.split_at_mut(at);
        let (lengths, more_lengths) = self.lengths.split_at_mut(at);
        (Self { codes, lengths }, Self { codes: more_codes, lengths: more_lengths })
    }

    /// What becomes of the next entry, and how long its record will be.
    pub(super) fn push(&mut self, change: Change, length: usize) {
        let code = match change {
            Change::None => (COPY, 0),
            Change::Replace(value) => (REPLACE, u16::try_from(value).unwrap_or(MOST_KEYS)),
            Change::Drop => (DROP, 0),
            Change::Reseal { from, to } => (code(from), code(to)),
        };
        if let Some(place) = self.codes.split_off_first_mut() {
            *place = code;
        }
        if let Some(place) = self.lengths.split_off_first_mut() {
            *place = u32::try_from(length).unwrap_or(u32::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_survive_packing() {
        let all = [
            Change::None,
            Change::Reseal { from: State::Plain, to: State::Key(0) },
            Change::Reseal { from: State::Key(MOST_KEYS - 1), to: State::Plain },
            Change::Replace(usize::from(MOST_KEYS) - 1),
            Change::Drop,
        ];
        let mut changes = Changes::of(5);
        let (mut first, mut second) = changes.all().split(2);
        for (length, change) in all.into_iter().enumerate() {
            let part = if length < 2 { &mut first } else { &mut second };
            part.push(change, length);
        }
        for (i, change) in all.into_iter().enumerate() {
            assert_eq!(changes.get(u64::try_from(i).unwrap()), Some((change, i)));
        }
        assert_eq!(changes.get(5), None);
    }
}
