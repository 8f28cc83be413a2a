//! Opens sealed values with other implementations than the program's own.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};

/// Opens a value sealed under a 32-byte key of `provider` named `name`.
pub fn open(provider: &str, name: &str, key: &[u8; 32], etcd_key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let payload = value.strip_prefix(format!("k8s:enc:{provider}:v1:{name}:").as_bytes())?;
    match provider {
        "aescbc" => {
            let (iv, body) = payload.split_first_chunk::<16>()?;
            let mut body = body.to_vec();
            let cipher = cbc::Decryptor::<aes::Aes256>::new(key.into(), iv.into());
            cipher.decrypt_padded::<Pkcs7>(&mut body).ok().map(<[u8]>::to_vec)
        }
        "aesgcm" => {
            let (nonce, body) = payload.split_first_chunk::<12>()?;
            let cipher = aes_gcm::Aes256Gcm::new(key.into());
            cipher.decrypt(nonce.into(), Payload { msg: body, aad: etcd_key }).ok()
        }
        "secretbox" => {
            use crypto_secretbox::aead::{Aead, KeyInit};
            let (nonce, body) = payload.split_first_chunk::<24>()?;
            let cipher = crypto_secretbox::XSalsa20Poly1305::new(key.into());
            cipher.decrypt(nonce.into(), body).ok()
        }
        _ => None,
    }
}
