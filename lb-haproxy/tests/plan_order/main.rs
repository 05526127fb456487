//! Faults of the planner that the world simulation found, each as small as it gets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod enters;
mod leaves;
mod maps;

use std::{net::SocketAddr, time::Duration};

use lb_core::{Endpoint, EndpointState, Name, Snapshot, Weight, model::Changes};
use lb_haproxy::{
    capability::Capabilities,
    observed::Server,
    plan::{Plan, Planner},
    policy::Policy,
    proto::{AdminState, Command},
};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

fn server(title: &str, id: u32, number: u8, admin: AdminState) -> Server {
    let mut server = Server::slot(name(title), id);
    server.address = Some(address(number));
    server.admin = admin;
    server.running = admin != AdminState::Maint;
    server.weight = 100;
    server
}

/// A desired state: services with the numbers of their addresses and weights.
fn desired(services: &[(&str, &[(u8, u16)])]) -> Snapshot {
    let mut edit = Snapshot::default().edit();
    for (service, endpoints) in services {
        edit.set_service(&name(service), lb_core::Mode::Http);
        for (number, weight) in *endpoints {
            let endpoint =
                Endpoint::new(address(*number)).with_weight(Weight::new(*weight).unwrap());
            edit.set_endpoint(&name(service), &name(&number.to_string()), endpoint);
        }
    }
    edit.commit().unwrap()
}

fn planner(version: (u32, u32), desired: &Snapshot) -> Planner {
    let mut planner = Planner::new(Policy::default(), Capabilities::of(version.0, version.1));
    planner.desire(&Snapshot::default(), desired, &Changes::Everything);
    planner
}

fn commands(plan: &Plan) -> Vec<Command> {
    plan.steps().map(|step| step.command.clone()).collect()
}

const HOUR: Duration = Duration::from_secs(3600);

/// The desired state for one endpoint in this state.
fn desired_in_state(state: EndpointState) -> Snapshot {
    let mut edit = Snapshot::default().edit();
    let endpoint = Endpoint::new(address(1)).with_state(state);
    edit.set_endpoint(&name("a"), &name("1"), endpoint);
    edit.commit().unwrap()
}

/// A desired state for endpoints of services, by the numbers of their addresses, their states and weights.
fn desired_of(endpoints: &[(&str, u8, EndpointState, u16)]) -> Snapshot {
    let mut edit = Snapshot::default().edit();
    for (service, number, state, weight) in endpoints {
        let endpoint = Endpoint::new(address(*number))
            .with_state(*state)
            .with_weight(Weight::new(*weight).unwrap());
        edit.set_endpoint(&name(service), &name(&number.to_string()), endpoint);
    }
    edit.commit().unwrap()
}

const DRAINING: EndpointState = EndpointState::Draining { grace: None };

fn drains(commands: &[Command], at: &str) -> bool {
    let drains = |command: &Command| matches!(command, Command::SetState(server, AdminState::Drain) if server.to_string() == at);
    commands.iter().any(drains)
}

fn readies(commands: &[Command], at: &str) -> bool {
    let readies = |command: &Command| matches!(command, Command::SetState(server, AdminState::Ready) if server.to_string() == at);
    commands.iter().any(readies)
}
