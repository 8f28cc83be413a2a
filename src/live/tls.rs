//! Certificates read, and who is trusted.

use super::{Error, Files};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use zeroize::Zeroizing;

/// What connections by TLS are made with.
///
/// # Errors
/// [`Error::Read`], [`Error::Pem`], [`Error::HalfACertificate`];
/// [`Error::NoRoots`] where neither the files nor the system name anybody to
/// trust.
pub fn config(files: &Files, skip_verify: bool) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::NoRoots { why: error.to_string() })?;
    let builder = if skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(files.cacert.as_deref())?)
    };
    let mut config = match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let bad = |error: rustls::Error| {
                let why = match error {
                    rustls::Error::InconsistentKeys(_) => format!("it is not the key of {}", cert.display()),
                    other => other.to_string(),
                };
                Error::Pem { file: key.clone(), why }
            };
            builder.with_client_auth_cert(chain, private_key(key)?).map_err(bad)?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(Error::HalfACertificate),
    };
    // etcd serves both protocols of HTTP on one port.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let read = std::fs::read(file).map(Zeroizing::new);
    read.map_err(|source| Error::Read { file: file.to_owned(), source })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |why: String| Error::Pem { file: file.to_owned(), why };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let found = found.map_err(|error| bad(error.to_string()))?;
    if found.is_empty() { Err(bad("there is no certificate in it".to_owned())) } else { Ok(found) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    // What is wrong is told without a word of what is in it.
    let bad = |_| Error::Pem {
        file: file.to_owned(),
        why: "there is no private key in it, or one with a passphrase".to_owned(),
    };
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(bad)
}

fn roots(cacert: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = cacert {
        for certificate in certificates(file)? {
            let bad = |error: rustls::Error| Error::Pem { file: file.to_owned(), why: error.to_string() };
            roots.add(certificate).map_err(bad)?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(|| "it has none".to_owned(), ToString::to_string);
        return Err(Error::NoRoots { why });
    }
    Ok(roots)
}

/// Takes whatever certificate a server shows, as `--insecure-skip-tls-verify`
/// asks. That the server has its key is still seen to.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_its_certificate_is_refused() {
        let files = Files { key: Some("key".into()), ..Files::default() };
        assert!(matches!(config(&files, true), Err(Error::HalfACertificate)));
    }

    #[test]
    fn what_is_no_certificate_is_told_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
        let files = Files { cacert: Some(file.clone()), ..Files::default() };
        let error = config(&files, false).unwrap_err();
        assert!(matches!(error, Error::Pem { .. }));
        assert!(!error.to_string().contains("c2VjcmV0"));
    }
}
