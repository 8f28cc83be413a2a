//! One key of one provider: what it seals and opens.

use super::aescbc::AesCbc;
use super::aesgcm::AesGcm;
use super::cipher::NotOpened;
use super::secretbox::Secretbox;
use std::fmt;
use zeroize::Zeroizing;

/// What every sealed value begins with.
pub const SEALED: &[u8] = b"k8s:enc:";

/// The providers whose keys lie in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// AES-CBC, PKCS#7 padding.
    Aescbc,
    /// AES-GCM, the etcd key as associated data.
    Aesgcm,
    /// XSalsa20 and Poly1305.
    Secretbox,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aescbc, Self::Aesgcm, Self::Secretbox];

    /// Its name in configurations and in the prefix of values.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aescbc => "aescbc",
            Self::Aesgcm => "aesgcm",
            Self::Secretbox => "secretbox",
        }
    }

    /// Key lengths it takes, in bytes.
    #[must_use]
    pub fn key_lengths(self) -> &'static [usize] {
        match self {
            Self::Aescbc | Self::Aesgcm => &[16, 24, 32],
            Self::Secretbox => &[32],
        }
    }

    /// Bytes of the random IV or nonce.
    #[must_use]
    pub fn nonce_len(self) -> usize {
        match self {
            Self::Aescbc => super::aescbc::BLOCK,
            Self::Aesgcm => super::aesgcm::NONCE,
            Self::Secretbox => super::secretbox::NONCE,
        }
    }

    /// Whether a wrong key is always noticed.
    #[must_use]
    pub fn authenticates(self) -> bool {
        self != Self::Aescbc
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Clone)]
enum Cipher {
    Cbc(AesCbc),
    Gcm(AesGcm),
    Secretbox(Secretbox),
}

/// A key: its provider, its name and its bytes, which are wiped when it goes.
pub struct SealingKey {
    provider: Provider,
    name: String,
    prefix: Vec<u8>,
    secret: Zeroizing<Vec<u8>>,
    cipher: Cipher,
}

impl SealingKey {
    /// A key; `None` when its length is none of the provider's.
    #[must_use]
    pub fn new(provider: Provider, name: &str, secret: Zeroizing<Vec<u8>>) -> Option<Self> {
        let cipher = match provider {
            Provider::Aescbc => Cipher::Cbc(AesCbc::new(&secret)?),
            Provider::Aesgcm => Cipher::Gcm(AesGcm::new(&secret)?),
            Provider::Secretbox => Cipher::Secretbox(Secretbox::new(&secret)?),
        };
        let prefix = [SEALED, provider.name().as_bytes(), b":v1:", name.as_bytes(), b":"].concat();
        Some(Self { provider, name: name.to_owned(), prefix, secret, cipher })
    }

    /// A new key of 32 bytes from the operating system's random numbers.
    ///
    /// # Errors
    /// When it gives none.
    pub fn generate(provider: Provider, name: &str) -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut secret)?;
        Self::new(provider, name, secret).ok_or(getrandom::Error::UNEXPECTED)
    }

    /// Appends its bytes as configurations hold them, in base64.
    pub fn put_base64(&self, out: &mut Zeroizing<String>) {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode_string(self.secret.as_slice(), out);
    }

    /// Its provider.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Its name, which may hold colons.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What every value sealed with it begins with.
    #[must_use]
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Whether another key is the same: provider, name and bytes.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.same_secret(other)
    }

    /// Whether another key has the same bytes.
    #[must_use]
    pub fn same_secret(&self, other: &Self) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(self.secret.as_slice(), other.secret.as_slice()))
    }

    /// Length of a whole value, prefix included, for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(&self, plain: usize) -> usize {
        self.prefix.len()
            + match self.provider {
                Provider::Aescbc => AesCbc::sealed_len(plain),
                Provider::Aesgcm => AesGcm::sealed_len(plain),
                Provider::Secretbox => Secretbox::sealed_len(plain),
            }
    }

    /// Opens what stands behind the prefix into `out`, which is cleared first.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, payload: &[u8], etcd_key: &[u8], out: &mut Vec<u8>) -> Result<(), NotOpened> {
        match &self.cipher {
            Cipher::Cbc(cipher) => cipher.open(payload, out),
            Cipher::Gcm(cipher) => cipher.open(payload, etcd_key, out),
            Cipher::Secretbox(cipher) => cipher.open(payload, out),
        }
    }

    /// How long the plaintext of what stands behind the prefix is, without
    /// opening it; `None` where it cannot be opened.
    #[must_use]
    pub fn opened_len(&self, payload: &[u8]) -> Option<usize> {
        match &self.cipher {
            Cipher::Cbc(cipher) => cipher.opened_len(payload).ok(),
            Cipher::Gcm(_) => payload.len().checked_sub(AesGcm::sealed_len(0)),
            Cipher::Secretbox(_) => payload.len().checked_sub(Secretbox::sealed_len(0)),
        }
    }

    /// How long the whole value will be when what this key sealed is sealed
    /// with another one; `None` where it cannot be opened.
    #[must_use]
    pub fn resealed_len(&self, payload: &[u8], to: &Self) -> Option<usize> {
        match (self.provider, to.provider) {
            // Padded alike: the payload need not be looked at.
            (Provider::Aescbc, Provider::Aescbc) => Some(to.prefix.len() + payload.len()),
            _ => self.opened_len(payload).map(|plain| to.sealed_len(plain)),
        }
    }

    /// Appends prefix, nonce and plaintext, laid out as [`SealingKey::seal`]
    /// encrypts them. `nonce` has [`Provider::nonce_len`] bytes; a shorter
    /// one would leave the value unsealed, so nothing is appended then.
    ///
    /// Returns where the part to be sealed begins.
    pub fn place(&self, out: &mut Vec<u8>, nonce: &[u8], plain: &[u8]) -> Option<usize> {
        let start = out.len() + self.prefix.len();
        match self.provider {
            Provider::Aescbc => {
                let nonce = nonce.try_into().ok()?;
                out.extend_from_slice(&self.prefix);
                AesCbc::place(out, nonce, plain);
            }
            Provider::Aesgcm => {
                let nonce = nonce.try_into().ok()?;
                out.extend_from_slice(&self.prefix);
                AesGcm::place(out, nonce, plain);
            }
            Provider::Secretbox => {
                let nonce = nonce.try_into().ok()?;
                out.extend_from_slice(&self.prefix);
                Secretbox::place(out, nonce, plain);
            }
        }
        Some(start)
    }

    /// Encrypts placed values in place: each the part behind the prefix, with
    /// its etcd key.
    ///
    /// # Errors
    /// [`NotOpened::TooLong`], [`NotOpened::TooShort`]; the values are then
    /// not to be used.
    pub fn seal(&self, placed: Vec<(&mut [u8], &[u8])>) -> Result<(), NotOpened> {
        match &self.cipher {
            Cipher::Cbc(cipher) => {
                let mut values: Vec<_> = placed.into_iter().map(|(value, _)| value).collect();
                cipher.seal(&mut values);
                Ok(())
            }
            Cipher::Gcm(cipher) => placed.into_iter().try_for_each(|(value, key)| cipher.seal(value, key)),
            Cipher::Secretbox(cipher) => placed.into_iter().try_for_each(|(value, _)| cipher.seal(value)),
        }
    }
}
