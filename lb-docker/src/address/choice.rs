//! What was chosen, and why: for people and programs that ask.

use std::{fmt, net::SocketAddr};

use serde::Serialize;

/// The choice of an address: every candidate, and why it was taken or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AddressChoice {
    /// The chosen address; `None` when no candidate will do.
    pub address: Option<SocketAddr>,
    /// Why this one, or why none, as a lower-case fragment.
    pub reason: String,
    /// Everything that was looked at, in the order of preference.
    pub candidates: Vec<Candidate>,
}

/// One address that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// The way there: a network or a published port.
    pub via: String,
    /// The address it leads to; `None` when the network gives no address.
    pub address: Option<SocketAddr>,
    /// Why it cannot be used; `None` when it could be.
    pub refused: Option<String>,
}

impl fmt::Display for AddressChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{address}: {}", self.reason)?,
            None => write!(f, "no address: {}", self.reason)?,
        }
        for candidate in &self.candidates {
            write!(f, "\n  {}", candidate.via)?;
            if let Some(address) = candidate.address {
                write!(f, " {address}")?;
            }
            match &candidate.refused {
                Some(refused) => write!(f, ": refused, {refused}")?,
                None if candidate.address == self.address => f.write_str(": chosen")?,
                None => f.write_str(": usable")?,
            }
        }
        Ok(())
    }
}
