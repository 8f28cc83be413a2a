//! Where a member listens, and whether by TLS.
//!
//! As etcdctl reads `--endpoints`: `https://` is TLS, `http://` is not, and a
//! bare `HOST:PORT` is TLS where certificates are given. Besides,
//! `unix:///PATH` is a socket, as etcd listens on.

use super::Error;
use std::fmt;
use std::path::PathBuf;
use tonic::transport::Uri;

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host, or an address without brackets, and a port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Where a member listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    text: String,
    /// Where to connect to.
    pub address: Address,
    /// Whether by TLS.
    pub tls: bool,
}

/// What is said of the transport besides the endpoint itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transport {
    /// Certificates are given.
    pub certificates: bool,
    /// `--insecure-transport`, where it is given.
    pub insecure: Option<bool>,
}

/// The port etcd's clients go to.
const PORT: u16 = 2379;

impl Endpoint {
    /// Parses an endpoint.
    ///
    /// # Errors
    /// [`Error::Endpoint`]; [`Error::Transport`] where it contradicts what is
    /// said of the transport.
    pub fn parse(text: &str, transport: Transport) -> Result<Self, Error> {
        let text = text.trim();
        let shown = crate::etcd::escape(without_password(text).as_bytes());
        let bad = |why: &'static str| Error::Endpoint { endpoint: shown.clone(), why };
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(bad("the path of a socket begins with /"));
            }
            return Ok(Self { address: Address::Unix(PathBuf::from(path)), text: shown, tls: false });
        }
        let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
        let contradiction = |why| Error::Transport { endpoint: shown.clone(), why };
        let tls = match scheme {
            Some("https") if transport.insecure == Some(true) => {
                return Err(contradiction("--insecure-transport was given, and https is TLS"));
            }
            Some("https") => true,
            Some("http") if transport.insecure == Some(false) => {
                return Err(contradiction("--insecure-transport=false was given, and http is no TLS"));
            }
            Some("http") if transport.certificates && transport.insecure.is_none() => {
                return Err(contradiction("certificates were given, and http would not use them"));
            }
            Some("http") => false,
            None => !transport.insecure.unwrap_or(!transport.certificates),
            Some(_) => return Err(bad("it begins with neither https:// nor http://")),
        };
        if rest.contains('@') {
            return Err(bad("names and passwords do not belong into an endpoint"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let uri: Uri = rest.parse().map_err(|_| bad("it is no HOST:PORT"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?;
        if uri.authority().map(tonic::codegen::http::uri::Authority::as_str) != Some(rest) {
            return Err(bad("it is no HOST:PORT"));
        }
        let port = match (uri.port_u16(), rest.rsplit_once(':')) {
            (Some(0), _) => return Err(bad("it has no port")),
            (Some(port), _) => port,
            // The address of version 6 ends with its bracket.
            (None, Some((_, port))) if !port.ends_with(']') => return Err(bad("it is no HOST:PORT")),
            (None, _) => PORT,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { address: Address::Tcp(host, port), text: shown, tls })
    }

    /// What requests say where they go.
    #[must_use]
    pub fn origin(&self) -> String {
        match &self.address {
            Address::Unix(_) => "http://localhost".to_owned(),
            Address::Tcp(host, port) => {
                let scheme = if self.tls { "https" } else { "http" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                format!("{scheme}://{host}:{port}")
            }
        }
    }
}

/// An endpoint as it may be told: a password in it goes nowhere.
fn without_password(text: &str) -> String {
    let Some(at) = text.rfind('@') else { return text.to_owned() };
    let scheme = ["https://", "http://"].into_iter().find(|scheme| text[..at].starts_with(scheme));
    format!("{}***{}", scheme.unwrap_or_default(), &text[at..])
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, certificates: bool, insecure: Option<bool>) -> Result<Endpoint, Error> {
        Endpoint::parse(text, Transport { certificates, insecure })
    }

    #[test]
    fn the_scheme_says_whether_it_is_tls() {
        for (text, certificates, insecure, tls) in [
            ("https://a:2379", false, None, true),
            ("https://a:2379/", true, Some(false), true),
            ("http://a:2379", false, None, false),
            ("http://a:2379", true, Some(true), false),
            ("a:2379", false, None, false),
            ("a:2379", true, None, true),
            ("a:2379", false, Some(false), true),
            ("a:2379", true, Some(true), false),
        ] {
            assert_eq!(parse(text, certificates, insecure).unwrap().tls, tls, "{text}");
        }
        for (text, certificates, insecure) in
            [("https://a:1", false, Some(true)), ("http://a:1", false, Some(false)), ("http://a:1", true, None)]
        {
            assert!(matches!(parse(text, certificates, insecure), Err(Error::Transport { .. })), "{text}");
        }
    }

    #[test]
    fn hosts_and_ports_are_told() {
        let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
        for (text, address, origin) in [
            ("https://10.0.0.1:2380", tcp("10.0.0.1", 2380), "https://10.0.0.1:2380"),
            ("http://[::1]:2379", tcp("::1", 2379), "http://[::1]:2379"),
            ("http://[::1]", tcp("::1", 2379), "http://[::1]:2379"),
            ("etcd.example", tcp("etcd.example", 2379), "http://etcd.example:2379"),
            ("unix:///run/etcd.sock", Address::Unix("/run/etcd.sock".into()), "http://localhost"),
        ] {
            let endpoint = parse(text, false, None).unwrap();
            assert_eq!((endpoint.address.clone(), endpoint.origin().as_str()), (address, origin), "{text}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_never_told() {
        for text in
            ["http://u:hush@a:1", "u:hush@a:1", "https://hush@@a", "hush@://", "http://hu/sh://u:hush@a"]
        {
            let told = parse(text, false, None).unwrap_err().to_string();
            assert!(!told.contains("hush") && told.contains("***@"), "{told}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            "https://",
            "http://a:0",
            "http://a:99999",
            "http://a:b",
            "ftp://a:1",
            "http://u:p@a:1",
            "http://a:1/path",
            "unix://a",
        ] {
            assert!(matches!(parse(text, false, None), Err(Error::Endpoint { .. })), "{text}");
        }
    }
}
