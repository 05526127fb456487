//! Whether the endpoint serves: asked of its port, or told by the program.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};

use super::gate::Gate;

/// The check that admits an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Nothing: it is ready as soon as it is registered.
    Assumed,
    /// The program says it: [`Registration::report`](super::Registration::report).
    Reported,
    /// Its port takes connections.
    Tcp(Probe),
    /// A GET of this path is answered with a status of 200 to 399.
    Http {
        /// The probe.
        probe: Probe,
        /// The path to ask for.
        path: String,
    },
}

/// The probe of an endpoint's health.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// Whom to ask.
    pub address: SocketAddr,
    /// The time to wait between two probes. Default 2 s.
    pub interval: Duration,
    /// The time one probe may take. Default 1 s.
    pub timeout: Duration,
    /// The number of good probes in a row that make it ready. Default 1.
    pub rise: u32,
    /// The number of bad probes in a row that make it down. Default 3.
    pub fall: u32,
}

/// The most bytes of an answer that are read to find its status.
const MAX_STATUS_LINE: u64 = 512;

impl Probe {
    /// The defaults.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 3,
        }
    }
}

/// Probes for as long as somebody listens; `None` until it is known.
pub(super) async fn follow(health: Health, told: watch::Sender<Option<bool>>) {
    let (probe, path) = match health {
        Health::Assumed => {
            told.send_replace(Some(true));
            return;
        }
        Health::Reported => return,
        Health::Tcp(probe) => (probe, None),
        Health::Http { probe, path } => (probe, Some(path)),
    };
    let mut gate = Gate::new(probe.rise, probe.fall);
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = told.closed() => return,
        }
        let good = timeout(probe.timeout, ask(probe.address, path.as_deref()))
            .await
            .unwrap_or(false);
        let open = gate.probe(good);
        told.send_if_modified(|known| std::mem::replace(known, open) != open);
        // While nothing is known the endpoint is likely starting: it should not wait for its traffic.
        wait = if open.is_none() || open == Some(false) {
            (probe.interval / 8).max(Duration::from_millis(20))
        } else {
            probe.interval
        };
    }
}

async fn ask(address: SocketAddr, path: Option<&str>) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return false;
    };
    let Some(path) = path else {
        return true;
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nUser-Agent: lb\r\n\r\n"
    );
    if stream.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = Vec::new();
    let mut bounded = stream.take(MAX_STATUS_LINE);
    while !answer.contains(&b'\n') {
        match bounded.read_buf(&mut answer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
    }
    status(&answer).is_some_and(|status| (200..400).contains(&status))
}

/// The status in the first line of an HTTP answer.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let digits = rest.get(..3)?;
    version
        .starts_with("HTTP/1.")
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503 \r\n"), Some(503));
        for answer in [
            &b"HTTP/2 200\r\n"[..],
            b"",
            b"200 OK\r\n",
            b"HTTP/1.1 xx\r\n",
            b"HTTP/1.1\r\n",
        ] {
            assert_eq!(status(answer), None);
        }
    }
}
