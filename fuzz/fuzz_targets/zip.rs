//! Archives: whatever the bytes, they are refused or unpacked, to no more than
//! they say.
#![no_main]

use etcd_rekey::etcd::zipped::{is_zip, unpack};
use libfuzzer_sys::fuzz_target;
use std::io::{Seek, SeekFrom, Write};

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("it is written");
    file.seek(SeekFrom::Start(0)).expect("it is rewound");
    if is_zip(&mut file).expect("it is read") {
        let _ = unpack(&file, &std::env::temp_dir());
    }
});
