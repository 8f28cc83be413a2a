//! Promise: nothing that is not a value of the output survives in it: old
//! plaintexts and ciphertexts in free pages, behind the last element of a
//! page, beyond the high-water mark, in old revisions; for every provider.

mod support;

use etcd_rekey::kube::Provider;
use support::builder::{Builder, object, seal, with_trailer};
use support::clusters::holds;
use support::config;
use support::program::Bench;

const PAGE: usize = 4096;

/// How often some bytes are in others.
fn count(bytes: &[u8], what: &[u8]) -> usize {
    let mut found = 0;
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == what[0]) {
        rest = &rest[at..];
        found += usize::from(rest.starts_with(what));
        rest = &rest[1..];
    }
    found
}

#[test]
fn of_every_provider_as_source_and_target() {
    let sources = ["identity", "aescbc", "aesgcm", "secretbox"];
    for source in sources {
        for target in sources {
            let mut builder = Builder { freelist: true, ..Builder::default() };
            let provider = match source {
                "aesgcm" => Provider::Aesgcm,
                "secretbox" => Provider::Secretbox,
                _ => Provider::Aescbc,
            };
            let old = support::builder::key(provider, "old", 1);
            let sealed = |etcd_key: &str, plain: &[u8]| {
                if source == "identity" { plain.to_vec() } else { seal(&old, etcd_key, plain) }
            };
            // Two revisions of each: the older one is history, and stays, sealed anew.
            let mut ciphertexts = Vec::new();
            for age in ["in an old revision", "in a current one"] {
                for i in 0..60 {
                    let (name, etcd_key) = (format!("s{i}"), format!("/registry/secrets/default/s{i}"));
                    let plain = object("Secret", "default", &name, format!("canary {i} {age};").as_bytes());
                    let value = sealed(&etcd_key, &plain);
                    builder.record(&etcd_key, &value);
                    ciphertexts.push(value[value.len() - 32..].to_vec());
                }
            }
            // What lay in pages that are free now: a plaintext and a sealed value.
            let free_plain = object("Secret", "default", "gone", b"canary in a free page");
            let free_sealed = sealed("/registry/secrets/default/gone", &[&free_plain[..], b" sealed"].concat());
            builder.free = vec![[&b"\0".repeat(100)[..], &free_plain].concat(), free_sealed.clone()];
            let mut file = builder.file();
            let mut tails = 0;
            for page in file.chunks_exact_mut(PAGE).skip(2) {
                let tail = &mut page[PAGE - 64..];
                if tail.iter().all(|byte| *byte == 0) {
                    tail[..21].copy_from_slice(b"canary in a page tail");
                    tails += 1;
                }
            }
            assert!(tails > 2);
            // Beyond the high-water mark, as in a copy of a live database.
            file.extend(b"canary beyond the high-water mark".repeat(3));
            file.resize(file.len().next_multiple_of(PAGE), 0);
            let input = with_trailer(&file);
            let residues: [&[u8]; 4] = [
                b"canary in a free page",
                &free_sealed[free_sealed.len() - 32..],
                b"canary in a page tail",
                b"canary beyond the high-water mark",
            ];
            for residue in residues {
                assert!(holds(&input, residue), "{source}");
            }

            let bench = Bench::new();
            let path = bench.file("in.db", &input);
            let reads = bench.file("old.yaml", config(&[&["secrets"]], source, "old", 1));
            let writes = bench.file("new.yaml", config(&[&["secrets"]], target, "new", 2));
            let ran =
                bench.reencrypt(&path, &writes, Some(&reads), &["--allow-plaintext", "-w", "json"]).expect(0);
            assert_eq!(ran.json()["verified"], true);
            let output = std::fs::read(bench.path("out.db")).unwrap();
            let what = format!("{source} to {target}");
            for residue in residues {
                assert_eq!(count(&output, residue), 0, "{what}: {:?}", String::from_utf8_lossy(residue));
            }
            for age in ["in an old revision", "in a current one"] {
                for i in 0..60 {
                    let plain = format!("canary {i} {age};");
                    let times = usize::from(target == "identity");
                    assert_eq!(count(&output, plain.as_bytes()), times, "{what}: {plain}");
                    assert_eq!(count(&input, plain.as_bytes()), usize::from(source == "identity"), "{what}");
                }
            }
            for ciphertext in ciphertexts {
                // From plaintext to plaintext nothing was to change.
                let times = usize::from(source == "identity" && target == "identity");
                assert_eq!(count(&output, &ciphertext), times, "{what}");
            }
        }
    }
}
