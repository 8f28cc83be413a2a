//! What the ciphers share: why a value does not open, and where its plaintext
//! goes.

use std::sync::Arc;
use thiserror::Error;
use zeroize::Zeroize;

/// Why a key does not open a value. The words are upstream's where upstream
/// has them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotOpened {
    /// Shorter than IV or nonce and tag.
    #[error("the stored data was shorter than the required size")]
    TooShort,
    /// CBC: not whole blocks.
    #[error("the stored data is not a multiple of the block size")]
    NotMultiple,
    /// CBC: an IV and nothing behind it.
    #[error("the stored data is an IV without ciphertext")]
    NoBlock,
    /// CBC: the padding is none.
    #[error("invalid padding on input")]
    Padding,
    /// GCM, secretbox: not sealed with this key, or changed.
    #[error("message authentication failed")]
    Authentication,
    /// Longer than the cipher takes.
    #[error("the value is too long for the cipher")]
    TooLong,
    /// CBC: opened, but to something else.
    #[error("what comes out is not the object that its etcd key names")]
    OtherObject,
    /// Sealed by something else.
    #[error("it does not begin as what this key seals")]
    OtherPrefix,
    /// KMS: what stands behind the prefix is none.
    #[error("{0}")]
    Envelope(&'static str),
    /// KMS: the plugin does not open the data key; what it says.
    #[error("{0}")]
    NoDataKey(Arc<str>),
}

/// Gives `out` a length; what it holds then is to be written over. Where it
/// has to grow, what it held is wiped first, for that may be an older
/// plaintext.
pub(super) fn sized(out: &mut Vec<u8>, length: usize) {
    if out.capacity() < length {
        out.zeroize();
        out.reserve_exact(length.next_power_of_two());
    }
    out.resize(length, 0);
}

/// Makes `out` hold a copy of `bytes`, wiped as [`sized`] does.
pub(super) fn replace(out: &mut Vec<u8>, bytes: &[u8]) {
    sized(out, bytes.len());
    out.copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_at_once_and_by_doubling() {
        let mut out = vec![7; 10];
        sized(&mut out, 100);
        assert_eq!((out.len(), out.capacity()), (100, 128));
        assert!(out.iter().all(|byte| *byte == 0), "what it held is wiped");
        sized(&mut out, 128);
        assert_eq!((out.len(), out.capacity()), (128, 128));
        replace(&mut out, b"text");
        assert_eq!((out.as_slice(), out.capacity()), (&b"text"[..], 128));
    }
}
