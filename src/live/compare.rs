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
use super::values::Opening;
use super::walk::{Then, Walk};
use super::{Dialer, Endpoint, Error};
use crate::rekey::source::{SnapshotFile, Source};
use crate::rekey::{Phase, Progress, Rules};

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
