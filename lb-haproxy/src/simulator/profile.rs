//! Which HAProxy is simulated.

/// One version of HAProxy, and where it behaves differently from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    version: (u32, u32),
    full: &'static str,
}

impl Profile {
    /// The versions that the real ones are compared with.
    pub const ALL: [(u32, u32); 5] = [(2, 2), (2, 6), (3, 0), (3, 2), (3, 4)];

    /// The patch release of this version that was studied; versions in between behave like the next older one.
    #[must_use]
    pub fn of(major: u32, minor: u32) -> Self {
        let full = [
            ((3, 4), "3.4.7-1"),
            ((3, 2), "3.2.26-1"),
            ((3, 0), "3.0.11-1"),
            ((2, 6), "2.6.12-1"),
        ]
        .into_iter()
        .find(|(first, _)| (major, minor) >= *first);
        let (version, full) = full.unwrap_or(((2, 2), "2.2.9-2"));
        Self { version, full }
    }

    /// Major and minor version.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The version as `show info` tells it.
    #[must_use]
    pub fn full(&self) -> &'static str {
        self.full
    }

    pub(super) fn from(&self, major: u32, minor: u32) -> bool {
        self.version >= (major, minor)
    }

    /// `set server addr` answers before it takes effect.
    pub(super) fn addresses_are_asynchronous(&self) -> bool {
        self.from(2, 9)
    }

    /// A kept connection is found again by its server, whatever address it goes to.
    pub(super) fn reuses_whatever_the_address(&self) -> bool {
        !self.from(3, 0)
    }

    /// A connection that becomes idle while its server is in maintenance is kept all the same.
    pub(super) fn pools_in_maintenance(&self) -> bool {
        !self.from(3, 3)
    }

    /// A drain that begins or ends counts as a change of the server.
    pub(super) fn dates_drains(&self) -> bool {
        !self.from(3, 0)
    }

    pub(super) fn has_map_transactions(&self) -> bool {
        self.from(2, 4)
    }

    pub(super) fn has_dynamic_servers(&self) -> bool {
        self.from(2, 6)
    }

    pub(super) fn has_wait(&self) -> bool {
        self.from(3, 0)
    }

    /// The prompt comes after a whole line, not after each of its commands.
    pub(super) fn prompts_by_line(&self) -> bool {
        self.from(3, 2)
    }

    /// Without `prompt`, what follows the first line is thrown away.
    pub(super) fn one_line_only(&self) -> bool {
        self.from(2, 9)
    }

    /// Some refusals lack their line feed.
    pub(super) fn forgets_line_feeds(&self) -> bool {
        !self.from(2, 9)
    }

    /// An empty command is no command, rather than an unknown one.
    pub(super) fn ignores_empty_commands(&self) -> bool {
        self.from(2, 8)
    }

    /// A payload's end can be given after `<<`.
    pub(super) fn names_payload_ends(&self) -> bool {
        self.from(2, 9)
    }

    pub(super) fn limits_words(&self) -> bool {
        self.from(3, 2)
    }

    /// Maps are for administrators.
    pub(super) fn guards_maps(&self) -> bool {
        self.from(3, 3)
    }

    /// `del map` deletes one of several entries of a key.
    pub(super) fn deletes_one_entry(&self) -> bool {
        self.from(3, 3)
    }

    /// `set map` and `del map` change prepared versions too.
    pub(super) fn reaches_prepared_versions(&self) -> bool {
        !self.from(3, 1)
    }

    /// `clear map` clears a version only where no lower one has entries.
    pub(super) fn clears_the_lowest_version_only(&self) -> bool {
        self.from(3, 3)
    }
}
