//! The parts of the engine's answers that are read, and no more: a field or a state that a newer engine invents
//! disturbs nothing, and one object that cannot be read is told apart from the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

#[cfg(any(test, feature = "fuzzing"))]
use crate::pieces::{Elements, NoArray};
use crate::pieces::{MAX_OBJECT, Piece, id_in};

/// The objects that could be read, and the ids of the others with what is wrong with them.
pub(crate) type Listing<T> = (Vec<T>, Vec<(String, String)>);

/// Takes an object of a list in: what `wanted` makes of it, or why it cannot be read.
pub(crate) fn take_in<T: DeserializeOwned, K>(
    (read, unread): &mut Listing<K>,
    piece: Piece<'_>,
    wanted: &mut impl FnMut(T) -> Option<K>,
) {
    let (id, why) = match piece {
        Piece::Whole(bytes) => match serde_json::from_slice::<T>(bytes) {
            Ok(object) => return read.extend(wanted(object)),
            Err(error) => (id_in(bytes), error.to_string()),
        },
        Piece::TooLarge(beginning) => {
            let why = format!("it is larger than {MAX_OBJECT} bytes, expected no more");
            (id_in(beginning), why)
        }
    };
    if unread.len() < MAX_UNREAD {
        unread.push((id, why));
    }
}

/// The objects of a JSON list that can be read, and why the others cannot, each with its id where it has one.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn list<T: DeserializeOwned>(text: &[u8]) -> Result<Listing<T>, NoArray> {
    let mut elements = Elements::new(MAX_OBJECT);
    let mut listing = Listing::default();
    elements.feed(text, |piece| {
        take_in(&mut listing, piece, &mut Some);
    })?;
    elements.is_whole().then_some(listing).ok_or(NoArray)
}

/// The most objects that are named of those that cannot be read.
const MAX_UNREAD: usize = 1000;

/// `null` and absent are both the default.
pub(crate) fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    input: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// `GET /info`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Info {
    #[serde(rename = "ID", deserialize_with = "lenient")]
    pub(crate) id: String,
    #[serde(rename = "SystemTime", deserialize_with = "lenient")]
    pub(crate) system_time: String,
    #[serde(rename = "Swarm", deserialize_with = "lenient")]
    pub(crate) swarm: SwarmInfo,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct SwarmInfo {
    #[serde(rename = "NodeID", deserialize_with = "lenient")]
    pub(crate) node_id: String,
    #[serde(rename = "NodeAddr", deserialize_with = "lenient")]
    pub(crate) node_addr: String,
    #[serde(rename = "LocalNodeState", deserialize_with = "lenient")]
    pub(crate) local_node_state: String,
    #[serde(rename = "ControlAvailable", deserialize_with = "lenient")]
    pub(crate) control_available: bool,
    #[serde(rename = "Error", deserialize_with = "lenient")]
    pub(crate) error: String,
    #[serde(rename = "Cluster", deserialize_with = "lenient")]
    pub(crate) cluster: ClusterInfo,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ClusterInfo {
    #[serde(rename = "ID", deserialize_with = "lenient")]
    pub(crate) id: String,
}

/// One container of `GET /containers/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedContainer {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) names: Vec<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) ports: Vec<ListedPort>,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) state: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) health: Health,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) host_config: HostConfig,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedPort {
    #[serde(rename = "IP", default, deserialize_with = "lenient")]
    pub(crate) ip: String,
    #[serde(rename = "PrivatePort")]
    pub(crate) private_port: u16,
    #[serde(rename = "PublicPort", default)]
    pub(crate) public_port: Option<u16>,
    #[serde(rename = "Type", default, deserialize_with = "lenient")]
    pub(crate) protocol: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    #[serde(deserialize_with = "lenient")]
    pub(crate) network_mode: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NetworkSettings {
    #[serde(deserialize_with = "lenient")]
    pub(crate) networks: BTreeMap<String, Attachment>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) ports: BTreeMap<String, Option<Vec<Binding>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Attachment {
    #[serde(rename = "NetworkID", deserialize_with = "lenient")]
    pub(crate) network_id: String,
    #[serde(rename = "IPAddress", deserialize_with = "lenient")]
    pub(crate) ip_address: String,
    #[serde(rename = "GlobalIPv6Address", deserialize_with = "lenient")]
    pub(crate) ipv6_address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Binding {
    #[serde(deserialize_with = "lenient")]
    pub(crate) host_ip: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) host_port: String,
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct InspectedContainer {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) state: State,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) host_config: HostConfig,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) config: Config,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct State {
    #[serde(deserialize_with = "lenient")]
    pub(crate) status: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) health: Health,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Health {
    #[serde(deserialize_with = "lenient")]
    pub(crate) status: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Config {
    #[serde(deserialize_with = "lenient")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) stop_signal: String,
    pub(crate) stop_timeout: Option<i64>,
}

/// One network of `GET /networks`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedNetwork {
    pub(crate) id: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) driver: String,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) internal: bool,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) ingress: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_one_object_that_cannot_be_read_leaves_the_others() {
        let (read, unread) = list::<ListedContainer>(
            br#"[{"Id":"a","State":"levitating","Labels":null},{"Id":"b","Ports":3},{"Names":[]}]"#,
        )
        .unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].state, "levitating");
        let ids: Vec<_> = unread.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["b", "without id"]);
    }
}
