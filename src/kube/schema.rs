//! The fields of an EncryptionConfiguration file, before validation.
//!
//! Unknown and duplicate fields are errors, and so are numbers where text is
//! due, as for upstream's strict decoder.

use super::error::ConfigError;
use serde::Deserialize;
use zeroize::Zeroize;

/// Text that is wiped when it goes, and never shown.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "apiVersion", default)]
    api_version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    pub resources: Option<Vec<Block>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Block {
    #[serde(default)]
    pub resources: Option<Vec<String>>,
    #[serde(default)]
    pub providers: Option<Vec<Provider>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    #[serde(default)]
    pub aescbc: Option<Keys>,
    #[serde(default)]
    pub aesgcm: Option<Keys>,
    #[serde(default)]
    pub secretbox: Option<Keys>,
    #[serde(default)]
    pub kms: Option<Kms>,
    #[serde(default)]
    pub identity: Option<Identity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    #[serde(default)]
    pub keys: Option<Vec<Key>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub secret: Option<Secret>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kms {
    #[serde(rename = "apiVersion", default)]
    pub api_version: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub cachesize: Option<i32>,
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {}

/// Parses a file of a registered kind.
pub(super) fn parse(text: &str) -> Result<File, ConfigError> {
    // Snippets in messages would quote the neighbouring lines, keys and all.
    let options = serde_saphyr::options! { with_snippet: false, no_schema: true };
    let file: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let location = error.location();
        ConfigError::Syntax {
            line: location.map_or(0, |l| l.line()),
            column: location.map_or(0, |l| l.column()),
            what: "not what an EncryptionConfiguration has there (the text is not shown: it may be a key)",
        }
    })?;
    let api_version = file.api_version.clone().unwrap_or_default();
    let kind = file.kind.clone().unwrap_or_default();
    match (api_version.as_str(), kind.as_str()) {
        ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") | ("v1", "EncryptionConfig") => Ok(file),
        _ => Err(ConfigError::Kind { api_version, kind }),
    }
}
