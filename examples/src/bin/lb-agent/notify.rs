//! Tells the service manager how the agent is doing: systemd's `Type=notify`.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(crate) struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// The way that the environment names.
    pub(crate) fn from_env() -> Self {
        let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
            return Self(None);
        };
        match Self::to(&path) {
            Ok(way) => Self(Some(way)),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET={path:?} cannot be used: {error}");
                Self(None)
            }
        }
    }

    fn to(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
        let address = match path.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok((socket, address))
    }

    /// Says something, such as `READY=1`. Nobody listening is no failure.
    pub(crate) fn say(&self, what: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(what.as_bytes(), address)
        {
            tracing::debug!("the service manager was not told {what:?}: {error}");
        }
    }
}

/// The interval of signs of life that the service manager wants, if it does: half of what it allows.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    let for_us = match std::env::var("WATCHDOG_PID") {
        Ok(pid) => pid == std::process::id().to_string(),
        Err(_) => true,
    };
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && micros > 0).then(|| Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_arrives_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("lb-agent-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (text, listener) in [
            (path.as_os_str(), &at_path),
            (OsStr::new(&format!("@{name}")), &at_name),
        ] {
            Notifier(Some(Notifier::to(text).unwrap())).say("READY=1");
            let mut buffer = [0; 64];
            let length = listener.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
        Notifier(None).say("READY=1");
    }
}
