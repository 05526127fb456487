//! Servers of a managed backend that are no slots: never changed, always shown.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
};

use lb_core::{Condition, ConditionKind, Name};

use super::{
    backend::{Backend, Role},
    slot::Slot,
};
use crate::{
    growth::SlotTemplate,
    observed::is_parked,
    plan::Planner,
    policy::{Policy, numbered},
    proto::AdminState,
};

/// The most fixed servers of one backend that get a condition each.
const MOST_SHOWN: usize = 16;

/// The most servers of a backend of which it is asked whether slots are backups.
const MOST_ASKED: usize = 1_000;

/// The addresses that fixed servers take new traffic for.
pub(super) type Fixed<'a> = HashMap<SocketAddr, &'a Slot>;

impl Backend {
    /// The fixed servers that take new traffic as far as their administrator says, by address.
    pub(super) fn fixed<'a>(&'a self, roles: &'a [Role]) -> Fixed<'a> {
        self.fixed_servers(roles)
            .filter(|slot| slot.serves_as_fixed())
            .filter_map(|slot| Some((slot.server.address?, slot)))
            .collect()
    }

    fn fixed_servers<'a>(&'a self, roles: &'a [Role]) -> impl Iterator<Item = &'a Slot> + use<'a> {
        let fixed = |(_, role): &(&Slot, &Role)| **role == Role::Foreign;
        let all = self.slots.iter().zip(roles);
        all.filter(fixed).map(|(slot, _)| slot)
    }

    /// The number of fixed servers a managed backend has.
    pub(super) fn fixed_count(&self, roles: &[Role]) -> u32 {
        match self.service {
            Some(_) => u32::try_from(self.fixed_servers(roles).count()).unwrap_or(u32::MAX),
            None => 0,
        }
    }

    /// Returns `true` if it is not known of a fixed server whether it is a backup.
    pub(super) fn backups_are_unknown(&self, roles: &[Role]) -> bool {
        self.service.is_some() && self.fixed_servers(roles).any(|slot| slot.backup.is_none())
    }

    /// The conditions of the fixed servers of a managed backend that an operator should know.
    pub(super) fn fixed_conditions(&self, roles: &[Role], policy: &Policy) -> Vec<Condition> {
        let Some(service) = &self.service else {
            return Vec::new();
        };
        let unknown = self.unknown_slots(roles, policy);
        let about = |condition: Condition| condition.of_service(service.clone());
        let mut conditions: Vec<Condition> = unknown
            .iter()
            .map(|(prefix, servers)| about(self.unknown_condition(roles, policy, prefix, servers)))
            .collect();
        let taken: BTreeSet<&Name> = unknown
            .values()
            .flatten()
            .map(|slot| &slot.server.name)
            .collect();
        let others: Vec<&Slot> = self
            .fixed_servers(roles)
            .filter(|slot| !taken.contains(&slot.server.name))
            .collect();
        conditions.extend(others.iter().take(MOST_SHOWN).map(|slot| {
            let detail = self.fixed_detail(roles, slot);
            let help = match self.lacks_disabled(slot) {
                Some(prefix) => format!(
                    "leave the server, or add `disabled` to its line `server-template {prefix}` in haproxy.cfg, which makes \
                     its servers slots"
                ),
                None => "leave the server, or replace it in haproxy.cfg by slots (`server-template` with `disabled`)".to_owned(),
            };
            let mut condition = about(Condition::new(ConditionKind::FixedServer, detail))
                .of_object(format!("{}/{}", self.name, slot.server.name))
                .with_help(help);
            let at = slot.server.address;
            condition.endpoint = at.and_then(|at| self.wants.decides(&at)).cloned();
            condition
        }));
        if let Some(more) = others
            .len()
            .checked_sub(MOST_SHOWN)
            .filter(|more| *more > 0)
        {
            let detail = format!("backend {} has {more} more fixed servers", self.name);
            let condition = Condition::new(ConditionKind::FixedServer, detail);
            conditions.push(about(condition).of_object(self.name.to_string()));
        }
        conditions
    }

    /// The prefix of the template that makes a server and would make it a slot, were it declared `disabled`.
    pub(super) fn lacks_disabled(&self, slot: &Slot) -> Option<&str> {
        let server = &slot.server;
        let mut templates = self.templates.iter();
        let template = templates.find(|template| template.makes(&server.name))?;
        (!server.declared_disabled).then_some(template.prefix.as_str())
    }

    fn fixed_detail(&self, roles: &[Role], slot: &Slot) -> String {
        let server = &slot.server;
        let at = server
            .address
            .map_or_else(|| "no fixed address".to_owned(), |at| at.to_string());
        let mut detail = format!(
            "server {}/{} is no slot and never changed by lb: ",
            self.name, server.name
        );
        let weight = server.weight;
        let wanted = server.address.and_then(|at| self.wants.get(&at));
        let twice = roles.iter().any(
            |role| matches!((role, server.address), (Role::Tenant(held, _), Some(at)) if *held == at),
        );
        detail.push_str(&match (server.admin, slot.backup) {
            (_, Some(true)) => format!("it is a backup at {at}, for when no other server serves"),
            (AdminState::Maint, _) => format!("it is in maint at {at}"),
            (AdminState::Drain, _) => format!("it drains at {at}"),
            (AdminState::Ready, _) if weight == 0 => format!("it has weight 0 at {at}"),
            (AdminState::Ready, _) if !server.running => format!("it is down at {at}"),
            (AdminState::Ready, _) => {
                format!("it serves {at} with weight {weight} beside the slots")
            }
        });
        if slot.serves_as_fixed() {
            detail.push_str(&match wanted {
                Some(_) if twice => ", which a slot serves too".to_owned(),
                Some(want) if !want.state.is_ready() => ", which its source wants out".to_owned(),
                Some(want) if want.weight != weight => {
                    format!(
                        "; the weight of its endpoint, {}, has no effect",
                        want.weight
                    )
                }
                Some(_) => "; its endpoint needs no slot".to_owned(),
                None => "; no source reports this address for its service".to_owned(),
            });
        }
        detail
    }

    /// Servers that look like the slots of a template and are no known slots, by prefix.
    ///
    /// One server that is written by hand and happens to end in a number is none of them: they are several, and the
    /// backend has no other slots, or one is parked or has the address of an endpoint.
    fn unknown_slots<'a>(
        &'a self,
        roles: &'a [Role],
        policy: &Policy,
    ) -> BTreeMap<&'a str, Vec<&'a Slot>> {
        let mut groups: BTreeMap<&str, Vec<&Slot>> = BTreeMap::new();
        for slot in self.fixed_servers(roles) {
            if slot.server.declared_disabled
                && let Some((prefix, _)) = numbered(&slot.server.name)
            {
                groups.entry(prefix).or_default().push(slot);
            }
        }
        let no_slots = self.declared_slots(policy) == 0;
        let as_slot = |slot: &&Slot| {
            let at = slot.server.address;
            let made_ready = slot.server.admin == AdminState::Ready;
            at.is_some_and(|at| is_parked(at) || (made_ready && self.wants.get(&at).is_some()))
        };
        groups.retain(|_, servers| servers.iter().any(as_slot) || (no_slots && servers.len() > 1));
        groups
    }

    fn unknown_condition(
        &self,
        roles: &[Role],
        policy: &Policy,
        prefix: &str,
        servers: &[&Slot],
    ) -> Condition {
        let serving = servers.iter().filter(|slot| slot.serves_as_fixed()).count();
        let (first, last) = (servers.first(), servers.last());
        let name = |slot: Option<&&Slot>| {
            slot.map(|slot| slot.server.name.to_string())
                .unwrap_or_default()
        };
        let detail = format!(
            "servers {} to {} of backend {} look like slots and are not configured as such: lb leaves all {} as they \
             are, {serving} of them serving",
            name(first),
            name(last),
            self.name,
            servers.len(),
        );
        let line = match roles.iter().all(|role| *role == Role::Foreign) {
            true if policy.slot_prefixes.is_empty() => format!("slot_prefix = \"{prefix}\""),
            _ => {
                let prefixes = policy.slot_prefixes.iter().map(String::as_str);
                let all: Vec<String> = prefixes
                    .chain([prefix])
                    .map(|prefix| format!("\"{prefix}\""))
                    .collect();
                format!("slot_prefixes = [{}]", all.join(", "))
            }
        };
        Condition::new(ConditionKind::UnknownSlots, detail)
            .of_object(format!("{}/{prefix}", self.name))
            .with_help(format!("add `{line}` to the policy of the target"))
    }
}

impl Slot {
    /// Returns `true` if it takes new traffic, as far as its administrator says, though it is no slot.
    pub(super) fn serves_as_fixed(&self) -> bool {
        self.may_serve_as_fixed() && self.backup != Some(true)
    }

    /// Returns `true` if it takes new traffic, though it is no slot: as a backup only while no other server does.
    pub(super) fn may_serve_as_fixed(&self) -> bool {
        let server = &self.server;
        server.admin == AdminState::Ready
            && server.weight > 0
            && server.address.is_some_and(|at| !is_parked(at))
    }
}

impl Planner {
    /// Takes in which `server-template` lines the configuration file has: the servers that they make are slots, where
    /// they are declared `disabled`.
    pub fn learn_templates(&mut self, templates: BTreeMap<Name, Vec<SlotTemplate>>) {
        self.templates = templates;
        for (name, backend) in &mut self.backends {
            backend.templates = self.templates.get(name).cloned().unwrap_or_default();
            self.dirty.insert(name.clone());
        }
    }

    /// The backends of services in which it is not known of a slot whether it is a backup. A server made at run time is
    /// none, and the statistics of a large backend are too long for that.
    pub fn unknown_backups(&self) -> impl Iterator<Item = &Name> {
        let unknown =
            |slot: &Slot| slot.backup.is_none() && !self.policy.is_dynamic_name(&slot.server.name);
        self.backends.iter().filter_map(move |(name, backend)| {
            let asked = backend.service.is_some()
                && backend.slots.len() <= MOST_ASKED
                && backend.slots.iter().any(unknown);
            asked.then_some(name)
        })
    }

    /// Takes in which servers of a backend are backups.
    pub fn observe_backups(&mut self, backend: &Name, backups: &BTreeSet<Name>) {
        if let Some(known) = self.backends.get_mut(backend) {
            for slot in &mut known.slots {
                slot.backup = Some(backups.contains(&slot.server.name));
            }
            self.dirty.insert(backend.clone());
        }
    }

    /// A backend, made known if it was not.
    pub(super) fn backend_mut(&mut self, name: &Name) -> &mut Backend {
        let templates = &self.templates;
        self.backends.entry(name.clone()).or_insert_with(|| {
            let mut backend = Backend::new(name.clone());
            backend.templates = templates.get(name).cloned().unwrap_or_default();
            backend
        })
    }
}
