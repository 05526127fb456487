//! Gives the shared library the name that programs find it by at run time.

fn main() {
    // The number is `LB_ABI_VERSION`; a test compares them.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,liblb.so.1");
    println!("cargo::rerun-if-changed=build.rs");
}
