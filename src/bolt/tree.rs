//! Buckets as lists of leaf pages, and their entries in key order.

use super::Defect;
use super::page::{BUCKET, Header, LeafElement, Page};
use std::collections::VecDeque;
use std::hint::black_box;

/// An entry of a bucket: a key with its value, or with a nested bucket.
pub type Entry<'a> = LeafElement<'a>;

impl LeafElement<'_> {
    /// Whether the value is a nested bucket.
    #[must_use]
    pub fn is_bucket(&self) -> bool {
        self.flags & BUCKET != 0
    }
}

/// A leaf page of a bucket. Small, for there are many.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// The page run.
    pub run: &'a [u8],
    /// How many entries of the bucket lie before this page's first.
    pub first_entry: u64,
}

impl<'a> Leaf<'a> {
    /// The page, its header parsed.
    ///
    /// # Errors
    /// When the run is shorter than a header; a surveyed one is not.
    pub fn page(&self) -> Result<Page<'a>, Defect> {
        let (_, header) = Header::parse(self.run).map_err(|_| Defect::TooShort { bytes: 0 })?;
        Ok(Page { at: header.id, header, run: self.run })
    }

    /// The entries of this page, from element `from` on.
    ///
    /// # Errors
    /// As [`Leaf::page`]; each item as [`Page::leaf_element`].
    pub fn entries_from(
        &self,
        from: u16,
    ) -> Result<impl Iterator<Item = Result<Entry<'a>, Defect>> + use<'a>, Defect> {
        let page = self.page()?;
        Ok((from..page.header.count).map(move |i| page.leaf_element(i)))
    }

    /// All entries of this page, with their numbers in the bucket; a page
    /// that is none is an error alone.
    fn numbered(&self) -> impl Iterator<Item = Numbered<'a>> + use<'a> {
        let first = self.first_entry;
        let (entries, broken) = match self.entries() {
            Ok(entries) => (Some(entries), None),
            Err(defect) => (None, Some(Err(defect))),
        };
        let number = move |(number, entry): (u64, Result<_, _>)| entry.map(|entry| (number, entry));
        entries.into_iter().flat_map(move |entries| (first..).zip(entries)).map(number).chain(broken)
    }

    /// All entries of this page.
    ///
    /// # Errors
    /// As [`Leaf::entries_from`].
    pub fn entries(&self) -> Result<impl Iterator<Item = Result<Entry<'a>, Defect>> + use<'a>, Defect> {
        self.entries_from(0)
    }
}

/// An entry with its number in the bucket.
pub type Numbered<'a> = Result<(u64, Entry<'a>), Defect>;

/// Entries asked for at a time.
const ASKED: usize = 256;

/// The same entries, asked for before they are needed. Each lies far from the
/// one before: who turns to them one by one waits for the memory every time,
/// and what is asked for together comes together.
pub fn asked<'a>(mut entries: impl Iterator<Item = Numbered<'a>>) -> impl Iterator<Item = Numbered<'a>> {
    let mut near = VecDeque::with_capacity(ASKED);
    std::iter::from_fn(move || {
        if near.is_empty() {
            near.extend(entries.by_ref().take(ASKED));
            // What stands before a value's payload takes two lines of the cache.
            for at in [0, 64] {
                let byte = |(_, entry): &(u64, Entry<'_>)| entry.value.get(at).copied().map_or(0, u32::from);
                black_box(near.iter().flatten().map(byte).fold(0, u32::wrapping_add));
            }
        }
        near.pop_front()
    })
}

/// The entries of some leaves, as [`asked`] gives them.
pub fn entries_of<'l, 'a>(leaves: &'l [Leaf<'a>]) -> impl Iterator<Item = Numbered<'a>> + use<'l, 'a> {
    asked(leaves.iter().flat_map(Leaf::numbered))
}

/// A bucket, as a survey found it.
#[derive(Debug, Clone)]
pub struct Bucket<'a> {
    /// Its name; empty for the root of the file.
    pub name: &'a [u8],
    /// The bucket that holds it (an index into the survey's list, always a
    /// lower one) and the number of its entry there.
    pub parent: Option<(usize, u64)>,
    /// How many buckets lie around it.
    pub depth: usize,
    /// The sequence number kept in its header.
    pub sequence: u64,
    /// Its leaf pages in key order. An inline bucket has one, inside its parent.
    pub leaves: Vec<Leaf<'a>>,
    /// How many entries it has.
    pub entries: u64,
}

impl<'a> Bucket<'a> {
    /// A bucket before its leaves are known.
    pub(super) fn new(name: &'a [u8], parent: Option<(usize, u64)>, depth: usize, sequence: u64) -> Self {
        Self { name, parent, depth, sequence, leaves: Vec::new(), entries: 0 }
    }

    /// Every entry in key order.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, Defect>> + '_ {
        self.entries_from(0)
    }

    /// Every entry in key order, from number `first` on.
    pub fn entries_from(&self, first: u64) -> impl Iterator<Item = Result<Entry<'a>, Defect>> + '_ {
        let leaf = self.leaf_of(first);
        self.leaves[leaf..].iter().flat_map(move |leaf| {
            let skip = u16::try_from(first.saturating_sub(leaf.first_entry)).unwrap_or(u16::MAX);
            let (entries, broken) = match leaf.entries_from(skip) {
                Ok(entries) => (Some(entries), None),
                Err(defect) => (None, Some(Err(defect))),
            };
            entries.into_iter().flatten().chain(broken)
        })
    }

    /// Entry number `number`, where there is one.
    #[must_use]
    pub fn entry(&self, number: u64) -> Option<Entry<'a>> {
        let leaf = self.leaves.get(self.leaf_of(number))?;
        let element = u16::try_from(number.checked_sub(leaf.first_entry)?).ok()?;
        leaf.page().ok()?.leaf_element(element).ok()
    }

    /// Which leaf holds entry number `entry`.
    #[must_use]
    pub fn leaf_of(&self, entry: u64) -> usize {
        self.leaves.partition_point(|leaf| leaf.first_entry <= entry).saturating_sub(1)
    }
}
