//! One walk over all keys of a live etcd, beside those of a snapshot.

use super::cluster::Cluster;
use super::current::Current;
use super::finding::Keys;
use super::judgement::{Side, differs, may_have_changed, merge, parsed};
use super::page::{Asked, BYTES, KEYS, Page};
use super::refusal::Refusal;
use super::values::Opening;
use super::{Dialer, Error};
use crate::etcd::{self, KeyValue};
use crate::rekey::Progress;
use etcd_client::{Client, GetOptions};
use std::collections::BTreeSet;
use std::ops::Range;

/// Whether the file's revision can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It can.
    There,
    /// It is compacted.
    Compacted,
    /// The live etcd has not come that far.
    Future,
}

/// Why a key is looked at again as it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Changed,
    Absent,
}

/// Keys of the file, by their number, that are looked at again.
type Doubts = Vec<(usize, Doubt)>;

/// What a key of the file was at the file's revision.
enum Was {
    /// What the file says.
    Same,
    /// Something else; in words.
    Other(String),
    /// Not there.
    Absent,
    /// Nobody can tell.
    Unknown,
}

impl Was {
    fn of(differs: Option<String>) -> Self {
        differs.map_or(Self::Same, Self::Other)
    }
}

/// One walk over all keys.
pub struct Walk<'w, 'a> {
    /// How long may nothing come.
    pub dialer: &'w Dialer,
    /// The file's keys.
    pub current: &'w Current<'w, 'a>,
    /// Opens live values.
    pub opening: Option<Opening<'w>>,
    /// What was found.
    pub keys: Keys,
    /// Whether the file's revision can be read.
    pub then: Then,
    /// The cluster that was asked first, which has to answer to the end.
    pub number: u64,
    /// The newest revision that was told.
    pub revision: i64,
    /// Told how many keys are done.
    pub progress: &'w dyn Progress,
}

impl Walk<'_, '_> {
    async fn page(&mut self, cluster: &mut Cluster<'_>, asked: Asked<'_>) -> Result<Page, Error> {
        let page = cluster.page(&asked, self.dialer.stall).await?;
        if page.cluster != self.number {
            let (is, expected) = (format!("{:x}", page.cluster), format!("{:x}", self.number));
            return Err(Error::OtherCluster { endpoint: cluster.endpoint().to_string(), is, expected });
        }
        self.revision = self.revision.max(page.revision);
        Ok(page)
    }

    /// Every key as it is now.
    ///
    /// # Errors
    /// As [`Cluster::page`]; [`Error::OtherCluster`].
    pub async fn whole(&mut self, cluster: &mut Cluster<'_>) -> Result<(), Error> {
        let (mut from, mut at) = (b"\0".to_vec(), 0);
        loop {
            let limit = self.current.page(at, BYTES, KEYS)?;
            let page = self.page(cluster, Asked { from: &from, to: b"", revision: 0, limit }).await?;
            let next = page.next();
            let end = next.as_ref().map_or(self.current.len(), |next| self.current.place(next));
            let kvs: Vec<_> = page.kvs.iter().map(parsed).collect();
            let (doubts, extra) = self.now(at..end, &kvs)?;
            if !doubts.is_empty() {
                self.settle(cluster, (&from, next.as_deref()), at..end, &doubts, &extra).await?;
            }
            self.progress.counted(u64::try_from(end - at).unwrap_or(0));
            match next {
                Some(next) => (from, at) = (next, end),
                None => return Ok(()),
            }
        }
    }

    /// Judges a page of keys as they are now; what it cannot tell is left.
    fn now(&mut self, range: Range<usize>, kvs: &[KeyValue<'_>]) -> Result<(Doubts, BTreeSet<Vec<u8>>), Error> {
        let (mut doubts, mut extra) = (Vec::new(), BTreeSet::new());
        let (current, newest) = (self.current, u64::try_from(self.current.revision).unwrap_or(0));
        for side in merge(|n| current.key(n), range, kvs) {
            if let (Some(opening), Side::Both(_, kv) | Side::Live(kv)) = (&mut self.opening, &side) {
                opening.open(**kv);
            }
            match side {
                Side::File(n) => doubts.push((n, Doubt::Absent)),
                Side::Live(kv) if kv.create_revision > newest => self.keys.new_since += 1,
                Side::Live(kv) => {
                    self.keys.extra.add(kv.key, || format!("created at revision {}", kv.create_revision));
                    extra.insert(kv.key.to_vec());
                }
                Side::Both(n, kv) => {
                    let ours = self.current.record(n)?.kv;
                    match differs(&ours, kv) {
                        None => self.keys.equal += 1,
                        Some(_) if may_have_changed(&ours, kv, newest) => {
                            doubts.push((n, Doubt::Changed));
                        }
                        Some(what) => self.keys.differing.add(kv.key, || what),
                    }
                }
            }
        }
        Ok((doubts, extra))
    }

    /// Settles doubts by what a range held at the file's revision.
    async fn settle(
        &mut self,
        cluster: &mut Cluster<'_>,
        (from, to): (&[u8], Option<&[u8]>),
        range: Range<usize>,
        doubts: &[(usize, Doubt)],
        extra: &BTreeSet<Vec<u8>>,
    ) -> Result<(), Error> {
        let mut found = Vec::new();
        let mut more = Vec::new();
        let read = self
            .at_revision(cluster, (from, to), range, |current, side| {
                match side {
                    Side::File(n) => found.push((n, Was::Absent)),
                    Side::Both(n, kv) => found.push((n, Was::of(differs(&current.record(n)?.kv, kv)))),
                    Side::Live(kv) => more.push((kv.key.to_vec(), kv.create_revision)),
                }
                Ok(())
            })
            .await?;
        if read {
            for (key, created) in more.iter().filter(|(key, _)| !extra.contains(key)) {
                self.keys.extra.add(key, || format!("created at revision {created}, deleted since"));
            }
        }
        let mut found = found.into_iter().peekable();
        for (n, doubt) in doubts {
            while found.next_if(|(met, _)| met < n).is_some() {}
            let was = found.next_if(|(met, _)| met == n).filter(|_| read);
            self.conclude(*n, *doubt, was.map_or(Was::Unknown, |(_, was)| was));
        }
        Ok(())
    }

    fn conclude(&mut self, n: usize, doubt: Doubt, was: Was) {
        let key = self.current.key(n).unwrap_or_default();
        match (doubt, was) {
            (Doubt::Changed, Was::Same) => self.keys.changed_since += 1,
            (Doubt::Absent, Was::Same) => self.keys.deleted_since += 1,
            (_, Was::Other(what)) => self.keys.differing.add(key, || what),
            (_, Was::Absent) => self.keys.missing.add(key, || "it was not there".to_owned()),
            (Doubt::Changed, Was::Unknown) => {
                self.keys.changed_since += 1;
                self.keys.unproven += 1;
            }
            (Doubt::Absent, Was::Unknown) if self.then == Then::Future => {
                self.keys.missing.add(key, || "it is not there".to_owned());
            }
            (Doubt::Absent, Was::Unknown) => {
                self.keys.gone.add(key, || "it is not there, and the revision is compacted".to_owned());
            }
        }
    }

    /// A range as it was at the file's revision; false where it cannot be read.
    async fn at_revision(
        &mut self,
        cluster: &mut Cluster<'_>,
        (from, to): (&[u8], Option<&[u8]>),
        range: Range<usize>,
        mut visit: impl FnMut(&Current<'_, '_>, Side<'_>) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let (mut from, mut at) = (from.to_vec(), range.start);
        while self.then == Then::There {
            let limit = self.current.page(at, BYTES, KEYS)?;
            let asked =
                Asked { from: &from, to: to.unwrap_or_default(), revision: self.current.revision, limit };
            let page = match self.page(cluster, asked).await {
                Ok(page) => page,
                Err(error) => {
                    self.then = unreadable(error)?;
                    return Ok(false);
                }
            };
            let next = page.next();
            let end = next.as_ref().map_or(range.end, |next| self.current.place(next).min(range.end));
            let (current, kvs) = (self.current, page.kvs.iter().map(parsed).collect::<Vec<_>>());
            for side in merge(|n| current.key(n), at..end, &kvs) {
                visit(current, side)?;
            }
            match next {
                Some(next) => (from, at) = (next, end),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// How many keys there were at the file's revision.
    ///
    /// # Errors
    /// As [`Cluster::ask`].
    pub async fn count_then(&mut self, cluster: &mut Cluster<'_>) -> Result<Option<i64>, Error> {
        if self.then != Then::There {
            return Ok(None);
        }
        let options = GetOptions::new().with_all_keys().with_count_only().with_revision(self.current.revision);
        let counted = cluster
            .ask("counting keys", self.dialer.stall, async |client: &mut Client| {
                client.get(b"\0", Some(options.clone())).await
            })
            .await;
        match counted {
            Ok(answer) => Ok(Some(answer.count())),
            Err(error) => {
                self.then = unreadable(error)?;
                Ok(None)
            }
        }
    }

    /// All keys as they were, where their number told that something is amiss:
    /// looks for those the file ought to have.
    ///
    /// # Errors
    /// As [`Walk::whole`].
    pub async fn whole_then(&mut self, cluster: &mut Cluster<'_>) -> Result<(), Error> {
        let known: BTreeSet<String> =
            self.keys.extra.listed.iter().map(|finding| finding.key.clone()).collect();
        let mut more = Vec::new();
        self.at_revision(cluster, (b"\0", None), 0..self.current.len(), |_, side| {
            if let Side::Live(kv) = side
                && !known.contains(&etcd::escape(kv.key))
                && more.len() < super::finding::LISTED
            {
                more.push((kv.key.to_vec(), kv.create_revision));
            }
            Ok(())
        })
        .await?;
        for (key, created) in more {
            self.keys.extra.add(&key, || format!("created at revision {created}, deleted since"));
        }
        Ok(())
    }
}

/// Why the file's revision cannot be read; other errors are errors.
fn unreadable(error: Error) -> Result<Then, Error> {
    match error {
        Error::Refused { why: Refusal::Compacted, .. } => Ok(Then::Compacted),
        Error::Refused { why: Refusal::FutureRevision, .. } => Ok(Then::Future),
        error => Err(error),
    }
}
