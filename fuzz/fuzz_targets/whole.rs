//! A whole file, from the check to the proof: whatever the bytes, an error of
//! its kind and nothing left, or an output that is proven.
#![no_main]

use etcd_rekey::k3s::Verb;
use etcd_rekey::k3s::change::Request;
use etcd_rekey::kube::EncryptionConfiguration;
use etcd_rekey::output::SystemDisk;
use etcd_rekey::rekey::{Error, Options, Silent, Task, reencrypt};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;
use tempfile::TempDir;

static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

fn config(name: &str, secret: &str) -> EncryptionConfiguration {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: ['*.*']\n  providers:\n  - aescbc: {{keys: [{{name: {name}, secret: '{secret}'}}]}}\n  - identity: {{}}\n"
    );
    EncryptionConfiguration::parse(&text).expect("a configuration")
}

fuzz_target!(|bytes: &[u8]| {
    let (input, output) = (DIR.path().join("in.db"), DIR.path().join("out.db"));
    // The trailer is made anew: only what lies below it is of interest here.
    let pages = &bytes[..bytes.len() / 512 * 512];
    std::fs::write(&input, [pages, &Sha256::digest(pages)].concat()).expect("it is written");
    let verb = Verb::Reencrypt { skip: false };
    let task = Task {
        request: Request { verb, force: false, provider: None, now: jiff::Timestamp::UNIX_EPOCH },
        config: Some(("new.yaml".into(), config("new", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="))),
        read: vec![config("old", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")],
        tokens: Ok(Vec::new()),
        record_expected: false,
        etcd_prefix: "/registry".to_owned(),
    };
    let options = Options { output: output.clone(), threads: 1, ..Options::default() };
    match reencrypt(&input, &task, &options, &SystemDisk, &Silent) {
        Ok(report) => {
            assert!(report.verified);
            std::fs::remove_file(&output).expect("it is there");
        }
        Err(
            Error::Snapshot { .. }
            | Error::Unreadable { .. }
            | Error::NothingUnderPrefix { .. }
            | Error::K3s(_)
            | Error::ConfigBesideRecord,
        ) => {}
        Err(error) => panic!("{error:?}"),
    }
    assert_eq!(std::fs::read_dir(DIR.path()).expect("the directory").count(), 1);
});
