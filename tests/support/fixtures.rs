//! The fixtures: real snapshots, most of them in archives, which are unpacked
//! once into the folder for the tests' temporary files.

#![allow(dead_code, reason = "each test file uses its own part")]

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A file of a fixture.
pub fn fixture(name: &str, file: &str) -> PathBuf {
    folder(name).join(file)
}

/// The folder of a fixture.
pub fn folder(name: &str) -> PathBuf {
    static KUBE: OnceLock<PathBuf> = OnceLock::new();
    static K3S: OnceLock<PathBuf> = OnceLock::new();
    let plain = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    if plain.join(name).exists() {
        return plain.join(name);
    }
    let (archive, once) = if name.starts_with("k3s-") { ("k3s", &K3S) } else { ("kube", &KUBE) };
    once.get_or_init(|| unpacked(&plain.join(format!("{archive}.tar.xz")))).join(name)
}

/// Where the content of an archive lies, unpacked under a name made of its bytes.
pub fn unpacked(archive: &Path) -> PathBuf {
    let bytes = std::fs::read(archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
    let sum: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = all.join(format!("fixtures-{sum}"));
    if !folder.exists() {
        std::fs::create_dir_all(all).unwrap();
        let work = tempfile::tempdir_in(all).unwrap();
        let tar = lzma_rust2::XzReader::new(bytes.as_slice(), false);
        tar::Archive::new(tar).unpack(work.path()).unwrap();
        // Another test may have been faster; its folder is as good.
        if std::fs::rename(work.path(), &folder).is_err() {
            assert!(folder.exists(), "{} could not be made", folder.display());
        }
    }
    folder
}
