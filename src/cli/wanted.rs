//! Which object `get` is to show.

use crate::kube::{KeyPath, typed_name};

/// The object that is meant.
pub struct Wanted<'w> {
    prefix: &'w str,
    /// The etcd key itself; of two parts that of a secret.
    pub key: String,
    /// Else resource, namespace and name.
    object: Option<(&'w str, Option<&'w str>, &'w str)>,
}

impl<'w> Wanted<'w> {
    /// As it was typed, below the prefix of Kubernetes' keys.
    #[must_use]
    pub fn new(prefix: &'w str, text: &'w str) -> Self {
        let parts: Vec<&str> = text.split('/').collect();
        let object = match *parts {
            [resource, name] => Some((resource, None, name)),
            [resource, namespace, name] => Some((resource, Some(namespace), name)),
            _ => None,
        };
        let whole = text.starts_with('/');
        let key = if whole { text.to_owned() } else { format!("{prefix}secrets/{text}") };
        Self { prefix, key, object: object.filter(|_| !whole) }
    }

    /// Whether an object under this etcd key is meant.
    #[must_use]
    pub fn means(&self, key: &[u8]) -> bool {
        key == self.key.as_bytes()
            || self.object.is_some_and(|(resource, namespace, name)| {
                KeyPath::parse(self.prefix, key).is_some_and(|path| {
                    path.name == name
                        && path.namespace == namespace
                        && typed_name::means(resource, &path.resource)
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_need_no_resource_and_everything_may_have_one() {
        for (text, key, meant) in [
            ("a/b", "/registry/secrets/a/b", true),
            ("secrets/a/b", "/registry/secrets/a/b", true),
            ("secret/a/b", "/registry/secrets/a/b", true),
            ("deploy/a/b", "/registry/deployments/a/b", true),
            ("deployments.apps/a/b", "/registry/deployments/a/b", true),
            ("no/b", "/registry/minions/b", true),
            ("widget/a/b", "/registry/example.com/widgets/a/b", true),
            ("/elsewhere/a", "/elsewhere/a", true),
            ("configmap/a/b", "/registry/secrets/a/b", false),
            ("secrets/b", "/registry/secrets/a/b", false),
            ("/a/b", "/registry/a/b", false),
            ("b", "/registry/secrets/a/b", false),
        ] {
            assert_eq!(Wanted::new("/registry/", text).means(key.as_bytes()), meant, "{text} {key}");
        }
    }
}
