//! HashKV over the members: one number for each history, computed by etcd.
//!
//! Hashes can be compared where they were computed at one revision over one
//! compaction. Who asks for no revision gets the newest, which is the only
//! one to ask for where it is compacted itself: 3.4 refuses that by number,
//! and later releases answer with what they kept from before. Source: etcd
//! `server/storage/mvcc/kvstore.go`.

use super::cluster::Cluster;
use super::finding::{Hashes, MemberHash};
use super::member::Member;
use super::{Dialer, Endpoint, Error};
use crate::rekey::Progress;
use etcd_client::Client;
use std::time::Duration;

/// How often members that go on are asked before it is given up.
const ROUNDS: usize = 10;
/// Bytes of a file that are hashed in a second, at least.
const SLOWEST: u64 = 20 << 20;

/// What the file says.
#[derive(Debug, Clone, Copy)]
pub struct FileHash {
    /// Its newest revision.
    pub revision: i64,
    /// The compaction in it.
    pub compact_revision: i64,
    /// Its HashKV.
    pub hash: u32,
}

/// An answer: hash, revision, compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    hash: u32,
    revision: i64,
    compact_revision: i64,
}

/// Asks the members, each by a connection of its own.
pub struct Asking<'a> {
    /// How they are connected to.
    pub dialer: &'a Dialer,
    /// Where they are.
    pub endpoints: &'a [Endpoint],
    /// What they said of themselves; those that did not answer, nothing.
    pub members: Vec<Option<Member>>,
    /// Told what goes on.
    pub progress: &'a dyn Progress,
    /// How often a request was made again.
    pub retries: u64,
}

type Round = Vec<Result<Answer, Error>>;

impl Asking<'_> {
    /// Compares the members with each other, and with the file.
    ///
    /// # Errors
    /// [`Error::Interrupted`]; what a member could not be asked for is told
    /// of that member.
    pub async fn compare(&mut self, file: FileHash) -> Result<Hashes, Error> {
        let mut hashes = Hashes::default();
        let mut round = self.round(0).await?;
        for _ in 0..ROUNDS {
            if let Some((revision, compact_revision)) = stood_still(&round) {
                hashes.agree = agree(&round);
                hashes.as_snapshot = self.as_file(&round, revision, compact_revision, file).await?;
                break;
            }
            // They go on: at a revision all of them have.
            let answers = || round.iter().flatten();
            let newest = answers().map(|answer| answer.revision).min();
            let compacted = answers().map(|answer| answer.compact_revision).max();
            let (Some(newest), Some(compacted)) = (newest, compacted) else { break };
            Cluster::new(self.dialer, self.endpoints, self.progress).pause().await?;
            round = self.round(if newest > compacted { newest } else { 0 }).await?;
            for answer in round.iter_mut().flatten() {
                // The answer names the newest one, whatever was asked for.
                answer.revision = if newest > compacted { newest } else { answer.revision };
            }
        }
        hashes.members = self.told(round);
        Ok(hashes)
    }

    /// Whether the members have the file's hash.
    async fn as_file(
        &mut self,
        round: &Round,
        revision: i64,
        compact_revision: i64,
        file: FileHash,
    ) -> Result<Option<bool>, Error> {
        let equal = |round: &Round| Some(round.iter().flatten().all(|answer| answer.hash == file.hash));
        if compact_revision != file.compact_revision {
            return Ok(None);
        }
        if revision == file.revision {
            return Ok(equal(round));
        }
        if revision < file.revision || file.revision <= compact_revision {
            return Ok(None);
        }
        let then = self.round(file.revision).await?;
        let still = |answer: &Answer| answer.compact_revision == file.compact_revision;
        let comparable = then.iter().flatten().all(still) && then.iter().any(Result::is_ok);
        Ok(if comparable { equal(&then) } else { None })
    }

    /// Asks each member once more.
    async fn round(&mut self, revision: i64) -> Result<Round, Error> {
        let mut round = Vec::new();
        for (endpoint, member) in self.endpoints.iter().zip(&self.members) {
            let bytes = member.as_ref().and_then(|member| u64::try_from(member.db_bytes).ok()).unwrap_or(0);
            let patience = self.dialer.stall.max(Duration::from_secs(30 + bytes / SLOWEST));
            let mut one = Cluster::new(self.dialer, std::slice::from_ref(endpoint), self.progress);
            let answer = one
                .ask("computing HashKV", patience, async |client: &mut Client| client.hash_kv(revision).await)
                .await;
            self.retries += one.retries;
            round.push(match answer {
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => Err(error),
                Ok(answer) => Ok(Answer {
                    hash: answer.hash(),
                    revision: answer.header().map_or(0, etcd_client::ResponseHeader::revision),
                    compact_revision: answer.compact_version(),
                }),
            });
        }
        Ok(round)
    }

    fn told(&self, round: Round) -> Vec<MemberHash> {
        let each = self.endpoints.iter().zip(&self.members).zip(round);
        each.map(|((endpoint, member), answer)| {
            let found = answer.as_ref().ok();
            MemberHash {
                member: member.clone(),
                endpoint: endpoint.to_string(),
                hash: found.map(|answer| answer.hash),
                hash_revision: found.map(|answer| answer.revision),
                compact_revision: found.map(|answer| answer.compact_revision),
                error: answer.as_ref().err().map(ToString::to_string),
            }
        })
        .collect()
    }
}

/// The revision and the compaction all who answered have.
fn stood_still(round: &Round) -> Option<(i64, i64)> {
    let mut answers = round.iter().flatten().map(|answer| (answer.revision, answer.compact_revision));
    let first = answers.next()?;
    answers.all(|other| other == first).then_some(first)
}

fn agree(round: &Round) -> Option<bool> {
    let mut answers = round.iter().flatten().map(|answer| answer.hash);
    let first = answers.next()?;
    Some(answers.all(|other| other == first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_of_one_moment_are_compared() {
        let answer = |hash, revision| Ok(Answer { hash, revision, compact_revision: 3 });
        assert_eq!(stood_still(&vec![answer(1, 9), answer(2, 9)]), Some((9, 3)));
        assert_eq!(stood_still(&vec![answer(1, 9), answer(1, 10)]), None);
        assert_eq!(agree(&vec![answer(1, 9), answer(2, 9)]), Some(false));
        let gone = Err(Error::Interrupted);
        assert_eq!(agree(&vec![answer(1, 9), gone]), Some(true));
        assert_eq!(agree(&vec![Err(Error::Interrupted)]), None);
    }
}
