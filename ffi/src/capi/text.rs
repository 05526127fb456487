//! Texts that come out.

use std::ffi::c_char;

/// A borrowed text: UTF-8, not NUL-terminated. `ptr` is never NULL.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Str {
    /// Its first byte.
    pub ptr: *const c_char,
    /// The number of bytes it has.
    pub len: usize,
}

impl Str {
    pub(super) const EMPTY: Self = Self::of("");

    pub(super) const fn of(text: &str) -> Self {
        Self {
            ptr: text.as_ptr().cast(),
            len: text.len(),
        }
    }
}

/// An owned text.
#[derive(Debug)]
pub struct Text {
    pub(super) text: String,
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        Self { text }
    }

    /// As JSON.
    pub(super) fn json(value: &impl serde::Serialize) -> Result<Self, super::status::Failure> {
        serde_json::to_string(value)
            .map(Self::new)
            .map_err(|error| {
                super::status::Failure::caused(super::status::Status::InvalidArgument, &error)
            })
    }
}

/// The text. Lives as long as the object; empty for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_text_view(text: *const Text) -> Str {
    // SAFETY: NULL, or a text handed out by this library and not yet freed.
    unsafe { text.as_ref() }.map_or(Str::EMPTY, |text| Str::of(&text.text))
}

/// Frees a text. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_text_free(text: *mut Text) {
    if !text.is_null() {
        // SAFETY: handed out by this library through `Box::into_raw`, freed once, used by nobody else.
        drop(unsafe { Box::from_raw(text) });
    }
}
