//! What the linter is told beside the files.

use std::collections::BTreeSet;

use crate::{policy::Policy, proto::Version};

/// The facts for the linter beside the files. What it is not told, it takes for possible.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LintOptions {
    /// The version of HAProxy that reads the files.
    pub version: Option<Version>,
    /// The policy by which it is driven.
    pub policy: Policy,
    /// The most files HAProxy may open (`ulimit -n`).
    pub open_files: Option<u64>,
    /// The most memory it may take, in bytes.
    pub memory: Option<u64>,
    /// Those of [`map_files`](super::map_files) that are not there.
    pub missing: BTreeSet<String>,
}

impl LintOptions {
    /// Returns `true` if HAProxy may be older than this.
    pub(super) fn may_be_before(&self, major: u16, minor: u16) -> bool {
        self.version
            .as_ref()
            .is_none_or(|version| !version.at_least(major, minor))
    }

    /// Returns `true` if HAProxy is known to be this or newer.
    pub(super) fn is_at_least(&self, major: u16, minor: u16) -> bool {
        self.version
            .as_ref()
            .is_some_and(|version| version.at_least(major, minor))
    }
}
