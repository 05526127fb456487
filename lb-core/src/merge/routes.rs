//! Which route takes the requests of a host and a path.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    SourceId, Sources,
    conflicts::{Conflict, Conflicts},
    count,
    floors::Floors,
};
use crate::{
    model::{
        Mode, Name, PathMatch, Rank, Route, RouteHost, SnapshotEdit, is_withheld, nowhere,
        withheld, withheld_tcp,
    },
    source::Record,
};

/// All routes that records in effect ask for. Routes that lead to HTTP and to TCP services live in different spaces,
/// whatever the record says of itself that asks for them. A withheld route leads to no service: it is in the space of its
/// record's service, and in that of the record where these differ, as it may be meant to protect either.
#[derive(Debug, Default)]
pub(super) struct Routes {
    hosts: BTreeMap<HostKey, Host>,
    dirty: BTreeSet<HostKey>,
    /// The number of claims of each priority.
    priorities: BTreeMap<i32, usize>,
    /// The number of records in effect that ask for each route, by the service that it leads to or, if it is withheld,
    /// was meant for.
    leading: BTreeMap<Name, BTreeMap<(RouteHost, Spot, Asks), usize>>,
    /// The modes of services, but for HTTP: also a service that there is not is one of HTTP.
    modes: BTreeMap<Name, Mode>,
    /// The number of places each route of the snapshot holds.
    shown: BTreeMap<Route, usize>,
    /// Some priority is not the one that its source asks for.
    lowered: bool,
}

pub(super) type HostKey = (Mode, RouteHost);

/// The source of a route, and where it leads.
type Asks = (SourceId, Leads);

/// A path of a host, a priority, and a place among the routes of a scheme.
pub(super) type Spot = (PathMatch, i32, Option<Rank>);

/// The place where a route applies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) mode: Mode,
    pub(super) priority: i32,
    pub(super) host: RouteHost,
    pub(super) path: PathMatch,
    pub(super) rank: Option<Rank>,
}

impl Place {
    fn spot(&self) -> Spot {
        (self.path.clone(), self.priority, self.rank.clone())
    }
}

/// All routes of one host.
#[derive(Debug, Default)]
struct Host {
    /// The number of records in effect that ask for each place, by source.
    claims: BTreeMap<Spot, BTreeMap<Asks, usize>>,
    /// Who has each place.
    winners: BTreeMap<Spot, Asks>,
    shown: BTreeMap<Spot, Route>,
    /// The places of which there is a conflict.
    told: BTreeSet<Conflict>,
}

/// The service of the requests of a place, and what is done with them before. Of one source's, the first counts: of one
/// service's, the one that redirects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leads {
    pub(super) service: Name,
    redirect_https: Reverse<bool>,
    strip_prefix: Reverse<bool>,
}

impl Routes {
    /// Counts the routes of a record that comes into effect, or no longer is.
    pub(super) fn count(&mut self, id: SourceId, record: &Record, add: bool) {
        for route in record.routes.iter() {
            let spot = (route.path.clone(), route.priority, route.rank.clone());
            let asks = (id, Leads::of(route));
            let is_withheld = is_withheld(&route.service);
            let service = match is_withheld {
                true => &record.key.service,
                false => &route.service,
            };
            let leading = self.leading.entry(service.clone()).or_default();
            let known = (route.host.clone(), spot.clone(), asks.clone());
            count(leading, known, add);
            if leading.is_empty() {
                self.leading.remove(service);
            }
            count(&mut self.priorities, route.priority, add);
            if is_withheld {
                let own = (record.mode, route.host.clone());
                self.claim(own, spot.clone(), asks.clone(), add);
            }
            let mode = self.mode(service);
            self.claim((mode, route.host.clone()), spot, asks, add);
        }
    }

    fn claim(&mut self, key: HostKey, spot: Spot, (id, leads): Asks, add: bool) {
        let asks = (id, leads.in_space(key.0));
        let host = self.hosts.entry(key.clone()).or_default();
        let claims = host.claims.entry(spot.clone()).or_default();
        count(claims, asks, add);
        if claims.is_empty() {
            host.claims.remove(&spot);
        }
        self.dirty.insert(key);
    }

    fn mode(&self, service: &Name) -> Mode {
        self.modes.get(service).copied().unwrap_or_default()
    }

    /// Updates the mode of a service, and with it the space of the routes that lead there.
    pub(super) fn set_mode(&mut self, service: &Name, mode: Option<Mode>) {
        let (before, mode) = (self.mode(service), mode.unwrap_or_default());
        if before == mode {
            return;
        }
        match mode == Mode::default() {
            true => self.modes.remove(service),
            false => self.modes.insert(service.clone(), mode),
        };
        let leading = self.leading.get(service).cloned().unwrap_or_default();
        for ((host, spot, asks), records) in leading {
            for _ in 0..records {
                self.claim((mode, host.clone()), spot.clone(), asks.clone(), true);
                self.claim((before, host.clone()), spot.clone(), asks.clone(), false);
            }
        }
    }

    /// A service belongs to other sources now: so may routes that lead there from elsewhere.
    pub(super) fn service_changed(&mut self, service: &Name) {
        let mode = self.mode(service);
        let leading = self.leading.get(service).into_iter().flatten();
        self.dirty
            .extend(leading.map(|((host, ..), _)| (mode, host.clone())));
    }

    /// Looks at every host again.
    pub(super) fn sources_changed(&mut self) {
        self.dirty.extend(self.hosts.keys().cloned());
    }

    /// The source and route that has a place.
    pub(super) fn winner(&self, place: &Place) -> Option<&(SourceId, Leads)> {
        let host = self.hosts.get(&(place.mode, place.host.clone()))?;
        host.winners.get(&place.spot())
    }

    /// Returns `true` if the requests of a place go where `route` leads.
    pub(super) fn leads(&self, place: &Place, route: &Route) -> bool {
        let winner = self.winner(place);
        winner.is_some_and(|(_, leads)| *leads == Leads::of(route).in_space(place.mode))
    }

    /// All that ask for a place, by precedence.
    pub(super) fn claims(&self, place: &Place) -> impl Iterator<Item = &(SourceId, Leads)> {
        let host = self.hosts.get(&(place.mode, place.host.clone()));
        let claims = host.and_then(|host| host.claims.get(&place.spot()));
        claims.into_iter().flat_map(BTreeMap::keys)
    }

    /// The priority at which the route of a place counts.
    pub(super) fn priority(&self, place: &Place) -> Option<i32> {
        let host = self.hosts.get(&(place.mode, place.host.clone()))?;
        host.shown.get(&place.spot()).map(|route| route.priority)
    }

    /// The route of another source that takes all requests of a place.
    pub(super) fn coverer(&self, place: &Place, sources: &Sources) -> Option<&(SourceId, Leads)> {
        let host = self.hosts.get(&(place.mode, place.host.clone()))?;
        let claims = host.claims.get(&place.spot())?;
        let (id, _) = claims.keys().next()?;
        host.winners
            .iter()
            .find(|((path, ..), (other, _))| {
                *other < *id
                    && !sources.share(*other, *id)
                    && covers(&place.host, path, &place.path)
            })
            .map(|(_, winner)| winner)
    }

    /// Brings the routes of the snapshot up to date.
    pub(super) fn finish(
        &mut self,
        sources: &Sources,
        owner: impl Fn(&Name) -> Option<SourceId>,
        conflicts: &mut Conflicts,
        edit: &mut SnapshotEdit,
    ) {
        let mut dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return;
        }
        for key in &dirty {
            if let Some(host) = self.hosts.get_mut(key) {
                host.decide(&key.1, sources, &owner);
            }
        }
        let floors = (sources.differ() && self.priorities.len() > 1).then(|| self.floors());
        if floors.is_some() || self.lowered {
            dirty.extend(self.hosts.keys().cloned());
        }
        self.lowered = false;
        // Adding before removing keeps a route in place that moves from one place to another.
        let mut gone = Vec::new();
        for key in &dirty {
            let Some(host) = self.hosts.get_mut(key) else {
                continue;
            };
            let (shown, told) = host.show(key, floors.as_ref(), sources);
            self.lowered |= shown.iter().any(|(spot, route)| spot.1 != route.priority);
            let before = std::mem::replace(&mut host.shown, shown);
            let told_before = std::mem::replace(&mut host.told, told);
            let host = &*host;
            conflicts.replace(&told_before, &host.told);
            let new: Vec<Route> = differing(&host.shown, &before).cloned().collect();
            gone.extend(differing(&before, &host.shown).cloned());
            if host.claims.is_empty() {
                self.hosts.remove(key);
            }
            for route in new {
                if count(&mut self.shown, route.clone(), true) == 1 {
                    edit.add_route(route);
                }
            }
        }
        for route in gone {
            if count(&mut self.shown, route.clone(), false) == 0 {
                edit.remove_route(&route);
            }
        }
    }

    fn floors(&self) -> Floors {
        let mut floors = Floors::default();
        for ((mode, host), routes) in &self.hosts {
            for ((_, priority, _), (id, leads)) in &routes.winners {
                // What serves nothing takes nothing from a later source either.
                if leads.service == nowhere() {
                    continue;
                }
                floors.add(*mode, host, *id, *priority);
            }
        }
        floors
    }
}

/// The routes that the other does not have at the same place.
fn differing<'a>(
    these: &'a BTreeMap<Spot, Route>,
    those: &'a BTreeMap<Spot, Route>,
) -> impl Iterator<Item = &'a Route> {
    these
        .iter()
        .filter(|(spot, route)| those.get(*spot) != Some(route))
        .map(|(_, route)| route)
}

/// Returns `true` if a route of an earlier source leaves one of a later source nothing: the same path, or for a single
/// host also a path that contains it. A wildcard and the routes of any host are what a more specific one stands out of.
fn covers(host: &RouteHost, earlier: &PathMatch, later: &PathMatch) -> bool {
    earlier == later || (matches!(host, RouteHost::Exact(_)) && earlier.contains(later))
}

/// The paths that cover a path of a host. `beginnings` are the lengths of those that may end inside a segment.
fn covering(host: &RouteHost, path: &PathMatch, beginnings: &BTreeSet<usize>) -> Vec<PathMatch> {
    let mut all = vec![path.clone()];
    if matches!(host, RouteHost::Exact(_)) {
        let text = path.text();
        let borders = text.match_indices('/').map(|(at, _)| at);
        let whole = (!matches!(path, PathMatch::Beginning(_))).then_some(text);
        let prefixes = borders.filter_map(|at| text.get(..at)).chain(whole);
        all.extend(
            prefixes
                .filter(|prefix| !prefix.is_empty())
                .map(|prefix| PathMatch::Prefix(prefix.into())),
        );
        let lengths = beginnings
            .iter()
            .take_while(|length| **length <= text.len());
        all.extend(
            lengths
                .filter_map(|length| text.get(..*length))
                .map(|beginning| PathMatch::Beginning(beginning.into())),
        );
        all.push(PathMatch::any());
    }
    all
}

impl Host {
    /// Decides who has each place. A place that an earlier source covers, which shares nothing with its own, has nobody.
    fn decide(
        &mut self,
        own: &RouteHost,
        sources: &Sources,
        owner: &impl Fn(&Name) -> Option<SourceId>,
    ) {
        let may_lead = |id: SourceId, leads: &Leads| {
            owner(&leads.service).is_none_or(|owner| id < owner || sources.share(owner, id))
        };
        let mut first: Vec<(&Spot, &(SourceId, Leads))> = self
            .claims
            .iter()
            .filter_map(|(spot, claims)| {
                let winner = claims.keys().find(|(id, leads)| may_lead(*id, leads))?;
                Some((spot, winner))
            })
            .collect();
        let mut winners = BTreeMap::new();
        if sources.differ() {
            first.sort_by_key(|(_, (id, _))| *id);
            let mut taken: BTreeMap<PathMatch, Vec<SourceId>> = BTreeMap::new();
            let mut beginnings: BTreeSet<usize> = BTreeSet::new();
            for (spot, winner) in first {
                let lost = covering(own, &spot.0, &beginnings).iter().any(|path| {
                    let takers = taken.get(path).into_iter().flatten();
                    takers
                        .into_iter()
                        .any(|taker| *taker != winner.0 && !sources.share(*taker, winner.0))
                });
                if lost {
                    continue;
                }
                if let PathMatch::Beginning(text) = &spot.0 {
                    beginnings.insert(text.len());
                }
                let takers = taken.entry(spot.0.clone()).or_default();
                if !takers.contains(&winner.0) {
                    takers.push(winner.0);
                }
                winners.insert(spot.clone(), winner.clone());
            }
        } else {
            let first = first.into_iter();
            winners.extend(first.map(|(spot, winner)| (spot.clone(), winner.clone())));
        }
        self.winners = winners;
    }

    /// The routes of the snapshot, and the places of which there is a conflict.
    fn show(
        &self,
        (mode, own): &HostKey,
        floors: Option<&Floors>,
        sources: &Sources,
    ) -> (BTreeMap<Spot, Route>, BTreeSet<Conflict>) {
        let mut shown: BTreeMap<Spot, Route> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for (spot, claims) in self.claims.iter().rev() {
            let (path, priority, rank) = spot;
            let place = Place {
                mode: *mode,
                priority: *priority,
                host: own.clone(),
                path: path.clone(),
                rank: rank.clone(),
            };
            let winner = self.winners.get(spot);
            if claims
                .keys()
                .any(|claim| winner.is_none_or(|(_, leads)| *leads != claim.1))
            {
                told.insert(Conflict::Route(place));
            } else if let Some((id, _)) = winner
                && lowest(floors, *mode, own, *id, sources).is_some_and(|floor| floor < *priority)
            {
                told.insert(Conflict::Priority(place));
            }
            let Some((id, leads)) = winner else {
                continue;
            };
            let floor = lowest(floors, *mode, own, *id, sources);
            let counts = floor.map_or(*priority, |floor| floor.min(*priority));
            // Of one path, the greater priority came first: another one that is lowered to the same counts no more.
            let mut same = shown
                .range((path.clone(), i32::MIN, None)..)
                .take_while(|((other, ..), _)| other == path);
            let is_same =
                |(spot, route): (&Spot, &Route)| spot.2 == *rank && route.priority == counts;
            if counts != *priority && same.any(is_same) {
                continue;
            }
            let mut route = leads.route(own, path, counts);
            // No rank of a source is compared with that of another one that it shares nothing with.
            route.rank = rank.clone().map(|rank| sources.ranked(*id, rank));
            shown.insert(spot.clone(), route);
        }
        (shown, told)
    }
}

fn lowest(
    floors: Option<&Floors>,
    mode: Mode,
    host: &RouteHost,
    id: SourceId,
    sources: &Sources,
) -> Option<i32> {
    floors?.lowest(mode, host, |other| other < id && !sources.share(other, id))
}

impl Leads {
    fn of(route: &Route) -> Self {
        Self {
            service: route.service.clone(),
            redirect_https: Reverse(route.redirect_https),
            strip_prefix: Reverse(route.strip_prefix),
        }
    }

    /// The same among the routes of this mode: what is withheld has a name for each.
    fn in_space(mut self, mode: Mode) -> Self {
        if is_withheld(&self.service) {
            self.service = match mode {
                Mode::Http => withheld(),
                Mode::Tcp => withheld_tcp(),
            };
        }
        self
    }

    fn route(&self, host: &RouteHost, path: &PathMatch, priority: i32) -> Route {
        Route::new(host.clone(), path.clone(), self.service.clone())
            .with_priority(priority)
            .with_redirect_https(self.redirect_https.0)
            .with_strip_prefix(self.strip_prefix.0)
    }
}

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)?;
        let options = [
            ("redirect_https", self.redirect_https.0),
            ("strip_prefix", self.strip_prefix.0),
        ];
        for (option, _) in options.iter().filter(|(_, set)| *set) {
            write!(f, " with {option}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_that_cover_one_are_those_that_contain_it() {
        let all: Vec<PathMatch> = [
            "/", "/a", "^/a", "^/a/", "=/a", "^/ab", "/ab", "/a/b", "^/a/b", "=/a/b", "^/a.b",
            "=/a.b",
        ]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
        let beginnings = all
            .iter()
            .filter(|path| matches!(path, PathMatch::Beginning(_)))
            .map(|path| path.text().len())
            .collect();
        for host in ["a.example", "*.example", "*"] {
            let host: RouteHost = host.parse().unwrap();
            for later in &all {
                let found = covering(&host, later, &beginnings);
                for earlier in &all {
                    let expected = covers(&host, earlier, later);
                    assert_eq!(
                        found.contains(earlier),
                        expected,
                        "{host}: {earlier}, {later}"
                    );
                }
            }
        }
    }
}
