//! Pages: the header, and the elements of branch and leaf pages.
//!
//! ```text
//! page header, 16 bytes          leaf element, 16 bytes        branch element, 16 bytes
//!  0  id        u64               0  flags  u32 (1: bucket)     0  pos    u32
//!  8  flags     u16               4  pos    u32                 4  ksize  u32
//! 10  count     u16               8  ksize  u32                 8  child  u64
//! 12  overflow  u32              12  vsize  u32
//! ```
//!
//! `pos` counts from the start of the element itself; a leaf's value follows
//! its key. Source: bbolt `internal/common/page.go`.

use super::Defect;
use nom::{
    IResult, Parser,
    number::complete::{le_u16, le_u32, le_u64},
};

/// Bytes of a page header, and of a branch or leaf element.
pub const HEADER: usize = 16;
/// Bytes of one element header, branch or leaf.
pub const ELEMENT: usize = 16;
/// Flag of a branch page.
pub const BRANCH: u16 = 0x01;
/// Flag of a leaf page.
pub const LEAF: u16 = 0x02;
/// Flag of a meta page.
pub const META: u16 = 0x04;
/// Flag of a free-list page.
pub const FREELIST: u16 = 0x10;
/// Flag of a leaf element whose value is a bucket.
pub const BUCKET: u32 = 0x01;
/// The longest key bbolt takes (`MaxKeySize`).
pub const MAX_KEY: u32 = 32768;
/// The longest value bbolt takes (`MaxValueSize`).
pub const MAX_VALUE: u32 = (1 << 31) - 2;
/// The most elements a branch or leaf page may hold.
pub const MAX_COUNT: usize = 0xFFFE;

/// A size read from a file, as an index. Saturates where a `usize` is
/// narrower than 32 bits, so that the bounds check after it fails.
#[must_use]
pub fn index(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The 16 bytes every page run begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The page's own number; 0 in an inline page.
    pub id: u64,
    /// Exactly one of the kind flags.
    pub flags: u16,
    /// Number of elements.
    pub count: u16,
    /// How many more physical pages the run has.
    pub overflow: u32,
}

impl Header {
    /// Parses the first 16 bytes of a page.
    ///
    /// # Errors
    /// When there are fewer than 16 bytes.
    pub fn parse(bytes: &[u8]) -> IResult<&[u8], Self> {
        (le_u64, le_u16, le_u16, le_u32)
            .map(|(id, flags, count, overflow)| Self { id, flags, count, overflow })
            .parse(bytes)
    }

    /// The 16 bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(&self.id.to_le_bytes());
        out[8..10].copy_from_slice(&self.flags.to_le_bytes());
        out[10..12].copy_from_slice(&self.count.to_le_bytes());
        out[12..16].copy_from_slice(&self.overflow.to_le_bytes());
        out
    }

    /// The name of the page's kind, where the flags are those of one.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
        match self.flags {
            BRANCH => Some("branch"),
            LEAF => Some("leaf"),
            META => Some("meta"),
            FREELIST => Some("free-list"),
            _ => None,
        }
    }
}

/// One page run: the page with its overflow pages, as one slice.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Where the run lies; for an inline page, the page that holds it.
    pub at: u64,
    /// The parsed header.
    pub header: Header,
    /// All bytes of the run, header included.
    pub run: &'a [u8],
}

/// An element of a leaf page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafElement<'a> {
    /// 0, or [`BUCKET`].
    pub flags: u32,
    /// The key.
    pub key: &'a [u8],
    /// The value; of a bucket, its header and perhaps an inline page.
    pub value: &'a [u8],
}

/// An element of a branch page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BranchElement<'a> {
    /// The first key of the child.
    pub key: &'a [u8],
    /// The child's page number.
    pub child: u64,
}

impl<'a> Page<'a> {
    /// Bytes from the start of element `i` to the end of the run.
    fn element_and_rest(&self, i: u16) -> Option<&'a [u8]> {
        self.run.get(HEADER + usize::from(i) * ELEMENT..)
    }

    /// Where the elements' data may begin: behind the last element header.
    fn data_start(&self) -> usize {
        HEADER + usize::from(self.header.count) * ELEMENT
    }

    fn slice(&self, i: u16, pos: u32, len: u32, element: &'a [u8]) -> Option<&'a [u8]> {
        let start = index(pos);
        let absolute = (HEADER + usize::from(i) * ELEMENT).checked_add(start)?;
        if absolute < self.data_start() {
            return None;
        }
        element.get(start..start.checked_add(index(len))?)
    }

    /// Element `i` of a leaf page.
    ///
    /// # Errors
    /// [`Defect::ElementOutOfBounds`] when it, its key or its value does not
    /// lie inside the run.
    pub fn leaf_element(&self, i: u16) -> Result<LeafElement<'a>, Defect> {
        let outside = || Defect::ElementOutOfBounds { page: self.at, index: i };
        let element = self.element_and_rest(i).filter(|_| i < self.header.count).ok_or_else(outside)?;
        let parsed: IResult<_, _> = (le_u32, le_u32, le_u32, le_u32).parse(element);
        let (_, (flags, pos, ksize, vsize)) = parsed.map_err(|_: nom::Err<nom::error::Error<_>>| outside())?;
        let both = ksize.checked_add(vsize).ok_or_else(outside)?;
        let data = self.slice(i, pos, both, element).ok_or_else(outside)?;
        let (key, value) = data.split_at_checked(index(ksize)).ok_or_else(outside)?;
        Ok(LeafElement { flags, key, value })
    }

    /// Element `i` of a branch page.
    ///
    /// # Errors
    /// [`Defect::ElementOutOfBounds`] when it or its key does not lie inside
    /// the run.
    pub fn branch_element(&self, i: u16) -> Result<BranchElement<'a>, Defect> {
        let outside = || Defect::ElementOutOfBounds { page: self.at, index: i };
        let element = self.element_and_rest(i).filter(|_| i < self.header.count).ok_or_else(outside)?;
        let parsed: IResult<_, _> = (le_u32, le_u32, le_u64).parse(element);
        let (_, (pos, ksize, child)) = parsed.map_err(|_: nom::Err<nom::error::Error<_>>| outside())?;
        let key = self.slice(i, pos, ksize, element).ok_or_else(outside)?;
        Ok(BranchElement { key, child })
    }

    /// Whether element `i` may have this key behind one with the key `previous`.
    ///
    /// # Errors
    /// An empty key, one that is too long, or one that is not the greater.
    pub fn key_fits(&self, i: u16, key: &[u8], previous: Option<&[u8]>) -> Result<(), Defect> {
        let bytes = u32::try_from(key.len()).unwrap_or(u32::MAX);
        if key.is_empty() {
            Err(Defect::EmptyKey { page: self.at, index: i })
        } else if bytes > MAX_KEY {
            Err(Defect::KeyTooLong { page: self.at, index: i, bytes })
        } else if previous.is_some_and(|previous| previous >= key) {
            Err(Defect::KeyOrder { page: self.at, index: i })
        } else {
            Ok(())
        }
    }

    /// The key of element 0, whichever kind of page this is.
    ///
    /// # Errors
    /// As the elements' own.
    pub fn first_key(&self) -> Result<&'a [u8], Defect> {
        if self.header.flags == BRANCH {
            self.branch_element(0).map(|e| e.key)
        } else {
            self.leaf_element(0).map(|e| e.key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(pos: u32, ksize: u32, vsize: u32) -> Vec<u8> {
        let mut run = Header { id: 7, flags: LEAF, count: 1, overflow: 0 }.encode().to_vec();
        for field in [0, pos, ksize, vsize] {
            run.extend(field.to_le_bytes());
        }
        run.extend(b"keyvalue");
        run
    }

    fn element(run: &[u8]) -> Result<LeafElement<'_>, Defect> {
        let (_, header) = Header::parse(run).unwrap();
        Page { at: 7, header, run }.leaf_element(0)
    }

    #[test]
    fn a_leaf_element_is_its_key_and_value() {
        let run = leaf(16, 3, 5);
        assert_eq!(element(&run), Ok(LeafElement { flags: 0, key: b"key", value: b"value" }));
    }

    #[test]
    fn an_element_outside_its_page_is_refused() {
        for (pos, ksize, vsize) in
            [(16, 3, 6), (17, 3, 5), (u32::MAX, 3, 5), (16, u32::MAX, 5), (16, 3, u32::MAX), (0, 3, 5)]
        {
            let run = leaf(pos, ksize, vsize);
            assert_eq!(element(&run), Err(Defect::ElementOutOfBounds { page: 7, index: 0 }));
        }
    }

    #[test]
    fn a_header_survives_encoding() {
        let header = Header { id: 1 << 40, flags: BRANCH, count: 513, overflow: 70_000 };
        assert_eq!(Header::parse(&header.encode()).unwrap().1, header);
    }
}
