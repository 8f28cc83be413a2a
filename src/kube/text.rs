//! A configuration as the text kube-apiserver reads.

use super::config::{Block, Element, EncryptionConfiguration};
use super::key::SealingKey;
use super::kms::Plugin;
use std::sync::Arc;
use zeroize::Zeroizing;

const KIND: &str = "EncryptionConfiguration";
const VERSION: &str = "apiserver.config.k8s.io/v1";

/// A string as Go's `encoding/json` writes it.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::String(text.to_owned()).to_string();
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

impl EncryptionConfiguration {
    /// Room enough that a text does not grow while keys are put into it: what
    /// it grew out of would be left behind unwiped. A character is escaped
    /// with six at most.
    fn room(&self) -> usize {
        let of_block = |block: &Block| {
            let names: usize = block.resources.iter().map(|name| 64 + 6 * name.name().len()).sum();
            let keys = block.providers.iter().flat_map(|element| match element {
                Element::Keys(keys) => keys.as_slice(),
                _ => &[],
            });
            let keys: usize = keys.map(|key| 256 + 6 * key.name().len()).sum();
            256 + names + 256 * block.providers.len() + keys
        };
        1024 + self.blocks().iter().map(of_block).sum::<usize>()
    }

    /// One line of JSON, byte for byte what Go's `json.Marshal` makes of it,
    /// and so what K3s writes.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(self.room()));
        *out += &format!("{{\"kind\":\"{KIND}\",\"apiVersion\":\"{VERSION}\",\"resources\":[");
        for (i, block) in self.blocks().iter().enumerate() {
            let names: Vec<_> = block.resources.iter().map(|name| quoted(&name.name())).collect();
            let comma = if i == 0 { "" } else { "," };
            *out += &format!("{comma}{{\"resources\":[{}],\"providers\":[", names.join(","));
            for (j, element) in block.providers.iter().enumerate() {
                out.push_str(if j == 0 { "" } else { "," });
                match element {
                    Element::Identity => out.push_str("{\"identity\":{}}"),
                    Element::Keys(keys) => json_keys(keys, &mut out),
                    Element::Kms(plugin) => {
                        let fields = fields(plugin).map(|(name, value)| format!("\"{name}\":{value}"));
                        *out += &format!("{{\"kms\":{{{}}}}}", fields.collect::<Vec<_>>().join(","));
                    }
                }
            }
            out.push_str("]}");
        }
        out.push_str("]}");
        out
    }

    /// YAML, for people.
    #[must_use]
    pub fn to_yaml(&self) -> Zeroizing<String> {
        let mut out = Zeroizing::new(String::with_capacity(self.room()));
        *out += &format!("apiVersion: {VERSION}\nkind: {KIND}\nresources:\n");
        for block in self.blocks() {
            out.push_str("  - resources:\n");
            for name in &block.resources {
                *out += &format!("      - {}\n", quoted(&name.name()));
            }
            out.push_str("    providers:\n");
            for element in &block.providers {
                match element {
                    Element::Identity => out.push_str("      - identity: {}\n"),
                    Element::Keys(keys) => yaml_keys(keys, &mut out),
                    Element::Kms(plugin) => {
                        out.push_str("      - kms:\n");
                        for (name, value) in fields(plugin) {
                            *out += &format!("          {name}: {value}\n");
                        }
                    }
                }
            }
        }
        out
    }
}

/// The fields of a plugin, as the configuration that named it has them.
fn fields(plugin: &Plugin) -> impl Iterator<Item = (&'static str, String)> {
    let fields = [
        ("apiVersion", Some(quoted(plugin.version.name()))),
        ("name", Some(quoted(&plugin.name))),
        ("cachesize", plugin.cache_size.map(|size| size.to_string())),
        ("endpoint", Some(quoted(&plugin.endpoint))),
        ("timeout", plugin.timeout_text.as_deref().map(quoted)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

fn json_keys(keys: &[Arc<SealingKey>], out: &mut Zeroizing<String>) {
    let Some(first) = keys.first() else { return };
    **out += &format!("{{\"{}\":{{\"keys\":[", first.provider());
    for (i, key) in keys.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        **out += &format!("{comma}{{\"name\":{},\"secret\":\"", quoted(key.name()));
        key.put_base64(out);
        out.push_str("\"}");
    }
    out.push_str("]}}");
}

fn yaml_keys(keys: &[Arc<SealingKey>], out: &mut Zeroizing<String>) {
    let Some(first) = keys.first() else { return };
    **out += &format!("      - {}:\n          keys:\n", first.provider());
    for key in keys {
        **out += &format!("            - name: {}\n              secret: ", quoted(key.name()));
        key.put_base64(out);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K3S: &str = "{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"resources\":[{\"resources\":[\"secrets\"],\"providers\":[{\"aescbc\":{\"keys\":[{\"name\":\"aescbckey\",\"secret\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}]}},{\"identity\":{}}]}]}";

    #[test]
    fn a_text_of_many_keys_never_grows() {
        let name = "\u{1}".repeat(500);
        let keys: Vec<_> = (0..200)
            .map(|i| {
                format!(
                    "{{name: \"{}{i}\", secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}}",
                    name.escape_default()
                )
            })
            .collect();
        let keys = keys.join(", ").replace("\\u{1}", "\\x01");
        let text = format!(
            "apiVersion: v1\nkind: EncryptionConfig\nresources:\n- resources: [secrets]\n  providers: [aescbc: {{keys: [{keys}]}}, identity: {{}}]\n"
        );
        let config = EncryptionConfiguration::parse(&text).unwrap();
        let names: usize = config.keys().map(|key| 6 * key.name().len()).sum();
        let room = 1024 + (256 + (64 + 6 * "secrets".len()) + 2 * 256) + 200 * 256 + names;
        for text in [config.to_json(), config.to_yaml()] {
            assert!(text.len() > 1 << 16);
            assert_eq!(text.capacity(), room);
        }
    }

    #[test]
    fn json_is_k3s_own_byte_for_byte() {
        let config = EncryptionConfiguration::parse(K3S).unwrap();
        assert_eq!(config.to_json().as_str(), K3S);
    }

    #[test]
    fn both_forms_are_read_back_the_same() {
        let text = "apiVersion: v1\nkind: EncryptionConfig\nresources:\n- resources: [secrets, '*.apps']\n  providers:\n  - secretbox: {keys: [{name: 'a:\"<b', secret: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}\n  - identity: {}\n- resources: [configmaps]\n  providers: [identity: {}, aesgcm: {keys: [{name: k, secret: AAECAwQFBgcICQoLDA0ODw==}]}]\n- resources: [events]\n  providers: [kms: {name: 'a:b', endpoint: 'unix:///@x', cachesize: -1}, kms: {apiVersion: v2, name: c, endpoint: 'unix:/c?\"', timeout: 1m}]\n";
        let config = EncryptionConfiguration::parse(text).unwrap();
        let json = config.to_json();
        assert!(json.contains("\"cachesize\":-1") && json.contains("\"timeout\":\"1m\""));
        let timeouts: Vec<u64> =
            config
                .elements()
                .filter_map(|element| {
                    if let Element::Kms(plugin) = element { Some(plugin.timeout.as_secs()) } else { None }
                })
                .collect();
        assert_eq!(timeouts, [3, 60]);
        for again in [config.to_yaml(), json.clone()] {
            let again = EncryptionConfiguration::parse(&again).unwrap();
            assert_eq!(again.to_json(), json);
            assert!(again.elements().zip(config.elements()).all(|(a, b)| match (a, b) {
                (Element::Kms(a), Element::Kms(b)) => a == b,
                _ => true,
            }));
        }
    }
}
