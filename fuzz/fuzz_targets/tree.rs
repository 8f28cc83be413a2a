#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| etcd_rekey_fuzz::tree::check(bytes));
