//! A file of pages: which of its two metas counts, and where a page lies.

use super::meta::{MAGIC, Meta, NO_FREELIST};
use super::page::{Header, Page, index};
use super::{Defect, MetaDefect};

/// The smallest and largest page size bbolt looks for when it opens a file.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 1024..=(16 << 20);

/// A bbolt file in memory, its metas read and its page size known.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    bytes: &'a [u8],
    /// Of the whole file, behind the high-water mark as well.
    length: u64,
    page_size: usize,
    meta: Meta,
    metas: [Result<Meta, MetaDefect>; 2],
}

impl<'a> Database<'a> {
    /// Reads the metas, chooses one as bbolt does (the valid one with the
    /// higher txid, page 0 when equal) and checks that the pages it claims
    /// are all there. Bytes past the high-water mark are ignored.
    ///
    /// # Errors
    /// What keeps the file from being opened at all. All else is left to
    /// [`super::survey()`].
    pub fn open(bytes: &'a [u8]) -> Result<Self, Defect> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if bytes.len() < 2 * index(*PAGE_SIZES.start()) {
            return Err(Defect::TooShort { bytes: length });
        }
        let first = Meta::parse(bytes);
        let second = match first {
            Ok(meta) => Meta::parse(bytes.get(index(meta.page_size)..).unwrap_or_default()),
            Err(_) => find_second(bytes),
        };
        let (page, meta) = match (first, second) {
            (Ok(a), Ok(b)) if b.txid > a.txid => (1, b),
            (Ok(a), _) => (0, a),
            (Err(_), Ok(b)) => (1, b),
            (Err(MetaDefect::Magic(magic)), Err(_)) if magic == MAGIC.swap_bytes() => {
                return Err(Defect::BigEndian);
            }
            (Err(first), Err(second)) => return Err(Defect::NoValidMeta { first, second }),
        };
        if !meta.page_size.is_power_of_two() || !PAGE_SIZES.contains(&meta.page_size) {
            return Err(Defect::PageSize { page, size: meta.page_size });
        }
        let claimed = meta.high_water_mark.checked_mul(u64::from(meta.page_size));
        if claimed.is_none_or(|claimed| claimed > length) {
            return Err(Defect::HighWaterMarkBeyondFile {
                pages: meta.high_water_mark,
                page_size: meta.page_size,
                bytes: length,
            });
        }
        if meta.root == 0 {
            return Err(Defect::NoRootPage);
        }
        let bytes = &bytes[..usize::try_from(claimed.unwrap_or(0)).unwrap_or(0)];
        Ok(Self { bytes, length, page_size: index(meta.page_size), meta, metas: [first, second] })
    }

    /// The bytes up to the high-water mark.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// The meta that counts.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Both metas, as found in pages 0 and 1.
    pub fn metas(&self) -> &[Result<Meta, MetaDefect>; 2] {
        &self.metas
    }

    /// Number of pages: the high-water mark.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.meta.high_water_mark
    }

    /// The free-list page, where the file has one.
    #[must_use]
    pub fn freelist(&self) -> Option<u64> {
        Some(self.meta.freelist).filter(|page| *page != NO_FREELIST)
    }

    /// Whether what a meta names lies inside the file.
    #[must_use]
    pub fn holds(&self, meta: &Meta) -> bool {
        let bytes = meta.high_water_mark.checked_mul(u64::from(meta.page_size));
        let inside = bytes.is_some_and(|bytes| bytes <= self.length);
        let page = |page: u64| (2..meta.high_water_mark).contains(&page);
        inside && page(meta.root) && (meta.freelist == NO_FREELIST || page(meta.freelist))
    }

    /// Page 0 or 1, a meta with nothing wrong.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn meta_page(&self, page: u64) -> Result<Page<'a>, Defect> {
        let [first, second] = self.metas;
        let meta = if page == 0 { first } else { second }.map_err(|why| Defect::Meta { page, why })?;
        if index(meta.page_size) != self.page_size {
            return Err(Defect::PageSizesDiffer { first: self.meta.page_size, second: meta.page_size });
        }
        // etcd falls back on it when the one that counts is damaged. What that one names is walked.
        if meta != self.meta && self.holds(&self.meta) && !self.holds(&meta) {
            return Err(Defect::MetaBeyondFile { page, pages: meta.high_water_mark, root: meta.root });
        }
        let found = self.page(page, page)?;
        match found.header.kind() {
            Some("meta") => Ok(found),
            kind => Err(Defect::PageKind { page, expected: "meta", found: kind.unwrap_or("unknown") }),
        }
    }

    /// The physical pages `first .. first + count`, as bytes.
    #[must_use]
    pub fn physical(&self, first: u64, count: u64) -> Option<&'a [u8]> {
        let size = u64::try_from(self.page_size).ok()?;
        let start = usize::try_from(first.checked_mul(size)?).ok()?;
        let end = usize::try_from(first.checked_add(count)?.checked_mul(size)?).ok()?;
        self.bytes.get(start..end)
    }

    /// The page run at `id`, which page `by` names: number, kind flags and
    /// overflow checked.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn page(&self, id: u64, by: u64) -> Result<Page<'a>, Defect> {
        let outside = Defect::PageOutOfBounds { page: id, by, pages: self.pages() };
        let Some(start) = self.physical(id, 1) else { return Err(outside) };
        let (_, header) = Header::parse(start).map_err(|_| outside)?;
        if header.kind().is_none() {
            return Err(Defect::PageFlags { page: id, flags: header.flags });
        }
        if header.id != id {
            return Err(Defect::PageNumber { page: id, found: header.id });
        }
        let run = self
            .physical(id, u64::from(header.overflow) + 1)
            .ok_or(Defect::OverflowOutOfBounds { page: id, overflow: header.overflow })?;
        Ok(Page { at: id, header, run })
    }
}

/// Looks for a valid second meta at each page size there may be, as bbolt
/// does when the first one is damaged.
fn find_second(bytes: &[u8]) -> Result<Meta, MetaDefect> {
    let mut defect = MetaDefect::Truncated;
    let mut size = *PAGE_SIZES.start();
    while PAGE_SIZES.contains(&size) {
        let Some(page) = bytes.get(index(size)..) else { break };
        match Meta::parse(page) {
            Ok(meta) if meta.page_size == size => return Ok(meta),
            // The most telling one is kept: a meta that was there, but damaged.
            Err(found @ (MetaDefect::Version(_) | MetaDefect::Checksum)) => defect = found,
            Err(found) if defect == MetaDefect::Truncated => defect = found,
            Ok(_) | Err(_) => {}
        }
        size *= 2;
    }
    Err(defect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(page_size: u32, first: Option<u64>, second: Option<u64>) -> Vec<u8> {
        let mut bytes = vec![0; index(page_size) * 4];
        for (page, txid) in [(0, first), (1, second)] {
            if let Some(txid) = txid {
                let meta =
                    Meta { page_size, root: 2, sequence: 0, freelist: NO_FREELIST, high_water_mark: 3, txid };
                let at = index(page_size) * page;
                bytes[at..at + 80].copy_from_slice(&meta.encode(u64::try_from(page).unwrap()));
            }
        }
        bytes
    }

    #[test]
    fn the_meta_with_the_higher_txid_counts() {
        for (first, second, expected) in
            [(Some(4), Some(5), 5), (Some(5), Some(4), 5), (Some(4), None, 4), (None, Some(4), 4)]
        {
            let bytes = file(4096, first, second);
            assert_eq!(Database::open(&bytes).unwrap().meta().txid, expected);
        }
    }

    #[test]
    fn every_page_size_is_found_from_either_meta() {
        for shift in 10..=20 {
            for (first, second) in [(Some(4), None), (None, Some(4))] {
                let bytes = file(1 << shift, first, second);
                assert_eq!(Database::open(&bytes).unwrap().page_size(), 1 << shift);
            }
        }
    }

    #[test]
    fn a_big_endian_file_is_refused_by_name() {
        let mut bytes = file(4096, None, None);
        bytes[16..20].copy_from_slice(&MAGIC.to_be_bytes());
        assert_eq!(Database::open(&bytes).unwrap_err(), Defect::BigEndian);
    }

    #[test]
    fn bytes_past_the_high_water_mark_are_ignored() {
        let bytes = file(4096, Some(4), Some(3));
        assert_eq!(Database::open(&bytes).unwrap().bytes().len(), 3 * 4096);
    }

    #[test]
    fn a_claim_larger_than_the_file_is_refused() {
        let mut bytes = file(4096, Some(4), Some(3));
        bytes.truncate(2 * 4096);
        assert!(matches!(Database::open(&bytes), Err(Defect::HighWaterMarkBeyondFile { pages: 3, .. })));
    }
}
