//! C ABI of lb: `lb.h`, `liblb.so` and `liblb.a`.

pub mod spec;
