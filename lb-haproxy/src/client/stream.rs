//! One byte stream, whichever kind of socket it is.

use std::io;

use tokio::{
    io::{Interest, Ready},
    net::{TcpStream, UnixStream},
};

use super::SocketAddress;

#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    #[cfg(feature = "simulator")]
    Simulated(crate::simulator::Wire),
}

impl Stream {
    pub(super) async fn connect(address: &SocketAddress) -> io::Result<Self> {
        match address {
            SocketAddress::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            #[cfg(feature = "simulator")]
            SocketAddress::Unix(path) if let Some(wire) = crate::simulator::connect(path) => {
                Ok(Self::Simulated(wire?))
            }
            SocketAddress::Unix(path) => Ok(Self::Unix(UnixStream::connect(path).await?)),
        }
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
            #[cfg(feature = "simulator")]
            Self::Simulated(wire) => Ok(wire.ready(interest).await),
        }
    }

    /// `None` when it would block.
    pub(super) fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        unblocked(match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
            #[cfg(feature = "simulator")]
            Self::Simulated(wire) => return Ok(wire.try_read(buffer)),
        })
    }

    /// `None` when it would block.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        unblocked(match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            #[cfg(feature = "simulator")]
            Self::Simulated(wire) => wire.try_write(bytes),
        })
    }
}

fn unblocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
