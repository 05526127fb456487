//! The C ABI as others see it: its header, its symbols, and programs in C, Python and Go that use the installed
//! library on a real HAProxy.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

mod c_programs;
mod header;
mod languages;
mod symbols;
mod world;
