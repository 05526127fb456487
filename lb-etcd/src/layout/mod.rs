//! What keys and values mean: pure functions from changes of keys to changes of records.

mod config;
mod fact;
mod object;
mod pattern;
mod preset;
mod rule;
mod rules;
mod scalar;
mod view;

pub use config::{LayoutConfig, RuleConfig, ValueKind};
pub use object::JsonFields;
pub use pattern::InvalidPattern;
pub use rules::{InvalidLayout, Layout};
pub use view::{Change, Step, View};
