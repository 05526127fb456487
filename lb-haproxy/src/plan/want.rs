//! The desired state at one address of one backend.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use lb_core::{Endpoint, EndpointState, Name};

use crate::{observed::is_parked, proto::check_address};

/// The desired state for one address: what all endpoints of the service at that address say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its weight, 0 to 256.
    pub weight: u16,
    /// Its state.
    pub state: EndpointState,
    /// The port of its check, where it is not the address's.
    pub check_port: Option<u16>,
}

/// The desired states of one service, by address.
///
/// Several endpoints may share an address (two names for one process): they share a server. The one that asks
/// for most decides, and among equals the first by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    by_address: HashMap<SocketAddr, Vec<(Name, Want)>>,
    /// Addresses whose endpoints ask for different things: few or none.
    contradicted: BTreeSet<SocketAddr>,
    /// Endpoints that no server can serve, with the reason. They take no part in anything else.
    unservable: BTreeMap<Name, String>,
}

impl Wants {
    /// One endpoint's desired state changed from `old` to `new`.
    pub(super) fn change(&mut self, id: &Name, old: Option<&Endpoint>, new: Option<&Endpoint>) {
        if let Some(old) = old
            && let Some(claims) = self.by_address.get_mut(&old.address)
        {
            claims.retain(|(claimant, _)| claimant != id);
            if claims.is_empty() {
                self.by_address.remove(&old.address);
            }
            self.compare(old.address);
        }
        self.unservable.remove(id);
        if let Some(new) = new {
            if let Err(reason) = servable(new.address) {
                self.unservable.insert(id.clone(), reason);
                return;
            }
            let want = Want {
                weight: new.weight.get(),
                state: new.state,
                check_port: new.check_port.filter(|port| *port != 0),
            };
            let claims = self
                .by_address
                .entry(new.address)
                .or_insert_with(|| Vec::with_capacity(1));
            let place = claims.partition_point(|(claimant, _)| claimant < id);
            claims.insert(place, (id.clone(), want));
            self.compare(new.address);
        }
    }

    /// Notes whether the endpoints at an address ask for different things.
    fn compare(&mut self, address: SocketAddr) {
        let claims = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        let differ = claims.len() > 1
            && strongest(claims)
                .is_some_and(|(_, first)| claims.iter().any(|(_, want)| !first.meets(*want)));
        match differ {
            true => self.contradicted.insert(address),
            false => self.contradicted.remove(&address),
        };
    }

    /// The endpoints whose desired state is not in effect because another one of their service has the same address and asks for
    /// more, each with the reason, and with `true` if that ends by itself: one that drains is soon gone.
    pub(super) fn overruled(&self) -> impl Iterator<Item = (&Name, String, bool)> {
        let at = |address: &SocketAddr| {
            let claims = self.by_address.get(address)?;
            Some((*address, claims, strongest(claims)?))
        };
        let all = self.contradicted.iter().filter_map(at);
        all.flat_map(|(address, claims, (decides, first))| {
            let others = claims.iter().filter(|(_, want)| !first.meets(*want));
            others.map(move |(id, want)| {
                let (in_effect, asked) = first.difference(*want);
                let reason = format!(
                    "endpoint {decides} of this service has the same address {address} and decides: {in_effect} is in \
                     effect, and not {asked}; let both say the same, or report one of them"
                );
                (id, reason, matches!(want.state, EndpointState::Draining { .. }))
            })
        })
    }

    /// The desired state for an address.
    pub(super) fn get(&self, address: &SocketAddr) -> Option<Want> {
        self.by_address
            .get(address)
            .and_then(|claims| strongest(claims))
            .map(|(_, want)| *want)
    }

    /// Endpoints that no server can serve, with the reason.
    pub(super) fn unservable(&self) -> impl Iterator<Item = (&Name, &String)> {
        self.unservable.iter()
    }

    /// The endpoints at an address that want it to serve, or else all that are there.
    pub(super) fn claimants(&self, address: &SocketAddr) -> Vec<Name> {
        let claims = self.by_address.get(address).map_or(&[][..], Vec::as_slice);
        let ready = claims.iter().filter(|(_, want)| want.state.is_ready());
        let names: Vec<Name> = ready.map(|(id, _)| id.clone()).collect();
        match names.is_empty() {
            true => claims.iter().map(|(id, _)| id.clone()).collect(),
            false => names,
        }
    }

    /// The endpoint that decides the desired state for an address.
    pub(super) fn decides(&self, address: &SocketAddr) -> Option<&Name> {
        strongest(self.by_address.get(address)?).map(|(id, _)| id)
    }

    /// Every address but these, with its desired state and the endpoint that decides it, in the order of addresses.
    pub(super) fn sorted_without(
        &self,
        held: &HashSet<SocketAddr>,
    ) -> Vec<(SocketAddr, &Name, Want)> {
        let mut all: Vec<_> = self
            .by_address
            .iter()
            .filter(|(address, _)| !held.contains(*address))
            .filter_map(|(address, claims)| {
                strongest(claims).map(|(id, want)| (*address, id, *want))
            })
            .collect();
        all.sort_unstable_by_key(|(address, ..)| *address);
        all
    }

    /// The addresses that are to serve now, with the endpoints that decide that.
    pub(super) fn ready(&self) -> impl Iterator<Item = (&SocketAddr, &Name, &Want)> {
        let strongest = |(address, claims)| {
            let (id, want) = strongest(claims)?;
            want.state.is_ready().then_some((address, id, want))
        };
        self.by_address
            .iter()
            .map(|(address, claims)| (address, claims.as_slice()))
            .filter_map(strongest)
    }

    /// Returns `true` if any of them is to serve now.
    pub(super) fn any_ready(&self) -> bool {
        self.by_address
            .values()
            .filter_map(|claims| strongest(claims))
            .any(|(_, want)| want.state.is_ready())
    }

    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }
}

/// Checks that a server can be pointed at an address.
fn servable(address: SocketAddr) -> Result<(), String> {
    if is_parked(address) {
        return Err(format!(
            "address {address} is where slots without an endpoint point to"
        ));
    }
    check_address(address)
        .map(drop)
        .map_err(|error| error.to_string())
}

fn strongest(claims: &[(Name, Want)]) -> Option<&(Name, Want)> {
    // `min_by_key` keeps the first of equals, and claims are sorted by name.
    claims.iter().min_by_key(|(_, want)| match want.state {
        EndpointState::Ready => 0,
        EndpointState::Draining { .. } => 1,
        EndpointState::Pending => 2,
        EndpointState::Down => 3,
    })
}

impl Want {
    /// Returns `true` if another desired state is in effect with this one. Weight and check are those of endpoints that are to
    /// serve.
    fn meets(self, other: Self) -> bool {
        let serves = self.state.is_ready();
        self.state == other.state
            && (!serves || (self.weight, self.check_port) == (other.weight, other.check_port))
    }

    /// The values in which this desired state differs from another one, in words.
    fn difference(self, other: Self) -> (String, String) {
        if self.state != other.state {
            return (state_text(self.state), state_text(other.state));
        }
        if self.weight != other.weight {
            let text = |want: Self| format!("weight {}", want.weight);
            return (text(self), text(other));
        }
        let text = |want: Self| match want.check_port {
            Some(port) => format!("check port {port}"),
            None => "no check port of its own".to_owned(),
        };
        (text(self), text(other))
    }

    /// The time requests in flight may take once it drains, where the source says so.
    pub(super) fn grace(&self) -> Option<Duration> {
        match self.state {
            EndpointState::Draining { grace } => grace,
            _ => None,
        }
    }
}

fn state_text(state: EndpointState) -> String {
    match state {
        EndpointState::Ready => "ready".to_owned(),
        EndpointState::Draining { grace: None } => "draining".to_owned(),
        EndpointState::Draining { grace: Some(grace) } => {
            format!("draining with {} s of grace", grace.as_secs_f64())
        }
        EndpointState::Pending => "pending".to_owned(),
        EndpointState::Down => "down".to_owned(),
    }
}
