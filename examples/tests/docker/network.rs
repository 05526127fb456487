//! A network of an engine that the test's own processes reach.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU8, Ordering},
};

use crate::support::engine::{Engine, run};

/// A network of 29 addresses: they are used again soon.
pub(crate) struct Reachable {
    first: u8,
}

/// The name of the network.
pub(crate) const NETWORK: &str = "few";
const ADDRESSES: u8 = 32;

impl Reachable {
    /// Makes it, with the way there. It goes with the engine.
    pub(crate) fn new(engine: &Engine) -> Self {
        let [_, near] = engine.link(None);
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let first = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(ADDRESSES);
        let network = Self { first };
        let subnet = format!("{}/27", network.address(0));
        engine.docker(&["network", "create", "--subnet", &subnet, NETWORK]);
        // It goes with the link.
        run("ip", &["route", "add", &subnet, "via", &near]);
        let inside = format!("--net=/run/netns/{}", engine.netns);
        let open = ["iptables", "-I", "DOCKER-USER", "-j", "ACCEPT"];
        run("nsenter", &[&[inside.as_str()], open.as_slice()].concat());
        network
    }

    /// All its addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        (0..ADDRESSES).map(|host| self.address(host))
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        let third = std::process::id().to_be_bytes()[3];
        Ipv4Addr::new(198, 19, third, self.first + host)
    }
}
