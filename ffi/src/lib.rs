//! C ABI of lb: `lb.h`, `liblb.so` and `liblb.a`.
//!
//! [`capi`] is what C sees. A Rust program uses `lb-core` and `lb-haproxy` instead; [`spec`] is for both, and [`memory`] for
//! programs that are mostly lb.

#[cfg(panic = "abort")]
compile_error!("lb-ffi contains panics at its boundary, which needs panic=unwind");

pub mod capi;
pub mod memory;
pub mod spec;
