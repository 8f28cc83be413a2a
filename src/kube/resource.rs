//! Group-resources, and the etcd keys their objects lie under.
//!
//! Source: kubernetes `pkg/kubeapiserver/default_storage_factory_builder.go`
//! (special prefixes) and `test/integration/etcd/data.go` (groups and kinds).

use std::fmt;

/// A resource with its API group (empty for the core group). In a
/// configuration either may be `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupResource {
    /// The group.
    pub group: String,
    /// The plural, in lower case.
    pub resource: String,
}

impl GroupResource {
    /// Parts `resource.group` at its first dot, as upstream does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (resource, group) = text.split_once('.').unwrap_or((text, ""));
        Self::new(group, resource)
    }

    /// A group-resource of these parts.
    #[must_use]
    pub fn new(group: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }
}

impl GroupResource {
    /// As configurations name it.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.group.as_str(), self.resource.as_str()) {
            ("", "*") => "*.".to_owned(),
            ("", resource) => resource.to_owned(),
            (group, resource) => format!("{resource}.{group}"),
        }
    }
}

/// For people: both parts may come out of a snapshot, and be anything.
impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::etcd::escape(self.name().as_bytes()))
    }
}

/// A built-in resource: group, plural, kind.
pub(super) type Builtin = (&'static str, &'static str, &'static str);

/// Resources whose path is not their plural.
const SPECIAL_PATHS: [(&str, Builtin); 14] = [
    ("minions", ("", "nodes", "Node")),
    ("services/specs", ("", "services", "Service")),
    ("services/endpoints", ("", "endpoints", "Endpoints")),
    ("controllers", ("", "replicationcontrollers", "ReplicationController")),
    ("ingress", ("networking.k8s.io", "ingresses", "Ingress")),
    ("podsecuritypolicy", ("policy", "podsecuritypolicies", "PodSecurityPolicy")),
    (
        "apiextensions.k8s.io/customresourcedefinitions",
        ("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition"),
    ),
    ("apiregistration.k8s.io/apiservices", ("apiregistration.k8s.io", "apiservices", "APIService")),
    // OpenShift, under its own prefix.
    ("oauth/accesstokens", ("oauth.openshift.io", "oauthaccesstokens", "OAuthAccessToken")),
    ("oauth/authorizetokens", ("oauth.openshift.io", "oauthauthorizetokens", "OAuthAuthorizeToken")),
    ("oauth/clients", ("oauth.openshift.io", "oauthclients", "OAuthClient")),
    (
        "oauth/clientauthorizations",
        ("oauth.openshift.io", "oauthclientauthorizations", "OAuthClientAuthorization"),
    ),
    ("useridentities", ("user.openshift.io", "identities", "Identity")),
    ("routes", ("route.openshift.io", "routes", "Route")),
];

/// Resources whose path is their plural, with no group in it.
const BUILTINS: [Builtin; 65] = [
    ("", "configmaps", "ConfigMap"),
    ("", "podtemplates", "PodTemplate"),
    ("", "pods", "Pod"),
    ("", "resourcequotas", "ResourceQuota"),
    ("", "limitranges", "LimitRange"),
    ("", "namespaces", "Namespace"),
    ("", "persistentvolumes", "PersistentVolume"),
    ("", "events", "Event"),
    ("", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("", "serviceaccounts", "ServiceAccount"),
    ("", "secrets", "Secret"),
    ("apps", "daemonsets", "DaemonSet"),
    ("apps", "deployments", "Deployment"),
    ("apps", "statefulsets", "StatefulSet"),
    ("apps", "replicasets", "ReplicaSet"),
    ("apps", "controllerrevisions", "ControllerRevision"),
    ("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("batch", "jobs", "Job"),
    ("batch", "cronjobs", "CronJob"),
    ("certificates.k8s.io", "certificatesigningrequests", "CertificateSigningRequest"),
    ("certificates.k8s.io", "clustertrustbundles", "ClusterTrustBundle"),
    ("certificates.k8s.io", "podcertificaterequests", "PodCertificateRequest"),
    ("coordination.k8s.io", "leases", "Lease"),
    ("coordination.k8s.io", "leasecandidates", "LeaseCandidate"),
    ("discovery.k8s.io", "endpointslices", "EndpointSlice"),
    ("networking.k8s.io", "ingressclasses", "IngressClass"),
    ("networking.k8s.io", "networkpolicies", "NetworkPolicy"),
    ("networking.k8s.io", "ipaddresses", "IPAddress"),
    ("networking.k8s.io", "servicecidrs", "ServiceCIDR"),
    ("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("storagemigration.k8s.io", "storageversionmigrations", "StorageVersionMigration"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas", "FlowSchema"),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "PriorityLevelConfiguration"),
    ("storage.k8s.io", "volumeattachments", "VolumeAttachment"),
    ("storage.k8s.io", "volumeattributesclasses", "VolumeAttributesClass"),
    ("storage.k8s.io", "storageclasses", "StorageClass"),
    ("storage.k8s.io", "csistoragecapacities", "CSIStorageCapacity"),
    ("storage.k8s.io", "csinodes", "CSINode"),
    ("storage.k8s.io", "csidrivers", "CSIDriver"),
    ("rbac.authorization.k8s.io", "roles", "Role"),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole"),
    ("rbac.authorization.k8s.io", "rolebindings", "RoleBinding"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", "MutatingAdmissionPolicy"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"),
    ("scheduling.k8s.io", "priorityclasses", "PriorityClass"),
    ("scheduling.k8s.io", "workloads", "Workload"),
    ("scheduling.k8s.io", "podgroups", "PodGroup"),
    ("node.k8s.io", "runtimeclasses", "RuntimeClass"),
    ("resource.k8s.io", "deviceclasses", "DeviceClass"),
    ("resource.k8s.io", "devicetaintrules", "DeviceTaintRule"),
    ("resource.k8s.io", "resourceclaims", "ResourceClaim"),
    ("resource.k8s.io", "resourceclaimtemplates", "ResourceClaimTemplate"),
    ("resource.k8s.io", "resourceslices", "ResourceSlice"),
    ("resource.k8s.io", "resourcepoolstatusrequests", "ResourcePoolStatusRequest"),
    ("internal.apiserver.k8s.io", "storageversions", "StorageVersion"),
    ("oauth.openshift.io", "oauthclients", "OAuthClient"),
    ("user.openshift.io", "users", "User"),
    ("user.openshift.io", "groups", "Group"),
    ("build.openshift.io", "builds", "Build"),
    ("build.openshift.io", "buildconfigs", "BuildConfig"),
];

/// Every built-in resource: group, plural, kind.
pub(super) fn builtins() -> impl Iterator<Item = Builtin> {
    SPECIAL_PATHS.into_iter().map(|(_, builtin)| builtin).chain(BUILTINS)
}

/// Paths that never go through a transformer (Kubernetes from 1.26 on).
const NEVER_SEALED: [&str; 3] = ["ranges", "masterleases", "peerserverleases"];

/// What an etcd key says of the object under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath<'k> {
    /// The resource, where the table or the path tells it.
    pub resource: GroupResource,
    /// Whether the group is known; of a path the table does not have, only
    /// the object itself tells it.
    pub group_known: bool,
    /// The kind, of built-in resources.
    pub kind: Option<&'static str>,
    /// Whether Kubernetes never seals what lies here. What is sealed all the
    /// same was written by a release before 1.26, by the rules of `services`.
    pub never_sealed: bool,
    /// The namespace, where there is one.
    pub namespace: Option<&'k str>,
    /// The object's name.
    pub name: &'k str,
}

/// Makes a prefix as `--etcd-prefix` takes it into the one keys begin with:
/// one slash in front, one behind.
#[must_use]
pub fn key_prefix(etcd_prefix: &str) -> String {
    match etcd_prefix.trim_matches('/') {
        "" => "/".to_owned(),
        inner => format!("/{inner}/"),
    }
}

impl<'k> KeyPath<'k> {
    /// Reads an etcd key, `prefix` as [`key_prefix`] makes it. `None` for a
    /// key that is not under it, or names no object.
    #[must_use]
    pub fn parse(prefix: &str, key: &'k [u8]) -> Option<Self> {
        let path = std::str::from_utf8(key.strip_prefix(prefix.as_bytes())?).ok()?;
        let (first, rest) = path.split_once('/')?;
        let special = SPECIAL_PATHS
            .iter()
            .find_map(|(at, builtin)| Some((builtin, path.strip_prefix(at)?.strip_prefix('/')?)));
        let builtin =
            special.or_else(|| BUILTINS.iter().find(|(_, resource, _)| *resource == first).map(|b| (b, rest)));
        let never_sealed = NEVER_SEALED.contains(&first);
        let (resource, group_known, kind, rest) = if never_sealed {
            (GroupResource::new("", "services"), true, None, rest)
        } else if let Some(((group, resource, kind), rest)) = builtin {
            (GroupResource::new(group, resource), true, Some(*kind), rest)
        } else if first.contains('.') {
            // Custom resources: group/plural/…
            let (plural, rest) = rest.split_once('/')?;
            (GroupResource::new(first, plural), true, None, rest)
        } else {
            (GroupResource::new("", first), false, None, rest)
        };
        let (namespace, name) = match rest.rsplit_once('/') {
            Some((before, name)) => (Some(before.rsplit('/').next().unwrap_or(before)), name),
            None => (None, rest),
        };
        (!name.is_empty()).then_some(Self { resource, group_known, kind, never_sealed, namespace, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(key: &str) -> (String, Option<&'static str>, Option<&str>, &str) {
        let path = KeyPath::parse("/registry/", key.as_bytes()).unwrap();
        (path.resource.to_string(), path.kind, path.namespace, path.name)
    }

    #[test]
    fn keys_name_their_objects() {
        for (key, expected) in [
            ("/registry/secrets/default/s1", ("secrets", Some("Secret"), Some("default"), "s1")),
            ("/registry/minions/node-1", ("nodes", Some("Node"), None, "node-1")),
            ("/registry/services/specs/a/b", ("services", Some("Service"), Some("a"), "b")),
            ("/registry/services/endpoints/a/b", ("endpoints", Some("Endpoints"), Some("a"), "b")),
            ("/registry/ingress/a/b", ("ingresses.networking.k8s.io", Some("Ingress"), Some("a"), "b")),
            ("/registry/deployments/a/b", ("deployments.apps", Some("Deployment"), Some("a"), "b")),
            (
                "/registry/clusterroles/system:admin",
                ("clusterroles.rbac.authorization.k8s.io", Some("ClusterRole"), None, "system:admin"),
            ),
            (
                "/registry/apiregistration.k8s.io/apiservices/v1.apps",
                ("apiservices.apiregistration.k8s.io", Some("APIService"), None, "v1.apps"),
            ),
            ("/registry/example.com/widgets/a/b", ("widgets.example.com", None, Some("a"), "b")),
            ("/registry/example.com/clusterwidgets/b", ("clusterwidgets.example.com", None, None, "b")),
        ] {
            let expected = (expected.0.to_owned(), expected.1, expected.2, expected.3);
            assert_eq!(parse(key), expected, "{key}");
        }
    }

    #[test]
    fn ranges_and_masterleases_are_never_sealed() {
        for key in ["ranges/servicenodeports", "masterleases/10.0.0.1", "peerserverleases/apiserver-x"] {
            let key = format!("/registry/{key}");
            assert!(KeyPath::parse("/registry/", key.as_bytes()).unwrap().never_sealed);
        }
    }

    #[test]
    fn a_key_outside_the_prefix_names_nothing() {
        for key in
            ["/registry", "/registryx/secrets/a/b", "/bootstrap/x", "compact_rev_key", "/registry/secrets/"]
        {
            assert_eq!(KeyPath::parse("/registry/", key.as_bytes()), None, "{key}");
        }
        for (given, prefix) in [("", "/"), ("/", "/"), ("kubernetes.io", "/kubernetes.io/"), ("/a/b/", "/a/b/")]
        {
            assert_eq!(key_prefix(given), prefix);
        }
        assert!(KeyPath::parse(&key_prefix("kubernetes.io"), b"/kubernetes.io/secrets/a/b").is_some());
        assert!(KeyPath::parse(&key_prefix("/tenant/one/"), b"/tenant/one/secrets/a/b").is_some());
    }

    #[test]
    fn a_path_the_table_does_not_have_leaves_the_group_open() {
        let path = KeyPath::parse("/registry/", b"/registry/novelties/a/b").unwrap();
        assert!(!path.group_known);
    }
}
