//! What a member says of itself.

use super::refusal::Failure;
use crate::etcd::escape;
use etcd_client::{Client, StatusResponse};
use serde::Serialize;

/// A member's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Where it was asked.
    pub endpoint: String,
    /// Its number, in hexadecimal, as etcdctl prints it.
    pub id: String,
    /// Its cluster's number, in hexadecimal.
    pub cluster: String,
    /// The release it runs.
    pub version: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it is a learner.
    pub learner: bool,
    /// Its newest revision.
    pub revision: i64,
    /// Bytes of its file.
    pub db_bytes: i64,
    /// Alarms that are raised, and what else is wrong with it, in its words.
    pub alarms: Vec<String>,
}

impl Member {
    /// Asks a member for its status. That goes to its memory alone: the list
    /// of alarms would go through the log of the cluster.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn ask(client: &mut Client, endpoint: &str) -> Result<Self, Failure> {
        let status = client.status().await.map_err(|error| Failure::of(&error))?;
        Ok(Self::told(&status, endpoint))
    }

    fn told(status: &StatusResponse, endpoint: &str) -> Self {
        let header = status.header();
        let (id, cluster) = header.map_or((0, 0), |header| (header.member_id(), header.cluster_id()));
        Self {
            endpoint: endpoint.to_owned(),
            id: format!("{id:x}"),
            cluster: format!("{cluster:x}"),
            version: escape(status.version().as_bytes()),
            leader: status.leader() == id && id != 0,
            learner: status.is_learner(),
            revision: header.map_or(0, etcd_client::ResponseHeader::revision),
            db_bytes: status.db_size(),
            alarms: status.errors().iter().map(|error| alarm(error)).collect(),
        }
    }
}

/// An alarm as etcd prints it, with the number of the member as etcdctl does.
fn alarm(text: &str) -> String {
    let told = || {
        let (id, alarm) = text.trim().strip_prefix("memberID:")?.split_once(" alarm:")?;
        let id: u64 = id.trim().parse().ok()?;
        Some(format!("{} of member {id:x}", escape(alarm.trim().as_bytes())))
    };
    told().unwrap_or_else(|| escape(text.trim().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_told_with_their_member() {
        let member = u64::from_str_radix("8e9e05c52164694d", 16).unwrap();
        assert_eq!(alarm(&format!("memberID:{member} alarm:NOSPACE ")), "NOSPACE of member 8e9e05c52164694d");
        assert_eq!(alarm("etcdserver: no leader"), "etcdserver: no leader");
        assert_eq!(alarm("memberID:x alarm:\x1b"), "memberID:x alarm:\\x1b");
    }
}
