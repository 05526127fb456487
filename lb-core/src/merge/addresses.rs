//! Which source an address belongs to, where not all sources trust each other.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
};

use super::{SourceId, Sources};
use crate::{
    model::Name,
    source::{Record, RecordKey},
};

/// An endpoint in effect: its source, and its service and name.
pub(super) type Holder = (SourceId, RecordKey);

/// The endpoints in effect by address. Empty while all sources trust each other.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    holders: HashMap<SocketAddr, Vec<(Holder, Arc<Record>)>>,
    touched: BTreeSet<SocketAddr>,
}

impl Addresses {
    pub(super) fn count(&mut self, source: SourceId, id: &Name, record: &Arc<Record>, add: bool) {
        let Some(endpoint) = &record.endpoint else {
            return;
        };
        let key = RecordKey::new(record.key.service.clone(), id.clone());
        let holder = (source, key);
        let holders = self.holders.entry(endpoint.address).or_default();
        match holders.binary_search_by(|(known, _)| known.cmp(&holder)) {
            Ok(place) if add => {
                if let Some(known) = holders.get_mut(place) {
                    known.1 = record.clone();
                }
            }
            Ok(place) => {
                // The same endpoint may have been set anew before its old form is taken back.
                if holders.get(place).is_some_and(|(_, known)| known == record) {
                    holders.remove(place);
                }
            }
            Err(place) if add => holders.insert(place, (holder, record.clone())),
            Err(_) => {}
        }
        if holders.is_empty() {
            self.holders.remove(&endpoint.address);
        }
        self.touched.insert(endpoint.address);
    }

    /// Looks at every address again.
    pub(super) fn touch_all(&mut self) {
        self.touched.extend(self.holders.keys());
    }

    /// The addresses whose holders have changed since the last call.
    pub(super) fn take_touched(&mut self) -> BTreeSet<SocketAddr> {
        std::mem::take(&mut self.touched)
    }

    /// The endpoints at an address, each with `true` if it is in effect: those of the earliest source, and of sources
    /// that it shares services with.
    pub(super) fn at<'a>(
        &'a self,
        address: SocketAddr,
        sources: &'a Sources,
    ) -> impl Iterator<Item = (&'a Holder, &'a Arc<Record>, bool)> {
        let holders = self.holders.get(&address);
        let holders = holders.map_or(&[][..], Vec::as_slice);
        let owner = holders.first().map(|((source, _), _)| *source);
        holders.iter().map(move |(holder, record)| {
            let serves = owner.is_some_and(|owner| sources.share(owner, holder.0));
            (holder, record, serves)
        })
    }
}
