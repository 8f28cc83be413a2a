//! EncryptionConfiguration: whatever the text, it is refused without a word of
//! it, or taken; and what is written of it is taken again, as the same keys.
#![no_main]

use etcd_rekey::kube::config::Element;
use etcd_rekey::kube::{EncryptionConfiguration, Precedence};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(config) = EncryptionConfiguration::parse(text) else { return };
    let _ = Precedence::of(&config);
    // Configurations with plugins are never written.
    let mut elements = config.blocks().iter().flat_map(|block| &block.providers);
    if elements.any(|element| matches!(element, Element::Kms(_))) {
        return;
    }
    for written in [config.to_yaml(), config.to_json()] {
        let again = EncryptionConfiguration::parse(&written).expect("what is written is taken");
        assert!(config.keys().zip(again.keys()).all(|(a, b)| a.same(b)));
        assert_eq!(config.keys().count(), again.keys().count());
    }
});
