//! Which providers count for which resource.
//!
//! The exact resource's list is used, or its group's wildcard, or `*.*`, and
//! only that one; where a resource stands in several blocks their lists are
//! joined. Source: kubernetes
//! `pkg/server/options/encryptionconfig/config.go`, `transformerFromOverrides`.

use super::config::{Element, EncryptionConfiguration};
use super::error::ConfigError;
use super::key::SealingKey;
use super::kms::Plugin;
use super::resource::GroupResource;
use std::collections::HashMap;
use std::sync::Arc;

/// What seals new values of a resource. Lent, for it is asked for with every
/// value, and threads that count the same key's owners wait for each other.
#[derive(Clone, Copy)]
pub enum Writer<'p> {
    /// Values are stored as they are.
    Identity,
    /// A key of the configuration.
    Key(&'p Arc<SealingKey>),
    /// A KMS plugin.
    Kms(&'p Plugin),
}

impl<'p> Writer<'p> {
    /// The key, where it is one.
    #[must_use]
    pub fn key(self) -> Option<&'p Arc<SealingKey>> {
        match self {
            Self::Key(key) => Some(key),
            _ => None,
        }
    }
}

/// The rules of a configuration, ready to be asked.
#[derive(Clone)]
pub struct Precedence {
    rules: HashMap<GroupResource, Vec<Element>>,
}

impl Precedence {
    /// Joins the blocks of a configuration.
    ///
    /// # Errors
    /// [`ConfigError::Masked`], as upstream refuses to load it then.
    pub fn of(config: &EncryptionConfiguration) -> Result<Self, ConfigError> {
        let mut rules: HashMap<GroupResource, Vec<Element>> = HashMap::new();
        let mut wildcards: Vec<GroupResource> = Vec::new();
        for block in config.blocks() {
            for resource in &block.resources {
                if let Some(earlier) = wildcards.iter().find(|earlier| masks(earlier, resource)) {
                    return Err(ConfigError::Masked {
                        resource: resource.to_string(),
                        earlier: earlier.to_string(),
                    });
                }
                rules.entry(resource.clone()).or_default().extend(block.providers.iter().cloned());
                if resource.resource == "*" {
                    wildcards.push(resource.clone());
                }
            }
        }
        Ok(Self { rules })
    }

    /// The providers that count for a resource, in order; `None` when no rule
    /// names it.
    #[must_use]
    pub fn providers(&self, resource: &GroupResource) -> Option<&[Element]> {
        let wildcard = |group| self.rules.get(&GroupResource::new(group, "*"));
        let exact = self.rules.get(resource);
        exact.or_else(|| wildcard(&resource.group)).or_else(|| wildcard("*")).map(Vec::as_slice)
    }

    /// What seals new values of a resource: the first key of its first
    /// provider. A resource no rule names is stored as it is.
    #[must_use]
    pub fn writer(&self, resource: &GroupResource) -> Writer<'_> {
        match self.providers(resource).and_then(<[Element]>::first) {
            Some(Element::Keys(keys)) => keys.first().map_or(Writer::Identity, Writer::Key),
            Some(Element::Kms(plugin)) => Writer::Kms(plugin),
            Some(Element::Identity) | None => Writer::Identity,
        }
    }

    /// The plugins that seal new values of some resource.
    pub fn writing_plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.rules.values().filter_map(|providers| match providers.first() {
            Some(Element::Kms(plugin)) => Some(plugin),
            _ => None,
        })
    }

    /// Whether every rule is about secrets.
    #[must_use]
    pub fn only_secrets(&self) -> bool {
        self.rules.keys().all(|rule| *rule == GroupResource::new("", "secrets"))
    }
}

/// Whether an earlier wildcard leaves nothing for a later rule.
fn masks(earlier: &GroupResource, later: &GroupResource) -> bool {
    earlier.group == "*" || earlier.group == later.group
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precedence(blocks: &[(&str, &str)]) -> Result<Precedence, ConfigError> {
        let mut yaml =
            String::from("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n");
        for (resources, name) in blocks {
            yaml += &format!(
                "- resources: [{resources}]\n  providers: [{{aescbc: {{keys: [{{name: {name}, secret: AAAAAAAAAAAAAAAAAAAAAA==}}]}}}}]\n"
            );
        }
        Precedence::of(&EncryptionConfiguration::parse(&yaml).unwrap())
    }

    fn writer(precedence: &Precedence, resource: &str) -> Option<String> {
        precedence.writer(&GroupResource::parse(resource)).key().map(|key| key.name().to_owned())
    }

    #[test]
    fn the_exact_rule_wins_then_the_groups_then_the_last() {
        let rules = precedence(&[("secrets", "a"), ("'*.apps'", "b"), ("'*.'", "c"), ("'*.*'", "d")]).unwrap();
        for (resource, expected) in
            [("secrets", "a"), ("deployments.apps", "b"), ("configmaps", "c"), ("widgets.example.com", "d")]
        {
            assert_eq!(writer(&rules, resource).as_deref(), Some(expected));
        }
        let one = precedence(&[("secrets", "a")]).unwrap();
        assert_eq!(writer(&one, "configmaps"), None);
        assert!(one.only_secrets() && !rules.only_secrets());
        assert!(!precedence(&[("configmaps", "a")]).unwrap().only_secrets());
    }

    #[test]
    fn a_resource_in_two_blocks_has_both_lists_in_order() {
        let rules = precedence(&[("secrets", "a"), ("secrets", "b")]).unwrap();
        assert_eq!(writer(&rules, "secrets").as_deref(), Some("a"));
        assert_eq!(rules.providers(&GroupResource::parse("secrets")).map(<[_]>::len), Some(2));
    }

    #[test]
    fn plugins_write_where_they_stand_first() {
        let text = "apiVersion: v1\nkind: EncryptionConfig\nresources:\n\
            - resources: [secrets]\n  providers: [kms: {name: first, endpoint: 'unix:///a'}, identity: {}]\n\
            - resources: [configmaps]\n  providers: [identity: {}, kms: {name: second, endpoint: 'unix:///b'}]\n";
        let rules = Precedence::of(&EncryptionConfiguration::parse(text).unwrap()).unwrap();
        assert_eq!(rules.writing_plugins().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["first"]);
        assert!(
            matches!(rules.writer(&GroupResource::new("", "secrets")), Writer::Kms(plugin) if plugin.name == "first")
        );
        assert!(matches!(rules.writer(&GroupResource::new("", "configmaps")), Writer::Identity));
    }

    #[test]
    fn a_masked_rule_is_refused() {
        for (first, second) in [("'*.*'", "secrets"), ("'*.apps'", "deployments.apps"), ("'*.'", "secrets")] {
            assert!(matches!(precedence(&[(first, "a"), (second, "b")]), Err(ConfigError::Masked { .. })));
        }
        assert!(precedence(&[("'*.apps'", "a"), ("secrets", "b")]).is_ok());
    }
}
