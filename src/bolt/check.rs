//! One strict walk over a file, which both proves its structure and lists it.
//!
//! It is stricter than bbolt's own check, which passes files that later crash
//! etcd: a branch's key must equal the first key of its child, a branch must
//! have two children or more, all leaves of a bucket lie at one depth, every
//! element lies inside its page and every page inside the file, inline pages
//! are looked into, both metas are valid, and no page is reached twice.

use super::meta::META_SIZE;
use super::page::{BRANCH, BUCKET, ELEMENT, FREELIST, HEADER, Header, LEAF, MAX_VALUE, Page};
use super::page_set::PageSet;
use super::places::Places;
use super::survey::{Survey, Thoroughness};
use super::tree::{Bucket, Leaf};
use super::{Database, Defect, freelist};
use nom::{IResult, Parser, number::complete::le_u64};
use std::collections::VecDeque;

/// Deeper trees, and deeper nests of buckets, are refused. A tree whose
/// branches have two children each stays below it with 2^64 pages.
const MAX_DEPTH: usize = 64;

/// Walks the whole file.
#[must_use]
pub fn survey<'a>(db: &Database<'a>, how: Thoroughness) -> Survey<'a> {
    walked(db, how, &|| true)
}

/// Walks the whole file, for as long as `go_on` says so; `None` when stopped.
#[must_use]
pub fn survey_while<'a>(db: &Database<'a>, how: Thoroughness, go_on: &dyn Fn() -> bool) -> Option<Survey<'a>> {
    let survey = walked(db, how, go_on);
    go_on().then_some(survey)
}

fn walked<'a>(db: &Database<'a>, how: Thoroughness, go_on: &dyn Fn() -> bool) -> Survey<'a> {
    let mut walk = Walk { db, how, go_on, survey: Survey::of(db.pages()) };
    walk.metas();
    walk.buckets();
    walk.freelist();
    walk.survey
}

struct Walk<'d, 'a> {
    db: &'d Database<'a>,
    how: Thoroughness,
    go_on: &'d dyn Fn() -> bool,
    survey: Survey<'a>,
}

/// A branch page on the way down, and the child to look at next.
struct Step<'a> {
    page: Page<'a>,
    next: u16,
}

/// A bucket element seen in a leaf, to be walked later.
struct Found<'a> {
    name: &'a [u8],
    value: &'a [u8],
    entry: u64,
    page: u64,
    index: u16,
}

impl<'a> Walk<'_, 'a> {
    fn full(&self) -> bool {
        self.survey.defects.len() >= self.how.defects
    }

    fn note(&mut self, defect: Defect) {
        if !self.full() {
            self.survey.defects.push(defect);
        }
    }

    fn metas(&mut self) {
        for page in [0, 1] {
            match self.db.meta_page(page) {
                Ok(found) => self.unused(&found, META_SIZE + HEADER),
                Err(defect) => self.note(defect),
            }
            self.survey.used.insert(page);
        }
    }

    fn buckets(&mut self) {
        let meta = *self.db.meta();
        let root = Bucket::new(b"", None, 0, meta.sequence);
        let mut found = VecDeque::new();
        self.tree(root, meta.root, 0, &mut found);
        while let Some((parent, bucket)) = found.pop_front() {
            if self.full() || !(self.go_on)() {
                return;
            }
            self.nested(parent, &bucket, &mut found);
        }
    }

    fn nested(&mut self, parent: usize, found: &Found<'a>, queue: &mut VecDeque<(usize, Found<'a>)>) {
        let depth = self.survey.buckets.get(parent).map_or(0, |bucket| bucket.depth) + 1;
        if depth > MAX_DEPTH {
            return self.note(Defect::NestedTooDeep { page: found.page, limit: MAX_DEPTH });
        }
        let header: IResult<_, _> = (le_u64, le_u64).parse(found.value);
        let Ok((inline, (root, sequence))) = header.map_err(|_: nom::Err<nom::error::Error<_>>| ()) else {
            let bytes = u64::try_from(found.value.len()).unwrap_or(u64::MAX);
            return self.note(Defect::BucketHeader { page: found.page, index: found.index, bytes });
        };
        let mut bucket = Bucket::new(found.name, Some((parent, found.entry)), depth, sequence);
        if root != 0 {
            return self.tree(bucket, root, found.page, queue);
        }
        let malformed = Defect::InlinePage { page: found.page, index: found.index };
        match Header::parse(inline) {
            Ok((_, header)) if header.flags == LEAF && header.id == 0 && header.overflow == 0 => {
                let page = Page { at: found.page, header, run: inline };
                let number = self.survey.buckets.len();
                if self.leaf(&page, &mut bucket, None, number, queue) {
                    self.survey.buckets.push(bucket);
                }
            }
            _ => self.note(malformed),
        }
    }

    /// Walks the tree of one bucket in key order and adds the bucket to the
    /// list. A page with a defect is left out, with what hangs below it.
    fn tree(&mut self, mut bucket: Bucket<'a>, root: u64, by: u64, queue: &mut VecDeque<(usize, Found<'a>)>) {
        let number = self.survey.buckets.len();
        let mut path: Vec<Step<'a>> = Vec::new();
        let mut leaf_depth = None;
        let mut last_key = None;
        let mut next = Some((root, by, None));
        while let Some((id, by, separator)) = next.take() {
            if let Some(page) = self.reach(id, by) {
                if let Some((key, index)) = separator
                    && page.first_key().is_ok_and(|first| first != key)
                {
                    self.note(Defect::Separator { page: by, index, child: id });
                }
                if page.header.count == 0 && !(path.is_empty() && page.header.flags == LEAF) {
                    self.note(Defect::EmptyPage { page: id });
                } else if page.header.flags == BRANCH {
                    if self.branch(&page) {
                        path.push(Step { page, next: 0 });
                    }
                } else {
                    let depth = path.len();
                    let expected = *leaf_depth.get_or_insert(depth);
                    if depth != expected {
                        self.note(Defect::UnevenDepth { page: id, depth, expected });
                    }
                    if self.leaf(&page, &mut bucket, last_key, number, queue) && page.header.count > 0 {
                        last_key = page.leaf_element(page.header.count - 1).ok().map(|e| e.key);
                    }
                }
            }
            if self.full() || !(self.go_on)() {
                break;
            }
            if path.len() > MAX_DEPTH {
                self.note(Defect::TooDeep { page: id, limit: MAX_DEPTH });
                path.pop();
            }
            while let Some(step) = path.last_mut() {
                if step.next == step.page.header.count {
                    path.pop();
                    continue;
                }
                let index = step.next;
                step.next += 1;
                if let Ok(element) = step.page.branch_element(index) {
                    next = Some((element.child, step.page.at, Some((element.key, index))));
                    break;
                }
            }
        }
        self.survey.buckets.push(bucket);
    }

    /// Takes a page run of a tree and marks its pages as used.
    fn reach(&mut self, id: u64, by: u64) -> Option<Page<'a>> {
        let page = match self.db.page(id, by) {
            Ok(page) => page,
            Err(defect) => {
                self.note(defect);
                return None;
            }
        };
        if !matches!(page.header.flags, BRANCH | LEAF) {
            let found = page.header.kind().unwrap_or("unknown");
            self.note(Defect::PageKind { page: id, expected: "branch or leaf", found });
            return None;
        }
        self.take(&page, by).then_some(page)
    }

    fn take(&mut self, page: &Page<'a>, by: u64) -> bool {
        let last = page.at.saturating_add(u64::from(page.header.overflow));
        for physical in page.at..=last {
            if !self.survey.used.insert(physical) {
                self.note(Defect::PageReachedTwice { page: physical, by });
                return false;
            }
        }
        true
    }

    /// Checks the elements of a branch page.
    fn branch(&mut self, page: &Page<'a>) -> bool {
        let mut used = HEADER + usize::from(page.header.count) * ELEMENT;
        let mut places = Places::default();
        let mut previous: Option<&[u8]> = None;
        for i in 0..page.header.count {
            let element = match page.branch_element(i) {
                Ok(element) => element,
                Err(defect) => {
                    self.note(defect);
                    return false;
                }
            };
            if let Err(defect) = page.key_fits(i, element.key, previous) {
                self.note(defect);
                return false;
            }
            previous = Some(element.key);
            used += element.key.len();
            places.meet(page, element.key, element.key.len());
        }
        if page.header.count == 1 {
            self.note(Defect::SingleChild { page: page.at });
        }
        let all = || (0..page.header.count).filter_map(|i| page.branch_element(i).ok());
        if places.shared(page, || all().map(|element| (element.key, element.key.len()))) {
            self.note(Defect::Overlap { page: page.at });
        }
        self.unused(page, used);
        true
    }

    /// Checks the elements of a leaf page and adds it to its bucket. Nested
    /// buckets are put into the queue.
    fn leaf(
        &mut self,
        page: &Page<'a>,
        bucket: &mut Bucket<'a>,
        last_key: Option<&'a [u8]>,
        number: usize,
        queue: &mut VecDeque<(usize, Found<'a>)>,
    ) -> bool {
        let mut used = HEADER + usize::from(page.header.count) * ELEMENT;
        let mut places = Places::default();
        let mut previous = last_key;
        let waiting = queue.len();
        let mut sound = true;
        for i in 0..page.header.count {
            let element = match page.leaf_element(i) {
                Ok(element) => element,
                Err(defect) => {
                    self.note(defect);
                    sound = false;
                    break;
                }
            };
            if let Err(defect) = page.key_fits(i, element.key, previous) {
                self.note(defect);
                sound = false;
                break;
            }
            let bytes = u32::try_from(element.value.len()).unwrap_or(u32::MAX);
            if bytes > MAX_VALUE {
                self.note(Defect::ValueTooLong { page: page.at, index: i, bytes });
            }
            if element.flags & !BUCKET != 0 {
                self.note(Defect::ElementFlags { page: page.at, index: i, flags: element.flags });
            } else if element.flags == BUCKET {
                let entry = bucket.entries + u64::from(i);
                let found = Found { name: element.key, value: element.value, entry, page: page.at, index: i };
                queue.push_back((number, found));
            } else if bucket.parent.is_none() {
                self.note(Defect::RootElement { page: page.at, index: i });
            }
            previous = Some(element.key);
            let bytes = element.key.len() + element.value.len();
            used += bytes;
            places.meet(page, element.key, bytes);
        }
        let all = || (0..page.header.count).filter_map(|i| page.leaf_element(i).ok());
        if places.shared(page, || all().map(|element| (element.key, element.key.len() + element.value.len()))) {
            self.note(Defect::Overlap { page: page.at });
            sound = false;
        }
        if !sound {
            queue.truncate(waiting);
            return false;
        }
        self.unused(page, used);
        bucket.leaves.push(Leaf { run: page.run, first_entry: bucket.entries });
        bucket.entries += u64::from(page.header.count);
        true
    }

    /// Notes whether the bytes behind `used` are anything but zero, which
    /// also tells when elements are not packed densely.
    fn unused(&mut self, page: &Page<'a>, used: usize) {
        if self.how.unused_bytes && page.run.get(used..).is_none_or(|tail| tail.iter().any(|byte| *byte != 0)) {
            self.survey.dirty += 1;
        }
    }

    fn freelist(&mut self) {
        let pages = self.db.pages();
        let Some(at) = self.db.freelist() else {
            self.survey.free_pages = pages.saturating_sub(self.survey.used.len());
            return;
        };
        let page = match self.db.page(at, 0) {
            Ok(page) if page.header.flags == FREELIST => page,
            Ok(page) => {
                let found = page.header.kind().unwrap_or("unknown");
                return self.note(Defect::PageKind { page: at, expected: "free-list", found });
            }
            Err(defect) => return self.note(defect),
        };
        if !self.take(&page, 0) {
            return;
        }
        let Some(ids) = freelist::ids(&page) else {
            return self.note(Defect::FreelistCount { page: at, count: u64::from(page.header.count) });
        };
        let mut free = PageSet::new(pages);
        for id in ids {
            if let Err(defect) = freelist::free(at, id, pages, &self.survey.used, &mut free) {
                self.note(defect);
            }
        }
        self.survey.free_pages = free.len();
        if !self.full() && self.survey.used.len() + free.len() != pages {
            let leaked = (0..pages).find(|id| !self.survey.used.contains(*id) && !free.contains(*id));
            self.note(Defect::Leaked { page: leaked.unwrap_or_default() });
        }
    }
}
