//! The last rung: what only a reload can give, when to reload for it, and the configuration that gives it. Pure.
//!
//! `lb` changes a configuration only where [`TargetConfig`](crate::TargetConfig) hands it over
//! ([`GrowthConfig`]). The change is an edit: the counts of slots become larger, backends are added, and everything
//! else stays as it is written. [`grow`] makes it, [`Schedule`] says when, [`carry`] lets servers that were made at
//! run time outlive the reload in slots of their own.

mod carry;
mod config;
mod edit;
mod need;
mod schedule;
mod section;
mod templates;

pub use carry::carry;
pub use config::GrowthConfig;
pub use edit::{CannotGrow, Grown, NewSlots, grow};
pub use need::{BackendNeed, Need};
pub use schedule::{Decision, Schedule};
pub use templates::{SlotTemplate, slot_templates};
