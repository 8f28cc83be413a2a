//! Runs as the library takes them.

use super::config;
use etcd_rekey::k3s::Verb;
use etcd_rekey::k3s::change::Request;
use etcd_rekey::kube::EncryptionConfiguration;
use etcd_rekey::rekey::Task;

/// A configuration with one aescbc key, made of `byte`, for secrets.
pub fn parsed(name: &str, byte: u8) -> EncryptionConfiguration {
    EncryptionConfiguration::parse(&config(&[&["secrets"]], "aescbc", name, byte)).unwrap()
}

/// A run of a cluster without a record, which has the key `old`.
pub fn of(verb: Verb) -> Task {
    Task {
        request: Request { verb, force: false, provider: None, now: jiff::Timestamp::now() },
        config: Some(("old.yaml".into(), parsed("old", 1))),
        read: Vec::new(),
        tokens: Ok(Vec::new()),
        record_expected: false,
        etcd_prefix: "/registry".to_owned(),
    }
}

/// From the key `old` to the key `new`.
pub fn reencrypt() -> Task {
    Task {
        config: Some(("new.yaml".into(), parsed("new", 2))),
        read: vec![parsed("old", 1)],
        ..of(Verb::Reencrypt { skip: false })
    }
}
