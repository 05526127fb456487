//! Servers made at run time, carried over a reload.

use std::collections::BTreeMap;

use lb_core::Name;

use super::NewSlots;
use crate::policy::Policy;

/// The text of a server-state file in which servers made at run time are new slots.
///
/// A reload forgets such servers: the new worker has only what the configuration declares. Written as slots that the
/// new configuration has, they are there from its first request. What has no new slot stays as it is and is
/// forgotten; HAProxy passes over lines of servers it does not have.
#[must_use]
pub fn carry(state: &str, slots: &BTreeMap<Name, NewSlots>, policy: &Policy) -> String {
    let mut lines = state.lines();
    let Some(columns) = Columns::of(state) else {
        return state.to_owned();
    };
    let mut next: BTreeMap<&Name, u32> = slots
        .iter()
        .map(|(backend, new)| (backend, new.first))
        .collect();
    let mut text = String::new();
    for line in lines.by_ref() {
        let row = (!line.starts_with('#')).then(|| {
            let mut fields: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let backend: Name = fields.get(columns.backend)?.parse().ok()?;
            let server: Name = fields.get(columns.server)?.parse().ok()?;
            if !policy.is_dynamic_name(&server) {
                return None;
            }
            let new = slots.get(&backend)?;
            let number = next
                .get_mut(&backend)
                .filter(|number| **number <= new.last)?;
            *fields.get_mut(columns.server)? = format!("{}{number}", new.prefix);
            *fields.get_mut(columns.id)? = number.to_string();
            // Its state is believed only if it is declared `disabled`, as the slot is.
            let admin = fields.get_mut(columns.admin)?;
            *admin = (admin.parse::<u32>().ok()? | DECLARED_DISABLED).to_string();
            if let Some(name) = fields.get_mut(columns.fqdn) {
                // A slot is restored when the name it is configured with is told back.
                *name = columns.slot_fqdn.clone().unwrap_or_else(|| "-".to_owned());
            }
            *number += 1;
            Some(fields.join(" "))
        });
        match row.flatten() {
            Some(row) => text.push_str(&row),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// The bit of a server's administrative state that says what its configuration does.
const DECLARED_DISABLED: u32 = 4;

struct Columns {
    admin: usize,
    backend: usize,
    server: usize,
    id: usize,
    fqdn: usize,
    /// The name that slots have.
    slot_fqdn: Option<String>,
}

impl Columns {
    fn of(state: &str) -> Option<Self> {
        let header: Vec<&str> = state
            .lines()
            .find_map(|line| line.strip_prefix("# "))?
            .split(' ')
            .collect();
        let column = |name| header.iter().position(|column| *column == name);
        let fqdn = column("srv_fqdn")?;
        let slot_fqdn = state
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split(' ').nth(fqdn))
            .find(|name| !matches!(*name, "-" | ""))
            .map(str::to_owned);
        Some(Self {
            admin: column("srv_admin_state")?,
            backend: column("be_name")?,
            server: column("srv_name")?,
            id: column("srv_id")?,
            fqdn,
            slot_fqdn,
        })
    }
}
