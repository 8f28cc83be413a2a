//! Meta pages: 64 bytes behind the page header, in pages 0 and 1.
//!
//! ```text
//!  0 magic u32   4 version u32   8 pageSize u32   12 flags u32
//! 16 root page u64   24 root sequence u64   32 free-list page u64
//! 40 high-water mark u64   48 txid u64   56 FNV-1a 64 of bytes 0..56
//! ```
//!
//! Source: bbolt `internal/common/meta.go`.

use super::MetaDefect;
use super::page::{HEADER, Header, META};
use nom::{
    IResult, Parser,
    number::complete::{le_u32, le_u64},
};

/// The magic number of bbolt.
pub const MAGIC: u32 = 0xED0C_DAED;
/// The only data-file version there is.
pub const VERSION: u32 = 2;
/// In place of a free-list page: the list is not stored (etcd since 3.3).
pub const NO_FREELIST: u64 = u64::MAX;
/// Bytes of a meta.
pub const META_SIZE: usize = 64;

/// A valid meta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_size: u32,
    /// Root page of the tree of buckets.
    pub root: u64,
    /// Sequence of the root bucket.
    pub sequence: u64,
    /// The free-list page, or [`NO_FREELIST`].
    pub freelist: u64,
    /// First page never allocated.
    pub high_water_mark: u64,
    /// Transaction that wrote this meta.
    pub txid: u64,
}

/// FNV-1a, 64 bit.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl Meta {
    /// Reads and validates the meta of a meta page, as bbolt does: magic,
    /// version, checksum, in that order.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn parse(page: &[u8]) -> Result<Self, MetaDefect> {
        let bytes = page.get(HEADER..HEADER + META_SIZE).ok_or(MetaDefect::Truncated)?;
        let parsed: IResult<_, _> =
            (le_u32, le_u32, le_u32, le_u32, le_u64, le_u64, le_u64, le_u64, le_u64, le_u64).parse(bytes);
        let (_, (magic, version, page_size, _flags, root, sequence, freelist, high_water_mark, txid, checksum)) =
            parsed.map_err(|_: nom::Err<nom::error::Error<_>>| MetaDefect::Truncated)?;
        if magic != MAGIC {
            return Err(MetaDefect::Magic(magic));
        }
        if version != VERSION {
            return Err(MetaDefect::Version(version));
        }
        if checksum != fnv1a(&bytes[..META_SIZE - 8]) {
            return Err(MetaDefect::Checksum);
        }
        Ok(Self { page_size, root, sequence, freelist, high_water_mark, txid })
    }

    /// The header and meta of page `id`: the page's first 80 bytes. The rest
    /// of the page is zero.
    #[must_use]
    pub fn encode(&self, id: u64) -> [u8; HEADER + META_SIZE] {
        let mut out = [0; HEADER + META_SIZE];
        out[..HEADER].copy_from_slice(&Header { id, flags: META, count: 0, overflow: 0 }.encode());
        let meta = &mut out[HEADER..];
        meta[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        meta[4..8].copy_from_slice(&VERSION.to_le_bytes());
        meta[8..12].copy_from_slice(&self.page_size.to_le_bytes());
        meta[16..24].copy_from_slice(&self.root.to_le_bytes());
        meta[24..32].copy_from_slice(&self.sequence.to_le_bytes());
        meta[32..40].copy_from_slice(&self.freelist.to_le_bytes());
        meta[40..48].copy_from_slice(&self.high_water_mark.to_le_bytes());
        meta[48..56].copy_from_slice(&self.txid.to_le_bytes());
        let checksum = fnv1a(&meta[..META_SIZE - 8]);
        meta[56..64].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: Meta =
        Meta { page_size: 4096, root: 9, sequence: 3, freelist: NO_FREELIST, high_water_mark: 11, txid: 5 };

    #[test]
    fn a_meta_survives_encoding() {
        assert_eq!(Meta::parse(&META.encode(1)), Ok(META));
    }

    #[test]
    fn every_flipped_bit_of_a_meta_is_noticed() {
        let good = META.encode(0);
        for bit in 0..META_SIZE * 8 {
            let mut bad = good;
            bad[HEADER + bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::parse(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn fnv1a_matches_its_published_vectors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
