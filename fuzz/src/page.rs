//! One page: every element lies where plain arithmetic says, or is refused.

use etcd_rekey::bolt::page::{Header, Page};

/// A number of the page.
fn number(run: &[u8], at: u64, bytes: u64) -> Option<u64> {
    let part = part(run, at, bytes)?;
    Some(part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn part(run: &[u8], at: u64, bytes: u64) -> Option<&[u8]> {
    let (from, to) = (usize::try_from(at).ok()?, usize::try_from(at.checked_add(bytes)?).ok()?);
    run.get(from..to)
}

/// Key and value of element `i` of a leaf.
fn leaf(run: &[u8], count: u64, i: u64) -> Option<(&[u8], &[u8])> {
    let at = 16 + 16 * i;
    let [pos, key, value] = [number(run, at + 4, 4)?, number(run, at + 8, 4)?, number(run, at + 12, 4)?];
    let start = at + pos;
    // Both lengths are summed in 32 bits, as bbolt does.
    let fits = start >= 16 + 16 * count && u32::try_from(key + value).is_ok();
    Some((part(run, start, key)?, part(run, start + key, value)?)).filter(|_| fits)
}

/// Key and child of element `i` of a branch.
fn branch(run: &[u8], count: u64, i: u64) -> Option<(&[u8], u64)> {
    let at = 16 + 16 * i;
    let start = at + number(run, at, 4)?;
    let child = number(run, at + 8, 8)?;
    Some((part(run, start, number(run, at + 4, 4)?)?, child)).filter(|_| start >= 16 + 16 * count)
}

/// Holds the promise to a page run.
pub fn check(run: &[u8]) {
    let Ok((_, header)) = Header::parse(run) else { return };
    assert_eq!(header.encode(), run[..16]);
    let page = Page { at: 7, header, run };
    let count = u64::from(header.count);
    for i in (0..header.count.min(300)).chain([header.count.saturating_sub(1)]).filter(|i| *i < header.count) {
        let ours = page.leaf_element(i).ok().map(|e| (e.key, e.value));
        assert_eq!(ours, leaf(run, count, u64::from(i)), "leaf element {i}");
        let ours = page.branch_element(i).ok().map(|e| (e.key, e.child));
        assert_eq!(ours, branch(run, count, u64::from(i)), "branch element {i}");
    }
    assert!(page.leaf_element(header.count).is_err() && page.branch_element(header.count).is_err());
}
