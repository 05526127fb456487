//! Programs built on `lb`.
