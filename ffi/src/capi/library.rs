//! The library itself.

use super::{status::Status, text::Str};

const ABI_VERSION: u32 = 1;

/// The binary interface of the library that runs. A program compares it with LB_ABI_VERSION when it loads the library
/// itself; the dynamic linker does so by the library's name.
#[unsafe(no_mangle)]
pub extern "C" fn lb_abi_version() -> u32 {
    ABI_VERSION
}

/// The library's version, such as "0.1.0". Lives forever.
#[unsafe(no_mangle)]
pub extern "C" fn lb_version() -> Str {
    Str::of(env!("CARGO_PKG_VERSION"))
}

/// The name of a status, such as "TIMEOUT"; "UNKNOWN" for a number that is none. Lives forever.
#[unsafe(no_mangle)]
pub extern "C" fn lb_status_name(status: u32) -> Str {
    Str::of(Status::of(status).map_or("UNKNOWN", Status::name))
}
