//! The fields of an EncryptionConfiguration file, before validation.
//!
//! Unknown and duplicate fields are errors, and so are numbers where text is
//! due, as for upstream's strict decoder.

use super::error::ConfigError;
use serde::Deserialize;
use zeroize::ZeroizeOnDrop;

/// Text that is wiped when it goes, and never shown.
#[derive(Default, Deserialize, ZeroizeOnDrop)]
#[serde(transparent)]
pub(super) struct Secret(pub String);

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
    pub cachesize: Option<Integer>,
    #[serde(default)]
    pub endpoint: Option<String>,
    #[serde(default)]
    pub timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {}

/// A number that is written as one: text in quotes is none, for upstream.
#[derive(Clone, Copy)]
pub(super) struct Integer(pub i32);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Number;
        impl serde::de::Visitor<'_> for Number {
            type Value = Integer;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Integer, E> {
                i32::try_from(n).map(Integer).map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Integer, E> {
                i32::try_from(n).map(Integer).map_err(E::custom)
            }
        }
        from.deserialize_any(Number)
    }
}

/// The first document of a file: upstream reads no further.
fn first_document(text: &str) -> &str {
    let mut begun = false;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        let marker = |mark: &str| bare == mark || bare.starts_with(&format!("{mark} "));
        if begun && (marker("---") || marker("...")) {
            return &text[..end];
        }
        begun |= !(bare.is_empty() || bare.starts_with(['#', '%']));
        end += line.len();
    }
    text
}

/// Parses a file of a registered kind.
pub(super) fn parse(text: &str) -> Result<File, ConfigError> {
    // Snippets in messages would quote the neighbouring lines, keys and all.
    let options = serde_saphyr::options! { with_snippet: false, no_schema: true, legacy_octal_numbers: true };
    let file: File = serde_saphyr::from_str_with_options(first_document(text), options).map_err(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_document_is_read() {
        for (text, first) in [
            ("a: 1\n", "a: 1\n"),
            ("# c\n---\na: 1\n---\nb: 2\n", "# c\n---\na: 1\n"),
            ("a: 1\n...\nb", "a: 1\n"),
            ("a: ---x\n---x: 1\n", "a: ---x\n---x: 1\n"),
            ("", ""),
        ] {
            assert_eq!(first_document(text), first);
        }
    }
}
