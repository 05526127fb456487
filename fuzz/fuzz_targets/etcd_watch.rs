#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lb_fuzz::etcd_watch::watch(data));
