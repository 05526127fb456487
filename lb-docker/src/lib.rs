//! Docker and Docker Swarm as sources of the lb load-balancer control plane.

#![forbid(unsafe_code)]
