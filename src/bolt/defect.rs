//! What can be wrong with a bbolt file: one variant for each defect.

use thiserror::Error;

/// Why a meta page does not count (bbolt `Meta.Validate`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MetaDefect {
    /// The file ends before the meta does.
    #[error("the file ends before it")]
    Truncated,
    /// The magic number is another one.
    #[error("its magic number is {0:#010x}, not 0xed0cdaed")]
    Magic(u32),
    /// A data-file version other than 2.
    #[error("its format version is {0}, not 2")]
    Version(u32),
    /// The FNV-1a checksum does not fit.
    #[error("its checksum does not fit")]
    Checksum,
}

/// A defect of a bbolt file, with the page it was found on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "the fields are named and the messages tell the rest")]
pub enum Defect {
    #[error("the file is {bytes} bytes long, too short for two meta pages")]
    TooShort { bytes: u64 },
    #[error("the file was written on a big-endian machine")]
    BigEndian,
    #[error("no meta page is valid: the first, {first}; the second, {second}")]
    NoValidMeta { first: MetaDefect, second: MetaDefect },
    #[error("meta page {page} is damaged: {why}")]
    Meta { page: u64, why: MetaDefect },
    #[error("meta page {page}: page size {size} is not a power of two from 1 KiB to 16 MiB")]
    PageSize { page: u64, size: u32 },
    #[error("the two meta pages name different page sizes, {first} and {second}")]
    PageSizesDiffer { first: u32, second: u32 },
    #[error("the root bucket has no page")]
    NoRootPage,
    #[error("the file claims {pages} pages of {page_size} bytes, but holds {bytes} bytes")]
    HighWaterMarkBeyondFile { pages: u64, page_size: u32, bytes: u64 },
    #[error("page {page} lies outside the {pages} pages of the file (named by page {by})")]
    PageOutOfBounds { page: u64, by: u64, pages: u64 },
    #[error("page {page} bears the number {found}")]
    PageNumber { page: u64, found: u64 },
    #[error("page {page} has the flags {flags:#06x}: no known kind of page")]
    PageFlags { page: u64, flags: u16 },
    #[error("page {page} is a {found} page where a {expected} page must be")]
    PageKind { page: u64, expected: &'static str, found: &'static str },
    #[error("page {page} runs over {overflow} more pages, beyond the end of the file")]
    OverflowOutOfBounds { page: u64, overflow: u32 },
    #[error("page {page} is reached twice (the second time from page {by}): a cycle or a shared page")]
    PageReachedTwice { page: u64, by: u64 },
    #[error("page {page}: element {index} reaches outside the page")]
    ElementOutOfBounds { page: u64, index: u16 },
    #[error("page {page}: element {index} has unknown flags {flags:#x}")]
    ElementFlags { page: u64, index: u16, flags: u32 },
    #[error("page {page}: element {index} has an empty key")]
    EmptyKey { page: u64, index: u16 },
    #[error("page {page}: this meta names pages that are not there (root {root}, high-water mark {pages})")]
    MetaBeyondFile { page: u64, pages: u64, root: u64 },
    #[error("page {page}: its elements share bytes: together they are longer than the page")]
    Overlap { page: u64 },
    #[error("page {page}: element {index} has a key of {bytes} bytes, over the limit of 32768")]
    KeyTooLong { page: u64, index: u16, bytes: u32 },
    #[error("page {page}: element {index} has a value of {bytes} bytes, over the limit of 2147483646")]
    ValueTooLong { page: u64, index: u16, bytes: u32 },
    #[error("page {page}: the key of element {index} is not greater than the one before it")]
    KeyOrder { page: u64, index: u16 },
    #[error("page {page}: separator {index} is not the first key of page {child}")]
    Separator { page: u64, index: u16, child: u64 },
    #[error("branch page {page} has a single child")]
    SingleChild { page: u64 },
    #[error("page {page} has no elements")]
    EmptyPage { page: u64 },
    #[error("leaf page {page} lies at depth {depth}, others of its bucket at {expected}")]
    UnevenDepth { page: u64, depth: usize, expected: usize },
    #[error("page {page}: the tree is deeper than {limit} levels")]
    TooDeep { page: u64, limit: usize },
    #[error("page {page}: the bucket header of element {index} is {bytes} bytes long, not 16 or more")]
    BucketHeader { page: u64, index: u16, bytes: u64 },
    #[error("page {page}: the inline page of bucket element {index} is malformed")]
    InlinePage { page: u64, index: u16 },
    #[error("page {page}: element {index} of the root is not a bucket")]
    RootElement { page: u64, index: u16 },
    #[error("page {page}: buckets are nested deeper than {limit} levels")]
    NestedTooDeep { page: u64, limit: usize },
    #[error("free-list page {page}: its count of {count} does not fit into the page")]
    FreelistCount { page: u64, count: u64 },
    #[error("free-list page {page} lists page {free}, which lies outside the file")]
    FreelistOutOfBounds { page: u64, free: u64 },
    #[error("free-list page {page} lists page {free} twice")]
    FreelistDuplicate { page: u64, free: u64 },
    #[error("page {free} is in use and on the free list of page {page}")]
    FreePageInUse { page: u64, free: u64 },
    #[error("page {page} is neither in use nor on the free list")]
    Leaked { page: u64 },
}

impl Defect {
    /// A short, stable name for machine output.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "too-short",
            Self::BigEndian => "big-endian",
            Self::NoValidMeta { .. } => "no-valid-meta",
            Self::Meta { .. } => "meta",
            Self::PageSize { .. } => "page-size",
            Self::PageSizesDiffer { .. } => "page-sizes-differ",
            Self::NoRootPage => "no-root-page",
            Self::HighWaterMarkBeyondFile { .. } => "high-water-mark-beyond-file",
            Self::PageOutOfBounds { .. } => "page-out-of-bounds",
            Self::PageNumber { .. } => "page-number",
            Self::PageFlags { .. } => "page-flags",
            Self::PageKind { .. } => "page-kind",
            Self::OverflowOutOfBounds { .. } => "overflow-out-of-bounds",
            Self::PageReachedTwice { .. } => "page-reached-twice",
            Self::ElementOutOfBounds { .. } => "element-out-of-bounds",
            Self::ElementFlags { .. } => "element-flags",
            Self::EmptyKey { .. } => "empty-key",
            Self::MetaBeyondFile { .. } => "meta-beyond-file",
            Self::Overlap { .. } => "overlap",
            Self::KeyTooLong { .. } => "key-too-long",
            Self::ValueTooLong { .. } => "value-too-long",
            Self::KeyOrder { .. } => "key-order",
            Self::Separator { .. } => "separator",
            Self::SingleChild { .. } => "single-child",
            Self::EmptyPage { .. } => "empty-page",
            Self::UnevenDepth { .. } => "uneven-depth",
            Self::TooDeep { .. } => "too-deep",
            Self::BucketHeader { .. } => "bucket-header",
            Self::InlinePage { .. } => "inline-page",
            Self::RootElement { .. } => "root-element",
            Self::NestedTooDeep { .. } => "nested-too-deep",
            Self::FreelistCount { .. } => "freelist-count",
            Self::FreelistOutOfBounds { .. } => "freelist-out-of-bounds",
            Self::FreelistDuplicate { .. } => "freelist-duplicate",
            Self::FreePageInUse { .. } => "free-page-in-use",
            Self::Leaked { .. } => "leaked",
        }
    }

    /// The page the defect was found on, where it belongs to one.
    #[must_use]
    pub fn page(&self) -> Option<u64> {
        match *self {
            Self::TooShort { .. }
            | Self::BigEndian
            | Self::NoValidMeta { .. }
            | Self::PageSizesDiffer { .. }
            | Self::NoRootPage
            | Self::HighWaterMarkBeyondFile { .. } => None,
            Self::Meta { page, .. }
            | Self::PageSize { page, .. }
            | Self::PageOutOfBounds { page, .. }
            | Self::PageNumber { page, .. }
            | Self::PageFlags { page, .. }
            | Self::PageKind { page, .. }
            | Self::OverflowOutOfBounds { page, .. }
            | Self::PageReachedTwice { page, .. }
            | Self::ElementOutOfBounds { page, .. }
            | Self::ElementFlags { page, .. }
            | Self::EmptyKey { page, .. }
            | Self::MetaBeyondFile { page, .. }
            | Self::Overlap { page }
            | Self::KeyTooLong { page, .. }
            | Self::ValueTooLong { page, .. }
            | Self::KeyOrder { page, .. }
            | Self::Separator { page, .. }
            | Self::SingleChild { page }
            | Self::EmptyPage { page }
            | Self::UnevenDepth { page, .. }
            | Self::TooDeep { page, .. }
            | Self::BucketHeader { page, .. }
            | Self::InlinePage { page, .. }
            | Self::RootElement { page, .. }
            | Self::NestedTooDeep { page, .. }
            | Self::FreelistCount { page, .. }
            | Self::FreelistOutOfBounds { page, .. }
            | Self::FreelistDuplicate { page, .. }
            | Self::FreePageInUse { page, .. }
            | Self::Leaked { page } => Some(page),
        }
    }
}
