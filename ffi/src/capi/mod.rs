//! What `lb.h` declares, a file for each kind of object. Functions check their arguments, make one call and hand
//! out the result; the header's first comment has the rules that hold for all of them.
//!
//! # Layout
//! - `boundary`: panics, poisoned and forked objects, pointers in and out
//! - `status`, `text`: what comes out
//! - `thread`: threads of the library
//! - `library`, `log`: version and log
//! - `batch`, `publisher`, `callback`: endpoints from the program
//! - `lifecycle`, `plane`, `ask`: the control plane
//! - `queue`, `events`: events
//! - `slots`: the driver alone
//! - `generate`: `haproxy.cfg`

#![expect(
    clippy::missing_safety_doc,
    reason = "the doc comments are the header's text; its first comment states the rules of pointers once"
)]

mod ask;
mod batch;
mod boundary;
mod callback;
mod events;
mod generate;
mod library;
mod lifecycle;
mod lint;
mod log;
mod plane;
mod publisher;
mod queue;
mod slots;
mod status;
mod text;
mod thread;

pub use ask::*;
pub use batch::*;
pub use callback::{DiscoverFn, ReleaseFn};
pub use events::*;
pub use generate::*;
pub use library::*;
pub use lint::*;
pub use log::*;
pub use plane::*;
pub use publisher::*;
pub use slots::*;
pub use status::{Error, Status, lb_error_free, lb_error_message, lb_error_status};
pub use text::{Str, Text, lb_text_free, lb_text_view};
