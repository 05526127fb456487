//! How low the routes of earlier sources rank: no route of a later source counts as more.

use std::collections::{BTreeMap, HashMap};

use super::SourceId;
use crate::model::{Mode, RouteHost};

/// The lowest priority of each source's routes, by the hosts that they are for.
#[derive(Debug, Default)]
pub(super) struct Floors {
    by_host: HashMap<(Mode, Span), BTreeMap<SourceId, i32>>,
}

/// Hosts that one route can take.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Span {
    All,
    Below(Box<str>),
    One(Box<str>),
}

impl Floors {
    /// Adds a route in effect.
    pub(super) fn add(&mut self, mode: Mode, host: &RouteHost, source: SourceId, priority: i32) {
        let mut note = |span: Span| {
            let by_source = self.by_host.entry((mode, span)).or_default();
            let known = by_source.entry(source).or_insert(priority);
            *known = priority.min(*known);
        };
        note(Span::All);
        let domain = match host {
            RouteHost::Any => return,
            RouteHost::Exact(domain) => {
                note(Span::One(domain.as_ref().into()));
                domain
            }
            RouteHost::Wildcard(domain) => {
                note(Span::Below(domain.as_ref().into()));
                domain
            }
        };
        for (at, _) in domain.match_indices('.') {
            if let Some(parent) = domain.get(at + 1..) {
                note(Span::Below(parent.into()));
            }
        }
    }

    /// The lowest priority of those sources' routes for hosts that a route of this host takes.
    pub(super) fn lowest(
        &self,
        mode: Mode,
        host: &RouteHost,
        of: impl Fn(SourceId) -> bool,
    ) -> Option<i32> {
        let span = match host {
            RouteHost::Any => Span::All,
            RouteHost::Exact(domain) => Span::One(domain.as_ref().into()),
            RouteHost::Wildcard(domain) => Span::Below(domain.as_ref().into()),
        };
        let by_source = self.by_host.get(&(mode, span))?;
        let lowest = by_source.iter().filter(|(source, _)| of(**source));
        lowest.map(|(_, priority)| *priority).min()
    }
}
