//! A client of one worker's admin socket.

use super::{ClientConfig, ClientError, Counters, SocketAddress, connection::Connection};
use crate::proto::{Command, Dialect, Epoch, Info, Reply};

/// One conversation with one HAProxy process.
///
/// It belongs to that process for as long as it lasts, also after a reload, when the process is on its way out:
/// compare [`epoch`](Self::epoch). After an error that [`is_unknown`](ClientError::is_unknown), or after a call
/// was dropped half-way, it is [unusable](Self::is_usable).
///
/// ```no_run
/// use lb_haproxy::{Client, ClientConfig, proto::{Command, ServersState}};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = "/run/haproxy/admin.sock".parse()?;
/// let mut client = Client::connect(&socket, ClientConfig::default()).await?;
/// let reply = client.exec(&Command::ShowServersState(None)).await?;
/// for row in ServersState::parse(reply.text())?.rows {
///     println!("{} {:?} {:?}", row.server_ref(), row.socket_addr(), row.op);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    info: Info,
}

impl Client {
    /// Connects, switches to prompt mode, and reads what the process is and allows.
    ///
    /// # Errors
    /// [`ClientError`]; above all [`ClientError::Level`] for a socket without `level admin` and
    /// [`ClientError::Processes`] for one of several processes.
    pub async fn connect(
        address: &SocketAddress,
        mut config: ClientConfig,
    ) -> Result<Self, ClientError> {
        config.session.dialect = Dialect::Worker;
        let mut connection = Connection::open(address, config).await?;
        let mut replies = connection
            .introduce(&[Command::ShowCliLevel, Command::ShowInfo])
            .await?
            .into_iter();
        let (Some(level), Some(info)) = (replies.next(), replies.next()) else {
            return Err(ClientError::Ended);
        };
        if level.text() != "admin" {
            return Err(ClientError::level(address, &level));
        }
        let info = Info::parse(info.text()).map_err(|source| ClientError::Unreadable {
            address: address.clone(),
            source,
        })?;
        if info.nbproc != 1 {
            return Err(ClientError::Processes {
                address: address.clone(),
                found: info.nbproc,
            });
        }
        Ok(Self { connection, info })
    }

    /// The process's information on itself when the connection was made.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The identity of the process.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.info.epoch()
    }

    /// The address of its socket.
    #[must_use]
    pub fn address(&self) -> &SocketAddress {
        self.connection.address()
    }

    /// The counters of this connection.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.connection.counters()
    }

    /// Returns `true` if another command can be sent.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.connection.is_usable()
    }

    /// Sends one command and waits for its reply. A refusal is a reply, too: see
    /// [`verdict`](crate::proto::verdict).
    ///
    /// # Errors
    /// [`ClientError::Unknown`] where no reply came, [`ClientError::Refused`] or [`ClientError::Ended`] where
    /// nothing was sent.
    pub async fn exec(&mut self, command: &Command) -> Result<Reply, ClientError> {
        let results = self.exec_all(std::slice::from_ref(command)).await;
        results
            .into_iter()
            .next()
            .unwrap_or(Err(ClientError::Ended))
    }

    /// Sends commands without waiting in between and reads at the same time; one result for each, in order.
    ///
    /// HAProxy executes them in order, whatever came of those before. Where the conversation ends half-way, the
    /// commands without a reply have [`ClientError::Unknown`] and those that were never sent
    /// [`ClientError::NotSent`]. If one cannot be written, none is sent. Dropping the future half-way makes the
    /// client unusable.
    pub async fn exec_all(&mut self, commands: &[Command]) -> Vec<Result<Reply, ClientError>> {
        self.connection.exec_all(commands).await
    }

    /// Resolves when the process ends the idle connection. It can be dropped and asked for again.
    pub async fn closed(&mut self) {
        self.connection.closed().await;
    }
}
