#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::docker_engine::engine(data));
