//! etcd as a source of the lb load-balancer control plane, and leased registration.

#![forbid(unsafe_code)]
