//! The messages of both interfaces. Those that hold data keys are wiped when they go.
//!
//! Source: `k8s.io/kms/apis/v1beta1/api.proto`, `k8s.io/kms/apis/v2/api.proto`.

use prost::Message;
use std::collections::HashMap;
use zeroize::ZeroizeOnDrop;

/// `v1beta1.VersionRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VersionRequest {
    #[prost(string, tag = "1")]
    pub version: String,
}

/// `v1beta1.VersionResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct VersionResponse {
    #[prost(string, tag = "1")]
    pub version: String,
}

/// `v1beta1.DecryptRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DecryptRequestV1 {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(bytes = "vec", tag = "2")]
    pub cipher: Vec<u8>,
}

/// `v1beta1.EncryptRequest`.
#[derive(Clone, PartialEq, Eq, Message, ZeroizeOnDrop)]
pub struct EncryptRequestV1 {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(bytes = "vec", tag = "2")]
    pub plain: Vec<u8>,
}

/// `v2.StatusRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusRequest {}

/// `v2.StatusResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StatusResponse {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(string, tag = "2")]
    pub healthz: String,
    #[prost(string, tag = "3")]
    pub key_id: String,
}

/// `v2.DecryptRequest`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct DecryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub key_id: String,
    #[prost(map = "string, bytes", tag = "4")]
    pub annotations: HashMap<String, Vec<u8>>,
}

/// `v2.DecryptResponse`, and `v1beta1.DecryptResponse`, which has the same
/// field by another name.
#[derive(Clone, PartialEq, Eq, Message, ZeroizeOnDrop)]
pub struct DecryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub plaintext: Vec<u8>,
}

/// `v2.EncryptRequest`.
#[derive(Clone, PartialEq, Eq, Message, ZeroizeOnDrop)]
pub struct EncryptRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub plaintext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub uid: String,
}

/// `v2.EncryptResponse`; that of `v1beta1` has the first field alone.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct EncryptResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    pub key_id: String,
    #[prost(map = "string, bytes", tag = "3")]
    pub annotations: HashMap<String, Vec<u8>>,
}
