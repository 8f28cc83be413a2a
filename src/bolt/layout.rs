//! Where every page of a fresh file will lie, before one byte is written.
//!
//! Sizes are known before contents: so the layout is made in one pass over
//! the sizes, and the file can then be written from its first byte to its
//! last. Pages are filled by bbolt's own split rule (`node.splitIndex`) with
//! a fill of one page, as `bbolt compact` fills them.
//!
//! ```text
//! 0 meta │ 1 meta │ bucket: leaves …, branches by level … │ bucket … │ root bucket
//! ```

use super::page::{ELEMENT, HEADER, MAX_COUNT};
use std::collections::VecDeque;

/// bbolt never leaves a page with fewer elements when it splits.
const MIN_KEYS: usize = 2;

/// Cuts a sequence of elements into pages by bbolt's split rule, looking no
/// further ahead than the rule itself does.
#[derive(Debug)]
struct Packer {
    page_size: usize,
    waiting: VecDeque<usize>,
    bytes: usize,
}

impl Packer {
    fn new(page_size: usize) -> Self {
        Self { page_size, waiting: VecDeque::new(), bytes: HEADER }
    }

    /// Adds an element of `bytes` bytes (its header included). Where that
    /// settles the page before it, returns that page's element count.
    fn push(&mut self, bytes: usize) -> Option<Cut> {
        self.waiting.push_back(bytes);
        self.bytes += bytes;
        // Settled as soon as the rule would cut, and still would with any
        // number of elements to come.
        if self.bytes < self.page_size && self.waiting.len() <= MAX_COUNT {
            return None;
        }
        let index = self.split_index()?;
        (index + 1 + MIN_KEYS <= self.waiting.len()).then(|| self.cut(index))
    }

    /// The element at which the page overflows, if one does.
    fn split_index(&self) -> Option<usize> {
        let mut size = HEADER;
        for (i, element) in self.waiting.iter().enumerate() {
            if i >= MIN_KEYS && (size + element > self.page_size || i >= MAX_COUNT) {
                return Some(i);
            }
            size += element;
        }
        None
    }

    /// The next page at the end of the sequence.
    fn finish(&mut self) -> Option<Cut> {
        let n = self.waiting.len();
        if n == 0 {
            return None;
        }
        if n <= 2 * MIN_KEYS || self.bytes < self.page_size && n <= MAX_COUNT {
            return Some(self.cut(n));
        }
        let last = n - MIN_KEYS - 1;
        let index = self.split_index().map_or(last, |i| i.min(last));
        Some(self.cut(index))
    }

    fn cut(&mut self, count: usize) -> Cut {
        let bytes: usize = self.waiting.drain(..count).sum();
        self.bytes -= bytes;
        Cut { count, bytes: bytes + HEADER }
    }
}

/// One page run, cut off by the packer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    count: usize,
    bytes: usize,
}

/// A page run of a tree to be written: a leaf or a branch.
#[derive(Debug, Clone, Copy)]
pub struct Node<'k> {
    /// The first key on it.
    pub first_key: &'k [u8],
    /// Its page number.
    pub page: u64,
    /// Number of its elements: entries of a leaf, children of a branch.
    pub count: u32,
    /// Physical pages of the run.
    pub run: u32,
}

/// The layout of one bucket's tree.
#[derive(Debug)]
pub struct Tree<'k> {
    /// Leaves first, then branches level by level; the last level has one node.
    pub levels: Vec<Vec<Node<'k>>>,
    /// The sequence number of its header.
    pub sequence: u64,
    /// The first page after it.
    pub end: u64,
}

impl Tree<'_> {
    /// The root page.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.levels.last().and_then(|level| level.last()).map_or(0, |node| node.page)
    }
}

/// Lays out one bucket: entries are pushed in key order.
#[derive(Debug)]
pub struct TreeBuilder<'k> {
    page_size: usize,
    sequence: u64,
    next_page: u64,
    packer: Packer,
    /// First keys of the pages that may begin among the waiting elements.
    waiting: VecDeque<&'k [u8]>,
    leaves: Vec<Node<'k>>,
}

impl<'k> TreeBuilder<'k> {
    /// A tree whose first page is `first_page`.
    #[must_use]
    pub fn new(page_size: usize, first_page: u64, sequence: u64) -> Self {
        Self {
            page_size,
            sequence,
            next_page: first_page,
            packer: Packer::new(page_size),
            waiting: VecDeque::new(),
            leaves: Vec::new(),
        }
    }

    /// Adds an entry: its key and the length of its value.
    pub fn push(&mut self, key: &'k [u8], value: usize) {
        self.waiting.push_back(key);
        if let Some(cut) = self.packer.push(ELEMENT + key.len() + value) {
            let node = node(&mut self.next_page, self.page_size, cut, &mut self.waiting);
            self.leaves.push(node);
        }
    }

    /// The whole tree. An empty bucket is one leaf with no elements.
    #[must_use]
    pub fn finish(mut self) -> Tree<'k> {
        while let Some(cut) = self.packer.finish() {
            let node = node(&mut self.next_page, self.page_size, cut, &mut self.waiting);
            self.leaves.push(node);
        }
        if self.leaves.is_empty() {
            self.leaves.push(Node { first_key: b"", page: self.next_page, count: 0, run: 1 });
            self.next_page += 1;
        }
        let mut levels = vec![self.leaves];
        while levels.last().is_some_and(|level| level.len() > 1) {
            let mut packer = Packer::new(self.page_size);
            let mut waiting = VecDeque::new();
            let mut level = Vec::new();
            for child in levels.last().into_iter().flatten() {
                waiting.push_back(child.first_key);
                if let Some(cut) = packer.push(ELEMENT + child.first_key.len()) {
                    level.push(node(&mut self.next_page, self.page_size, cut, &mut waiting));
                }
            }
            while let Some(cut) = packer.finish() {
                level.push(node(&mut self.next_page, self.page_size, cut, &mut waiting));
            }
            levels.push(level);
        }
        Tree { levels, sequence: self.sequence, end: self.next_page }
    }
}

/// Makes a node of a cut and takes its keys off the queue.
fn node<'k>(next_page: &mut u64, page_size: usize, cut: Cut, keys: &mut VecDeque<&'k [u8]>) -> Node<'k> {
    let run = cut.bytes.div_ceil(page_size);
    let first_key = keys.drain(..cut.count).next().unwrap_or_default();
    let page = *next_page;
    // A run holds at most 65534 elements of less than 4 GiB each; one that
    // did not fit 32 bits could not be written either.
    *next_page += u64::try_from(run).unwrap_or(u64::MAX);
    Node {
        first_key,
        page,
        count: u32::try_from(cut.count).unwrap_or(u32::MAX),
        run: u32::try_from(run).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// bbolt's `node.split`, as its source has it, over the whole sequence.
    fn bbolt_split(mut sizes: &[usize], page_size: usize) -> Vec<usize> {
        let mut out = Vec::new();
        loop {
            let total = HEADER + sizes.iter().sum::<usize>();
            if sizes.len() <= 4 || total < page_size {
                out.push(sizes.len());
                return out;
            }
            let mut index = 0;
            let mut size = HEADER;
            for (i, element) in sizes[..sizes.len() - 2].iter().enumerate() {
                index = i;
                if i >= 2 && size + element > page_size {
                    break;
                }
                size += element;
            }
            out.push(index);
            sizes = &sizes[index..];
        }
    }

    proptest! {
        #[test]
        fn pages_are_cut_where_bbolt_cuts_them(
            sizes in proptest::collection::vec(prop_oneof![17usize..200, 17usize..9000], 1..400)
        ) {
            let mut packer = Packer::new(4096);
            let mut counts: Vec<usize> =
                sizes.iter().filter_map(|size| packer.push(*size)).map(|cut| cut.count).collect();
            counts.extend(std::iter::from_fn(|| packer.finish()).map(|cut| cut.count));
            prop_assert_eq!(counts, bbolt_split(&sizes, 4096));
        }
    }

    #[test]
    fn every_branch_has_two_children_and_every_page_is_used_once() {
        for entries in [0, 1, 2, 5, 99, 1000, 20_000] {
            let keys: Vec<[u8; 8]> = (0..entries).map(|i: u64| i.to_be_bytes()).collect();
            let mut builder = TreeBuilder::new(1024, 2, 0);
            for key in &keys {
                builder.push(key, 40);
            }
            let tree = builder.finish();
            let mut next = 2;
            for (depth, level) in tree.levels.iter().enumerate() {
                for node in level {
                    assert_eq!(node.page, next);
                    next += u64::from(node.run);
                    assert!(depth == 0 || node.count >= 2);
                }
            }
            assert_eq!(next, tree.end);
            assert_eq!(tree.levels.last().map(Vec::len), Some(1));
            let counted: u64 = tree.levels[0].iter().map(|leaf| u64::from(leaf.count)).sum();
            assert_eq!(counted, entries);
        }
    }
}
