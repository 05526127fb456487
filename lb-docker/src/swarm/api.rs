//! The parts of the managers' answers that are read, in the same spirit as the engines'.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    api::lenient,
    budget::{Labelled, size},
    container::{Excess, few},
};

/// A Swarm object's place in the managers' log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Version {
    #[serde(deserialize_with = "lenient")]
    pub(crate) index: u64,
}

/// One service of `GET /services`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedService {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Spec", default, deserialize_with = "lenient")]
    pub(crate) spec: ServiceSpec,
    #[serde(rename = "Endpoint", default, deserialize_with = "lenient")]
    pub(crate) endpoint: ServiceEndpoint,
    #[serde(rename = "UpdateStatus", default, deserialize_with = "lenient")]
    pub(crate) update_status: UpdateStatus,
    /// If set, its labels were not kept.
    #[serde(skip)]
    pub(crate) excess: Option<Excess>,
}

impl Labelled for ListedService {
    fn label_size(&self) -> usize {
        size(
            self.spec
                .labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
    }

    fn drop_labels(&mut self) {
        let bytes = self.label_size();
        self.spec.labels = few(std::mem::take(&mut self.spec.labels));
        self.excess = Some(Excess::OfAll { bytes });
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ServiceSpec {
    #[serde(deserialize_with = "lenient")]
    pub(crate) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) mode: ServiceMode,
    #[serde(deserialize_with = "lenient")]
    pub(crate) endpoint_spec: EndpointSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EndpointSpec {
    #[serde(deserialize_with = "lenient")]
    pub(crate) mode: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ServiceMode {
    pub(crate) replicated: Option<Replicated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Replicated {
    #[serde(deserialize_with = "lenient")]
    pub(crate) replicas: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceEndpoint {
    #[serde(rename = "Ports", deserialize_with = "lenient")]
    pub(crate) ports: Vec<PortConfig>,
    #[serde(rename = "VirtualIPs", deserialize_with = "lenient")]
    pub(crate) virtual_ips: Vec<VirtualIp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PortConfig {
    #[serde(deserialize_with = "lenient")]
    pub(crate) protocol: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) target_port: u16,
    #[serde(deserialize_with = "lenient")]
    pub(crate) published_port: u16,
    #[serde(deserialize_with = "lenient")]
    pub(crate) publish_mode: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VirtualIp {
    #[serde(rename = "NetworkID", deserialize_with = "lenient")]
    pub(crate) network_id: String,
    #[serde(rename = "Addr", deserialize_with = "lenient")]
    pub(crate) addr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct UpdateStatus {
    #[serde(deserialize_with = "lenient")]
    pub(crate) state: String,
}

/// One task of `GET /tasks`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedTask {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Version", default, deserialize_with = "lenient")]
    pub(crate) version: Version,
    #[serde(rename = "ServiceID", default, deserialize_with = "lenient")]
    pub(crate) service_id: String,
    #[serde(rename = "Slot", default, deserialize_with = "lenient")]
    pub(crate) slot: u64,
    #[serde(rename = "NodeID", default, deserialize_with = "lenient")]
    pub(crate) node_id: String,
    #[serde(rename = "Spec", default, deserialize_with = "lenient")]
    pub(crate) spec: TaskSpec,
    #[serde(rename = "Status", default, deserialize_with = "lenient")]
    pub(crate) status: TaskStatus,
    #[serde(rename = "DesiredState", default, deserialize_with = "lenient")]
    pub(crate) desired_state: String,
    #[serde(rename = "NetworksAttachments", default, deserialize_with = "lenient")]
    pub(crate) attachments: Vec<TaskAttachment>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TaskSpec {
    #[serde(deserialize_with = "lenient")]
    pub(crate) container_spec: ContainerSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContainerSpec {
    /// Nanoseconds.
    pub(crate) stop_grace_period: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TaskStatus {
    #[serde(deserialize_with = "lenient")]
    pub(crate) state: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) container_status: ContainerStatus,
    #[serde(deserialize_with = "lenient")]
    pub(crate) port_status: PortStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerStatus {
    #[serde(rename = "ContainerID", deserialize_with = "lenient")]
    pub(crate) container_id: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PortStatus {
    #[serde(deserialize_with = "lenient")]
    pub(crate) ports: Vec<PortConfig>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct TaskAttachment {
    #[serde(deserialize_with = "lenient")]
    pub(crate) network: TaskNetwork,
    #[serde(deserialize_with = "lenient")]
    pub(crate) addresses: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TaskNetwork {
    #[serde(rename = "ID", deserialize_with = "lenient")]
    pub(crate) id: String,
    #[serde(rename = "Spec", deserialize_with = "lenient")]
    pub(crate) spec: NetworkSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NetworkSpec {
    #[serde(deserialize_with = "lenient")]
    pub(crate) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) ingress: bool,
    #[serde(deserialize_with = "lenient")]
    pub(crate) internal: bool,
    #[serde(deserialize_with = "lenient")]
    pub(crate) driver_configuration: DriverConfiguration,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct DriverConfiguration {
    #[serde(deserialize_with = "lenient")]
    pub(crate) name: String,
}

/// One node of `GET /nodes`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ListedNode {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Spec", default, deserialize_with = "lenient")]
    pub(crate) spec: NodeSpec,
    #[serde(rename = "Status", default, deserialize_with = "lenient")]
    pub(crate) status: NodeStatus,
    #[serde(rename = "ManagerStatus", default, deserialize_with = "lenient")]
    pub(crate) manager_status: ManagerStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NodeSpec {
    #[serde(deserialize_with = "lenient")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) availability: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct NodeStatus {
    #[serde(deserialize_with = "lenient")]
    pub(crate) state: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) addr: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ManagerStatus {
    #[serde(deserialize_with = "lenient")]
    pub(crate) addr: String,
}
