//! The KMS plugins a configuration names, validated as upstream does.
//!
//! Source: kubernetes `pkg/apis/apiserver/validation/validation_encryption.go`,
//! `pkg/apis/apiserver/v1/defaults.go`; `k8s.io/kms/pkg/util`.

use super::super::error::quoted;
use super::super::schema;
use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a call may take where the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Which interface a plugin has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `v1beta1.KeyManagementService`.
    V1,
    /// `v2.KeyManagementService`.
    V2,
}

impl Version {
    /// Its name in configurations and in the prefix of values.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A KMS plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its interface.
    pub version: Version,
    /// Its name; of v1 it may hold colons.
    pub name: String,
    /// Its endpoint, as the configuration has it.
    pub endpoint: String,
    /// Where it is reached from here, if not there.
    pub elsewhere: Option<String>,
    /// How long a call may take, retries included.
    pub timeout: Duration,
    /// The timeout as the configuration has it.
    pub(in crate::kube) timeout_text: Option<String>,
    /// The size of kube-apiserver's cache.
    pub(in crate::kube) cache_size: Option<i32>,
}

impl Plugin {
    /// A plugin with what configurations need not say left out.
    #[must_use]
    pub fn new(version: Version, name: &str, endpoint: &str) -> Self {
        Self {
            version,
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            elsewhere: None,
            timeout: TIMEOUT,
            timeout_text: None,
            cache_size: None,
        }
    }

    /// The endpoint it is reached at from here.
    #[must_use]
    pub fn reached_at(&self) -> &str {
        self.elsewhere.as_deref().unwrap_or(&self.endpoint)
    }
}

/// The socket behind an endpoint, in the form the system takes: an abstract
/// one (`unix:///@name`) begins with a zero byte. `None` where it is no
/// endpoint of a unix socket.
#[must_use]
pub fn socket(endpoint: &str) -> Option<PathBuf> {
    let (scheme, rest) = endpoint.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("unix") || !parses_as_url(endpoint) {
        return None;
    }
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    let path = match rest.strip_prefix("//") {
        Some(behind) => &behind[behind.find('/')?..],
        None => rest,
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let [first, behind @ ..] = left {
        left = behind;
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                left = behind;
            }
            _ => bytes.push(*first),
        }
    }
    if bytes.first() != Some(&b'/') || bytes.contains(&0) {
        return None;
    }
    if bytes.starts_with(b"/@") {
        bytes.drain(..1);
        bytes[0] = 0;
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// Validates a plugin; `names` are those met so far.
pub(in crate::kube) fn plugin(
    at: &str,
    kms: &schema::Kms,
    names: &mut HashSet<String>,
    broken: &mut Vec<String>,
) -> Option<Plugin> {
    let before = broken.len();
    let mut note = |field: &str, problem: &str| broken.push(format!("{at}.{field}: {problem}"));
    let api_version = kms.api_version.clone().filter(|v| !v.is_empty()).unwrap_or_else(|| "v1".to_owned());
    let name = kms.name.clone().unwrap_or_default();
    let v2 = api_version == "v2";
    if name.is_empty() {
        note("name", "Required value: name is a mandatory field for a provider");
    } else if v2 && name.contains(':') {
        note(
            "name",
            &format!("Invalid value: invalid KMS provider name {}, must not contain ':'", quoted(&name)),
        );
    } else if !names.insert(name.clone()) && v2 {
        note(
            "name",
            &format!("Invalid value: duplicate KMS provider name {}, names must be unique", quoted(&name)),
        );
    }
    let timeout = kms.timeout.as_deref().map_or(Some(TIMEOUT), duration);
    if timeout.is_none() {
        note("timeout", "Invalid value: timeout should be a positive value");
    }
    let endpoint = kms.endpoint.as_deref().unwrap_or_default();
    if endpoint.is_empty() {
        note("endpoint", "Invalid value: endpoint is a mandatory field for a kms");
    } else if !parses_as_url(endpoint) {
        note("endpoint", "Invalid value: invalid endpoint for kms provider, error: it is no URL");
    } else if !endpoint.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("unix")) {
        let scheme = endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
        let scheme = quoted(scheme);
        note(
            "endpoint",
            &format!("Invalid value: unsupported scheme {scheme} for KMS provider, only unix is supported"),
        );
    }
    match (v2, kms.cachesize.map(|size| size.0)) {
        (false, Some(0)) => {
            note("cachesize", "Invalid value: cachesize should be a positive value, or negative to disable");
        }
        (true, Some(_)) => note("cachesize", "Invalid value: cachesize is not supported in v2"),
        _ => {}
    }
    if api_version != "v1" && !v2 {
        let problem = format!(
            "Invalid value: unsupported apiVersion {} for KMS provider, only v1 and v2 are supported",
            quoted(&api_version)
        );
        note("apiVersion", &problem);
    }
    let version = if v2 { Version::V2 } else { Version::V1 };
    (broken.len() == before).then(|| Plugin {
        timeout: timeout.unwrap_or(TIMEOUT),
        timeout_text: kms.timeout.clone(),
        cache_size: kms.cachesize.map(|size| size.0),
        ..Plugin::new(version, &name, endpoint)
    })
}

/// What Go's URL parser refuses: control characters, and a percent sign
/// without two hexadecimal digits behind it, but in a query, and where no
/// slash follows the scheme.
fn parses_as_url(text: &str) -> bool {
    let (url, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (url, _) = url.split_once('?').unwrap_or((url, ""));
    let opaque = url.split_once(':').is_some_and(|(_, rest)| !rest.starts_with('/'));
    let escaped = |text: &str| {
        let bytes = text.as_bytes();
        (0..bytes.len())
            .filter(|i| bytes[*i] == b'%')
            .all(|i| bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
    };
    !text.bytes().any(|byte| byte.is_ascii_control()) && (opaque || escaped(url)) && escaped(fragment)
}

/// A duration above zero as Go parses it (`3s`, `1m30s`, `250ms`).
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 8] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("\u{b5}s", 1e-6),
        ("\u{3bc}s", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let fitting = UNITS.iter().filter(|(unit, _)| rest.starts_with(unit));
        let (unit, worth) = fitting.max_by_key(|(unit, _)| unit.len())?;
        rest = &rest[unit.len()..];
        seconds += amount * worth;
    }
    (seconds > 0.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (good, millis) in
            [("3s", 3000), ("1m30s", 90_000), ("250ms", 250), ("0.5h", 1_800_000), ("1h0m0s", 3_600_000)]
        {
            assert_eq!(duration(good), Some(Duration::from_millis(millis)), "{good}");
        }
        for bad in ["", "0s", "-3s", "3", "s", "3x", "1.2.3s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn sockets_are_those_upstream_dials() {
        for (endpoint, path) in [
            ("unix:///run/kms.sock", Some("/run/kms.sock")),
            ("unix:/run/kms.sock", Some("/run/kms.sock")),
            ("UNIX://host/run/k%6ds.sock?x#y", Some("/run/kms.sock")),
            ("unix:///@lab", Some("\0lab")),
            ("unix:kms.sock", None),
            ("unix://", None),
            ("unix:///a%00b", None),
            ("tcp:///run/kms.sock", None),
        ] {
            assert_eq!(socket(endpoint), path.map(PathBuf::from), "{endpoint}");
        }
    }
}
