//! What must hold after every line and every change in HAProxy, whoever caused it.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use lb_core::{EndpointState, PathMatch};
use lb_haproxy::{
    observed::is_parked,
    proto::AdminState,
    simulator::{AgentWord, Moment, Simulator},
};

use crate::{
    scene::{ADMISSION, Service},
    world::{Sight, Trigger, World},
};

/// The time for which a reply is under way unless something delays it on purpose.
const REPLY: Duration = Duration::from_millis(80);

impl World {
    /// Called after everything that may have changed HAProxy; false: `lb` is killed here.
    pub(crate) fn after(&mut self, sim: &mut Simulator, now: Duration, moment: Moment<'_>) -> bool {
        if let Moment::Line(line) = moment {
            self.counts.lines += 1;
            self.note(now, format_args!("> {line}"));
            self.before_line(sim, now, line);
        }
        if let Moment::Stale(line) = moment {
            self.note(now, format_args!("to an old worker > {line}"));
        }
        self.look(sim, now, matches!(moment, Moment::Line(_)));
        self.follow_routes(sim, now, matches!(moment, Moment::Line(_)));
        if let Moment::Read(backend) = moment {
            let place = backend.map(|name| self.scene.backends.iter().position(|at| at == name));
            for sight in &mut self.sights {
                if place.is_none() {
                    sight.known = sight.tainted && now >= sight.tainted_until;
                }
                if place.is_none_or(|place| place == Some(sight.place)) {
                    sight.told = Some((now, sight.serves));
                }
            }
        }
        if self.between && matches!(moment, Moment::Line(_)) && self.random.chance(300) {
            let service = self.random.below(self.scene.services.len() as u64) as usize;
            self.request(sim, now, service);
        }
        let Moment::Line(_) = moment else {
            return self.lb_lives;
        };
        match &mut self.armed {
            Some((0, trigger)) => {
                let trigger = *trigger;
                self.armed = None;
                match trigger {
                    Trigger::Kill => {
                        self.note(now, format_args!("lb is killed"));
                        self.counts.kills += 1;
                        self.lb_lives = false;
                        self.killed.notify_one();
                    }
                    Trigger::Reload => self.reload(sim, now, true),
                    Trigger::Restart => self.reload(sim, now, false),
                }
            }
            Some((lines, _)) => *lines -= 1,
            None => {}
        }
        self.lb_lives
    }

    /// I12: no line of `lb` takes a route away that is desired and leads where it should.
    fn follow_routes(&mut self, sim: &Simulator, now: Duration, ours: bool) {
        let scene = self.scene.clone();
        for (at, service) in scene.services.iter().enumerate() {
            let led = crate::routes::lookup(sim, &service.host, "/").map(str::to_owned);
            let before = std::mem::replace(&mut self.led[at], led.clone());
            let leads_there = |led: &Option<String>| {
                let place = scene
                    .backends
                    .iter()
                    .position(|at| led.as_ref() == Some(at));
                place.is_some_and(|place| self.service_of(sim, place) == Some(at))
            };
            self.rightly_led[at] |= !self.ceded[at] && leads_there(&led);
            if !ours || before.is_none() || before == led {
                continue;
            }
            let wanted = self.desired.as_ref().is_some_and(|desired| {
                let mut routes = desired.routes();
                routes.any(|route| {
                    route.service == service.name
                        && String::from(route.host.clone()) == service.host
                        && route.path == PathMatch::any()
                })
            });
            let right = scene
                .backends
                .iter()
                .position(|backend| before.as_ref() == Some(backend))
                .is_some_and(|place| self.service_of(sim, place) == Some(at));
            if wanted && right && !self.gave_way() {
                self.broken(
                    now,
                    format_args!(
                        "I12: {} is led to {led:?} for a moment, and to {before:?} before",
                        service.host
                    ),
                );
            }
        }
    }

    /// A new worker, with what the files hold where there are any.
    pub(crate) fn reload(&mut self, sim: &mut Simulator, now: Duration, seamless: bool) {
        let state = self.scene.restores.then(|| sim.state_file()).flatten();
        self.keep_maps(sim);
        self.note(
            now,
            format_args!(
                "HAProxy {} (state {})",
                if seamless { "reloads" } else { "restarts" },
                state.is_some()
            ),
        );
        if seamless {
            self.counts.reloads += 1;
            sim.reload(state.as_deref());
        } else {
            self.counts.restarts += 1;
            sim.restart(state.as_deref());
        }
        self.look(sim, now, false);
    }

    /// The map files are as the maps, where they are kept at all.
    pub(crate) fn keep_maps(&self, sim: &mut Simulator) {
        let restores = self.scene.restores;
        let files: Vec<String> = sim
            .config_mut()
            .maps
            .iter()
            .map(|map| map.file.clone())
            .collect();
        for (at, file) in files.iter().enumerate() {
            let entries: Vec<(String, String)> = sim
                .map_entries(file)
                .filter(|_| restores)
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            sim.config_mut().maps[at].entries = entries;
        }
    }

    /// Takes HAProxy as it is, whatever it was: somebody else has changed it.
    pub(crate) fn rebase(&mut self, sim: &Simulator, now: Duration) {
        self.follow_routes(sim, now, false);
        let fresh = self.see(sim, now, false);
        let old = std::mem::replace(&mut self.sights, fresh);
        for at in 0..self.sights.len() {
            let Some(old) = same_of(&old, &self.sights[at], at) else {
                continue;
            };
            let sight = &mut self.sights[at];
            if old.address != sight.address
                || old.admin != sight.admin
                || old.weight != sight.weight
                || old.serves != sight.serves
            {
                sight.tainted = true;
                sight.known = false;
            }
        }
    }

    fn see(&mut self, sim: &Simulator, now: Duration, ours: bool) -> Vec<Sight> {
        let looked_at = std::mem::replace(&mut self.looked_at, now);
        let same = self.worker == sim.newest();
        sim.servers()
            .enumerate()
            .map(|(at, server)| {
                let is = |old: &&Sight| old.place == server.place && old.name == server.name;
                let old = self
                    .sights
                    .get(at)
                    .filter(is)
                    .or_else(|| self.sights.iter().find(is));
                // What somebody changed outlives a worker whose successor is given its state.
                let tainting = old.filter(|old| old.tainted && (same || self.scene.restores));
                let old = old.filter(|_| same);
                let since = old
                    .filter(|old| old.address == server.address && old.admin == server.admin)
                    .map_or(now, |old| old.since);
                let maybe_since = match old.filter(|old| old.since == since) {
                    Some(old) => old.maybe_since,
                    // An agent may have changed it at any time since the last look.
                    None if !ours && self.scene.agents => looked_at,
                    None => now,
                };
                Sight {
                    place: server.place,
                    name: server.name.to_owned(),
                    address: server.address,
                    admin: server.admin,
                    weight: server.weight,
                    checked: server.checked,
                    vouched: server.vouched,
                    serves: server.takes_requests,
                    sessions: server.sessions,
                    agent: server.agent,
                    since,
                    maybe_since,
                    tainted: tainting.is_some(),
                    tainted_until: tainting.map_or(Duration::ZERO, |old| old.tainted_until),
                    known: tainting.is_some_and(|old| old.known && same),
                    closed_since: match old {
                        _ if server.admin == AdminState::Ready => None,
                        Some(old) if old.address == server.address => {
                            old.closed_since.or(Some(now))
                        }
                        _ => Some(now),
                    },
                    adopted: old
                        .is_some_and(|old| old.since == since && (old.adopted || old.tainted)),
                    used: server.admin != AdminState::Maint
                        || old.is_some_and(|old| old.used && old.address == server.address),
                    told: old.and_then(|old| old.told),
                    let_in_at: match old {
                        Some(old) if ours && is_made_ready(old, server.admin) => Some(now),
                        Some(old) if old.address == server.address => old.let_in_at,
                        _ => None,
                    },
                    marked_down_at: old
                        .and_then(|old| old.marked_down_at)
                        .filter(|at| *at >= since),
                    served: server.takes_requests
                        || old.is_some_and(|old| old.served && old.since == since),
                }
            })
            .collect()
    }

    /// The addresses of each exclusive service that can get traffic or have some.
    fn primaries(&self, sim: &Simulator, sights: &[Sight]) -> Vec<BTreeSet<SocketAddr>> {
        let mut all = vec![BTreeSet::new(); self.scene.services.len()];
        for sight in sights {
            let service = self.service_of(sim, sight.place);
            let Some(service) = service.filter(|at| self.scene.services[*at].is_exclusive()) else {
                continue;
            };
            // What another client opened is not known before it is read, and a reply may be under way for long.
            let unread = sight.tainted && !sight.known;
            let open = !unread && (sight.admin != AdminState::Maint || sight.sessions > 0);
            if let Some(address) = sight.address.filter(|at| !is_parked(*at) && open) {
                all[service].insert(address);
            }
        }
        all
    }

    /// No line gives an exclusive service a second endpoint.
    fn judge_exclusive(&mut self, sim: &Simulator, now: Duration, old: &[Sight]) {
        if !self.scene.services.iter().any(Service::is_exclusive) {
            return;
        }
        let before = self.primaries(sim, old);
        let after = self.primaries(sim, &self.sights);
        for (at, primaries) in after.iter().enumerate() {
            let came = primaries.difference(&before[at]).next();
            let name = self.scene.services[at].name.clone();
            // What an empty listing left to the tenant is as exclusive as the tenant says.
            let desired = self.desired.as_ref().and_then(|all| all.service(&name));
            let is_tenants =
                self.gave_way() && desired.is_some_and(|service| !service.is_exclusive());
            if let Some(came) = came
                && primaries.len() > 1
                && !is_tenants
            {
                self.broken(
                    now,
                    format_args!("P6: {came} enters {name}, which has {:?}", before[at]),
                );
            }
        }
    }

    /// Compares what is with what was. `ours`: a line of `lb` made the difference.
    pub(crate) fn look(&mut self, sim: &Simulator, now: Duration, ours: bool) {
        let fresh = self.see(sim, now, ours);
        if sim.newest().is_none() {
            // What somebody changed may come back with the next one.
            self.worker = None;
            return;
        }
        if self.worker != sim.newest() || fresh.len() < self.sights.len() {
            self.follow_routes(sim, now, false);
            self.note_theirs(sim);
            self.worker = sim.newest();
            self.worker_since = now;
            self.sights = fresh;
            return;
        }
        let old = std::mem::replace(&mut self.sights, fresh);
        for at in 0..self.sights.len() {
            let sight = self.sights[at].clone();
            let Some(before) = same_of(&old, &sight, at) else {
                continue;
            };
            let shown = |sight: &Sight| (sight.address, sight.admin, sight.weight);
            if self.scene.others == Some(sight.place) {
                if ours && shown(before) != shown(&sight) {
                    self.broken(
                        now,
                        format_args!("P7: {} is another owner's and changed", self.title(&sight)),
                    );
                }
                continue;
            }
            if sight.is_fixed() {
                if ours && shown(before) != shown(&sight) {
                    self.broken(
                        now,
                        format_args!("P8: {} is no slot and changed", self.title(&sight)),
                    );
                }
                continue;
            }
            if ours && before.is_held() && sight.admin == AdminState::Ready {
                self.broken(
                    now,
                    format_args!(
                        "I9: {} is made ready although its agent said {:?}",
                        self.title(&sight),
                        before.agent
                    ),
                );
            }
            if !sight.tainted {
                if ours {
                    self.judge(sim, now, before, &sight);
                } else if before.address != sight.address && sight.admin == AdminState::Ready {
                    self.broken(
                        now,
                        format_args!(
                            "I1: {} is ready while its address becomes {:?}",
                            self.title(&sight),
                            sight.address
                        ),
                    );
                }
            }
            let over = sight.known && now >= sight.tainted_until;
            self.sights[at].tainted &= !over || !self.is_right(sim, &sight);
        }
        if ours {
            self.judge_owners(sim, now);
            self.judge_exclusive(sim, now, &old);
            self.judge_services(sim, now, &old);
        }
    }

    pub(crate) fn title(&self, sight: &Sight) -> String {
        format!("{}/{}", self.scene.backends[sight.place], sight.name)
    }

    /// Returns `true` if nothing is wrong about a server that another client changed.
    fn is_right(&self, sim: &Simulator, sight: &Sight) -> bool {
        let Some(address) = sight.address else {
            return false;
        };
        let desired_here = self
            .service_of(sim, sight.place)
            .and_then(|service| self.desired_at(service, address));
        match (sight.admin, desired_here) {
            (AdminState::Maint, _) => is_parked(address),
            (AdminState::Ready, Some((state, weight))) => {
                state.is_ready() && weight == sight.weight && (!sight.checked || sight.vouched)
            }
            _ => false,
        }
    }

    /// One server that a line of `lb` changed.
    fn judge(&mut self, sim: &Simulator, now: Duration, before: &Sight, sight: &Sight) {
        let Some(address) = sight.address else {
            return;
        };
        let service = self.service_of(sim, sight.place);
        let desired_here = match self.tenant_of(sim, sight.place) {
            Some(tenants) => self.tenants_desired(&tenants, address),
            None => service.and_then(|service| self.desired_at(service, address)),
        };
        let title = self.title(sight);
        if before.admin != AdminState::Ready && sight.admin == AdminState::Ready {
            if !desired_here.is_some_and(|(state, _)| state.is_ready()) {
                self.broken(
                    now,
                    format_args!(
                        "I9: {title} is made ready at {address}, which is desired to be {desired_here:?}"
                    ),
                );
            }
            self.enters(sim, now, sight, address);
        }
        if self.tenant_of(sim, sight.place).is_some() || self.gave_way() {
            // How the tenant's own service is served is not looked at, nor how it leaves one that it had for a while.
            return;
        }
        if !before.serves && sight.serves && sight.checked && !sight.vouched {
            self.broken(
                now,
                format_args!("I9: {title} is let in at {address} before its check has looked"),
            );
        }
        let leaves_ready = before.admin == AdminState::Ready && before.address == sight.address;
        let dead = desired_here.is_some_and(|(state, _)| {
            matches!(state, EndpointState::Down | EndpointState::Pending)
        });
        let exclusive = service.is_some_and(|at| self.scene.services[at].is_exclusive());
        // Its agent had drained it when it was read last, and may have let it in again since: nobody is told of that.
        let by_agent = self.scene.agents && now < before.since + self.scene.policy.resync;
        if leaves_ready
            && sight.admin == AdminState::Maint
            && !dead
            && !by_agent
            && !is_parked(address)
            && !exclusive
        {
            self.broken(
                now,
                format_args!(
                    "I8: {title} at {address} goes to maintenance without a drain, desired {desired_here:?}"
                ),
            );
        }
        if leaves_ready && sight.admin == AdminState::Drain && dead {
            self.broken(
                now,
                format_args!(
                    "I8: {title} at {address} is drained although it is desired {desired_here:?}"
                ),
            );
        }
        if before.serves && !sight.serves && before.address == sight.address {
            // A second server of an endpoint by somebody else's hand is none that it needs.
            let elsewhere = self.sights.iter().any(|other| {
                let has_it = other.place == sight.place && other.address == Some(address);
                let is_its_own = before.adopted && other.name != sight.name;
                has_it && (other.serves || (is_its_own && other.admin == AdminState::Ready))
            });
            // Of two that were found serving only one goes on.
            let gives_way = exclusive
                && self.sights.iter().any(|other| {
                    other.place == sight.place
                        && other.address != sight.address
                        && other.admin != AdminState::Maint
                });
            // An endpoint where slots are parked is refused, whatever serves there.
            if desired_here.is_some_and(|(state, weight)| state.is_ready() && weight > 0)
                && !is_parked(address)
                && !elsewhere
                && !gives_way
            {
                self.broken(
                    now,
                    format_args!(
                        "I5: {title} at {address} is taken out though it is desired ready"
                    ),
                );
            }
            let partial = self
                .desired
                .as_ref()
                .is_none_or(|desired| desired.is_partial());
            if partial
                && desired_here.is_none()
                && !elsewhere
                && !self.is_contested(service, address)
            {
                self.broken(
                    now,
                    format_args!(
                        "I2: {title} at {address} is taken out while a source is not heard"
                    ),
                );
            }
        }
    }

    /// An address enters a service: it must have left every other that does not want it.
    fn enters(&mut self, sim: &Simulator, now: Duration, sight: &Sight, address: SocketAddr) {
        let others: Vec<Sight> = self
            .sights
            .iter()
            .filter(|other| {
                other.place != sight.place && other.address == Some(address) && !other.tainted
            })
            .filter(|other| !other.is_fixed())
            .cloned()
            .map(|other| Sight {
                sessions: sessions(sim, &other),
                ..other
            })
            .filter(|other| other.admin != AdminState::Maint || other.sessions > 0)
            .collect();
        for other in others {
            let desired_here = match self.tenant_of(sim, other.place) {
                Some(tenants) => self.tenants_desired(&tenants, address),
                None => self
                    .service_of(sim, other.place)
                    .and_then(|service| self.desired_at(service, address)),
            };
            // Desired there but not to serve, it may be there in maintenance.
            let wanted = desired_here
                .is_some_and(|(state, _)| state.is_ready() || other.admin == AdminState::Maint);
            if !wanted {
                let (title, holder) = (self.title(sight), self.title(&other));
                self.broken(
                    now,
                    format_args!("I1: {title} serves {address} before it has left {holder} ({:?}, {} sessions)", other.admin, other.sessions),
                );
            }
        }
    }

    /// Returns `true` if another service wants an address.
    fn is_contested(&self, service: Option<usize>, address: SocketAddr) -> bool {
        let own = service.map(|at| &self.scene.services[at].name);
        self.desired.as_ref().is_some_and(|desired| {
            let mut others = desired.services().filter(|(name, _)| Some(*name) != own);
            others.any(|(_, known)| {
                let mut endpoints = known.endpoints();
                endpoints.any(|(_, endpoint)| endpoint.address == address)
            })
        })
    }

    /// I12: no line leaves a service without a server that stays or could have been let in.
    fn judge_services(&mut self, sim: &Simulator, now: Duration, old: &[Sight]) {
        for place in 0..self.scene.backends.len() {
            let serving = |sights: &[Sight]| {
                sights
                    .iter()
                    .filter(|sight| sight.place == place && sight.serves)
                    .count()
            };
            if serving(old) == 0 || serving(&self.sights) > 0 {
                continue;
            }
            if old
                .iter()
                .chain(&self.sights)
                .any(|sight| sight.place == place && sight.tainted)
            {
                continue;
            }
            let Some(service) = self.service_of(sim, place) else {
                continue;
            };
            if self.scene.services[service].is_exclusive() {
                // It breaks before it makes.
                continue;
            }
            let left: Vec<SocketAddr> = old
                .iter()
                .filter(|sight| sight.place == place && sight.serves)
                .filter_map(|sight| sight.address)
                .collect();
            let excused = left.iter().any(|address| {
                let dead = self
                    .desired_at(service, *address)
                    .is_some_and(|(state, weight)| {
                        matches!(state, EndpointState::Down | EndpointState::Pending) || weight == 0
                    });
                let late = self
                    .unwanted
                    .get(&(service, *address))
                    .is_some_and(|since| now + Duration::from_millis(20) >= *since + ADMISSION);
                dead || late || self.is_contested(Some(service), *address)
            });
            let another = self.scene.pool.iter().copied().find(|address| {
                let ready = self
                    .desired_at(service, *address)
                    .is_some_and(|(state, weight)| state.is_ready() && weight > 0);
                let own = || {
                    let here = |sight: &&Sight| sight.place == place;
                    let usable = |sight: &&Sight| !sight.is_fixed() && !sight.is_held();
                    self.sights.iter().filter(here).filter(usable)
                };
                let has_it = |sight: &&Sight| sight.address == Some(*address);
                let rests = |sight: &Sight| sight.admin == AdminState::Maint;
                // One that was let in and does not pass its check is waited for no longer than so.
                let enters = |sight: &Sight| {
                    let since = sight.marked_down_at.unwrap_or(sight.since);
                    !sight.served && now + Duration::from_millis(20) < since + ADMISSION
                };
                let possible = match own().find(|sight| has_it(sight) && !rests(sight)) {
                    Some(_) => own()
                        .filter(has_it)
                        .any(|sight| !rests(sight) && enters(sight)),
                    None => own()
                        .filter(|sight| rests(sight))
                        .any(|sight| has_it(&sight) || sight.address.is_some_and(is_parked)),
                };
                // Its agent would take it out at once.
                let kept_out = self.scene.agents
                    && matches!(
                        self.words.get(address),
                        Some(AgentWord::Drain | AgentWord::Maint)
                    );
                let held = self.sights.iter().any(|sight| {
                    // Half of a weight of 1 is none, and what an agent weighs stays as it says. A worker that begins with
                    // what the last one saved has the weight that an agent may have given to that one.
                    let may_be_agents =
                        sight.agent.is_some() || self.scene.agents && self.scene.restores;
                    let weighed_out = may_be_agents && sight.weight == 0;
                    let is_at_it = sight.place == place && sight.address == Some(*address);
                    is_at_it && (sight.is_held() || weighed_out)
                });
                // It may not enter while another service's server still leads to it.
                let elsewhere = self.sights.iter().any(|sight| {
                    sight.place != place && sight.address == Some(*address) && !rests(sight)
                });
                let free = !held && !kept_out && !elsewhere;
                ready && free && !left.contains(address) && possible
            });
            // Nobody can know that a check failed while the reply that told of it was under way.
            let deceived = self.sights.iter().any(|sight| {
                let wanted = sight.admin == AdminState::Ready
                    && sight.address.is_some_and(|address| {
                        let desired_here = self.desired_at(service, address);
                        desired_here.is_some_and(|(state, weight)| state.is_ready() && weight > 0)
                    });
                let told_so = sight
                    .told
                    .is_some_and(|(at, served)| served && now <= at + REPLY);
                sight.place == place && wanted && told_so
            });
            if let Some(another) = another
                && !excused
                && !deceived
            {
                let backend = self.scene.backends[place].clone();
                self.broken(
                    now,
                    format_args!(
                        "I12: {backend} is left without a server while {another} could be let in"
                    ),
                );
            }
        }
    }
}

fn is_made_ready(before: &Sight, admin: AdminState) -> bool {
    before.admin != AdminState::Ready && admin == AdminState::Ready
}

/// The number of requests a server has now.
pub(crate) fn sessions(sim: &Simulator, sight: &Sight) -> usize {
    sim.servers()
        .find(|server| server.place == sight.place && server.name == sight.name)
        .map_or(0, |server| server.sessions)
}

/// The same server in another look, most likely at the same place.
fn same_of<'s>(all: &'s [Sight], sight: &Sight, at: usize) -> Option<&'s Sight> {
    let is = |other: &&Sight| other.place == sight.place && other.name == sight.name;
    all.get(at).filter(is).or_else(|| all.iter().find(is))
}
