//! What is known of one container or Swarm service, and why it is reached as it is.

use std::fmt;

use lb_core::{Diagnostic, Name};
use serde::Serialize;

use crate::address::AddressChoice;

/// Why a container or task is reached as it is, or is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The container or task.
    pub object: String,
    /// From where it is to be reached, as a lower-case fragment.
    pub reach: String,
    /// For each service that it serves, how its address was chosen.
    pub services: Vec<(Name, AddressChoice)>,
    /// The problem of the answer.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, reached {}", self.object, self.reach)?;
        if self.services.is_empty() {
            writeln!(
                f,
                "serves no service: no label or configured service claims it"
            )?;
        }
        for (service, choice) in &self.services {
            writeln!(f, "service {service}: {choice}")?;
        }
        for diagnostic in &self.diagnostics {
            writeln!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}
