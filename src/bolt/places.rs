//! Where the elements of a page lie.

use super::page::Page;
use std::ops::Range;

/// Whether the elements of a page share bytes. Every writer puts them one
/// behind the other, and then none do; where they lie otherwise, all are
/// held against each other.
#[derive(Debug, Default)]
pub struct Places {
    end: usize,
    out_of_order: bool,
}

impl Places {
    /// The next element: its key, and the bytes of key and value.
    pub fn meet(&mut self, page: &Page<'_>, key: &[u8], bytes: usize) {
        let place = place(page, key, bytes);
        self.out_of_order |= place.start < self.end;
        self.end = place.end;
    }

    /// Whether any two of the elements met share a byte; `all` gives them
    /// again, each as its key and the bytes of key and value.
    pub fn shared<'k, E>(&self, page: &Page<'_>, all: impl FnOnce() -> E) -> bool
    where
        E: Iterator<Item = (&'k [u8], usize)>,
    {
        self.out_of_order && {
            let mut all: Vec<_> = all().map(|(key, bytes)| place(page, key, bytes)).collect();
            all.sort_by_key(|place| place.start);
            all.windows(2).any(|two| two[1].start < two[0].end)
        }
    }
}

/// Where an element lies in its page, given its key, which was taken from there.
fn place(page: &Page<'_>, key: &[u8], bytes: usize) -> Range<usize> {
    let start = key.as_ptr().addr().saturating_sub(page.run.as_ptr().addr());
    start..start + bytes
}
