//! EncryptionConfiguration, parsed and validated as kube-apiserver does.
//!
//! YAML or JSON; `apiserver.config.k8s.io/v1 EncryptionConfiguration` or the
//! legacy `v1 EncryptionConfig`. Errors give places and rules, never the
//! scalar that broke them: it may be a key. Source: kubernetes
//! `pkg/apis/apiserver/v1/types_encryption.go` and
//! `pkg/apis/apiserver/validation/validation_encryption.go`.

use super::error::{ConfigError, quoted};
use super::key::{Provider, SealingKey};
use super::resource::GroupResource;
use super::{kms, schema};
use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use std::collections::HashSet;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Go's `base64.StdEncoding`: padding required, stray bits at the end let pass.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// A provider of a block, with its keys.
#[derive(Clone)]
pub enum Element {
    /// `aescbc`, `aesgcm` or `secretbox`: one key or more of one provider.
    Keys(Vec<Arc<SealingKey>>),
    /// A KMS plugin.
    Kms(kms::Plugin),
    /// Values as they are.
    Identity,
}

/// A block of the configuration.
#[derive(Clone)]
pub struct Block {
    /// The resources it is about, in the order of the file.
    pub resources: Vec<GroupResource>,
    /// Its providers; the first one writes.
    pub providers: Vec<Element>,
}

/// A validated configuration.
#[derive(Clone)]
pub struct EncryptionConfiguration {
    blocks: Vec<Block>,
}

impl EncryptionConfiguration {
    /// Parses and validates YAML or JSON.
    ///
    /// # Errors
    /// [`ConfigError`]; all broken rules at once.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file = schema::parse(text)?;
        let mut broken = Vec::new();
        let mut kms_names = HashSet::new();
        let mut blocks = Vec::new();
        let resources = file.resources.unwrap_or_default();
        if resources.is_empty() {
            broken.push("resources: Required value: at least one resource is required".to_owned());
        }
        for (i, block) in resources.iter().enumerate() {
            let at = format!("resources[{i}]");
            let names = block.resources.as_deref().unwrap_or_default();
            let providers = block.providers.as_deref().unwrap_or_default();
            if names.is_empty() {
                broken.push(format!("{at}.resources: Required value: at least one resource is required"));
            }
            if providers.is_empty() {
                broken.push(format!("{at}.providers: Required value: at least one provider is required"));
            }
            let names: Vec<GroupResource> = names.iter().map(|name| GroupResource::parse(name)).collect();
            resource_names(&at, block.resources.as_deref().unwrap_or_default(), &names, &mut broken);
            let providers = providers
                .iter()
                .enumerate()
                .filter_map(|(j, p)| provider(&format!("{at}.providers[{j}]"), p, &mut kms_names, &mut broken))
                .collect();
            blocks.push(Block { resources: names, providers });
        }
        if broken.is_empty() { Ok(Self { blocks }) } else { Err(ConfigError::Invalid(broken)) }
    }

    /// A configuration of blocks that are known to be valid.
    pub(super) fn of(blocks: Vec<Block>) -> Self {
        Self { blocks }
    }

    /// The blocks in the order of the file.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Says where a plugin is reached from here, if not at its endpoint; tells
    /// whether it names one.
    pub fn reach(&mut self, plugin: &str, endpoint: &str) -> bool {
        let mut named = false;
        for element in self.blocks.iter_mut().flat_map(|block| &mut block.providers) {
            if let Element::Kms(found) = element
                && found.name == plugin
            {
                found.elsewhere = Some(endpoint.to_owned());
                named = true;
            }
        }
        named
    }

    /// Every provider with its keys, in the order of the file.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.blocks.iter().flat_map(|block| &block.providers)
    }

    /// Every key of every provider, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<SealingKey>> {
        self.blocks.iter().flat_map(|block| &block.providers).flat_map(|element| match element {
            Element::Keys(keys) => keys.as_slice(),
            _ => &[],
        })
    }
}

/// Validates one list of resource names.
fn resource_names(at: &str, texts: &[String], names: &[GroupResource], broken: &mut Vec<String>) {
    const NO_REST: [&str; 3] = ["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"];
    for (j, (text, name)) in texts.iter().zip(names).enumerate() {
        let problem = if text.chars().any(char::is_uppercase) {
            "resource name should not contain capital letters"
        } else if text == "*" {
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
        } else if NO_REST.contains(&text.as_str()) {
            "resources which do not have REST API/s cannot be encrypted"
        } else if name.group == "events.k8s.io" {
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
        } else if name.group == "extensions" {
            "'extensions' group has been removed and cannot be used for encryption"
        } else if name.group == "*" && name.resource != "*" {
            "encrypting the same resource across groups is not supported"
        } else {
            continue;
        };
        broken.push(format!("{at}.resources[{j}]: Invalid value: {}: {problem}", quoted(text)));
    }
    let mut seen = HashSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        broken.push(format!(
            "{at}.resources: Invalid value: {}: the same resource cannot be specified multiple times",
            quoted(&twice.to_string())
        ));
    }
    let all = GroupResource::new("*", "*");
    let overlap = names.iter().any(|name| {
        name.resource == "*"
            && names.iter().any(|other| other != name && (*name == all || other.group == name.group))
    });
    if overlap {
        broken.push(format!(
            "{at}.resources: Invalid value: using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked"
        ));
    }
}

/// Validates one provider element.
fn provider(
    at: &str,
    element: &schema::Provider,
    kms_names: &mut HashSet<String>,
    broken: &mut Vec<String>,
) -> Option<Element> {
    let keyed = [
        (Provider::Aescbc, &element.aescbc),
        (Provider::Aesgcm, &element.aesgcm),
        (Provider::Secretbox, &element.secretbox),
    ];
    let given = keyed.iter().filter(|(_, keys)| keys.is_some()).count()
        + usize::from(element.kms.is_some())
        + usize::from(element.identity.is_some());
    if given == 0 {
        broken.push(format!(
            "{at}: Required value: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity"
        ));
        return None;
    }
    if given > 1 {
        broken.push(format!(
            "{at}: Invalid value: more than one provider specified in a single element, should split into different list elements"
        ));
        return None;
    }
    if let Some((provider, Some(list))) = keyed.into_iter().find(|(_, keys)| keys.is_some()) {
        return keys(&format!("{at}.{provider}"), provider, list, broken);
    }
    match &element.kms {
        Some(plugin) => kms::plugin::plugin(&format!("{at}.kms"), plugin, kms_names, broken).map(Element::Kms),
        None => Some(Element::Identity),
    }
}

fn keys(at: &str, provider: Provider, list: &schema::Keys, broken: &mut Vec<String>) -> Option<Element> {
    let list = list.keys.as_deref().unwrap_or_default();
    if list.is_empty() {
        broken.push(format!("{at}.keys: Required value: at least one keys is required"));
        return None;
    }
    let before = broken.len();
    let mut out = Vec::new();
    for (k, key) in list.iter().enumerate() {
        let at = format!("{at}.keys[{k}]");
        let name = key.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            broken.push(format!("{at}.name: Required value: name is a mandatory field for a key"));
        }
        let text = key.secret.as_ref().map_or("", |secret| secret.0.as_str());
        if text.is_empty() {
            broken.push(format!("{at}.secret: Required value: secret is a mandatory field for a key"));
            continue;
        }
        // Go's decoder passes over line breaks.
        let text = Zeroizing::new(text.replace(['\r', '\n'], ""));
        let Ok(secret) = BASE64.decode(text.as_bytes()).map(Zeroizing::new) else {
            broken.push(format!("{at}.secret: Invalid value: \"REDACTED\": secrets must be base64 encoded"));
            continue;
        };
        let length = secret.len();
        match SealingKey::new(provider, name, secret) {
            Some(key) => out.push(Arc::new(key)),
            None => {
                let lengths: Vec<String> = provider.key_lengths().iter().map(usize::to_string).collect();
                broken.push(format!(
                    "{at}.secret: Invalid value: \"REDACTED\": secret is not of the expected length, got {length}, expected one of [{}]",
                    lengths.join(" ")
                ));
            }
        }
    }
    (broken.len() == before).then_some(Element::Keys(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<EncryptionConfiguration, ConfigError> {
        EncryptionConfiguration::parse(&format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n{body}"
        ))
    }

    fn error(body: &str) -> String {
        parse(body).err().unwrap().to_string()
    }

    const KEY: &str = "resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: 'a:b', secret: AAECAwQFBgcICQoLDA0ODw==}, {name: 'a:b', secret: AAECAwQFBgcICQoLDA0ODw==}]}}, {identity: {}}]}]";

    #[test]
    fn names_with_colons_and_twice_the_same_name_are_taken() {
        let config = parse(KEY).unwrap();
        assert_eq!(config.keys().map(|key| key.name()).collect::<Vec<_>>(), ["a:b", "a:b"]);
    }

    #[test]
    fn json_and_the_legacy_kind_are_taken() {
        let json = r#"{"kind":"EncryptionConfig","apiVersion":"v1","resources":[{"resources":["secrets"],
            "providers":[{"secretbox":{"keys":[{"name":"k","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]}}]}]}"#;
        assert_eq!(EncryptionConfiguration::parse(json).unwrap().keys().count(), 1);
    }

    #[test]
    fn every_rule_upstream_has_is_kept() {
        for (body, expected) in [
            ("resources: []", "at least one resource"),
            ("resources: [{resources: [], providers: [{identity: {}}]}]", "at least one resource"),
            ("resources: [{resources: [secrets], providers: []}]", "at least one provider"),
            ("resources: [{resources: [secrets], providers: [{}]}]", "does not contain any"),
            ("resources: [{resources: [secrets], providers: [{identity: }]}]", "does not contain any"),
            ("resources: [{resources: [secrets], providers: [{aescbc: {keys: []}}]}]", "at least one keys"),
            ("resources: [{resources: [Secrets], providers: [{identity: {}}]}]", "capital"),
            ("resources: [{resources: ['*'], providers: [{identity: {}}]}]", "use '*.'"),
            ("resources: [{resources: ['events.events.k8s.io'], providers: [{identity: {}}]}]", "Use 'events'"),
            ("resources: [{resources: ['secrets.*'], providers: [{identity: {}}]}]", "across groups"),
            ("resources: [{resources: [secrets, secrets], providers: [{identity: {}}]}]", "multiple times"),
            ("resources: [{resources: [secrets, '*.'], providers: [{identity: {}}]}]", "overlapping"),
            ("resources: [{resources: ['*.*', a.b], providers: [{identity: {}}]}]", "overlapping"),
            (
                "resources: [{resources: [secrets], providers: [{identity: {}, aescbc: {keys: [{name: a, secret: AA==}]}}]}]",
                "more than one provider",
            ),
            (
                "resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: AAAA}]}}]}]",
                "got 3, expected one of [16 24 32]",
            ),
            (
                "resources: [{resources: [secrets], providers: [{secretbox: {keys: [{name: a, secret: AAECAwQFBgcICQoLDA0ODw==}]}}]}]",
                "got 16, expected one of [32]",
            ),
            (
                "resources: [{resources: [secrets], providers: [{kms: {apiVersion: v2, name: 'a:b', endpoint: 'unix:///x'}}]}]",
                "must not contain ':'",
            ),
        ] {
            let found = error(body);
            assert!(found.contains(expected), "{body}: {found}");
        }
    }

    #[test]
    fn no_error_shows_a_key() {
        const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQ";
        for body in [
            format!(
                "resources: [{{resources: [secrets], providers: [{{aescbc: {{keys: [{{name: a, secret: {SECRET}}}]}}}}]}}]"
            ),
            format!("resources: [{{resources: [secrets], providers: [{{aescbc: {{keys: {SECRET}}}}}]}}]"),
            format!("resources: [{{resources: [secrets], providers: [{{aescbc: {SECRET}}}]}}]"),
            format!("resources: [{{resources: [secrets], providers: [{{{SECRET}: {SECRET}}}]}}]"),
            format!("resources:\n- {SECRET}\n  : {SECRET}"),
            SECRET.to_owned(),
            format!(
                "resources: [{{resources: [secrets], providers: [{{aescbc: {{keys: [{{name: a, secret: [{SECRET}]}}]}}}}]}}]"
            ),
        ] {
            let found = format!("{0} {0:?}", parse(&body).err().unwrap());
            assert!(!found.contains("c2Vj"), "{found}");
        }
    }
}
