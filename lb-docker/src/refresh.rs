//! An engine's event, and what must be done about it.

use std::collections::HashMap;

use bollard::models::{EventMessage, EventMessageTypeEnum};

use crate::container::Stop;

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

/// What happened to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) kind: Kind,
    pub(crate) action: String,
    /// The object; for a network's connections the container.
    pub(crate) id: String,
    pub(crate) attributes: HashMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Container,
    Network,
    /// A Swarm service or node.
    Swarm,
}

/// What an event asks for.
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
    pub(crate) fn from_message(message: EventMessage) -> Option<Self> {
        let actor = message.actor.unwrap_or_default();
        let mut attributes = actor.attributes.unwrap_or_default();
        let id = actor.id.unwrap_or_default();
        let (kind, id) = match message.typ? {
            EventMessageTypeEnum::CONTAINER => (Kind::Container, id),
            EventMessageTypeEnum::NETWORK => (
                Kind::Network,
                attributes.remove("container").unwrap_or_default(),
            ),
            EventMessageTypeEnum::SERVICE | EventMessageTypeEnum::NODE => (Kind::Swarm, id),
            _ => return None,
        };
        Some(Self {
            kind,
            action: message.action?,
            id,
            attributes,
        })
    }

    /// What to do about it. `known` is what is held of the container; `claimed` whether its labels, which
    /// stand among a container event's attributes, concern us.
    pub(crate) fn step(&self, known: Option<Option<Stop>>, claimed: bool) -> Step {
        match self.kind {
            Kind::Swarm => Step::Nothing,
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

    /// Whether the container is killed: its end is told a little later.
    pub(crate) fn kills(&self) -> bool {
        self.signal() == Some(SIGKILL)
    }

    /// Whether the signal of this event tells the container to stop. Others, such as HUP, do not.
    fn stops(&self, stop: Option<Stop>) -> bool {
        self.signal().is_some_and(|signal| {
            matches!(signal, SIGTERM | SIGKILL) || stop.is_some_and(|stop| signal == stop.signal)
        })
    }

    fn signal(&self) -> Option<i32> {
        self.attributes.get("signal")?.parse().ok()
    }
}

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
        let message: EventMessage = serde_json::from_str(
            r#"{"Type":"network","Action":"connect","Actor":{"ID":"net",
                "Attributes":{"container":"abc","name":"front","type":"bridge"}},"time":1,"timeNano":1}"#,
        )
        .unwrap();
        let event = Event::from_message(message).unwrap();
        assert_eq!((event.kind, event.id.as_str()), (Kind::Network, "abc"));
    }
}
