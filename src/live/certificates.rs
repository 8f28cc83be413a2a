//! Where clusters keep the certificates of etcd's clients.
//!
//! Sources: K3s `pkg/daemons/control/deps` (RKE2 is built on it), kubeadm's
//! certificate list.

use super::Error;
use std::path::{Path, PathBuf};

/// The files of a connection by TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// Who is trusted; the system's roots where none is given.
    pub cacert: Option<PathBuf>,
    /// The client's certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// Clusters whose certificates lie in known places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// K3s; below its data directory.
    K3s,
    /// RKE2; below its data directory.
    Rke2,
    /// kubeadm; below its directory of certificates.
    Kubeadm,
}

/// Where its members listen on their own machine.
pub const LOCAL: &str = "https://127.0.0.1:2379";

impl Layout {
    /// Where the directory lies when nobody says otherwise.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            Self::K3s => "/var/lib/rancher/k3s",
            Self::Rke2 => "/var/lib/rancher/rke2",
            Self::Kubeadm => "/etc/kubernetes/pki",
        }
    }

    /// The authority, and the certificates with their keys, below the
    /// directory; the first pair that is there is taken.
    fn places(self) -> (&'static str, [&'static str; 2]) {
        match self {
            // What K3s itself dials with, then what the documents of RKE2 name.
            Self::K3s | Self::Rke2 => {
                ("server/tls/etcd/server-ca.crt", ["server/tls/etcd/client", "server/tls/etcd/server-client"])
            }
            Self::Kubeadm => ("etcd/ca.crt", ["apiserver-etcd-client", "etcd/healthcheck-client"]),
        }
    }

    /// Finds the files below a directory.
    ///
    /// # Errors
    /// [`Error::NoCertificates`].
    pub fn find(self, directory: &Path) -> Result<Files, Error> {
        let (authority, pairs) = self.places();
        let cacert = directory.join(authority);
        let missing = |path: PathBuf| Error::NoCertificates { path };
        // Looked at, not for: who may not is told so.
        if cacert.metadata().is_err() {
            return Err(missing(cacert));
        }
        let file = |pair: &str, end: &str| directory.join(format!("{pair}.{end}"));
        let mut pairs = pairs.into_iter();
        let first = pairs.clone().next().unwrap_or_default();
        let there = |pair: &&str| file(pair, "crt").exists() && file(pair, "key").exists();
        let pair = pairs.find(there).ok_or_else(|| missing(file(first, "crt")))?;
        Ok(Files { cacert: Some(cacert), cert: Some(file(pair, "crt")), key: Some(file(pair, "key")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_each_kind_of_cluster_are_found() {
        for (layout, authority, pair) in [
            (Layout::K3s, "server/tls/etcd/server-ca.crt", "server/tls/etcd/client"),
            (Layout::Rke2, "server/tls/etcd/server-ca.crt", "server/tls/etcd/server-client"),
            (Layout::Kubeadm, "etcd/ca.crt", "apiserver-etcd-client"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let put = |name: &str| {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            };
            assert!(matches!(layout.find(dir.path()), Err(Error::NoCertificates { .. })));
            put(authority);
            put(&format!("{pair}.crt"));
            assert!(matches!(layout.find(dir.path()), Err(Error::NoCertificates { .. })));
            put(&format!("{pair}.key"));
            let found = layout.find(dir.path()).unwrap();
            assert_eq!(found.cacert, Some(dir.path().join(authority)));
            assert_eq!(found.key, Some(dir.path().join(format!("{pair}.key"))));
        }
    }
}
