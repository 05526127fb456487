#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::core::source_file(data));
