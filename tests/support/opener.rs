//! Opens sealed values with other implementations than the program's own.

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::{Aead, KeyInit, Payload, consts::U12};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};

/// Opens a value sealed under a key of `provider` named `name`.
pub fn open(provider: &str, name: &str, key: &[u8], etcd_key: &[u8], value: &[u8]) -> Option<Vec<u8>> {
    let payload = value.strip_prefix(format!("k8s:enc:{provider}:v1:{name}:").as_bytes())?;
    match provider {
        "aescbc" => match key.len() {
            16 => cbc::<cbc::Decryptor<Aes128>>(key, payload),
            24 => cbc::<cbc::Decryptor<Aes192>>(key, payload),
            _ => cbc::<cbc::Decryptor<Aes256>>(key, payload),
        },
        "aesgcm" => match key.len() {
            16 => gcm::<aes_gcm::Aes128Gcm>(key, payload, etcd_key),
            24 => gcm::<aes_gcm::AesGcm<Aes192, U12>>(key, payload, etcd_key),
            _ => gcm::<aes_gcm::Aes256Gcm>(key, payload, etcd_key),
        },
        "secretbox" => {
            use crypto_secretbox::aead::{Aead, KeyInit};
            let (nonce, body) = payload.split_first_chunk::<24>()?;
            let cipher = crypto_secretbox::XSalsa20Poly1305::new_from_slice(key).ok()?;
            cipher.decrypt(nonce.into(), body).ok()
        }
        _ => None,
    }
}

fn cbc<C: BlockModeDecrypt + KeyIvInit>(key: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let (iv, body) = payload.split_at_checked(16)?;
    let mut body = body.to_vec();
    let plain = C::new_from_slices(key, iv).ok()?.decrypt_padded::<Pkcs7>(&mut body).ok()?;
    Some(plain.to_vec())
}

fn gcm<C: Aead<NonceSize = U12> + KeyInit>(key: &[u8], payload: &[u8], etcd_key: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = payload.split_first_chunk::<12>()?;
    C::new_from_slice(key).ok()?.decrypt(nonce.into(), Payload { msg: body, aad: etcd_key }).ok()
}
