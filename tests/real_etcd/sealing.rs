//! aescbc as kube-apiserver does it, once more and as short as can be, so that no
//! value is judged by the code that wrote it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use sha2::{Digest, Sha256};
use std::path::Path;

const BLOCK: usize = 16;

/// A key of the aescbc provider.
pub struct Key {
    name: String,
    secret: [u8; 32],
}

impl Key {
    /// A key that every run makes anew from its name, and only tests may use.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), secret: Sha256::digest(name).into() }
    }

    /// The first key of a configuration as the fixtures have them: one field a line.
    pub fn first_of(configuration: &Path) -> Self {
        let text = std::fs::read_to_string(configuration).expect("a configuration");
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name} in {}", configuration.display())).trim()
        };
        let secret = BASE64.decode(field("secret:")).expect("a secret is base64");
        let secret = secret.try_into().expect("a key of 32 bytes");
        Self { name: field("- name:").to_owned(), secret }
    }

    /// The configuration of an API server that has this key alone, for secrets.
    pub fn configuration(&self) -> String {
        let Self { name, secret } = self;
        let secret = BASE64.encode(secret);
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\n\
             kind: EncryptionConfiguration\n\
             resources:\n\
             - resources:\n  - secrets\n  providers:\n\
             \x20 - aescbc:\n      keys:\n      - name: {name}\n        secret: {secret}\n\
             \x20 - identity: {{}}\n"
        )
    }

    /// What stands before every value under this key.
    pub fn prefix(&self) -> String {
        format!("k8s:enc:aescbc:v1:{}:", self.name)
    }

    /// Seals a plaintext, under an initialisation vector nobody has used.
    pub fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut iv = [0; BLOCK];
        getrandom::fill(&mut iv).expect("the system has random bytes");
        let mut padded = plain.to_vec();
        padded.resize(plain.len() + BLOCK, 0);
        let sealed = cbc::Encryptor::<aes::Aes256>::new(&self.secret.into(), &iv.into())
            .encrypt_padded::<Pkcs7>(&mut padded, plain.len())
            .expect("there is room for the padding");
        [self.prefix().as_bytes(), &iv, sealed].concat()
    }

    /// Opens a value; an error says what is wrong with it.
    pub fn open(&self, value: &[u8]) -> Result<Vec<u8>, String> {
        let prefix = self.prefix();
        let sealed = value.strip_prefix(prefix.as_bytes()).ok_or_else(|| {
            let begin = value.get(..prefix.len()).unwrap_or(value);
            format!("begins with {:?} and not with {prefix:?}", String::from_utf8_lossy(begin))
        })?;
        let (iv, sealed) = sealed.split_first_chunk::<BLOCK>().ok_or("has no room for an IV")?;
        let mut buffer = sealed.to_vec();
        let plain = cbc::Decryptor::<aes::Aes256>::new(&self.secret.into(), &(*iv).into())
            .decrypt_padded::<Pkcs7>(&mut buffer)
            .map_err(|_| "has no padding where it ends")?;
        Ok(plain.to_vec())
    }
}

/// The configuration of an API server that has one key of a provider, for secrets.
pub fn configuration(provider: &str) -> String {
    let writer = match provider {
        "identity" => String::new(),
        _ => {
            let secret = BASE64.encode(Sha256::digest(provider));
            format!("  - {provider}:\n      keys:\n      - name: next\n        secret: {secret}\n")
        }
    };
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\n\
         kind: EncryptionConfiguration\n\
         resources:\n\
         - resources:\n  - secrets\n  providers:\n{writer}  - identity: {{}}\n"
    )
}

/// SHA-256 in hexadecimal, as the oracles have it.
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
