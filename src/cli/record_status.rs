//! What `status` says of a K3s or RKE2 cluster besides K3s's own words.

use super::inputs::{NamedFile, Opened};
use crate::k3s::stage::config_hash;
use crate::k3s::status::Status;
use crate::k3s::{Cluster, Error};
use serde::Serialize;
use std::fmt::Write;

const DISAGREE: &str = "a restore of a rekeyed snapshot makes servers agree; delete the Node of a server that is gone (kubectl delete node NAME)";

/// The record of a snapshot, and what is to be known of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordStatus {
    /// The etcd keys of records, old ones too.
    keys: Vec<String>,
    /// `k3s` or `rke2`, where a token opened the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<&'static str>,
    /// Records whose old revisions no token opens.
    unopened: Vec<String>,
    /// Old revisions that are damaged.
    damaged: Vec<String>,
    /// Servers whose Node says other than the first one's.
    differing_nodes: Vec<String>,
    /// Files of servers that are not the record's.
    differing_files: Vec<String>,
    /// Why K3s could not rotate keys from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsupported: Option<String>,
    /// What to do.
    remedies: Vec<String>,
    #[serde(skip)]
    first_node: String,
}

impl RecordStatus {
    /// Looks at what a snapshot holds, and at the files of servers given.
    /// K3s's own words are there where a token opened a record that K3s takes.
    pub fn of(read: &Opened, files: &[NamedFile]) -> (Option<Status>, Self) {
        let mut found = Self { keys: read.records.clone(), ..Self::default() };
        let Some(cluster) = &read.cluster else {
            found.closed(!files.is_empty());
            return (None, found);
        };
        found.opened(cluster);
        found.compare(cluster, files);
        if !found.differing_nodes.is_empty() || !found.differing_files.is_empty() {
            found.remedies.push(DISAGREE.to_owned());
        }
        match cluster.status(files) {
            Ok(status) => (Some(status), found),
            Err(error) => {
                found.remedies.push(error.remedy().to_owned());
                found.unsupported = Some(error.to_string());
                (None, found)
            }
        }
    }

    fn closed(&mut self, files_given: bool) {
        let mut remedy = |error: &Error| self.remedies.push(error.remedy().to_owned());
        if !self.keys.is_empty() {
            remedy(&Error::NoToken { held: Vec::new() });
        } else if files_given {
            remedy(&Error::NoRecord);
        }
    }

    fn opened(&mut self, cluster: &Cluster) {
        self.program = Some(cluster.program.name());
        self.unopened.clone_from(&cluster.unopened);
        let damaged = cluster.damaged.iter();
        self.damaged = damaged.map(|(key, revision)| format!("{key} at revision {revision}")).collect();
        if let Err(error) = cluster.complete() {
            self.remedies.push(error.remedy().to_owned());
        }
        if let Some(first) = cluster.nodes.first() {
            self.first_node = crate::etcd::escape(first.name.as_bytes());
        }
        self.differing_nodes = cluster.differing();
    }

    fn compare(&mut self, cluster: &Cluster, files: &[NamedFile]) {
        let hash = cluster.config_bytes().map(|bytes| config_hash(&bytes));
        let differs = files.iter().filter(|(_, bytes)| Some(config_hash(bytes)) != hash);
        self.differing_files = differs.map(|(name, _)| crate::etcd::escape(name.as_bytes())).collect();
    }

    /// Whether there is anything to tell.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.remedies.is_empty()
    }

    /// The lines below the tables; `files` were given to be compared.
    pub fn text(&self, files_given: bool) -> String {
        let mut out = String::new();
        if self.program.is_none() && !self.keys.is_empty() {
            let keys = self.keys.join(", ");
            let _ = writeln!(
                out,
                "the snapshot holds the record of a K3s or RKE2 cluster ({keys}): no token was given"
            );
        }
        if self.program.is_none() && files_given {
            let what = if self.keys.is_empty() { "there is no record" } else { "the record was not opened" };
            let _ = writeln!(out, "--server-config was compared with nothing: {what}");
        }
        if let Some(why) = &self.unsupported {
            let _ = writeln!(out, "{} could not rotate keys from here: {why}", self.program.unwrap_or("k3s"));
        }
        for (what, list) in [
            ("no token given opens old revisions of", &self.unopened),
            ("damaged old revisions:", &self.damaged),
            ("files that are not the record's:", &self.differing_files),
        ] {
            if !list.is_empty() {
                let _ = writeln!(out, "{what} {}", list.join(", "));
            }
        }
        if !self.differing_nodes.is_empty() {
            let (first, others) = (&self.first_node, self.differing_nodes.join(", "));
            let _ = writeln!(out, "servers whose Node says other than {first}'s: {others}");
        }
        for remedy in &self.remedies {
            let _ = writeln!(out, "  {remedy}");
        }
        out
    }
}
