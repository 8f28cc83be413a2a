//! What `k3s secrets-encrypt status` prints.
//!
//! Source: K3s `pkg/cli/secretsencrypt/secrets_encrypt.go`,
//! `pkg/server/handlers/secrets-encrypt.go`.

use super::cluster::Cluster;
use super::error::Error;
use super::stage::config_hash;
use crate::etcd::escape;
use crate::kube::Provider;
use crate::kube::config::Element;
use serde::Serialize;
use zeroize::Zeroizing;

/// The status; its JSON has K3s's names, order and omissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Status {
    /// The stage.
    pub stage: String,
    /// Type and name of the key that writes.
    #[serde(rename = "activekey")]
    pub active_key: String,
    /// Whether secrets are written with a key; absent without a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable: Option<bool>,
    /// Whether all servers say the same.
    #[serde(rename = "hashmatch", skip_serializing_if = "std::ops::Not::not")]
    pub hash_match: bool,
    /// Which do not.
    #[serde(rename = "hasherror", skip_serializing_if = "String::is_empty")]
    pub hash_error: String,
    /// The other keys.
    #[serde(rename = "inactivekeys", skip_serializing_if = "Vec::is_empty")]
    pub inactive_keys: Vec<String>,
}

impl Cluster {
    /// The status. `files` are configuration files of servers, by name, whose
    /// hashes are compared as well.
    ///
    /// # Errors
    /// A configuration K3s would not take.
    pub fn status(&self, files: &[(String, Zeroizing<Vec<u8>>)]) -> Result<Status, Error> {
        let current = self.current()?;
        let Some(config) = &current.config else { return Ok(Status::default()) };
        let mut status = Status { enable: current.enabled(), ..Status::default() };
        status.stage = self.stage(&current).map(|state| escape(state.stage.as_bytes())).unwrap_or_default();
        let hash = config_hash(&current.bytes);
        let of_file = || {
            let (name, _) = files.iter().find(|(_, bytes)| config_hash(bytes) != hash)?;
            Some(format!("hash does not match between the snapshot and {}", escape(name.as_bytes())))
        };
        status.hash_error = self.mismatch().or_else(of_file).unwrap_or_default();
        status.hash_match = status.hash_error.is_empty();
        let mut active = true;
        for element in config.blocks().iter().flat_map(|block| &block.providers) {
            let Element::Keys(keys) = element else {
                active = false;
                continue;
            };
            for key in keys {
                let named = format!("{} {}", type_name(key.provider()), escape(key.name().as_bytes()));
                if std::mem::take(&mut active) {
                    status.active_key = named;
                } else {
                    status.inactive_keys.push(named);
                }
            }
        }
        Ok(status)
    }
}

fn type_name(provider: Provider) -> &'static str {
    match provider {
        Provider::Aescbc => "AES-CBC",
        Provider::Secretbox => "XSalsa20-POLY1305",
        Provider::Aesgcm => "AES-GCM",
    }
}

impl Status {
    /// The text K3s prints, line for line.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(enabled) = self.enable else {
            return "Encryption Status: Disabled, no configuration file found\n".to_owned();
        };
        let enabled = if enabled { "Enabled" } else { "Disabled" };
        let hashes = if self.hash_match { "All hashes match" } else { &self.hash_error };
        let keys = self.active_key.split_once(' ').map(|key| (" *", key)).into_iter();
        let keys = keys.chain(self.inactive_keys.iter().filter_map(|key| Some(("", key.split_once(' ')?))));
        let mut rows = vec![("Active", "Key Type", "Name"), ("------", "--------", "----")];
        rows.extend(keys.map(|(mark, (kind, name))| (mark, kind, name)));
        let wide = rows.iter().map(|(_, kind, _)| kind.len()).max().unwrap_or(0) + 2;
        let rows: String =
            rows.iter().map(|(mark, kind, name)| format!("{mark:8}{kind:wide$}{name}\n")).collect();
        format!(
            "Encryption Status: {enabled}\nCurrent Rotation Stage: {}\nServer Encryption Hashes: {hashes}\n\n{rows}\n",
            self.stage
        )
    }
}
