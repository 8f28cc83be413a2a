//! Which objects of a snapshot are meant.

use super::args::List;
use crate::etcd::escape;
use crate::kube::resource::{KeyPath, key_prefix};
use crate::kube::{GroupResource, Seal, typed_name};
use crate::rekey::Error;
use crate::rekey::inventory::Item;
use std::collections::BTreeMap;

/// How alike two names have to be, from 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.75;

/// What `list` was told to leave out.
pub struct Filter<'f> {
    args: &'f List,
    prefix: String,
    /// The resources met, and whether they are meant.
    resources: BTreeMap<GroupResource, bool>,
}

impl<'f> Filter<'f> {
    /// As the flags say.
    #[must_use]
    pub fn new(args: &'f List) -> Self {
        let prefix = key_prefix(&args.reading.keys.etcd_prefix);
        Self { args, prefix, resources: BTreeMap::new() }
    }

    /// Namespace and name of an object, as its etcd key tells them.
    #[must_use]
    pub fn names<'k>(&self, key: &'k [u8]) -> (Option<&'k str>, Option<&'k str>) {
        match KeyPath::parse(&self.prefix, key) {
            Some(path) => (path.namespace, Some(path.name)),
            None => (None, None),
        }
    }

    fn means(&mut self, resource: &GroupResource) -> bool {
        if let Some(meant) = self.resources.get(resource) {
            return *meant;
        }
        let meant = self.args.resource.as_ref().is_none_or(|typed| typed_name::means(typed, resource));
        self.resources.insert(resource.clone(), meant);
        meant
    }

    /// Refuses a resource that neither Kubernetes nor the snapshot has, once
    /// everything was seen.
    ///
    /// # Errors
    /// [`Error::NoSuchResource`].
    pub fn resource_exists(&self) -> Result<(), Error> {
        let Some(typed) = &self.args.resource else { return Ok(()) };
        if typed_name::is_known(typed) || self.resources.values().any(|meant| *meant) {
            return Ok(());
        }
        let alike = |name: &str| strsim::jaro_winkler(typed, name);
        let nearest = self.resources.keys().max_by(|a, b| alike(&a.resource).total_cmp(&alike(&b.resource)));
        Err(Error::NoSuchResource {
            typed: escape(typed.as_bytes()),
            nearest: nearest.filter(|name| alike(&name.resource) > ALIKE).map(ToString::to_string),
            there: self.resources.keys().map(|name| escape(name.resource.as_bytes())).collect(),
        })
    }

    /// Whether a value is meant.
    #[must_use]
    pub fn takes(&mut self, item: &Item<'_, '_>) -> bool {
        let meant = self.means(&item.resource);
        let List { namespace, name, key, sealed_by, revisions, .. } = self.args;
        let (namespace_is, name_is) = self.names(item.record.kv.key);
        (item.current || *revisions)
            && meant
            && namespace.as_deref().is_none_or(|wanted| namespace_is == Some(wanted))
            && name
                .as_ref()
                .is_none_or(|pattern| name_is.is_some_and(|name| fits(pattern.as_bytes(), name.as_bytes())))
            && key.as_ref().is_none_or(|pattern| fits(pattern.as_bytes(), item.record.kv.key))
            && sealed_by.as_deref().is_none_or(|wanted| sealed_with(wanted, &item.seal))
    }
}

/// Whether a seal is the one meant: by the key's name, the provider's, or both.
fn sealed_with(wanted: &str, seal: &Seal) -> bool {
    let both = wanted.strip_prefix(seal.provider.as_str()).and_then(|rest| rest.strip_prefix('/'));
    wanted == seal.provider || (!seal.name.is_empty() && wanted == seal.name) || both == Some(&seal.name)
}

/// Whether a text fits a pattern, in which `*` stands for any text and `?` for
/// any one byte.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star, should what follows it not fit.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    (p, t) = (after, from + 1);
                    star = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_fit_what_they_say() {
        for (pattern, text) in
            [("", ""), ("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*b*b", "abab"), ("**x", "x"), ("a", "a")]
        {
            assert!(fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a*c", "abb"), ("a?c", "ac"), ("*b", "ba"), ("A", "a")] {
            assert!(!fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    /// The same, by trying everything.
    fn slowly(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((b'*', after)), rest) => {
                slowly(after, text) || rest.is_some_and(|(_, rest)| slowly(pattern, rest))
            }
            (Some((byte, after)), Some((first, rest))) => {
                (*byte == b'?' || byte == first) && slowly(after, rest)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn patterns_fit_what_trying_everything_finds(pattern in "[ab?*]{0,6}", text in "[ab]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(fits(pattern, text), slowly(pattern, text));
        }
    }

    #[test]
    fn a_seal_is_named_by_key_by_provider_or_by_both() {
        let seal = Seal { provider: "aescbc".into(), name: "a/b".into() };
        for wanted in ["aescbc", "a/b", "aescbc/a/b"] {
            assert!(sealed_with(wanted, &seal), "{wanted}");
        }
        let plain = Seal { provider: "identity".into(), name: String::new() };
        assert!(sealed_with("identity", &plain) && !sealed_with("", &plain) && !sealed_with("aesgcm", &seal));
    }
}
