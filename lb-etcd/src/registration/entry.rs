//! What is written for a registered endpoint in each of its phases. Pure.

use std::{net::SocketAddr, time::Duration};

use lb_core::{Name, Weight};
use serde_json::{Map, Value};

/// One key of a registration, and its value in each phase.
///
/// Where a phase has no value, the key is absent in it: so a layout of plain addresses, which cannot say that an
/// endpoint drains, has it removed instead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its value while the endpoint serves.
    pub ready: String,
    /// Its value while the endpoint leaves.
    pub draining: Option<String>,
    /// Its value while the endpoint lives but does not serve.
    pub down: Option<String>,
}

/// The state of an endpoint in its registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Nothing yet: its health is not known.
    Unknown,
    /// It serves.
    Ready,
    /// It lives but its health check fails.
    Down,
    /// It leaves.
    Draining,
}

/// An endpoint in lb's own layout.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advert {
    /// The prefix of the layout's keys.
    pub prefix: String,
    /// The service.
    pub service: Name,
    /// The endpoint's name within it.
    pub id: Name,
    /// The address at which it serves.
    pub address: SocketAddr,
    /// Its weight.
    pub weight: Weight,
    /// The time requests in flight may take while it leaves.
    pub drain: Duration,
    /// For people and other programs; lb does not read it.
    pub metadata: Map<String, Value>,
}

impl Entry {
    /// A key that is there with one value while the endpoint serves, and absent otherwise.
    #[must_use]
    pub fn plain(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ready: value.into(),
            draining: None,
            down: None,
        }
    }

    /// The value in a phase; `None`: the key is absent.
    #[must_use]
    pub fn value(&self, phase: Phase) -> Option<&str> {
        match phase {
            Phase::Unknown => None,
            Phase::Ready => Some(&self.ready),
            Phase::Down => self.down.as_deref(),
            Phase::Draining => self.draining.as_deref(),
        }
    }
}

impl Advert {
    /// An endpoint of default weight below `/lb`.
    #[must_use]
    pub fn new(service: Name, id: Name, address: SocketAddr) -> Self {
        Self {
            prefix: "/lb".to_owned(),
            service,
            id,
            address,
            weight: Weight::default(),
            drain: Duration::ZERO,
            metadata: Map::new(),
        }
    }

    /// The endpoint's key with its values.
    ///
    /// ```
    /// use lb_etcd::registration::{Advert, Phase};
    ///
    /// let advert = Advert::new("web".parse()?, "web-1".parse()?, "192.0.2.7:80".parse()?);
    /// let entry = advert.entry();
    /// assert_eq!(entry.key, "/lb/endpoints/web/web-1");
    /// assert_eq!(entry.value(Phase::Down), Some(r#"{"address":"192.0.2.7:80","state":"down","weight":100}"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn entry(&self) -> Entry {
        let value = |state: &str| {
            let mut value = Map::new();
            value.insert("address".to_owned(), Value::from(self.address.to_string()));
            if state == "draining" && !self.drain.is_zero() {
                value.insert(
                    "grace".to_owned(),
                    Value::from(format!("{}ms", self.drain.as_millis())),
                );
            }
            if !self.metadata.is_empty() {
                value.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
            }
            value.insert("state".to_owned(), Value::from(state));
            value.insert("weight".to_owned(), Value::from(self.weight.get()));
            Value::Object(value).to_string()
        };
        let base = self.prefix.trim_end_matches('/');
        Entry {
            key: format!("{base}/endpoints/{}/{}", self.service, self.id),
            ready: value("ready"),
            draining: Some(value("draining")),
            down: Some(value("down")),
        }
    }
}

#[cfg(test)]
mod tests {
    use lb_core::EndpointState;

    use super::*;
    use crate::layout::{Change, Layout, LayoutConfig, View};

    /// The entries that a registration writes are read by the layout as they were meant.
    #[test]
    fn entries_are_read_as_they_were_meant() {
        let mut advert = Advert::new(
            "web".parse().unwrap(),
            "web-1".parse().unwrap(),
            "[2001:db8::7]:80".parse().unwrap(),
        );
        advert.weight = Weight::new(7).unwrap();
        advert.drain = Duration::from_millis(1500);
        advert.metadata.insert("zone".to_owned(), Value::from("a"));
        let entry = advert.entry();
        let mut view = View::new(Layout::new(&[LayoutConfig::default()]).unwrap());
        for (phase, state) in [
            (Phase::Ready, EndpointState::Ready),
            (Phase::Down, EndpointState::Down),
            (
                Phase::Draining,
                EndpointState::Draining {
                    grace: Some(Duration::from_millis(1500)),
                },
            ),
        ] {
            let step = view.apply([Change::put(entry.key.clone(), entry.value(phase).unwrap())]);
            assert_eq!(step.diagnostics, []);
            let endpoint = step.set[0].endpoint.as_ref().unwrap();
            assert_eq!(
                (endpoint.address, endpoint.weight, endpoint.state),
                (advert.address, advert.weight, state)
            );
        }
    }
}
