//! EncryptionConfiguration: whatever the text, it is refused without a word of
//! it, or taken; and what is written of it is taken again, as the same keys.

use etcd_rekey::kube::config::Element;
use etcd_rekey::kube::{EncryptionConfiguration, GroupResource, Precedence};

/// Holds the promise to a text.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = EncryptionConfiguration::parse(text) else { return };
    let writers = |config: &EncryptionConfiguration| {
        let precedence = Precedence::of(config).ok();
        ["secrets", "deployments.apps", "widgets.example.com"].map(|resource| {
            let writer =
                precedence.as_ref().map(|precedence| precedence.writer(&GroupResource::parse(resource)));
            writer.and_then(|writer| writer.key().map(|key| key.prefix().to_vec()))
        })
    };
    let plugins = |config: &EncryptionConfiguration| -> Vec<_> {
        let plugins = config.elements().map(|element| match element {
            Element::Kms(plugin) => Some(plugin.clone()),
            _ => None,
        });
        plugins.collect()
    };
    for written in [config.to_yaml(), config.to_json()] {
        let again = EncryptionConfiguration::parse(&written).expect("what is written is taken");
        assert_eq!(plugins(&config), plugins(&again));
        assert!(config.keys().zip(again.keys()).all(|(a, b)| a.same(b)));
        assert_eq!(config.keys().count(), again.keys().count());
        assert_eq!(writers(&config), writers(&again), "the same keys write");
    }
}
