//! The bbolt file format (data-file version 2), with no idea of etcd.
//!
//! A file is an array of pages. Pages 0 and 1 are metas, which name the root
//! of the tree of buckets and the high-water mark: the number of the first
//! page that was never allocated. Everything else is branch and leaf pages,
//! free pages and, in old files, a page that lists the free ones.
//!
//! * [`page`]: headers and elements of pages, each access bounds-checked.
//! * [`meta`]: the two meta pages.
//! * [`mod@file`]: a file of pages: which meta counts, and where a page lies.
//! * [`tree`]: buckets as lists of leaf pages, and their entries in order.
//! * [`mod@survey`]: what is known of a file once it was walked.
//! * [`check`]: one strict walk which both proves the structure and lists it.
//! * [`layout`]: where every page of a fresh file will lie, before one is written.
//! * [`writer`]: the bytes of those pages.
//!
//! Formats follow bbolt `internal/common/{page,meta,bucket,inode}.go` and
//! `node.go`. Integers are little-endian; a big-endian file is refused.

pub mod check;
mod defect;
pub mod file;
mod freelist;
pub mod layout;
pub mod meta;
pub mod page;
mod page_set;
mod places;
pub mod survey;
pub mod tree;
pub mod writer;

pub use check::survey;
pub use defect::{Defect, MetaDefect};
pub use file::Database;
pub use page_set::PageSet;
pub use survey::{Survey, Thoroughness};
pub use tree::{Bucket, Entry, Leaf, asked, entries_of};
