//! An engine's event, and what must be done about it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    api::lenient,
    container::{Stop, kept},
    pieces::Piece,
};

/// The events that the engine is asked for; all others would only fill its queue.
pub(crate) const CONTAINER_EVENTS: [&str; 10] = [
    "start",
    "die",
    "kill",
    "pause",
    "unpause",
    "health_status",
    "rename",
    "destroy",
    "connect",
    "disconnect",
];

/// An event and its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) action: String,
    /// The object; for a network's connections the container.
    pub(crate) id: String,
    /// Those that are kept: of more than are read of an object, few.
    pub(crate) attributes: BTreeMap<String, String>,
    /// If `true`, it had more attributes, and so the container more labels, than are kept.
    pub(crate) oversized: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Network,
    /// A Swarm service or node.
    Swarm,
    /// An event that cannot be read: what it was about must be listed.
    Unread,
}

/// The engine's message of an event, as far as it is read.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "Type", default, deserialize_with = "lenient")]
    kind: String,
    #[serde(rename = "Action", default)]
    action: Option<String>,
    #[serde(rename = "Actor", default, deserialize_with = "lenient")]
    actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
struct Actor {
    #[serde(rename = "ID", default, deserialize_with = "lenient")]
    id: String,
    #[serde(rename = "Attributes", default, deserialize_with = "lenient")]
    attributes: BTreeMap<String, String>,
}

/// The step that an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing.
    Nothing,
    /// Read the container again.
    Read,
    /// It was told to stop, or killed, and may still run.
    Leaves,
    /// It runs no more; read it again, because it may come back.
    Died,
    /// It is gone for good.
    Gone,
}

impl Event {
    /// Reads a line of the stream of events; none of an object that does not matter.
    pub(crate) fn read(line: Piece<'_>) -> Option<Self> {
        let message = match line {
            Piece::Whole(bytes) => serde_json::from_slice::<Message>(bytes).ok(),
            Piece::TooLarge(_) => None,
        };
        let Some(message) = message else {
            return Some(Self {
                kind: Kind::Unread,
                action: String::new(),
                id: String::new(),
                attributes: BTreeMap::new(),
                oversized: false,
            });
        };
        let (mut attributes, id) = (message.actor.attributes, message.actor.id);
        let (kind, id) = match message.kind.as_str() {
            "container" => (Kind::Container, id),
            "network" => (
                Kind::Network,
                attributes.remove("container").unwrap_or_default(),
            ),
            "service" | "node" => (Kind::Swarm, id),
            _ => return None,
        };
        let signal = attributes.remove_entry("signal");
        let (mut attributes, excess) = kept(attributes);
        attributes.extend(signal);
        Some(Self {
            kind,
            action: message.action?,
            id,
            attributes,
            oversized: excess.is_some(),
        })
    }

    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let bytes = self.attributes.iter();
        bytes.map(|(key, value)| key.len() + value.len() + 64).sum()
    }

    /// The step to take for the event. `known` is what is held of the container; `claimed` whether its labels, which
    /// stand among a container event's attributes, concern us.
    pub(crate) fn step(&self, known: Option<Option<Stop>>, claimed: bool) -> Step {
        match self.kind {
            Kind::Swarm | Kind::Unread => Step::Nothing,
            Kind::Network if known.is_some() => Step::Read,
            Kind::Network => Step::Nothing,
            Kind::Container => match self.action.as_str() {
                "start" if known.is_some() || claimed => Step::Read,
                _ if known.is_none() => Step::Nothing,
                "pause" | "unpause" | "rename" => Step::Read,
                "die" => Step::Died,
                "destroy" => Step::Gone,
                "kill" if self.stops(known.flatten()) => Step::Leaves,
                action if action.starts_with("health_status") => Step::Read,
                _ => Step::Nothing,
            },
        }
    }

    /// Returns `true` if the container is killed: its end is told a little later.
    pub(crate) fn kills(&self) -> bool {
        self.signal() == Some(SIGKILL)
    }

    /// Returns `true` if the signal of this event tells the container to stop. Others, such as HUP, do not.
    fn stops(&self, stop: Option<Stop>) -> bool {
        self.signal().is_some_and(|signal| {
            matches!(signal, SIGTERM | SIGKILL) || stop.is_some_and(|stop| signal == stop.signal)
        })
    }

    fn signal(&self) -> Option<i32> {
        self.attributes.get("signal")?.parse().ok()
    }
}

/// Events that are kept until they can be handled, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Early {
    pub(crate) events: Vec<Event>,
    size: usize,
}

impl Early {
    /// Returns `false` if there is no room for one more.
    pub(crate) fn keep(&mut self, event: Event) -> bool {
        self.size += event.size();
        let room = self.events.len() < MAX_EARLY && self.size <= MAX_EARLY_SIZE;
        if room {
            self.events.push(event);
        }
        room
    }
}

/// The most events kept while the first listing is under way, and the most bytes in them.
const MAX_EARLY: usize = 4096;
const MAX_EARLY_SIZE: usize = 8 << 20;

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, action: &str, signal: Option<&str>) -> Event {
        Event {
            kind,
            action: action.to_owned(),
            id: "a".to_owned(),
            attributes: signal
                .map(|signal| ("signal".to_owned(), signal.to_owned()))
                .into_iter()
                .collect(),
            oversized: false,
        }
    }

    #[test]
    fn each_event_asks_for_one_step() {
        let quit = Some(Stop {
            signal: 3,
            timeout: None,
        });
        let (container, network) = (Kind::Container, Kind::Network);
        for (kind, action, signal, known, claimed, step) in [
            (container, "start", None, None, true, Step::Read),
            (container, "start", None, None, false, Step::Nothing),
            (container, "die", None, Some(None), false, Step::Died),
            (container, "die", None, None, true, Step::Nothing),
            (container, "destroy", None, Some(None), true, Step::Gone),
            (
                container,
                "health_status: healthy",
                None,
                Some(None),
                true,
                Step::Read,
            ),
            (
                container,
                "kill",
                Some("15"),
                Some(None),
                true,
                Step::Leaves,
            ),
            (
                container,
                "kill",
                Some("15"),
                Some(quit),
                true,
                Step::Leaves,
            ),
            (container, "kill", Some("3"), Some(quit), true, Step::Leaves),
            (
                container,
                "kill",
                Some("3"),
                Some(None),
                true,
                Step::Nothing,
            ),
            (
                container,
                "kill",
                Some("1"),
                Some(quit),
                true,
                Step::Nothing,
            ),
            (container, "kill", Some("9"), Some(None), true, Step::Leaves),
            (container, "stop", None, Some(None), true, Step::Nothing),
            (network, "connect", None, Some(None), false, Step::Read),
            (network, "connect", None, None, false, Step::Nothing),
        ] {
            assert_eq!(
                event(kind, action, signal).step(known, claimed),
                step,
                "{action} {signal:?} {known:?}"
            );
        }
    }

    #[test]
    fn a_networks_event_is_about_its_container() {
        let line = r#"{"Type":"network","Action":"connect","Actor":{"ID":"net",
                "Attributes":{"container":"abc","name":"front","type":"bridge"}},"time":1,"timeNano":1}"#;
        let event = Event::read(Piece::Whole(line.as_bytes())).unwrap();
        assert_eq!((event.kind, event.id.as_str()), (Kind::Network, "abc"));
    }
}
