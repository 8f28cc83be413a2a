//! One strict walk over a file, which both proves its structure and lists it.
//!
//! It is stricter than bbolt's own check, which passes files that later crash
//! etcd: a branch's key must equal the first key of its child, a branch must
//! have two children or more, all leaves of a bucket lie at one depth, every
//! element lies inside its page and every page inside the file, inline pages
//! are looked into, both metas are valid, and no page is reached twice.

use super::page::{
    BRANCH, BUCKET, ELEMENT, FREELIST, HEADER, Header, LEAF, LeafElement, MAX_KEY, MAX_VALUE, Page, index,
};
use super::page_set::PageSet;
use super::tree::{Bucket, Leaf};
use super::{Database, Defect, freelist};
use nom::{IResult, Parser, number::complete::le_u64};
use std::collections::VecDeque;
use std::ops::Range;

/// Deeper trees, and deeper nests of buckets, are refused. A tree whose
/// branches have two children each stays below it with 2^64 pages.
const MAX_DEPTH: usize = 64;

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
    let survey = Survey {
        buckets: Vec::new(),
        used: PageSet::new(db.pages()),
        free_pages: 0,
        dirty: 0,
        defects: Vec::new(),
    };
    let mut walk = Walk { db, how, go_on, survey };
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

/// Where an element lies in its page, given its key, which was taken from there.
fn place(page: &Page<'_>, key: &[u8], bytes: usize) -> Range<usize> {
    let start = key.as_ptr().addr().saturating_sub(page.run.as_ptr().addr());
    start..start + bytes
}

/// Whether the elements of a page share bytes. Every writer puts them one
/// behind the other, and then none do; where they lie otherwise, all are
/// held against each other.
#[derive(Default)]
struct Places {
    end: usize,
    out_of_order: bool,
}

impl Places {
    fn meet(&mut self, page: &Page<'_>, key: &[u8], bytes: usize) {
        let place = place(page, key, bytes);
        self.out_of_order |= place.start < self.end;
        self.end = place.end;
    }

    fn shared(&self, all: impl FnOnce() -> Vec<Range<usize>>) -> bool {
        self.out_of_order && {
            let mut all = all();
            all.sort_by_key(|place| place.start);
            all.windows(2).any(|two| two[1].start < two[0].end)
        }
    }
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
        let [first, second] = *self.db.metas();
        let counts = *self.db.meta();
        for (page, meta) in [(0, first), (1, second)] {
            match meta {
                Ok(meta) if index(meta.page_size) != self.db.page_size() => {
                    let size = u32::try_from(self.db.page_size()).unwrap_or(u32::MAX);
                    self.note(Defect::PageSizesDiffer { first: size, second: meta.page_size });
                }
                // etcd falls back on it when the one that counts is damaged. What that one names is walked.
                Ok(meta) if meta != counts && self.db.holds(&counts) && !self.db.holds(&meta) => {
                    self.note(Defect::MetaBeyondFile { page, pages: meta.high_water_mark, root: meta.root });
                }
                Ok(_) => match self.db.page(page, page) {
                    Ok(found) if found.header.kind() != Some("meta") => self.note(Defect::PageKind {
                        page,
                        expected: "meta",
                        found: found.header.kind().unwrap_or("unknown"),
                    }),
                    Ok(found) => self.unused(&found, super::meta::META_SIZE + HEADER),
                    Err(defect) => self.note(defect),
                },
                Err(why) => self.note(Defect::Meta { page, why }),
            }
            self.survey.used.insert(page);
        }
    }

    fn buckets(&mut self) {
        let meta = *self.db.meta();
        let root = Bucket {
            name: b"",
            parent: None,
            depth: 0,
            sequence: meta.sequence,
            leaves: Vec::new(),
            entries: 0,
        };
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
        let mut bucket = Bucket {
            name: found.name,
            parent: Some((parent, found.entry)),
            depth,
            sequence,
            leaves: Vec::new(),
            entries: 0,
        };
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
            if !self.key(page, i, element.key, previous) {
                return false;
            }
            previous = Some(element.key);
            used += element.key.len();
            places.meet(page, element.key, element.key.len());
        }
        if page.header.count == 1 {
            self.note(Defect::SingleChild { page: page.at });
        }
        let elements = || (0..page.header.count).filter_map(|i| page.branch_element(i).ok());
        if places.shared(|| elements().map(|element| place(page, element.key, element.key.len())).collect()) {
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
            if !self.key(page, i, element.key, previous) {
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
        let elements = || (0..page.header.count).filter_map(|i| page.leaf_element(i).ok());
        let of = |element: LeafElement<'_>| place(page, element.key, element.key.len() + element.value.len());
        if places.shared(|| elements().map(of).collect()) {
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

    fn key(&mut self, page: &Page<'a>, index: u16, key: &[u8], previous: Option<&[u8]>) -> bool {
        let bytes = u32::try_from(key.len()).unwrap_or(u32::MAX);
        let defect = if key.is_empty() {
            Defect::EmptyKey { page: page.at, index }
        } else if bytes > MAX_KEY {
            Defect::KeyTooLong { page: page.at, index, bytes }
        } else if previous.is_some_and(|previous| previous >= key) {
            Defect::KeyOrder { page: page.at, index }
        } else {
            return true;
        };
        self.note(defect);
        false
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
            if id < 2 || id >= pages {
                self.note(Defect::FreelistOutOfBounds { page: at, free: id });
            } else if self.survey.used.contains(id) {
                self.note(Defect::FreePageInUse { page: at, free: id });
            } else if !free.insert(id) {
                self.note(Defect::FreelistDuplicate { page: at, free: id });
            }
        }
        self.survey.free_pages = free.len();
        if !self.full() && self.survey.used.len() + free.len() != pages {
            let leaked = (0..pages).find(|id| !self.survey.used.contains(*id) && !free.contains(*id));
            self.note(Defect::Leaked { page: leaked.unwrap_or_default() });
        }
    }
}
