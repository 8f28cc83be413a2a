//! Resources as people type them: by the plural, the singular or a short
//! name, as kubectl takes them.
//!
//! Source of the short names: kubernetes `pkg/registry`, `ShortNames`.

use super::resource::{GroupResource, builtins};

/// Short name, group, plural.
const SHORT: [(&str, &str, &str); 28] = [
    ("cm", "", "configmaps"),
    ("cj", "batch", "cronjobs"),
    ("crd", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("crds", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("csr", "certificates.k8s.io", "certificatesigningrequests"),
    ("deploy", "apps", "deployments"),
    ("ds", "apps", "daemonsets"),
    ("ep", "", "endpoints"),
    ("ev", "", "events"),
    ("hpa", "autoscaling", "horizontalpodautoscalers"),
    ("ing", "networking.k8s.io", "ingresses"),
    ("ip", "networking.k8s.io", "ipaddresses"),
    ("limits", "", "limitranges"),
    ("netpol", "networking.k8s.io", "networkpolicies"),
    ("no", "", "nodes"),
    ("ns", "", "namespaces"),
    ("pc", "scheduling.k8s.io", "priorityclasses"),
    ("pdb", "policy", "poddisruptionbudgets"),
    ("po", "", "pods"),
    ("pv", "", "persistentvolumes"),
    ("pvc", "", "persistentvolumeclaims"),
    ("quota", "", "resourcequotas"),
    ("rc", "", "replicationcontrollers"),
    ("rs", "apps", "replicasets"),
    ("sa", "", "serviceaccounts"),
    ("sc", "storage.k8s.io", "storageclasses"),
    ("sts", "apps", "statefulsets"),
    ("svc", "", "services"),
];

/// Whether a name means a resource. With a group behind its first dot it means
/// that of this group alone.
#[must_use]
pub fn means(typed: &str, resource: &GroupResource) -> bool {
    let GroupResource { group, resource: plural } = resource;
    // Custom resources may be of any spelling.
    if typed == plural || typed == resource.name() {
        return true;
    }
    let typed = typed.to_lowercase();
    let name = match typed.split_once('.') {
        Some((name, of)) if of == group => name,
        Some(_) => return false,
        None => &typed,
    };
    let singular = match builtins().find(|(g, p, _)| g == group && p == plural) {
        Some((_, _, kind)) => name == kind.to_lowercase(),
        None => is_singular(name, plural),
    };
    singular || name == plural || SHORT.contains(&(name, group, plural))
}

/// Whether a name means a resource that Kubernetes itself has.
#[must_use]
pub fn is_known(typed: &str) -> bool {
    builtins().any(|(group, plural, _)| means(typed, &GroupResource::new(group, plural)))
}

/// Of custom resources only their definitions tell the singular: these are
/// the regular ones.
fn is_singular(name: &str, plural: &str) -> bool {
    let Some(rest) = plural.strip_suffix('s').filter(|_| !name.is_empty()) else { return false };
    name == rest
        || rest.strip_suffix('e') == Some(name)
        || rest.strip_suffix("ie").is_some_and(|stem| name.strip_suffix('y') == Some(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plural_singular_and_short_names_mean_a_resource() {
        for (typed, resource) in [
            ("secrets", "secrets"),
            ("secret", "secrets"),
            ("Secret", "secrets"),
            ("cm", "configmaps"),
            ("deploy", "deployments.apps"),
            ("deployment.apps", "deployments.apps"),
            ("deploy.apps", "deployments.apps"),
            ("ingress", "ingresses.networking.k8s.io"),
            ("endpoints", "endpoints"),
            ("widget", "widgets.example.com"),
            ("widget.example.com", "widgets.example.com"),
            ("policy", "policies.example.com"),
            ("box", "boxes.example.com"),
            ("Odd", "Odd.example.com"),
        ] {
            assert!(means(typed, &GroupResource::parse(resource)), "{typed} {resource}");
        }
        for (typed, resource) in [
            ("", "secrets"),
            ("secretz", "secrets"),
            ("deployments.batch", "deployments.apps"),
            ("po", "pods.example.com"),
            // Its kind is a plural itself, and there is no other singular.
            ("endpoint", "endpoints"),
            ("", "s"),
        ] {
            assert!(!means(typed, &GroupResource::parse(resource)), "{typed} {resource}");
        }
    }

    #[test]
    fn every_short_name_is_one_of_a_known_resource() {
        for (short, group, plural) in SHORT {
            assert!(builtins().any(|(g, p, _)| g == group && p == plural), "{short}");
            let meant = builtins().filter(|(g, p, _)| means(short, &GroupResource::new(g, p)));
            assert_eq!(meant.count(), 1, "{short}");
            assert!(is_known(short));
        }
        assert!(!is_known("bogus") && !is_known(""));
    }
}
