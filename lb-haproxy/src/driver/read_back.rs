//! Reads back what a stage of a plan did, as little of it as tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_core::Name;

use super::{error::DriverError, live, shown::Shown};
use crate::{
    client::Client,
    observed::Server,
    plan::{Expect, Planner, Step},
    proto::{AdminState, Command, Refusal, ServerRef, Stat},
};

/// Pauses, in milliseconds, before reading again an address that HAProxy applies in its own time: mostly that is within
/// a round trip or two. Their sum bounds the wait.
const READ_AGAIN: [u64; 13] = [0, 0, 0, 0, 1, 1, 2, 5, 10, 20, 50, 100, 200];

/// Above this many backends, all are read back at once.
const SINGLE_BACKENDS: usize = 32;

/// Up to this many servers of a backend are looked at one by one: the cost of a line of `show stat`, with its long
/// header, against that of a backend's table of many slots.
const SINGLE_SERVERS: usize = 4;

/// A backend of so few servers is read as a whole.
const SMALL_BACKEND: usize = 12;

/// One look at HAProxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// All servers of all backends.
    All,
    /// All servers of one backend.
    Backend(Name),
    /// One server, by its number.
    Server(ServerRef, u32),
}

/// What HAProxy showed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    backends: BTreeMap<Name, Vec<Server>>,
    servers: BTreeMap<ServerRef, Server>,
    /// Backends of which a look at a single server told too little.
    unclear: BTreeSet<Name>,
    /// Servers of whose line something could not be read.
    unreadable: BTreeMap<ServerRef, String>,
}

impl Look {
    /// What to look at after these steps.
    pub(super) fn after(steps: &[&Step], expected: &[&Expect], planner: &Planner) -> Vec<Self> {
        let mut whole = BTreeSet::new();
        let mut servers: BTreeMap<&Name, BTreeSet<&ServerRef>> = BTreeMap::new();
        for step in steps {
            let told = matches!(
                step.command,
                Command::SetAddr(..) | Command::SetState(..) | Command::SetWeight(..)
            );
            if !told {
                whole.insert(&step.server.backend);
            }
            let of_backend = servers.entry(&step.server.backend).or_default();
            of_backend.insert(&step.server);
        }
        for expect in expected {
            let of_backend = servers.entry(&expect.server.backend).or_default();
            of_backend.insert(&expect.server);
        }
        let mut looks = Vec::new();
        let mut backends = BTreeSet::new();
        for (backend, servers) in servers {
            match Self::singly(&servers, planner) {
                Some(single) if !whole.contains(backend) => looks.extend(single),
                _ => {
                    backends.insert(backend.clone());
                }
            }
        }
        looks.extend(Self::wholly(backends));
        looks
    }

    /// A look at each of these servers of one backend, if that is worth it and tells enough.
    fn singly(servers: &BTreeSet<&ServerRef>, planner: &Planner) -> Option<Vec<Self>> {
        let backend = &servers.first()?.backend;
        if servers.len() > SINGLE_SERVERS
            || !planner.capabilities().user_weight_in_stat
            || planner.server_count(backend) <= SMALL_BACKEND
        {
            return None;
        }
        let look = |server: &&ServerRef| {
            let id = planner.server(server)?.id;
            Some(Self::Server((*server).clone(), id))
        };
        servers.iter().map(look).collect()
    }

    fn wholly(backends: BTreeSet<Name>) -> Vec<Self> {
        match backends.len() > SINGLE_BACKENDS {
            true => vec![Self::All],
            false => backends.into_iter().map(Self::Backend).collect(),
        }
    }

    pub(super) fn command(&self) -> Command {
        match self {
            Self::All => Command::ShowServersState(None),
            Self::Backend(backend) => Command::ShowServersState(Some(backend.clone())),
            Self::Server(server, id) => Command::ShowStat(server.backend.clone(), Some(*id)),
        }
    }
}

impl Seen {
    /// Takes in what a look showed.
    pub(super) fn take_in(
        &mut self,
        look: &Look,
        text: Result<&str, DriverError>,
        planner: &Planner,
    ) -> Result<(), DriverError> {
        match look {
            Look::Server(server, id) => {
                let text = match text {
                    // Reading the whole backend tells which is missing.
                    Err(DriverError::Refused {
                        refusal: Refusal::NoSuchBackend | Refusal::NoSuchServer,
                        ..
                    }) => {
                        self.unclear.insert(server.backend.clone());
                        return Ok(());
                    }
                    text => text?,
                };
                let known = planner.server(server);
                // What does not read here may read in the whole backend.
                let rows = Stat::parse(text).map(|stat| stat.rows).unwrap_or_default();
                let row = rows.iter().find(|row| {
                    row.proxy == server.backend && row.name == server.server && row.id == Some(*id)
                });
                match known.zip(row).and_then(|(known, row)| known.updated(row)) {
                    Some(seen) => {
                        self.servers.insert(server.clone(), seen);
                    }
                    None => {
                        self.unclear.insert(server.backend.clone());
                    }
                }
            }
            Look::All | Look::Backend(_) => {
                let Shown {
                    backends: mut fresh,
                    mut unreadable,
                    ..
                } = Shown::of(text?, planner)?;
                self.unreadable.append(&mut unreadable);
                // A backend without servers has no line.
                let asked: Vec<&Name> = match look {
                    Look::Backend(backend) => vec![backend],
                    _ => planner.backends().collect(),
                };
                for backend in asked {
                    fresh.entry(backend.clone()).or_default();
                }
                self.backends.append(&mut fresh);
            }
        }
        Ok(())
    }

    /// Takes in what was seen later.
    pub(super) fn append(&mut self, mut later: Self) {
        for backend in later.backends.keys() {
            self.servers.retain(|server, _| server.backend != *backend);
        }
        self.backends.append(&mut later.backends);
        self.servers.append(&mut later.servers);
        self.unreadable.append(&mut later.unreadable);
    }

    /// The servers of whose line something could not be read, each with the reason.
    pub(super) fn take_unreadable(&mut self) -> Vec<(ServerRef, String)> {
        std::mem::take(&mut self.unreadable).into_iter().collect()
    }

    /// Tells the planner.
    pub(super) fn give_to(self, planner: &mut Planner, now: Duration) {
        for (backend, servers) in self.backends {
            planner.observe(&backend, servers, now);
        }
        for (server, seen) in self.servers {
            planner.observe_server(&server.backend, seen, now);
        }
    }

    fn unfulfilled<'e>(&self, expected: &[&'e Expect]) -> Vec<(&'e Expect, String)> {
        let mut index: BTreeMap<(&Name, &Name), &Server> = BTreeMap::new();
        for (backend, servers) in &self.backends {
            index.extend(
                servers
                    .iter()
                    .map(|server| ((backend, &server.name), server)),
            );
        }
        // Where there are both, the whole backend was read because a look at the server had not told enough.
        let shown = |server: &ServerRef| {
            let whole = index.get(&(&server.backend, &server.server)).copied();
            whole.or_else(|| self.servers.get(server))
        };
        expected
            .iter()
            .filter_map(|expect| {
                let Some(server) = shown(&expect.server) else {
                    if expect.gone {
                        return None;
                    }
                    return Some((
                        *expect,
                        "HAProxy does not show the server any more".to_owned(),
                    ));
                };
                mismatch(expect, server).map(|detail| (*expect, detail))
            })
            .collect()
    }
}

/// Reads back until every expectation holds or the time for it is over; tells those that do not hold.
pub(super) async fn verify(
    client: &mut Client,
    expected: &[&Expect],
    seen: &mut Seen,
    planner: &Planner,
) -> Result<Vec<(ServerRef, String)>, DriverError> {
    let mut open = seen.unfulfilled(expected);
    for pause in READ_AGAIN {
        if open.is_empty() {
            break;
        }
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let mut singles = Vec::new();
        let mut backends = BTreeSet::new();
        for (expect, _) in &open {
            let server = &expect.server;
            let single =
                seen.servers.contains_key(server) && !seen.unclear.contains(&server.backend);
            match planner.server(server) {
                Some(known) if single => singles.push(Look::Server(server.clone(), known.id)),
                _ => {
                    backends.insert(server.backend.clone());
                }
            }
        }
        let mut looks = Look::wholly(backends);
        looks.append(&mut singles);
        let commands: Vec<Command> = looks.iter().map(Look::command).collect();
        let replies = live::exec_all(client, &commands).await?;
        for ((look, command), reply) in looks.iter().zip(&commands).zip(&replies) {
            seen.take_in(look, live::accept(command, reply), planner)?;
        }
        open = seen.unfulfilled(expected);
    }
    Ok(open
        .into_iter()
        .map(|(expect, detail)| (expect.server.clone(), detail))
        .collect())
}

fn mismatch(expect: &Expect, server: &Server) -> Option<String> {
    if expect.gone {
        return Some("the server is still there".to_owned());
    }
    if let Some(address) = expect.address
        && server.address != Some(address)
    {
        let shown = server
            .address
            .map_or_else(|| "none".to_owned(), |shown| shown.to_string());
        return Some(format!("address reads back as {shown}, expected {address}"));
    }
    // An agent may have taken it out again, or weighed it, before it was read.
    let by_agent = server.agent_enabled;
    if let Some(admin) = expect.admin
        && server.admin != admin
        && !(by_agent && admin == AdminState::Ready)
    {
        let (shown, expected) = (state_word(server.admin), state_word(admin));
        return Some(format!("state reads back as {shown}, expected {expected}"));
    }
    if let Some(weight) = expect.weight
        && server.weight != weight
        && !by_agent
    {
        return Some(format!(
            "weight reads back as {}, expected {weight}",
            server.weight
        ));
    }
    let paused = server.check_paused && server.admin != AdminState::Maint;
    if expect.checking && (!server.check_enabled || paused) {
        return Some("the check reads back as switched off or paused".to_owned());
    }
    if let Some(agent) = expect.agent
        && server.agent_enabled != agent
    {
        return Some(format!(
            "the agent check reads back as {}",
            if agent { "off" } else { "on" }
        ));
    }
    if let Some(address) = expect.check_address
        && server.check_address != address
    {
        return Some("the address of the check reads back as another one".to_owned());
    }
    if let Some(ssl) = expect.ssl
        && server.ssl.is_some_and(|shown| shown != ssl)
    {
        return Some("the TLS setting reads back as it was".to_owned());
    }
    if expect.running && !server.running {
        return Some("health reads back as down, expected up".to_owned());
    }
    None
}

fn state_word(admin: AdminState) -> &'static str {
    match admin {
        AdminState::Drain => "drain",
        AdminState::Maint => "maint",
        AdminState::Ready => "ready",
    }
}
