//! What is known of a file once it was walked.

use super::Defect;
use super::page_set::PageSet;
use super::tree::Bucket;

/// What a walk over the whole file found.
#[derive(Debug, Clone)]
pub struct Survey<'a> {
    /// The root of the file first; every other bucket after the one it is in.
    pub buckets: Vec<Bucket<'a>>,
    /// Pages reached: metas, trees, the free-list page.
    pub used: PageSet,
    /// Pages below the high-water mark that were not reached.
    pub free_pages: u64,
    /// Page runs with bytes other than zero behind their last element, or
    /// with gaps between elements: places where old data may survive.
    pub dirty: u64,
    /// Defects found, in the order of the walk.
    pub defects: Vec<Defect>,
}

impl<'a> Survey<'a> {
    /// A survey of so many pages, before the walk.
    pub(super) fn of(pages: u64) -> Self {
        Self { buckets: Vec::new(), used: PageSet::new(pages), free_pages: 0, dirty: 0, defects: Vec::new() }
    }

    /// The survey, if nothing is wrong with the file.
    ///
    /// # Errors
    /// The first defect.
    pub fn sound(self) -> Result<Self, Defect> {
        match self.defects.first() {
            Some(defect) => Err(defect.clone()),
            None => Ok(self),
        }
    }

    /// The buckets inside bucket number `parent`, in key order.
    pub fn inside(&self, parent: usize) -> impl Iterator<Item = (usize, &Bucket<'a>)> {
        self.buckets.iter().enumerate().filter(move |(_, b)| b.parent.is_some_and(|(p, _)| p == parent))
    }

    /// The top-level bucket of this name, with its number.
    #[must_use]
    pub fn bucket(&self, name: &[u8]) -> Option<(usize, &Bucket<'a>)> {
        self.inside(0).find(|(_, bucket)| bucket.name == name)
    }
}

/// How thorough a survey is.
#[derive(Debug, Clone, Copy)]
pub struct Thoroughness {
    /// Stop after so many defects.
    pub defects: usize,
    /// Also look at the bytes no element uses ([`Survey::dirty`]).
    pub unused_bytes: bool,
}

impl Thoroughness {
    /// Stop at the first defect.
    pub const STRICT: Self = Self { defects: 1, unused_bytes: false };
    /// List up to a thousand defects.
    pub const FULL: Self = Self { defects: 1000, unused_bytes: true };
}
