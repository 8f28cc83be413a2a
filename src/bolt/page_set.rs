//! A set of page numbers: one bit a page.

/// A set of page numbers below the high-water mark.
#[derive(Debug, Clone, Default)]
pub struct PageSet {
    words: Vec<u64>,
    count: u64,
}

impl PageSet {
    /// An empty set for the pages below `pages`.
    #[must_use]
    pub fn new(pages: u64) -> Self {
        Self { words: vec![0; usize::try_from(pages / 64 + 1).unwrap_or(0)], count: 0 }
    }

    fn place(page: u64) -> (usize, u64) {
        (usize::try_from(page / 64).unwrap_or(usize::MAX), 1 << (page % 64))
    }

    /// Adds a page; false when it was there already, or lies outside.
    pub fn insert(&mut self, page: u64) -> bool {
        let (word, bit) = Self::place(page);
        let Some(word) = self.words.get_mut(word) else { return false };
        let fresh = *word & bit == 0;
        *word |= bit;
        self.count += u64::from(fresh);
        fresh
    }

    /// Whether the page is in the set.
    #[must_use]
    pub fn contains(&self, page: u64) -> bool {
        let (word, bit) = Self::place(page);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// How many pages are in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_added_once_and_only_inside_the_file() {
        let mut set = PageSet::new(100);
        assert!(set.insert(0) && set.insert(99) && !set.insert(99));
        assert!(!set.insert(u64::MAX));
        assert!(set.contains(99) && !set.contains(98) && !set.contains(1 << 40));
        assert_eq!(set.len(), 2);
    }
}
