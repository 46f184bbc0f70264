#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zest_fuzz_bodies::catalog(data));
