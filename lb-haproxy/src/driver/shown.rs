//! Reads what HAProxy shows of its servers, within bounds and without contradiction.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use lb_core::Name;
use tracing::warn;

use super::error::DriverError;
use crate::{
    observed::Server,
    plan::Planner,
    proto::{ServerRef, ServersState, StateLine},
};

/// The most backends that are managed.
const MOST_BACKENDS: usize = 100_000;

/// The most servers of the backends that are managed.
const MOST_SERVERS: usize = 500_000;

/// After so many lines the runtime may do something else, such as to stop this.
const AT_ONCE: usize = 512;

/// What HAProxy shows of its servers, by backend.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) backends: BTreeMap<Name, Vec<Server>>,
    /// Backends that are not managed.
    pub(super) others: BTreeSet<Name>,
    /// Servers that are shown as they were known, as something of their line could not be read.
    pub(super) unreadable: BTreeMap<ServerRef, String>,
}

impl Shown {
    /// Reads what `show servers state` told. Of backends that are not managed, the name alone is kept.
    pub(super) fn of(text: &str, planner: &Planner) -> Result<Self, DriverError> {
        let mut reading = Reading::default();
        for line in ServersState::lines(text)? {
            reading.take(line?, planner)?;
        }
        reading.end()
    }

    /// Reads the same, and lets the runtime do something else meanwhile.
    pub(super) async fn of_all(text: &str, planner: &Planner) -> Result<Self, DriverError> {
        let mut reading = Reading::default();
        for (at, line) in ServersState::lines(text)?.enumerate() {
            reading.take(line?, planner)?;
            if at % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
        }
        reading.end()
    }
}

/// What was read of the lines before.
#[derive(Debug, Default)]
struct Reading {
    shown: Shown,
    current: Option<(Name, Vec<Server>)>,
    servers: usize,
}

impl Reading {
    fn take(&mut self, line: StateLine, planner: &Planner) -> Result<(), DriverError> {
        let (backend, server) = match line {
            StateLine::Unnamed => return Ok(()),
            StateLine::Server(row) => (row.backend.clone(), Server::from(*row)),
            StateLine::Unreadable(server, problem) => {
                warn!(%server, problem, "what HAProxy shows of a server cannot be read");
                let Some(known) = planner.server(&server).cloned() else {
                    return Ok(());
                };
                self.shown.unreadable.insert(server.clone(), problem);
                (server.backend, known)
            }
        };
        if !planner.owns(&backend) {
            self.shown.others.insert(backend);
            return Ok(());
        }
        self.servers += 1;
        if self.servers > MOST_SERVERS {
            return Err(too_much(MOST_SERVERS, "servers"));
        }
        match &mut self.current {
            Some((name, servers)) if *name == backend => servers.push(server),
            _ => {
                let read = self.current.replace((backend, vec![server]));
                self.take_backend(read)?;
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Shown, DriverError> {
        let last = self.current.take();
        self.take_backend(last)?;
        Ok(self.shown)
    }

    /// Takes in all servers of one backend. HAProxy lists each backend once, and gives each of its servers its own number.
    fn take_backend(&mut self, read: Option<(Name, Vec<Server>)>) -> Result<(), DriverError> {
        let Some((backend, mut servers)) = read else {
            return Ok(());
        };
        servers.shrink_to_fit();
        let twice = |what: String| Err(DriverError::Contradiction { what });
        let mut ids: Vec<u32> = servers.iter().map(|server| server.id).collect();
        ids.sort_unstable();
        if let Some([id, _]) = ids.windows(2).find(|pair| pair.first() == pair.last()) {
            return twice(format!("server number {id} of backend {backend}"));
        }
        let backends = &mut self.shown.backends;
        if backends.len() == MOST_BACKENDS {
            return Err(too_much(MOST_BACKENDS, "backends"));
        }
        match backends.entry(backend) {
            Entry::Occupied(known) => twice(format!("backend {}", known.key())),
            Entry::Vacant(place) => {
                place.insert(servers);
                Ok(())
            }
        }
    }
}

pub(super) fn too_much(limit: usize, what: &'static str) -> DriverError {
    DriverError::TooMuch { limit, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{capability::Capabilities, policy::Policy, scope::Scope};

    const HEAD: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord\n";

    fn row(backend: &str, id: usize, server: &str) -> String {
        format!("3 {backend} {id} {server} ::1 2 0 1 1 3 1 0 0 8 0 0 0 - 80 -\n")
    }

    fn read(manage: &str, rows: &[String]) -> Result<Shown, String> {
        let planner = Planner::new(Policy::default(), Capabilities::of(3, 0))
            .managing(Scope::new([manage]).unwrap());
        let text = format!("{HEAD}{}", rows.concat());
        Shown::of(&text, &planner).map_err(|error| format!("{error}; {error:?}"))
    }

    #[test]
    fn case_h13_what_is_listed_twice_is_no_evidence() {
        let good = [row("a", 1, "s1"), row("a", 2, "s2"), row("b", 1, "s1")];
        let shown = read("*", &good).unwrap();
        assert_eq!(shown.backends.len(), 2);
        for (again, said) in [
            (row("b", 2, "s1"), "a server that was not listed yet"),
            (
                row("b", 1, "s2"),
                "it listed server number 1 of backend b twice",
            ),
            (row("a", 3, "s3"), "it listed backend a twice"),
        ] {
            let rows = [good.as_slice(), &[again]].concat();
            let error = read("*", &rows).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn case_h13_what_is_managed_is_bounded_and_of_others_there_are_names() {
        let rows: Vec<String> = (0..=MOST_BACKENDS)
            .map(|number| row(&format!("b{number}"), 1, "s1"))
            .collect();
        assert_eq!(read("*", &rows[1..]).unwrap().backends.len(), MOST_BACKENDS);
        let error = read("*", &rows).unwrap_err();
        assert!(error.contains("more than 100000 backends"), "{error}");
        let shown = read("b7", &rows).unwrap();
        assert_eq!(
            (shown.backends.len(), shown.others.len()),
            (1, MOST_BACKENDS)
        );
    }
}
