//! What a data key opens and seals.
//!
//! ```text
//! key    nonce 12 │ ciphertext │ tag 16                under the data key
//! seed   info 32 │ nonce 12 │ ciphertext │ tag 16      under HKDF-Expand(seed, info), SHA-256, 32 bytes
//! ```
//!
//! The etcd key is the associated data of both. Values that kube-apiserver
//! before 1.25 wrote through a plugin of v1 are AES-CBC, as `aescbc` has it.
//!
//! Source: kubernetes `pkg/storage/value/encrypt/aes/aes_extended_nonce.go`.

use super::super::aescbc::AesCbc;
use super::super::aesgcm::{self, AesGcm};
use super::super::cipher::NotOpened;
use super::envelope::Kind;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of the random input a value's key is derived by; of a seed, and of a
/// derived key.
pub const INFO: usize = 32;

/// A data key, opened by its plugin, or made for it to seal.
pub struct DataKey {
    kind: Kind,
    bytes: Zeroizing<Vec<u8>>,
}

impl DataKey {
    /// A data key of these bytes; `None` when it cannot be one by its length.
    #[must_use]
    pub fn new(kind: Kind, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let fits = match kind {
            Kind::V1 | Kind::Key => matches!(bytes.len(), 16 | 24 | 32),
            Kind::Seed => bytes.len() >= INFO,
        };
        fits.then_some(Self { kind, bytes })
    }

    /// Whether these are its bytes.
    #[must_use]
    pub fn is(&self, bytes: &[u8]) -> bool {
        bool::from(subtle::ConstantTimeEq::ct_eq(self.bytes.as_slice(), bytes))
    }

    /// Whether another one has the same bytes.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        self.is(&other.bytes)
    }

    /// How long the plaintext of a body is; `None` where only opening it can
    /// tell, or where it does not open.
    #[must_use]
    pub fn opened_len(kind: Kind, body: &[u8]) -> Option<usize> {
        let over = AesGcm::sealed_len(0);
        match kind {
            // Whole blocks may be CBC, whose padding is inside.
            Kind::V1 if body.len().is_multiple_of(super::super::aescbc::BLOCK) => None,
            Kind::V1 | Kind::Key => body.len().checked_sub(over),
            Kind::Seed => body.len().checked_sub(over + INFO),
        }
    }

    /// The cipher of a value: of a seed that of the info in front of it.
    fn cipher(&self, info: &[u8]) -> Option<AesGcm> {
        if self.kind != Kind::Seed {
            return AesGcm::new(&self.bytes);
        }
        let mut derived = Zeroizing::new([0; INFO]);
        Hkdf::<Sha256>::from_prk(&self.bytes).ok()?.expand(info, derived.as_mut_slice()).ok()?;
        AesGcm::new(derived.as_slice())
    }

    /// Bytes of info in front of nonce and ciphertext.
    fn info(&self) -> usize {
        if self.kind == Kind::Seed { INFO } else { 0 }
    }

    /// Opens a body into `out`, and tells whether the cipher vouches for it:
    /// CBC does not.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, body: &[u8], etcd_key: &[u8], out: &mut Vec<u8>) -> Result<bool, NotOpened> {
        let (info, rest) = body.split_at_checked(self.info()).ok_or(NotOpened::TooShort)?;
        let opened = self.cipher(info).ok_or(NotOpened::Authentication)?.open(rest, etcd_key, out);
        match (opened, self.kind) {
            (Ok(()), _) => Ok(true),
            (Err(_), Kind::V1) if AesCbc::new(&self.bytes).is_some_and(|cbc| cbc.open(rest, out).is_ok()) => {
                Ok(false)
            }
            (Err(why), _) => Err(why),
        }
    }

    /// Bytes of a body for a plaintext of `plain` bytes.
    #[must_use]
    pub fn sealed_len(&self, plain: usize) -> usize {
        self.info() + AesGcm::sealed_len(plain)
    }

    /// Random bytes [`DataKey::place`] takes.
    #[must_use]
    pub fn nonce_len(&self) -> usize {
        self.info() + aesgcm::NONCE
    }

    /// Appends what [`DataKey::seal`] encrypts in place.
    pub fn place(&self, out: &mut Vec<u8>, nonce: &[u8], plain: &[u8]) -> Option<()> {
        let (info, nonce) = nonce.split_at_checked(self.info())?;
        let nonce = nonce.try_into().ok()?;
        out.extend_from_slice(info);
        AesGcm::place(out, nonce, plain);
        Some(())
    }

    /// Encrypts a placed body in place.
    ///
    /// # Errors
    /// As [`AesGcm::seal`].
    pub fn seal(&self, body: &mut [u8], etcd_key: &[u8]) -> Result<(), NotOpened> {
        let (info, rest) = body.split_at_mut_checked(self.info()).ok_or(NotOpened::TooShort)?;
        self.cipher(info).ok_or(NotOpened::Authentication)?.seal(rest, etcd_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: Kind, length: usize) -> Option<DataKey> {
        DataKey::new(kind, Zeroizing::new(vec![3; length]))
    }

    #[test]
    fn what_is_sealed_opens_under_its_etcd_key_only() {
        for kind in [Kind::V1, Kind::Key, Kind::Seed] {
            let key = key(kind, 32).unwrap();
            for plain in [&b""[..], b"x", &[9; 5000]] {
                let nonce: Vec<u8> = (0..key.nonce_len()).map(|i| u8::try_from(i).unwrap()).collect();
                let mut sealed = Vec::new();
                key.place(&mut sealed, &nonce, plain).unwrap();
                key.seal(&mut sealed, b"/registry/a").unwrap();
                assert_eq!(sealed.len(), key.sealed_len(plain.len()));
                let foreseen = DataKey::opened_len(kind, &sealed);
                assert!(foreseen == Some(plain.len()) || (kind == Kind::V1 && sealed.len().is_multiple_of(16)));
                let mut out = Vec::new();
                assert_eq!(key.open(&sealed, b"/registry/a", &mut out), Ok(true));
                assert_eq!(out, plain);
                for at in [0, sealed.len() - 1] {
                    let mut bad = sealed.clone();
                    bad[at] ^= 1;
                    assert_ne!(key.open(&bad, b"/registry/a", &mut out), Ok(true));
                }
                assert_ne!(key.open(&sealed, b"/registry/b", &mut out), Ok(true));
            }
        }
    }

    #[test]
    fn lengths_that_upstream_takes_are_taken() {
        let taken = |kind| (0..70).filter(|n| key(kind, *n).is_some()).collect::<Vec<_>>();
        assert_eq!(taken(Kind::V1), [16, 24, 32]);
        assert_eq!(taken(Kind::Key), [16, 24, 32]);
        assert_eq!(taken(Kind::Seed), (32..70).collect::<Vec<_>>());
    }

    #[test]
    fn short_bodies_are_refused() {
        for (kind, least) in [(Kind::Key, 28), (Kind::Seed, 60)] {
            let key = key(kind, 32).unwrap();
            for length in 0..least {
                assert_eq!(key.open(&vec![0; length], b"", &mut Vec::new()), Err(NotOpened::TooShort));
                assert_eq!(DataKey::opened_len(kind, &vec![0; length]), None);
            }
        }
    }
}
