//! Where each page of the output will lie.

use super::plan::Changes;
use crate::bolt::layout::{Node, Tree, TreeBuilder};
use crate::bolt::writer::{bucket_value, inline_bucket_value, metas};
use crate::bolt::{Bucket, Database, Defect, Survey};
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
pub enum Part {
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
    /// Number of pages.
    pub high_water_mark: u64,
    root: u64,
    sequence: u64,
    txid: u64,
}

/// Leaves are written in parts of about this many bytes.
const PART: u64 = 1 << 20;

impl<'a> FileLayout<'a> {
    /// Lays out a copy of every bucket. Entries of bucket number `keys` have
    /// the lengths `changes` says.
    ///
    /// # Errors
    /// As [`Bucket::entries`].
    pub fn make(
        db: &Database<'a>,
        survey: &Survey<'a>,
        keys: usize,
        changes: &Changes,
    ) -> Result<Self, Defect> {
        let page_size = db.page_size();
        let mut layout = Self {
            page_size,
            trees: Vec::new(),
            bucket_values: HashMap::new(),
            high_water_mark: 2,
            root: 0,
            sequence: db.meta().sequence,
            txid: db.meta().txid,
        };
        // A bucket stands behind the one it lies in: from the end, each is
        // laid out before the one that has to name its root page.
        for (number, bucket) in survey.buckets.iter().enumerate().rev() {
            if number != keys
                && let Some(parent) = bucket.parent
                && let Some(value) = inline(bucket, page_size)?
            {
                layout.bucket_values.insert(parent, value);
                continue;
            }
            let mut builder = TreeBuilder::new(page_size, layout.high_water_mark, bucket.sequence);
            for (entry, element) in (0..).zip(bucket.entries()) {
                let element = element?;
                let length = if element.is_bucket() {
                    layout.bucket_values.get(&(number, entry)).map_or(0, Vec::len)
                } else if number == keys {
                    changes.get(entry).map_or(0, |(_, length)| length)
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

    /// The parts of the file, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let mut parts = vec![Part::Metas];
        let page_size = u64::try_from(self.page_size).unwrap_or(u64::MAX);
        for (tree, laid) in self.trees.iter().enumerate() {
            let leaves = laid.tree.levels.first().map_or(&[][..], Vec::as_slice);
            let (mut start, mut first_entry, mut entries, mut bytes) = (0, 0u64, 0u64, 0u64);
            for (i, leaf) in leaves.iter().enumerate() {
                entries += u64::from(leaf.count);
                bytes += u64::from(leaf.run) * page_size;
                if bytes >= PART || i + 1 == leaves.len() {
                    parts.push(Part::Leaves { tree, leaves: start..i + 1, first_entry });
                    (start, bytes) = (i + 1, 0);
                    first_entry += entries;
                    entries = 0;
                }
            }
            if laid.tree.levels.len() > 1 {
                parts.push(Part::Branches { tree });
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
fn inline(bucket: &Bucket<'_>, page_size: usize) -> Result<Option<Vec<u8>>, Defect> {
    let limit = u64::try_from(page_size / 4 / crate::bolt::page::ELEMENT).unwrap_or(0);
    if bucket.entries > limit {
        return Ok(None);
    }
    let mut entries = Vec::new();
    for entry in bucket.entries() {
        let entry = entry?;
        if entry.is_bucket() {
            return Ok(None);
        }
        entries.push((entry.key, entry.value));
    }
    Ok(inline_bucket_value(bucket.sequence, &entries, page_size))
}
