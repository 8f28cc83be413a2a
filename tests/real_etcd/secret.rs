//! A Kubernetes Secret as the API server stores it: `k8s\0` and a protobuf
//! `runtime.Unknown` around it.

/// The plaintext of a Secret with one entry in its data.
pub fn secret(namespace: &str, name: &str, entry: &str, value: &[u8]) -> Vec<u8> {
    let metadata = [field(1, name.as_bytes()), field(3, namespace.as_bytes())].concat();
    let entry = [field(1, entry.as_bytes()), field(2, value)].concat();
    let object = [field(1, &metadata), field(2, &entry), field(3, b"Opaque")].concat();
    let kind = [field(1, b"v1"), field(2, b"Secret")].concat();
    let unknown = [field(1, &kind), field(2, &object), field(3, b""), field(4, b"")].concat();
    [b"k8s\0".as_slice(), &unknown].concat()
}

/// A field that holds bytes: its tag, their number, and they.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    const BYTES: u8 = 2;
    let mut encoded = vec![(number << 3) | BYTES];
    let mut length = content.len();
    while length >= 0x80 {
        encoded.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    encoded.push(u8::try_from(length).expect("seven bits"));
    encoded.extend(content);
    encoded
}
