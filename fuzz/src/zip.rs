//! Archives: whatever the bytes, they are refused or unpacked, to no more than
//! they say.

use etcd_rekey::etcd::zipped::{is_zip, unpack};
use std::io::{Cursor, Read, Seek, SeekFrom, Write};

/// Holds the promise to the bytes of an archive.
pub fn check(bytes: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("it is written");
    file.seek(SeekFrom::Start(0)).expect("it is rewound");
    assert_eq!(is_zip(&mut file).expect("it is read"), bytes.starts_with(b"PK\x03\x04"));
    if let Ok(mut out) = unpack(&file, &std::env::temp_dir(), &|| true) {
        let mut content = Vec::new();
        out.seek(SeekFrom::Start(0)).expect("it is rewound");
        out.read_to_end(&mut content).expect("it is read");
        let mut archive = ::zip::ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        assert_eq!(archive.len(), 1);
        let entry = archive.by_index(0).expect("one entry");
        assert_eq!(u64::try_from(content.len()).ok(), Some(entry.size()));
        assert_eq!(crc32(&content), entry.crc32(), "what is unpacked is what was packed");
    }
}

/// CRC-32 (IEEE), a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}
