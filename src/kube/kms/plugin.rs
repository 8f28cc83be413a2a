//! The KMS plugins a configuration names, validated as upstream does. Asking
//! one is not implemented.

use super::error::quoted;
use super::schema;
use std::collections::HashSet;

/// A KMS plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// `v1` or `v2`.
    pub api_version: String,
    /// Its name.
    pub name: String,
}

/// Validates a plugin; `names` are those met so far.
pub(super) fn plugin(
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
    if kms.timeout.as_deref().is_some_and(|text| !positive_duration(text)) {
        note("timeout", "Invalid value: timeout should be a positive value");
    }
    let endpoint = kms.endpoint.as_deref().unwrap_or_default();
    if endpoint.is_empty() {
        note("endpoint", "Invalid value: endpoint is a mandatory field for a kms");
    } else if !parses_as_url(endpoint) {
        note("endpoint", "Invalid value: invalid endpoint for kms provider, error: it is no URL");
    } else if !endpoint.starts_with("unix:") {
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
    (broken.len() == before).then_some(Plugin { api_version, name })
}

/// What Go's URL parser refuses: control characters, and a percent sign
/// without two hexadecimal digits behind it.
fn parses_as_url(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.iter().any(u8::is_ascii_control)
        && (0..bytes.len())
            .filter(|i| bytes[*i] == b'%')
            .all(|i| bytes.get(i + 1..i + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)))
}

/// Whether a text is a duration as Go parses it (`3s`, `1m30s`, `250ms`) and
/// above zero.
fn positive_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut above_zero = false;
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let Ok(amount) = rest[..digits].parse::<f64>() else { return false };
        rest = &rest[digits..];
        let unit = ["ns", "us", "\u{b5}s", "\u{3bc}s", "ms", "s", "m", "h"]
            .iter()
            .filter(|unit| rest.starts_with(**unit))
            .max_by_key(|unit| unit.len());
        let Some(unit) = unit else { return false };
        rest = &rest[unit.len()..];
        above_zero |= amount > 0.0;
    }
    above_zero
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for good in ["3s", "1m30s", "250ms", "0.5h", "1h0m0s"] {
            assert!(positive_duration(good), "{good}");
        }
        for bad in ["", "0s", "-3s", "3", "s", "3x", "1.2.3s"] {
            assert!(!positive_duration(bad), "{bad}");
        }
    }
}
