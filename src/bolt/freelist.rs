//! The free-list page of files that store one: old etcds, and files that
//! bbolt's own tools have written to.
//!
//! A count of 0xFFFF in the header says that the first number is the real
//! count. Source: bbolt `internal/freelist/shared.go`.

use super::page::{HEADER, Page};
use super::{Defect, PageSet};
use nom::{IResult, Parser, multi::count, number::complete::le_u64};

/// The page numbers listed; `None` when there are fewer than the count says.
#[must_use]
pub fn ids(page: &Page<'_>) -> Option<Vec<u64>> {
    let body = page.run.get(HEADER..)?;
    let (body, listed) = if page.header.count == u16::MAX {
        let parsed: IResult<_, _> = le_u64.parse(body);
        parsed.map_err(|_: nom::Err<nom::error::Error<_>>| ()).ok()?
    } else {
        (body, u64::from(page.header.count))
    };
    let listed = usize::try_from(listed).ok().filter(|listed| *listed <= body.len() / 8)?;
    let parsed: IResult<_, _, nom::error::Error<_>> = count(le_u64, listed).parse(body);
    parsed.ok().map(|(_, ids)| ids)
}

/// Takes page `id`, which the list on page `at` names, into `free`.
///
/// # Errors
/// A page beyond the file's, one that is in `used`, or one that is listed twice.
pub fn free(at: u64, id: u64, pages: u64, used: &PageSet, free: &mut PageSet) -> Result<(), Defect> {
    if id < 2 || id >= pages {
        Err(Defect::FreelistOutOfBounds { page: at, free: id })
    } else if used.contains(id) {
        Err(Defect::FreePageInUse { page: at, free: id })
    } else if !free.insert(id) {
        Err(Defect::FreelistDuplicate { page: at, free: id })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::{FREELIST, Header};
    use super::*;

    fn listed(count: u16, body: &[u64]) -> Option<Vec<u64>> {
        let header = Header { id: 3, flags: FREELIST, count, overflow: 0 };
        let mut run = header.encode().to_vec();
        run.extend(body.iter().flat_map(|id| id.to_le_bytes()));
        ids(&Page { at: 3, header, run: &run })
    }

    #[test]
    fn both_forms_of_the_count_are_read() {
        assert_eq!(listed(2, &[7, 9, 0]), Some(vec![7, 9]));
        assert_eq!(listed(u16::MAX, &[2, 7, 9]), Some(vec![7, 9]));
    }

    #[test]
    fn a_count_beyond_the_page_is_none() {
        assert_eq!(listed(3, &[7, 9]), None);
        assert_eq!(listed(u16::MAX, &[3, 7, 9]), None);
        assert_eq!(listed(u16::MAX, &[u64::MAX, 7]), None);
        assert_eq!(listed(u16::MAX, &[]), None);
    }
}
