//! The keys of a live etcd, a bounded page at a time.
//!
//! Reads are linearizable: a member that is cut off from its cluster, or
//! behind it, is not to vouch for it. A page is asked for by its first key
//! and a limit, never by filters of revisions: for these etcd reads the whole
//! range first.

use super::Error;
use super::cluster::Cluster;
use super::refusal::Refusal;
use etcd_client::{Client, GetOptions, GetResponse, KeyValue};
use std::time::Duration;

/// The longest answer that is taken: one key, then.
const LARGEST: usize = 128 << 20;
/// Bytes a page should have.
pub const BYTES: usize = 4 << 20;
/// Keys a page has at most.
pub const KEYS: usize = 1000;

/// Some keys, in key order, and whether there are more behind them.
pub struct Page {
    /// The keys, with their values.
    pub kvs: Vec<KeyValue>,
    /// Whether the range goes on behind them.
    pub more: bool,
    /// The revision of the cluster as it was asked.
    pub revision: i64,
    /// The cluster's number.
    pub cluster: u64,
}

impl Page {
    /// Where the next page begins.
    #[must_use]
    pub fn next(&self) -> Option<Vec<u8>> {
        let last = self.kvs.last().filter(|_| self.more)?;
        Some([last.key(), b"\0"].concat())
    }
}

/// What is asked for.
pub struct Asked<'p> {
    /// The first key.
    pub from: &'p [u8],
    /// The first one behind the range; empty for the end of all keys.
    pub to: &'p [u8],
    /// As it was at this revision; 0 as it is.
    pub revision: i64,
    /// Keys of the page.
    pub limit: usize,
}

impl Cluster<'_> {
    /// Asks for a page. Where one is too large to be taken, a smaller one is
    /// asked for.
    ///
    /// # Errors
    /// As [`Cluster::ask`]; [`Error::Nonsense`] when keys are out of order or
    /// out of range.
    pub async fn page(&mut self, asked: &Asked<'_>, patience: Duration) -> Result<Page, Error> {
        let mut limit = asked.limit.max(1);
        loop {
            let to = if asked.to.is_empty() { b"\0" } else { asked.to };
            let options = GetOptions::new()
                .with_range(to)
                .with_limit(i64::try_from(limit).unwrap_or(1))
                .with_revision(asked.revision);
            let answer = self
                .ask("reading keys", patience, async |client: &mut Client| {
                    let mut kv = client.kv_client().max_decoding_message_size(LARGEST);
                    kv.get(asked.from, Some(options.clone())).await
                })
                .await;
            match answer {
                Err(Error::Refused { why: Refusal::TooLarge, .. }) if limit > 1 => limit /= 4,
                Err(error) => return Err(error),
                Ok(answer) => return self.told(answer, asked),
            }
            limit = limit.max(1);
        }
    }

    fn told(&self, mut answer: GetResponse, asked: &Asked<'_>) -> Result<Page, Error> {
        let nonsense = |why| Error::Nonsense { endpoint: self.endpoint().to_string(), why };
        let (more, kvs) = (answer.more(), answer.take_kvs());
        let ascending = kvs.is_sorted_by(|a, b| a.key() < b.key());
        let inside = |kv: &KeyValue| kv.key() >= asked.from && (asked.to.is_empty() || kv.key() < asked.to);
        if !ascending || !kvs.iter().all(inside) {
            return Err(nonsense("keys that were not asked for, or out of order"));
        }
        if more && kvs.is_empty() {
            return Err(nonsense("an empty page with more behind it"));
        }
        let header = answer.header().ok_or_else(|| nonsense("an answer without a header"))?;
        Ok(Page { more, kvs, revision: header.revision(), cluster: header.cluster_id() })
    }
}
