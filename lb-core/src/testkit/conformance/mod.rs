//! The contract of [`Source`](crate::Source) as a suite that runs against real servers.
//!
//! Implement [`Harness`] for your source and the server behind it, and let a test say:
//!
//! ```no_run
//! # async fn example(harness: impl lb_core::testkit::conformance::Harness) {
//! let report = lb_core::testkit::conformance::run(harness, 42).await;
//! println!("{report}");
//! assert!(report.passed(), "{report}");
//! # }
//! ```
//!
//! Every property is checked against what the harness can do; what it cannot do is reported as skipped, never as
//! passed. The seed decides the order of operations and the moments of cuts; the report names it.
//!
//! | property | says |
//! |---|---|
//! | P1 | after any operations, what was followed is what is there, and what a fresh listing says |
//! | P2 | what is written between listing and watching is seen |
//! | P3 | nobody sees half of a transaction |
//! | P4 | revisions never go back within an epoch; an attempt begins with a reset or resumes where asked |
//! | P5 | hearing the end of the story again changes nothing |
//! | P7 | attempts cut at any moment leave nothing wrong behind |
//! | P8 | an interrupted server removes nothing, and changes made meanwhile are seen |
//! | P9 | a cancelled attempt leaves no task and no connection behind |
//! | P10 | a reader that does not read for a while misses nothing in the end |
//! | P11 | a healthy server is never silent for longer than the bound; a silent one is noticed |
//! | P12 | a lost cursor, or a fresh listing, changes no record that did not change |
//! | P15 | an endpoint that was told to drain is seen draining before it is gone |
//! | P16 | an object that cannot be understood is named, and disturbs no other |
//! | P18 | noise changes nothing |

mod follower;
mod harness;
mod properties;
mod report;
mod story;

pub use harness::{Ability, Harness};
pub use properties::run;
pub use report::{ConformanceReport, Property, Verdict};
