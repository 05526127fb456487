//! Everything together.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use lb_core::{
    ControlPlane, Endpoint, Event, Handle, Name, RecordKey, Source, feed, plane::Running,
};
use lb_haproxy::{
    HaproxyDriver, Policy, SocketAddress, TargetConfig, driver::Files, growth::GrowthConfig,
    observed::is_parked, process::Executable,
};
use tokio::{task::JoinHandle, time::sleep};

use super::{
    TestbedError,
    addresses::Loopback,
    desired::Desired,
    haproxy::{Haproxy, Setup, Slot},
    shape::Shape,
    tap::{Heard, Tap},
};
use crate::traffic::{IdentityServer, Load, Oracle, now};

/// A HAProxy with a frontend for each service, endpoints on loopback addresses of their own, and a control plane.
#[derive(Debug)]
pub struct Testbed {
    /// The HAProxy.
    pub haproxy: Haproxy,
    /// The desired states.
    pub desired: Arc<Desired>,
    /// The judge of all traffic.
    pub oracle: Arc<Oracle>,
    /// The endpoints, by address.
    pub servers: BTreeMap<SocketAddr, IdentityServer>,
    frontends: BTreeMap<Name, SocketAddr>,
    addresses: Loopback,
    policy: Policy,
    shape: Shape,
    timeout: Duration,
    restored: bool,
    growth: Option<GrowthConfig>,
    tap: Option<Tap>,
    plane: Option<Plane>,
}

/// The options of a testbed.
#[derive(Debug, Clone)]
pub struct Options {
    /// The services.
    pub services: Vec<Name>,
    /// The number of slots each has.
    pub slots: u32,
    /// The number of threads HAProxy has.
    pub threads: u32,
    /// The shape of the traffic in HAProxy.
    pub shape: Shape,
    /// The policy by which HAProxy is driven.
    pub policy: Policy,
    /// The time the driver waits for an answer.
    pub timeout: Duration,
    /// If `true`, slots outlive a restart or reload of HAProxy by its server-state file, which the driver keeps.
    pub restored: bool,
    /// A folder for the files that the driver keeps; the server-state file is then there. A frontend without traffic
    /// looks into a route map there, so that there is a map file to keep as well.
    pub files: Option<PathBuf>,
    /// Leave to reload HAProxy with more slots. Its path and program are those of the testbed.
    pub growth: Option<GrowthConfig>,
}

#[derive(Debug)]
struct Plane {
    running: Running,
    watching: JoinHandle<()>,
}

/// The most events that wait for the watcher.
const EVENTS: usize = 1 << 14;

impl Options {
    /// Services with `slots` slots each, on a HAProxy of two threads driven by the default policy.
    #[must_use]
    pub fn new(services: Vec<Name>, slots: u32) -> Self {
        Self {
            services,
            slots,
            threads: 2,
            shape: Shape::default(),
            policy: Policy::default(),
            timeout: Duration::from_secs(5),
            restored: false,
            files: None,
            growth: None,
        }
    }
}

impl Testbed {
    /// Starts HAProxy. There is no endpoint and no control plane yet.
    ///
    /// # Errors
    /// Fails if there is no free address, or HAProxy does not start.
    pub async fn start(executable: Executable, options: Options) -> Result<Self, TestbedError> {
        let claim = |cause| TestbedError::io("find free loopback addresses", cause);
        let mut addresses = Loopback::claim().map_err(claim)?;
        let mut frontends = BTreeMap::new();
        for service in options.services {
            frontends.insert(service, addresses.next().map_err(claim)?);
        }
        let routed = match options.files {
            Some(folder) => Some((folder, addresses.next().map_err(claim)?)),
            None => None,
        };
        let setup = Setup {
            frontends: frontends.clone(),
            routed,
            slots: options.slots,
            threads: options.threads,
            restored: options.restored,
            shape: options.shape.clone(),
        };
        let oracle = Arc::new(Oracle::new());
        Ok(Self {
            haproxy: Haproxy::start(executable, &setup).await?,
            desired: Arc::new(Desired::new(Arc::clone(&oracle))),
            oracle,
            servers: BTreeMap::new(),
            frontends,
            addresses,
            policy: options.policy,
            shape: options.shape,
            timeout: options.timeout,
            restored: options.restored,
            growth: options.growth,
            tap: None,
            plane: None,
        })
    }

    /// Starts one more endpoint, which no service desires yet.
    ///
    /// # Errors
    /// Fails if there is no free address.
    pub async fn add_server(&mut self) -> Result<SocketAddr, TestbedError> {
        let fail = |cause| TestbedError::io("start an endpoint", cause);
        let address = self.addresses.next().map_err(fail)?;
        let server =
            IdentityServer::start_speaking(self.shape.speaks(), address, Arc::clone(&self.oracle))
                .await;
        self.servers.insert(address, server.map_err(fail)?);
        Ok(address)
    }

    /// The frontend of each service.
    #[must_use]
    pub fn frontends(&self) -> Vec<(Name, SocketAddr)> {
        self.frontends
            .iter()
            .map(|(service, frontend)| (service.clone(), *frontend))
            .collect()
    }

    /// A load on all services.
    #[must_use]
    pub fn load(&self, users: usize, requests: u64) -> Load {
        let mut load = Load::new(self.frontends(), users, requests);
        load.protocol = self.shape.protocol;
        load
    }

    /// Lets later control planes speak to HAProxy through a tap, which counts what they say.
    ///
    /// # Errors
    /// Fails if the tap's socket cannot be made.
    pub fn tap(&mut self) -> Result<(), TestbedError> {
        let tap = Tap::unix(self.tap_socket(), self.haproxy.socket())
            .map_err(|cause| TestbedError::io("tap HAProxy's socket", cause))?;
        self.tap = Some(tap);
        Ok(())
    }

    fn tap_socket(&self) -> PathBuf {
        self.haproxy.socket().with_extension("tap")
    }

    /// The bytes that went through the tap, if there is one.
    #[must_use]
    pub fn tap_heard(&self) -> Option<Heard> {
        self.tap.as_ref().map(Tap::heard)
    }

    /// Starts a control plane that knows nothing but the desired states and what it finds in HAProxy.
    ///
    /// # Errors
    /// Fails if it cannot be built.
    pub async fn start_plane(&mut self) -> Result<Handle, TestbedError> {
        self.kill_plane().await;
        let (publisher, feed) = feed(Name::from_text("program"));
        self.desired.write_to(publisher)?;
        self.start_plane_on(feed).await
    }

    /// Starts a control plane that follows another source, to which desired states are written with
    /// [`Desired::change_elsewhere`].
    ///
    /// # Errors
    /// Fails if it cannot be built.
    pub async fn start_plane_on(&mut self, source: impl Source) -> Result<Handle, TestbedError> {
        self.kill_plane().await;
        let socket = match &self.tap {
            Some(_) => self.tap_socket(),
            None => self.haproxy.socket(),
        };
        let socket = SocketAddress::unix(socket)?;
        let mut target =
            TargetConfig::new(Name::from_text("haproxy"), socket).with_policy(self.policy.clone());
        target.timeout = self.timeout;
        if self.restored {
            target.files = Files::with_server_state(self.haproxy.state());
        }
        let master = SocketAddress::unix(self.haproxy.master())?;
        if let Some(growth) = &self.growth {
            let mut growth = growth.clone();
            growth.config = self.haproxy.config();
            growth.executable = self.haproxy.executable().path().to_owned();
            target = target.with_growth(master, growth);
        } else {
            target.master = Some(master);
        }
        let plane = ControlPlane::builder()
            .source(source)
            .target(HaproxyDriver::new(target))
            .event_capacity(EVENTS)
            .build()?;
        let handle = plane.handle();
        let mut events = handle.subscribe();
        let feed = self.desired.feed();
        let desired = Arc::clone(&self.desired);
        let running = plane.spawn();
        let watching = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Verified { causes, .. } | Event::Pass { causes, .. } = &event.event
                    && let Some(last) = causes.iter().map(|cause| cause.cursor.revision).max()
                {
                    desired.verified(feed, last);
                }
            }
        });
        self.plane = Some(Plane { running, watching });
        Ok(handle)
    }

    /// Ends the control plane wherever it is, as a crash would. HAProxy goes on with what it has.
    pub async fn kill_plane(&mut self) {
        if let Some(Plane { running, watching }) = self.plane.take() {
            drop(running);
            watching.abort();
            // Nothing of the old one is told after this.
            let _ = watching.await;
        }
    }

    /// The running control plane.
    #[must_use]
    pub fn plane(&self) -> Option<Handle> {
        self.plane.as_ref().map(|plane| plane.running.handle())
    }

    /// Waits until every desired state so far was reported as applied and verified.
    ///
    /// # Errors
    /// [`TestbedError::Late`] when that takes longer than `limit`.
    pub async fn verified(&self, limit: Duration) -> Result<(), TestbedError> {
        let state = async || {
            let Some((feed, revision)) = self.desired.open() else {
                return Ok(());
            };
            let Some(handle) = self.plane() else {
                return Err("there is no control plane".to_owned());
            };
            let status = handle.status();
            let heard = status
                .sources
                .iter()
                .filter_map(|source| source.cursor.as_ref());
            if heard.map(|cursor| cursor.revision).max() < Some(revision) {
                return Err(format!("revision {revision} was not heard: {status:?}"));
            }
            if status.targets.iter().any(|target| target.behind > 0) {
                return Err(format!("the target is behind: {status:?}"));
            }
            // Writes that undid each other make no generation, so no event names them: ask.
            match handle.reconcile_now(limit).await {
                Ok(done) if done.is_verified() => {
                    self.desired.verified(feed, revision);
                    Ok(())
                }
                Ok(done) => Err(format!("{done:?}")),
                Err(error) => Err(error.to_string()),
            }
        };
        wait("every desired state to be verified", limit, state).await
    }

    /// Waits until HAProxy's own tables show for every service exactly the endpoints that are to serve it.
    ///
    /// # Errors
    /// [`TestbedError::Late`], with the difference, when that takes longer than `limit`.
    pub async fn in_step(&self, limit: Duration) -> Result<(), TestbedError> {
        let state = async || {
            let slots = self
                .haproxy
                .slots()
                .await
                .map_err(|error| error.to_string())?;
            difference(&serving(&slots), &self.desired.ready())
        };
        wait("HAProxy to serve the desired state", limit, state).await
    }

    /// Waits until the server-state file has for every service exactly the endpoints that are to serve it.
    ///
    /// # Errors
    /// [`TestbedError::Late`], with the difference, when that takes longer than `limit`.
    pub async fn saved(&self, limit: Duration) -> Result<(), TestbedError> {
        let state = async || {
            let saved = self.haproxy.saved().map_err(|error| error.to_string())?;
            difference(
                &serving(&saved.ok_or("the file is not whole")?),
                &self.desired.ready(),
            )
        };
        wait("the server-state file to follow", limit, state).await
    }

    /// Waits until every slot holds an endpoint that is desired, or none: nothing is on its way out.
    ///
    /// # Errors
    /// [`TestbedError::Late`] when that takes longer than `limit`.
    pub async fn at_rest(&self, limit: Duration) -> Result<(), TestbedError> {
        let state = async || {
            let slots = self
                .haproxy
                .slots()
                .await
                .map_err(|error| error.to_string())?;
            let desired: BTreeSet<(SocketAddr, String)> = self
                .desired
                .endpoints()
                .into_iter()
                .map(|(key, endpoint)| (endpoint.address, key.service.to_string()))
                .collect();
            let leaving = slots.into_iter().find(|slot| {
                slot.address.is_some_and(|address| {
                    !is_parked(address) && !desired.contains(&(address, slot.backend.clone()))
                })
            });
            leaving.map_or(Ok(()), |slot| Err(format!("there is {slot:?}")))
        };
        wait("all that leaves to be gone", limit, state).await
    }

    /// Waits until no slot of a service holds an address any more: whatever was drained has ended, and its server can
    /// be stopped.
    ///
    /// # Errors
    /// [`TestbedError::Late`] when that takes longer than `limit`.
    pub async fn gone(
        &self,
        service: &Name,
        address: SocketAddr,
        limit: Duration,
    ) -> Result<(), TestbedError> {
        let state = async || {
            let slots = self
                .haproxy
                .slots()
                .await
                .map_err(|error| error.to_string())?;
            let holder = slots
                .iter()
                .find(|slot| slot.backend == service.as_str() && slot.address == Some(address));
            holder.map_or(Ok(()), |slot| Err(format!("it is in {slot:?}")))
        };
        wait(&format!("{address} to leave {service}"), limit, state).await
    }
}

/// The key of an endpoint of a service at an address: one address, one name.
#[must_use]
pub fn endpoint_at(service: &Name, address: SocketAddr) -> (RecordKey, Endpoint) {
    let id = Name::from_text(&format!("{service}-{address}"));
    (RecordKey::new(service.clone(), id), Endpoint::new(address))
}

/// The addresses that serve, each with its service.
fn serving(slots: &[Slot]) -> BTreeSet<(SocketAddr, Name)> {
    slots
        .iter()
        .filter(|slot| slot.serves())
        .filter_map(|slot| Some((slot.address?, Name::from_text(&slot.backend))))
        .collect()
}

/// Nothing where what serves is the desired state.
fn difference(
    serving: &BTreeSet<(SocketAddr, Name)>,
    desired: &BTreeSet<(SocketAddr, Name)>,
) -> Result<(), String> {
    if serving == desired {
        return Ok(());
    }
    let missing: Vec<_> = desired.difference(serving).collect();
    let surplus: Vec<_> = serving.difference(desired).collect();
    Err(format!("missing are {missing:?}, too many are {surplus:?}"))
}

/// Looks again and again until `state` is right.
async fn wait<F>(what: &str, limit: Duration, state: impl Fn() -> F) -> Result<(), TestbedError>
where
    F: Future<Output = Result<(), String>>,
{
    let began = now();
    loop {
        let Err(state) = state().await else {
            return Ok(());
        };
        if now().saturating_duration_since(began) >= limit {
            return Err(TestbedError::Late {
                what: what.to_owned(),
                seconds: limit.as_secs(),
                state,
            });
        }
        sleep(Duration::from_millis(5)).await;
    }
}
