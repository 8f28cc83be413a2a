//! Where each page of the output will lie.

use super::changes::{Change, Changes};
use crate::bolt::layout::{Node, Tree, TreeBuilder};
use crate::bolt::writer::{bucket_value, inline_bucket_value, metas};
use crate::bolt::{Bucket, Database, Defect, Entry, Survey};
use std::collections::HashMap;
use std::ops::Range;

/// The tree of one bucket in the output.
#[derive(Debug)]
pub struct BucketTree<'a> {
    /// The bucket's number in the survey of the input.
    pub bucket: usize,
    /// Its pages.
    pub tree: Tree<'a>,
}

/// A stretch of the output, written in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it begins.
    pub at: u64,
    /// How long it is.
    pub bytes: u64,
    /// What lies there.
    pub pages: Pages,
}

/// The pages of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pages {
    /// Both metas.
    Metas,
    /// Leaves of a tree, and the number of the first entry on them.
    Leaves {
        /// Which tree.
        tree: usize,
        /// Which of its leaves.
        leaves: Range<usize>,
        /// Entries before the first of them.
        first_entry: u64,
    },
    /// All branches of a tree.
    Branches {
        /// Which tree.
        tree: usize,
    },
}

/// The layout of the whole output.
#[derive(Debug)]
pub struct FileLayout<'a> {
    /// Bytes of a page, as in the input.
    pub page_size: usize,
    /// The trees in file order; the root's is the last.
    pub trees: Vec<BucketTree<'a>>,
    /// Values of bucket elements, by the bucket they lie in and their entry there.
    pub bucket_values: HashMap<(usize, u64), Vec<u8>>,
    /// A bucket whose entries are others than the input's.
    pub other: Option<(usize, Vec<Entry<'a>>)>,
    /// Number of pages.
    pub high_water_mark: u64,
    keys: usize,
    root: u64,
    sequence: u64,
    txid: u64,
}

impl<'a> FileLayout<'a> {
    /// Lays out a copy of every bucket. Entries of bucket number `keys` have
    /// the lengths `changes` says; the bucket `other` names has the entries
    /// that stand there.
    ///
    /// # Errors
    /// As [`Bucket::entries`].
    pub fn make(
        db: &Database<'a>,
        survey: &Survey<'a>,
        keys: usize,
        changes: &Changes,
        other: Option<(usize, Vec<Entry<'a>>)>,
    ) -> Result<Self, Defect> {
        let page_size = db.page_size();
        let mut layout = Self {
            page_size,
            trees: Vec::new(),
            bucket_values: HashMap::new(),
            other,
            high_water_mark: 2,
            keys,
            root: 0,
            sequence: db.meta().sequence,
            txid: db.meta().txid,
        };
        // A bucket stands behind the one it lies in: from the end, each is
        // laid out before the one that has to name its root page.
        for (number, bucket) in survey.buckets.iter().enumerate().rev() {
            if number != keys
                && let Some(parent) = bucket.parent
                && let Some(value) = inline(bucket, layout.others(number), page_size)?
            {
                layout.bucket_values.insert(parent, value);
                continue;
            }
            let mut builder = TreeBuilder::new(page_size, layout.high_water_mark, bucket.sequence);
            for (entry, element) in (0..).zip(layout.entries(number, bucket, 0)) {
                let element = element?;
                let length = if element.is_bucket() {
                    layout.bucket_values.get(&(number, entry)).map_or(0, Vec::len)
                } else if number == keys {
                    match changes.get(entry) {
                        Some((Change::Drop, _)) => continue,
                        Some((_, length)) => length,
                        None => 0,
                    }
                } else {
                    element.value.len()
                };
                builder.push(element.key, length);
            }
            let tree = builder.finish();
            layout.high_water_mark = tree.end;
            layout.root = tree.root();
            if let Some(parent) = bucket.parent {
                layout.bucket_values.insert(parent, bucket_value(tree.root(), tree.sequence));
            }
            layout.trees.push(BucketTree { bucket: number, tree });
        }
        Ok(layout)
    }

    fn others(&self, number: usize) -> Option<&[Entry<'a>]> {
        self.other.as_ref().filter(|(other, _)| *other == number).map(|(_, entries)| entries.as_slice())
    }

    /// The entries bucket number `number` is to have, from number `first` on;
    /// those to be left out are still among them.
    pub fn entries<'l>(
        &'l self,
        number: usize,
        bucket: &'l Bucket<'a>,
        first: u64,
    ) -> Box<dyn Iterator<Item = Result<Entry<'a>, Defect>> + 'l> {
        match self.others(number) {
            Some(entries) => {
                let first = usize::try_from(first).unwrap_or(usize::MAX);
                Box::new(entries.iter().skip(first).copied().map(Ok))
            }
            None => Box::new(bucket.entries_from(first)),
        }
    }

    /// Bytes of the output, the trailer not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.high_water_mark.saturating_mul(u64::try_from(self.page_size).unwrap_or(u64::MAX))
    }

    /// The meta pages.
    #[must_use]
    pub fn metas(&self) -> Vec<u8> {
        metas(self.page_size, self.root, self.sequence, self.high_water_mark, self.txid)
    }

    /// The parts of the file, in order, each with leaves of about `size` bytes.
    #[must_use]
    pub fn parts(&self, changes: &Changes, size: u64) -> Vec<Part> {
        let page_size = u64::try_from(self.page_size).unwrap_or(u64::MAX);
        let mut at = 0;
        let mut part = |pages: u64, what: Pages| {
            let bytes = pages * page_size;
            at += bytes;
            Part { at: at - bytes, bytes, pages: what }
        };
        let mut parts = vec![part(2, Pages::Metas)];
        for (tree, laid) in self.trees.iter().enumerate() {
            let leaves = laid.tree.levels.first().map_or(&[][..], Vec::as_slice);
            let (mut start, mut first_entry, mut entries, mut pages) = (0, 0u64, 0u64, 0u64);
            for (i, leaf) in leaves.iter().enumerate() {
                entries += u64::from(leaf.count);
                pages += u64::from(leaf.run);
                if pages * page_size >= size || i + 1 == leaves.len() {
                    parts.push(part(pages, Pages::Leaves { tree, leaves: start..i + 1, first_entry }));
                    (start, pages) = (i + 1, 0);
                    let keys = laid.bucket == self.keys;
                    first_entry =
                        if keys { changes.after(first_entry, entries) } else { first_entry + entries };
                    entries = 0;
                }
            }
            let branches = laid.tree.levels.iter().skip(1).flatten().map(|node| u64::from(node.run)).sum();
            if branches > 0 {
                parts.push(part(branches, Pages::Branches { tree }));
            }
        }
        parts
    }

    /// The leaves of a part of leaves.
    #[must_use]
    pub fn leaves(&self, tree: usize, leaves: &Range<usize>) -> &[Node<'a>] {
        self.trees
            .get(tree)
            .and_then(|laid| laid.tree.levels.first())
            .and_then(|level| level.get(leaves.clone()))
            .unwrap_or_default()
    }
}

/// The value of a bucket small enough to lie inside its parent.
fn inline(
    bucket: &Bucket<'_>,
    other: Option<&[Entry<'_>]>,
    page_size: usize,
) -> Result<Option<Vec<u8>>, Defect> {
    let limit = u64::try_from(page_size / 4 / crate::bolt::page::ELEMENT).unwrap_or(0);
    if bucket.entries > limit {
        return Ok(None);
    }
    let all = match other {
        Some(entries) => entries.to_vec(),
        None => bucket.entries().collect::<Result<_, _>>()?,
    };
    let mut entries = Vec::new();
    for entry in all {
        if entry.is_bucket() {
            return Ok(None);
        }
        entries.push((entry.key, entry.value));
    }
    Ok(inline_bucket_value(bucket.sequence, &entries, page_size))
}
