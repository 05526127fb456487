//! One Swarm service with its tasks, and the records that they make.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use lb_core::{Endpoint, EndpointState, Name, Record, RecordKey};
use lb_schemes::{Diagnostics, Options, Reading, ServiceSpec, Subject, traefik::SharedMiddlewares};

use super::{
    api::{ListedService, ListedTask},
    cluster::{Cluster, KnownService, Local, Stage},
};
use crate::{
    address::{self, AddressChoice, Network, Networks, Place, Reach, Viewpoint, Want},
    config::Spread,
    container::{Attached, NetworkMode, Phase, Published, address, kept, short},
    narrow::Narrow,
    translate::{ENGINE_STOP_TIMEOUT, Fate, Translation, reads},
};

/// The rules by which a source takes services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SwarmRules {
    /// The options by which labels are read.
    pub(crate) options: Options,
    /// The rule for the services that are read.
    pub(crate) narrow: Narrow,
    pub(crate) spread: Spread,
    /// The most bytes that the labels of all services may take.
    pub(crate) max_label_bytes: usize,
}

impl SwarmRules {
    /// Drops the labels of a service that nothing reads, or nearly all of them where there are more than are read.
    pub(crate) fn drop_unread(&self, service: &mut ListedService) {
        let labels = &mut service.spec.labels;
        if let Some(reads) = reads(&self.options, &self.narrow) {
            labels.retain(|key, _| reads(key));
        }
        (*labels, service.excess) = kept(std::mem::take(labels));
    }

    /// The services that a service's labels ask for.
    pub(crate) fn specs(
        &self,
        service: &ListedService,
        attachments: &[Attached],
        networks: &Networks,
        middlewares: Option<&SharedMiddlewares>,
    ) -> Reading {
        let object = object(service);
        if let Some(excess) = service.excess {
            let diagnostic = excess.diagnostic(&object, self.max_label_bytes);
            return Reading {
                diagnostics: diagnostic.into_iter().collect(),
                ..Reading::default()
            };
        }
        let stack = service.spec.labels.get(STACK).map(String::as_str);
        let label = |key: &str| service.spec.labels.get(key).map(String::as_str);
        if !self.narrow.takes(label, STACK)
            || !self.narrow.takes_networks(attachments, stack, networks)
        {
            return Reading::default();
        }
        let exposed = target_ports(service);
        lb_schemes::read_among(
            &self.options,
            &Subject {
                object: &object,
                name: &service.spec.name,
                labels: &service.spec.labels,
                env: &[],
                compose: None,
                stack,
                exposed: &exposed,
            },
            middlewares,
        )
    }
}

/// The text by which people find a service.
pub(crate) fn object(service: &ListedService) -> String {
    format!("Swarm service {}", service.spec.name)
}

/// The records of one service that asks for `specs`.
pub(crate) fn translate(
    known: &KnownService,
    specs: &[ServiceSpec],
    cluster: &Cluster,
    rules: &SwarmRules,
    networks: &Networks,
    reach: &Reach,
) -> Translation {
    let object = object(&known.listed);
    let mut complaints = Diagnostics::new(&object);
    let mut translation = Translation::default();
    let service = Service {
        known,
        cluster,
        networks,
        reach,
    };
    for spec in specs {
        let spread = match spec.spread.unwrap_or(rules.spread) {
            Spread::Vip if known.listed.spec.endpoint_spec.mode == "dnsrr" => {
                complaints.warn(
                    "spread",
                    "vip",
                    "it has no virtual address (endpoint mode dnsrr): its tasks are used",
                );
                Spread::Tasks
            }
            spread => spread,
        };
        let before = translation.records.len();
        match spread {
            _ if spec.without_endpoint => {}
            Spread::Vip => service.vip(spec, &mut translation, &mut complaints),
            Spread::Nodes => service.nodes(spec, &mut translation, &mut complaints),
            _ => service.tasks(spec, &mut translation, &mut complaints),
        }
        // With no endpoint its routes answer "unavailable", not "not found".
        let silent = translation.records.len() == before;
        if silent && !known.removed && !spec.routes.is_empty() {
            translation.records.push(
                Record::declare(RecordKey::new(
                    spec.service.clone(),
                    Name::from_text(&format!("service-{}", short(&known.listed.id))),
                ))
                .with_mode(spec.mode)
                .with_options(spec.options)
                .with_routes(spec.routes.clone()),
            );
        }
    }
    translation.complaints = complaints.into_inner();
    translation
}

struct Service<'a> {
    known: &'a KnownService,
    cluster: &'a Cluster,
    networks: &'a Networks,
    reach: &'a Reach,
}

impl Service<'_> {
    fn tasks(
        &self,
        spec: &ServiceSpec,
        translation: &mut Translation,
        complaints: &mut Diagnostics<'_>,
    ) {
        let mut said = BTreeSet::new();
        for task in self.cluster.tasks_of(&self.known.listed.id) {
            let local = self.cluster.locals.get(&task.id);
            let Some(state) = self.state(task, local, spec) else {
                continue;
            };
            let choice = self.task_address(task, local, spec);
            match choice.address {
                Some(address) => translation.records.push(self.record(
                    spec,
                    endpoint_id(task),
                    Endpoint::new(address).with_state(state),
                )),
                // One that only comes may not have all its addresses yet.
                None if state != EndpointState::Pending && said.insert(choice.reason.clone()) => {
                    let reason = format!("{}; {}", choice.reason, self.hint());
                    complaints.refuse("address", "", reason);
                }
                None => {}
            }
            translation.choices.push((spec.service.clone(), choice));
        }
    }

    /// The state of a task: the worse of what the managers say and what its own engine says.
    fn state(
        &self,
        task: &ListedTask,
        local: Option<&Local>,
        spec: &ServiceSpec,
    ) -> Option<EndpointState> {
        let node_down = self
            .cluster
            .nodes
            .get(&task.node_id)
            .is_some_and(|node| node.down);
        let local_died = local.is_some_and(|local| local.fate == Fate::Died);
        let leaving = EndpointState::Draining {
            grace: Some(spec.drain.unwrap_or_else(|| patience(task))),
        };
        match task.stage() {
            Stage::Over => None,
            Stage::Coming if node_down || local_died => None,
            Stage::Coming => Some(EndpointState::Pending),
            Stage::Running | Stage::Leaving if node_down || local_died => Some(EndpointState::Down),
            Stage::Leaving => Some(leaving),
            Stage::Running => Some(match local {
                Some(Local {
                    fate: Fate::Leaves, ..
                }) => leaving,
                Some(local) => match local.container.phase {
                    Phase::Unhealthy | Phase::Paused => {
                        EndpointState::Draining { grace: spec.drain }
                    }
                    Phase::Starting => EndpointState::Pending,
                    Phase::Serving => EndpointState::Ready,
                    Phase::Stopped => EndpointState::Down,
                },
                None => EndpointState::Ready,
            }),
        }
    }

    fn task_address(
        &self,
        task: &ListedTask,
        local: Option<&Local>,
        spec: &ServiceSpec,
    ) -> AddressChoice {
        // What the task says of its networks is there before the engine's own list has it.
        let mut networks = self.networks.clone();
        let attachments = attachments(task, |id, network| {
            networks.entry(id).or_insert(network);
        });
        let exposed = self.target_ports();
        let published = match address::port(spec.port, &exposed) {
            Ok((port, _)) => match self.host_ports(task, local, port) {
                Ok(published) => published,
                Err(reason) => {
                    return AddressChoice {
                        address: None,
                        reason,
                        candidates: Vec::new(),
                    };
                }
            },
            Err(_) => Vec::new(),
        };
        let mode = match attachments
            .iter()
            .find(|attached| attached.network == "host")
        {
            Some(_) => NetworkMode::Host,
            None => NetworkMode::Own,
        };
        let place = Place {
            mode: &mode,
            attachments: &attachments,
            exposed: &exposed,
            published: &published,
            project: self.stack(),
        };
        address::choose(&place, want(spec), &networks, &self.reach_of(&task.node_id))
    }

    /// From where a task on this node is reached: on another node than ours, nothing of the host's own leads there.
    fn reach_of(&self, node: &str) -> Reach {
        let own = node == self.cluster.own_node;
        let mut reach = self.reach.clone();
        if own && reach.viewpoint == Viewpoint::Host {
            return reach;
        }
        let address = self.cluster.nodes.get(node).and_then(|node| node.address);
        reach.node_address = address.or_else(|| self.reach.node_address.filter(|_| own));
        if reach.viewpoint == Viewpoint::Host {
            reach.viewpoint = Viewpoint::Elsewhere;
        }
        reach
    }

    /// The ports of a task's node that lead to its `port`. Engines may give IPv4 and IPv6 different ports, and the
    /// managers do not say which is which.
    fn host_ports(
        &self,
        task: &ListedTask,
        local: Option<&Local>,
        port: u16,
    ) -> Result<Vec<Published>, String> {
        let any_v4 = |host_port: u16| Published {
            port,
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host_port,
        };
        let is_host = |mode: &str, protocol: &str, target: u16| {
            mode == "host" && matches!(protocol, "tcp" | "") && target == port
        };
        let fixed = self.known.listed.endpoint.ports.iter().find(|config| {
            is_host(&config.publish_mode, &config.protocol, config.target_port)
                && config.published_port != 0
        });
        if let Some(fixed) = fixed {
            return Ok(vec![any_v4(fixed.published_port)]);
        }
        if let Some(local) = local {
            return Ok(local.container.published.clone());
        }
        let random: BTreeSet<u16> = task
            .status
            .port_status
            .ports
            .iter()
            .filter(|config| is_host(&config.publish_mode, &config.protocol, config.target_port))
            .map(|config| config.published_port)
            .filter(|port| *port != 0)
            .collect();
        match random.len() {
            0 => Ok(Vec::new()),
            1 => Ok(random.into_iter().map(any_v4).collect()),
            _ => Err(format!(
                "its node gave IPv4 and IPv6 different ports {random:?} and nobody says which is which, expected a fixed published port"
            )),
        }
    }

    fn vip(
        &self,
        spec: &ServiceSpec,
        translation: &mut Translation,
        complaints: &mut Diagnostics<'_>,
    ) {
        if self.known.listed.endpoint.virtual_ips.is_empty() {
            // Swarm gives it one in a moment.
            return;
        }
        let attachments: Vec<Attached> =
            virtual_networks(&self.known.listed, self.networks).collect();
        let place = Place {
            mode: &NetworkMode::Own,
            attachments: &attachments,
            exposed: &self.target_ports(),
            published: &[],
            project: self.stack(),
        };
        let choice = address::choose(&place, want(spec), self.networks, self.reach);
        match choice.address {
            Some(address) => translation.records.push(self.record(
                spec,
                "vip".to_owned(),
                Endpoint::new(address).with_state(self.whole_state()),
            )),
            None => complaints.refuse("address", "vip", choice.reason.clone()),
        }
        translation.choices.push((spec.service.clone(), choice));
    }

    fn nodes(
        &self,
        spec: &ServiceSpec,
        translation: &mut Translation,
        complaints: &mut Diagnostics<'_>,
    ) {
        let exposed = self.target_ports();
        let published = address::port(spec.port, &exposed).and_then(|(port, _)| {
            self.known
                .listed
                .endpoint
                .ports
                .iter()
                .find(|config| {
                    config.publish_mode == "ingress"
                        && config.target_port == port
                        && config.published_port != 0
                })
                .map(|config| config.published_port)
                .ok_or_else(|| format!("its port {port} is not published in ingress mode"))
        });
        let host_port = match published {
            Ok(port) => port,
            Err(reason) => return complaints.refuse("spread", "nodes", reason),
        };
        for (id, _) in self.cluster.nodes.iter().filter(|(_, node)| node.up) {
            let place = Place {
                mode: &NetworkMode::Own,
                attachments: &[],
                exposed: &exposed,
                published: &[Published {
                    port: spec.port.or_else(|| exposed.first().copied()).unwrap_or(0),
                    host_ip: Ipv4Addr::UNSPECIFIED.into(),
                    host_port,
                }],
                project: None,
            };
            let want = Want {
                port: spec.port,
                network: None,
            };
            let mut reach = self.reach_of(id);
            reach.network = None;
            let choice = address::choose(&place, want, self.networks, &reach);
            match choice.address {
                Some(address) => translation.records.push(self.record(
                    spec,
                    format!("node-{}", short(id)),
                    Endpoint::new(address).with_state(self.whole_state()),
                )),
                None => complaints.refuse(
                    "address",
                    "",
                    format!("node {}: {}", short(id), choice.reason),
                ),
            }
            translation.choices.push((spec.service.clone(), choice));
        }
    }

    /// The state of an address behind which Swarm itself chooses tasks.
    fn whole_state(&self) -> EndpointState {
        let is = |wanted: Stage| {
            self.cluster
                .tasks_of(&self.known.listed.id)
                .any(|task| task.stage() == wanted)
        };
        match (is(Stage::Running), is(Stage::Leaving)) {
            (true, _) if !self.known.removed => EndpointState::Ready,
            (true, _) | (false, true) => EndpointState::Draining { grace: None },
            (false, false) => EndpointState::Pending,
        }
    }

    /// The advice where no task can be reached.
    fn hint(&self) -> String {
        let ports = &self.known.listed.endpoint.ports;
        let ingress = ports
            .iter()
            .find(|config| config.publish_mode == "ingress" && config.published_port != 0);
        match ingress {
            Some(config) => format!(
                "port {} is published by ingress: the label lb.spread=nodes or the option spread = \"nodes\" uses it",
                config.target_port
            ),
            None => "a shared network, a port published in host mode, or lb.spread=nodes with a port published by ingress would help; the options projects, constraints and networks leave services out".to_owned(),
        }
    }

    fn target_ports(&self) -> BTreeSet<u16> {
        target_ports(&self.known.listed)
    }

    fn stack(&self) -> Option<&str> {
        self.known.listed.spec.labels.get(STACK).map(String::as_str)
    }

    fn record(&self, spec: &ServiceSpec, id: String, endpoint: Endpoint) -> Record {
        Record::new(
            RecordKey::new(spec.service.clone(), Name::from_text(&id)),
            endpoint
                .with_weight(spec.weight)
                .with_check_port(spec.check_port),
        )
        .with_mode(spec.mode)
        .with_options(spec.options)
        .with_routes(spec.routes.clone())
    }
}

/// The ports that a service's publications lead to: the only ones that managers know of.
fn target_ports(service: &ListedService) -> BTreeSet<u16> {
    service
        .endpoint
        .ports
        .iter()
        .filter(|config| matches!(config.protocol.as_str(), "tcp" | ""))
        .map(|config| config.target_port)
        .filter(|port| *port != 0)
        .collect()
}

fn want(spec: &ServiceSpec) -> Want<'_> {
    Want {
        port: spec.port,
        network: spec.network.as_deref(),
    }
}

/// The networks that a task is on; each is told to `found` with its id.
pub(crate) fn attachments(
    task: &ListedTask,
    mut found: impl FnMut(String, Network),
) -> Vec<Attached> {
    let mut attachments = Vec::new();
    for attachment in &task.attachments {
        let spec = &attachment.network.spec;
        found(
            attachment.network.id.clone(),
            Network {
                name: spec.name.clone(),
                driver: match spec.driver_configuration.name.as_str() {
                    "" => "overlay".to_owned(),
                    driver => driver.to_owned(),
                },
                internal: spec.internal,
                ingress: spec.ingress,
            },
        );
        let addresses = || attachment.addresses.iter().filter_map(|text| address(text));
        attachments.push(Attached {
            network: spec.name.clone(),
            network_id: attachment.network.id.clone(),
            v4: addresses().find(std::net::IpAddr::is_ipv4),
            v6: addresses().find(std::net::IpAddr::is_ipv6),
        });
    }
    attachments
}

/// The networks on which a service has a virtual address.
pub(crate) fn virtual_networks<'a>(
    service: &'a ListedService,
    networks: &'a Networks,
) -> impl Iterator<Item = Attached> + 'a {
    service.endpoint.virtual_ips.iter().map(|vip| {
        let found = address(&vip.addr);
        Attached {
            network: networks
                .get(&vip.network_id)
                .map_or_else(|| vip.network_id.clone(), |network| network.name.clone()),
            network_id: vip.network_id.clone(),
            v4: found.filter(std::net::IpAddr::is_ipv4),
            v6: found.filter(std::net::IpAddr::is_ipv6),
        }
    })
}

/// A task's identity: its replica, and itself, because two may share a replica while one replaces the other.
pub(crate) fn endpoint_id(task: &ListedTask) -> String {
    match task.slot {
        0 => short(&task.id).to_owned(),
        slot => format!("{slot}.{}", short(&task.id)),
    }
}

/// The time a task that leaves may take: until its signal, and then as long as Swarm waits before it kills.
fn patience(task: &ListedTask) -> Duration {
    let grace = task
        .spec
        .container_spec
        .stop_grace_period
        .map_or(ENGINE_STOP_TIMEOUT, Duration::from_nanos);
    BEFORE_SIGNAL.saturating_add(grace)
}

/// The label that names a service's stack.
const STACK: &str = "com.docker.stack.namespace";

/// The time Swarm waits between deciding that a task goes and its signal, for its own load balancer's sake.
const BEFORE_SIGNAL: Duration = Duration::from_secs(3);
