//! Ports of loopback for the servers that tests start.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Range,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below those that Linux hands out by itself.
const PORTS: Range<u32> = 10_000..32_768;
/// Two processes that were started one after the other begin so far from each other.
const APART: u32 = 97;

static GIVEN: AtomicU32 = AtomicU32::new(0);

/// A port of 127.0.0.1 that nobody listens on, for a server that can only be told its port. Given once in a process.
///
/// The system gives it to nobody by itself: until the server is there, or while it is away for a moment, no connection
/// of anybody else takes it by chance.
///
/// # Errors
/// The last one, where no port can be listened on.
///
/// ```
/// let address = lb_core::testkit::free_port()?;
/// let server = std::net::TcpListener::bind(address)?;
/// # std::io::Result::Ok(())
/// ```
pub fn free_port() -> io::Result<SocketAddr> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in PORTS {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        let place = process::id().wrapping_mul(APART).wrapping_add(given);
        let port = PORTS.start + place % (PORTS.end - PORTS.start);
        let Ok(port) = u16::try_from(port) else {
            continue;
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_port_is_given_once_and_never_by_the_system() {
        let given: BTreeSet<u16> = (0..100).map(|_| free_port().unwrap().port()).collect();
        assert_eq!(given.len(), 100);
        let by_the_system = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        if let Ok(range) = by_the_system {
            let first: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
            assert!(given.iter().all(|port| *port < first), "{range}: {given:?}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let free = free_port().unwrap();
        let next = SocketAddr::from((Ipv4Addr::LOCALHOST, free.port() + 1));
        let _taken = TcpListener::bind(next);
        assert_ne!(free_port().unwrap(), next);
    }
}
