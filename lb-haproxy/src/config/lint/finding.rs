//! What the linter says.

use std::fmt;

use serde::Serialize;

/// Something in a configuration that a guarantee of `lb` does not survive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of thing it is: stable, for programs.
    pub code: Code,
    /// The severity.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The section, such as `backend web`.
    pub section: String,
    /// The guarantee that does not hold.
    pub guarantee: Guarantee,
    /// The thing that was found, and what comes of it.
    pub message: String,
    /// The text to write instead.
    pub instead: String,
}

/// The severity of a [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works as it is written. It is named because it may not be what was meant.
    Note,
    /// It works as long as all goes well.
    Warning,
    /// It does not work.
    Error,
}

/// A guarantee of `lb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Guarantee {
    /// Nobody but `lb` and who may administrate HAProxy changes it.
    Access,
    /// Endpoints change without a reload.
    Changes,
    /// Requests go only to endpoints that work.
    Health,
    /// No request is lost while endpoints change.
    NoLoss,
    /// No request reaches an address that is not its service's.
    NoMisroute,
    /// Files, memory and processes stay within their limits.
    Resources,
    /// A reload or restart goes on with the last known endpoints.
    Restart,
    /// A user stays with the endpoint that has their session.
    Stickiness,
}

/// The kind of a [`Finding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Code {
    /// The state file cannot give slots their addresses back.
    AddressNotRestored,
    /// All slots are checked at one fixed address.
    CheckAddressFixed,
    /// Users of a cookie do not stay with an endpoint: slots have no value for it.
    CookieLost,
    /// Cookies name slots, not endpoints.
    CookieOfSlot,
    /// Users who stay with a server come back to it while it is drained.
    DrainedAreVisited,
    /// Servers made at run time would not speak TLS where the slots do.
    DynamicWithoutTls,
    /// Too few connections to the admin socket.
    FewAdminConnections,
    /// A server beside the slots that lb never changes.
    FixedServer,
    /// A consistent hash tells slots apart, not endpoints.
    HashBySlot,
    /// `http-reuse never` before HAProxy 3.0.
    HttpReuseNever,
    /// A map file that is not there.
    MapMissing,
    /// More memory is needed for the slots than there is.
    Memory,
    /// A frontend and a backend of one name.
    NameTwice,
    /// Several processes.
    Nbproc,
    /// Endpoints are not checked.
    NoCheck,
    /// Listeners are not handed over.
    NoExposeFd,
    /// Replaced workers may live for ever.
    NoHardStop,
    /// A failed connection is not tried elsewhere.
    NoRedispatch,
    /// No backend has slots.
    NoSlots,
    /// No admin socket.
    NoSocket,
    /// More open files are needed than there may be.
    OpenFiles,
    /// Lines of a frontend that look routes up by paths as they were sent only.
    PathReadings,
    /// Lines of a frontend that look routes up, and know nothing of their options.
    RouteLines,
    /// Spare backends without the map that remembers which service each of them serves.
    ServicesNotKept,
    /// Slots that get no traffic while other servers serve.
    SlotBackup,
    /// Slots, or servers named like them, that serve before lb fills them.
    SlotEnabled,
    /// Servers that would be slots if they were named like them.
    SlotPrefix,
    /// Slots that follow the health of another server.
    SlotTracks,
    /// Slots whose name cannot be looked up.
    SlotUnresolvable,
    /// Slots that start without an address, so that none can be set.
    SlotWithoutAddress,
    /// An admin socket that other machines may reach.
    SocketAddress,
    /// An admin socket that may change nothing.
    SocketLevel,
    /// An admin socket that every user of the machine may use.
    SocketMode,
    /// Connections to servers that may take long.
    SlowConnect,
    /// A reload forgets all endpoints.
    StateNotKept,
    /// An algorithm that takes no weights at run time.
    StaticBalance,
    /// Stick table entries name slots, not endpoints.
    StickTableOfSlot,
    /// A request that leads to no backend goes to a default one.
    UnavailableMissing,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddressNotRestored => "address-not-restored",
            Self::CheckAddressFixed => "check-address-fixed",
            Self::CookieLost => "cookie-lost",
            Self::CookieOfSlot => "cookie-of-slot",
            Self::DrainedAreVisited => "drained-are-visited",
            Self::DynamicWithoutTls => "dynamic-without-tls",
            Self::FewAdminConnections => "few-admin-connections",
            Self::FixedServer => "fixed-server",
            Self::HashBySlot => "hash-by-slot",
            Self::HttpReuseNever => "http-reuse-never",
            Self::MapMissing => "map-missing",
            Self::Memory => "memory",
            Self::NameTwice => "name-twice",
            Self::Nbproc => "nbproc",
            Self::NoCheck => "no-check",
            Self::NoExposeFd => "no-expose-fd",
            Self::NoHardStop => "no-hard-stop",
            Self::NoRedispatch => "no-redispatch",
            Self::NoSlots => "no-slots",
            Self::NoSocket => "no-socket",
            Self::OpenFiles => "open-files",
            Self::PathReadings => "path-readings",
            Self::RouteLines => "route-lines",
            Self::ServicesNotKept => "services-not-kept",
            Self::SlotBackup => "slot-backup",
            Self::SlotEnabled => "slot-enabled",
            Self::SlotPrefix => "slot-prefix",
            Self::SlotTracks => "slot-tracks",
            Self::SlotUnresolvable => "slot-unresolvable",
            Self::SlotWithoutAddress => "slot-without-address",
            Self::SocketAddress => "socket-address",
            Self::SocketLevel => "socket-level",
            Self::SocketMode => "socket-mode",
            Self::SlowConnect => "slow-connect",
            Self::StateNotKept => "state-not-kept",
            Self::StaticBalance => "static-balance",
            Self::StickTableOfSlot => "stick-table-of-slot",
            Self::UnavailableMissing => "unavailable-missing",
        })
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Note => "note",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "nobody else changes HAProxy",
            Self::Changes => "endpoints change without a reload",
            Self::Health => "requests go only to endpoints that work",
            Self::NoLoss => "no request is lost",
            Self::NoMisroute => "no request reaches an address that is not its service's",
            Self::Resources => "files, memory and processes stay within their limits",
            Self::Restart => "a reload or restart goes on with the last known endpoints",
            Self::Stickiness => "a user stays with the endpoint that has their session",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            severity,
            file,
            line,
            section,
            guarantee,
            message,
            instead,
        } = self;
        write!(f, "{file}:{line}: {severity}[{code}]: ")?;
        if !section.is_empty() {
            write!(f, "{section}: ")?;
        }
        write!(
            f,
            "{message}\n    at risk: {guarantee}\n    instead: {instead}"
        )
    }
}

#[cfg(all(test, feature = "io"))]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_word_for_people_and_for_programs() {
        for code in [Code::NoExposeFd, Code::DynamicWithoutTls, Code::Nbproc] {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
        }
    }
}
