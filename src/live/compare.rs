//! The proof that a live etcd holds what a snapshot holds.
//!
//! Every key is read as it is now, page by page. What was written since the
//! file's revision is read again as it was at that revision, where etcd still
//! has it. Each key is judged on its own, by one consistent read: a page that
//! never came is asked for again, and a compaction meanwhile only means that
//! of keys written since nobody can tell any more what they held.

use super::cluster::Cluster;
use super::current::Current;
use super::finding::{Compared, Keys, LiveReport, SnapshotReport};
use super::hash_kv::{Asking, FileHash};
use super::member::Member;
use super::page::{Asked, BYTES, KEYS};
use super::refusal::Refusal;
use super::values::Opening;
use super::{Dialer, Endpoint, Error};
use crate::etcd;
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{Phase, Progress, Rules};
use etcd_client::{Client, GetOptions, KeyValue};
use std::collections::BTreeSet;
use std::ops::Range;

/// What is compared.
pub struct Given<'g, 'a> {
    /// The snapshot.
    pub file: &'g SnapshotFile,
    /// The snapshot, read.
    pub source: &'g Source<'a>,
    /// What opens live values, and what is to seal them.
    pub rules: Option<&'g Rules>,
}

/// Compares a live etcd with a snapshot.
///
/// # Errors
/// What a connection meets for longer than the dialer's time; a learner, or
/// members of two clusters, among the endpoints.
pub async fn compare(
    dialer: &Dialer,
    endpoints: &[Endpoint],
    given: Given<'_, '_>,
    progress: &dyn Progress,
) -> Result<Compared, Error> {
    progress.phase(Phase::Checking, 0);
    let current = Current::of(given.file, given.source)?;
    let hash = given.source.hashes().map_err(|error| given.file.error(error))?.kv;
    let history = &given.source.history;
    let mut cluster = Cluster::new(dialer, endpoints, progress);
    let mut warnings = Vec::new();
    let (members, number) = known(settled(&mut cluster).await?, &mut warnings)?;
    progress.phase(Phase::Comparing, u64::try_from(current.len()).unwrap_or(0));
    let mut walk = Walk {
        dialer,
        current: &current,
        opening: given.rules.map(Opening::new),
        keys: Keys { snapshot: u64::try_from(current.len()).unwrap_or(0), ..Keys::default() },
        then: Then::There,
        number,
        revision: 0,
        progress,
    };
    walk.whole(&mut cluster).await?;
    let keys_then = walk.count_then(&mut cluster).await?;
    if keys_then.is_some_and(|count| u64::try_from(count).ok() != Some(walk.keys.snapshot)) {
        // Keys that were there, are gone now, and are not in the file.
        walk.whole_then(&mut cluster).await?;
    }
    let Walk { keys, revision, opening, .. } = walk;
    let behind = revision < history.revision;
    if behind {
        warnings.push(format!(
            "the live etcd is at revision {revision}, before the file's {}: it was not restored from this file",
            history.revision
        ));
    }
    progress.phase(Phase::Hashing, 0);
    let mut asking = Asking { dialer, endpoints, members, progress, retries: cluster.retries };
    let file = FileHash { revision: history.revision, compact_revision: history.compact_revision, hash };
    let hashes = asking.compare(file).await?;
    given.file.unchanged()?;
    let values = opening.map(Opening::finish);
    let old_keys = values.as_ref().is_some_and(|values| values.old_key.count > 0);
    let counted = keys_then.is_none_or(|count| u64::try_from(count).ok() == Some(keys.snapshot));
    let same =
        keys.equal() && counted && !behind && hashes.agree != Some(false) && hashes.as_snapshot != Some(false);
    Ok(Compared {
        equal: same && !old_keys,
        same,
        snapshot: SnapshotReport {
            file: given.file.path.display().to_string(),
            revision: history.revision,
            compact_revision: history.compact_revision,
            hash_kv: hash,
        },
        live: LiveReport { cluster: format!("{number:x}"), revision, keys_then },
        keys,
        hashes,
        values,
        retries: asking.retries,
        warnings,
    })
}

/// What the members say, once they have a leader; where they find none for a
/// while, that is told.
async fn settled(cluster: &mut Cluster<'_>) -> Result<Vec<Result<Member, Error>>, Error> {
    for _ in 0..50 {
        let answers = cluster.members().await?;
        let alarms = answers.iter().flatten().flat_map(|member| &member.alarms);
        if !alarms.into_iter().any(|alarm| alarm.contains("no leader")) {
            return Ok(answers);
        }
        cluster.pause().await?;
    }
    cluster.members().await
}

type Members = Vec<Option<Member>>;

/// The members that answered, and the number of their one cluster.
fn known(answers: Vec<Result<Member, Error>>, warnings: &mut Vec<String>) -> Result<(Members, u64), Error> {
    let mut number = None;
    let mut members = Vec::new();
    let mut last = None;
    for answer in answers {
        let member = match answer {
            Ok(member) => member,
            Err(error) => {
                last = Some(error);
                members.push(None);
                continue;
            }
        };
        let endpoint = member.endpoint.clone();
        if member.learner {
            return Err(Error::Learner { endpoint });
        }
        let expected = number.get_or_insert_with(|| member.cluster.clone());
        if *expected != member.cluster {
            return Err(Error::OtherCluster { endpoint, is: member.cluster, expected: expected.clone() });
        }
        warnings.extend(member.alarms.iter().map(|alarm| format!("{endpoint}: {alarm}")));
        members.push(Some(member));
    }
    match (number, last) {
        (Some(number), _) => Ok((members, u64::from_str_radix(&number, 16).unwrap_or(0))),
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::OneEndpoint { given: 0 }),
    }
}

/// Whether the file's revision can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    There,
    Compacted,
    /// The live etcd has not come that far.
    Future,
}

/// What the file and a page say of one key.
enum Side<'k> {
    Both(usize, &'k KeyValue),
    File(usize),
    Live(&'k KeyValue),
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
struct Walk<'w, 'a> {
    dialer: &'w Dialer,
    current: &'w Current<'w, 'a>,
    opening: Option<Opening<'w>>,
    keys: Keys,
    then: Then,
    /// The cluster that was asked first, which has to answer to the end.
    number: u64,
    /// The newest revision that was told.
    revision: i64,
    progress: &'w dyn Progress,
}

impl Walk<'_, '_> {
    async fn page(&mut self, cluster: &mut Cluster<'_>, asked: Asked<'_>) -> Result<super::page::Page, Error> {
        let page = cluster.page(&asked, self.dialer.stall).await?;
        if page.cluster != self.number {
            let (is, expected) = (format!("{:x}", page.cluster), format!("{:x}", self.number));
            return Err(Error::OtherCluster { endpoint: cluster.endpoint().to_string(), is, expected });
        }
        self.revision = self.revision.max(page.revision);
        Ok(page)
    }

    /// Every key as it is now.
    async fn whole(&mut self, cluster: &mut Cluster<'_>) -> Result<(), Error> {
        let (mut from, mut at) = (b"\0".to_vec(), 0);
        loop {
            let limit = self.current.page(at, BYTES, KEYS)?;
            let page = self.page(cluster, Asked { from: &from, to: b"", revision: 0, limit }).await?;
            let next = page.next();
            let end = next.as_ref().map_or(self.current.len(), |next| self.current.place(next));
            let (doubts, extra) = self.now(at..end, &page.kvs)?;
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
    fn now(&mut self, range: Range<usize>, kvs: &[KeyValue]) -> Result<(Doubts, BTreeSet<Vec<u8>>), Error> {
        let (mut doubts, mut extra) = (Vec::new(), BTreeSet::new());
        for side in merge(self.current, range, kvs) {
            if let (Some(opening), Side::Both(_, kv) | Side::Live(kv)) = (&mut self.opening, &side) {
                opening.open(parsed(kv));
            }
            match side {
                Side::File(n) => doubts.push((n, Doubt::Absent)),
                Side::Live(kv) if kv.create_revision() > self.current.revision => self.keys.new_since += 1,
                Side::Live(kv) => {
                    self.keys.extra.add(kv.key(), || format!("created at revision {}", kv.create_revision()));
                    extra.insert(kv.key().to_vec());
                }
                Side::Both(n, kv) => {
                    let ours = self.current.record(n)?.kv;
                    match differs(&ours, kv) {
                        None => self.keys.equal += 1,
                        Some(_) if may_have_changed(&ours, kv, self.current.revision) => {
                            doubts.push((n, Doubt::Changed));
                        }
                        Some(what) => self.keys.differing.add(kv.key(), || what),
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
                    Side::Live(kv) => more.push((kv.key().to_vec(), kv.create_revision())),
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
            for side in merge(self.current, at..end, &page.kvs) {
                visit(self.current, side)?;
            }
            match next {
                Some(next) => (from, at) = (next, end),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    /// How many keys there were at the file's revision.
    async fn count_then(&mut self, cluster: &mut Cluster<'_>) -> Result<Option<i64>, Error> {
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
    async fn whole_then(&mut self, cluster: &mut Cluster<'_>) -> Result<(), Error> {
        let known: BTreeSet<String> =
            self.keys.extra.listed.iter().map(|finding| finding.key.clone()).collect();
        let mut more = Vec::new();
        self.at_revision(cluster, (b"\0", None), 0..self.current.len(), |_, side| {
            if let Side::Live(kv) = side
                && !known.contains(&etcd::escape(kv.key()))
                && more.len() < super::finding::LISTED
            {
                more.push((kv.key().to_vec(), kv.create_revision()));
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

/// The keys of the file in a range, and those of a page, in order.
fn merge<'k>(
    current: &'k Current<'_, '_>,
    mut range: Range<usize>,
    kvs: &'k [KeyValue],
) -> impl Iterator<Item = Side<'k>> + 'k {
    let mut kvs = kvs.iter().peekable();
    std::iter::from_fn(move || {
        let ours = current.key(range.start).filter(|_| !range.is_empty());
        let theirs = kvs.peek().map(|kv| kv.key());
        match (ours, theirs) {
            (None, None) => None,
            (Some(ours), Some(theirs)) if ours == theirs => {
                let n = range.next()?;
                kvs.next().map(|kv| Side::Both(n, kv))
            }
            (Some(ours), theirs) if theirs.is_none_or(|theirs| ours < theirs) => range.next().map(Side::File),
            _ => kvs.next().map(Side::Live),
        }
    })
}

/// A live record, as one of a file.
fn parsed(kv: &KeyValue) -> etcd::KeyValue<'_> {
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    etcd::KeyValue {
        key: kv.key(),
        value: kv.value(),
        create_revision: number(kv.create_revision()),
        mod_revision: number(kv.mod_revision()),
        version: number(kv.version()),
        // A number of 64 bits, whose first one may be set.
        lease: u64::from_ne_bytes(kv.lease().to_ne_bytes()),
        ..etcd::KeyValue::default()
    }
}

/// In what two records of a key differ.
fn differs(ours: &etcd::KeyValue<'_>, kv: &KeyValue) -> Option<String> {
    let theirs = parsed(kv);
    if ours.mod_revision != theirs.mod_revision {
        let (theirs, ours) = (theirs.mod_revision, ours.mod_revision);
        return Some(format!("written at revision {theirs}, in the file at {ours}"));
    }
    let fields = [
        ("value", ours.value != theirs.value),
        ("create revision", ours.create_revision != theirs.create_revision),
        ("version", ours.version != theirs.version),
        ("lease", ours.lease != theirs.lease),
    ];
    let other: Vec<_> = fields.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    (!other.is_empty()).then(|| format!("another {} at revision {}", other.join(", "), ours.mod_revision))
}

/// Whether a live record may be what was written after the file's: what is
/// said of the key's creation must fit.
fn may_have_changed(ours: &etcd::KeyValue<'_>, kv: &KeyValue, revision: i64) -> bool {
    let theirs = parsed(kv);
    let anew = kv.create_revision() > revision;
    let went_on = theirs.create_revision == ours.create_revision && theirs.version > ours.version;
    kv.mod_revision() > revision && (anew || went_on)
}
