//! Loopback addresses of one's own, so that testbeds beside each other never meet.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU32, Ordering},
};

/// A network of 254 loopback addresses. All of 127.0.0.0/8 is local on Linux, so nothing needs setting up.
#[derive(Debug)]
pub(super) struct Loopback {
    network: [u8; 3],
    next: u8,
    /// Keeps the network to this testbed: whoever wants it finds this port taken.
    _claim: TcpListener,
}

/// The port whose binding claims a network.
const CLAIM: u16 = 8087;
/// The port that servers and frontends use: below those that the system gives to clients.
const PORT: u16 = 8080;
/// The number of networks that are tried.
const TRIES: u32 = 1000;

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Loopback {
    /// A network that nobody uses.
    pub(super) fn claim() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..TRIES {
            let number = NEXT
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9e37)
                .wrapping_add(std::process::id().wrapping_mul(0x85eb));
            let [.., second, third] = number.to_be_bytes();
            // The first and last networks belong to others: 127.0.0.1 and resolvers live there.
            let network = [127, second.clamp(1, 254), third];
            match TcpListener::bind((host(network, 254), CLAIM)) {
                Ok(claim) => {
                    return Ok(Self {
                        network,
                        next: 0,
                        _claim: claim,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// An address that was not given before.
    pub(super) fn next(&mut self) -> io::Result<SocketAddr> {
        if self.next == 253 {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        self.next += 1;
        Ok(SocketAddr::new(host(self.network, self.next).into(), PORT))
    }
}

fn host(network: [u8; 3], number: u8) -> Ipv4Addr {
    let [first, second, third] = network;
    Ipv4Addr::new(first, second, third, number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_given_once() {
        let mut given = std::collections::BTreeSet::new();
        let mut networks: Vec<Loopback> = (0..5).map(|_| Loopback::claim().unwrap()).collect();
        for network in &mut networks {
            for _ in 0..253 {
                assert!(given.insert(network.next().unwrap()));
            }
            assert!(network.next().is_err());
        }
    }
}
