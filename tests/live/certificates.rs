//! Certificates for etcds under test.

use crate::server::Tls;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::path::{Path, PathBuf};

/// An authority, and a folder for what it signs.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub cert: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path, name: &str) -> Self {
        std::fs::create_dir(folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let cert = folder.join("ca.crt");
        std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder: folder.to_owned(), issuer: Issuer::new(params, key), cert }
    }

    /// A certificate and its key, under a name; valid until the end of a year.
    fn signed(
        &self,
        file: &str,
        names: &[&str],
        usages: &[ExtendedKeyUsagePurpose],
        until: i32,
    ) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages = usages.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let (cert_file, key_file) =
            (self.folder.join(format!("{file}.crt")), self.folder.join(format!("{file}.key")));
        std::fs::write(&cert_file, cert.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    /// What a server and its clients need; the server's certificate is for
    /// these names, and valid until the end of a year.
    pub fn tls(&self, names: &[&str], until: i32) -> Tls {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        // etcd's gateway is a client of its own.
        let (server_cert, server_key) = self.signed("server", names, &[ServerAuth, ClientAuth], until);
        let (client_cert, client_key) = self.signed("client", &["root"], &[ClientAuth], 2999);
        Tls { cacert: self.cert.clone(), server_cert, server_key, client_cert, client_key }
    }
}
