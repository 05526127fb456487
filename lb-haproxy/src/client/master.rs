//! A client of the master's socket.

use super::{ClientConfig, ClientError, SocketAddress, connection::Connection};
use crate::proto::{Command, Dialect, Processes, Reply};

/// One conversation with a master process (`haproxy -W -S SOCKET`).
#[derive(Debug)]
pub struct MasterClient {
    connection: Connection,
}

impl MasterClient {
    /// Connects and switches to prompt mode.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn connect(
        address: &SocketAddress,
        mut config: ClientConfig,
    ) -> Result<Self, ClientError> {
        config.session.dialect = Dialect::Master;
        let mut connection = Connection::open(address, config).await?;
        connection.introduce(&[Command::ShowProc]).await?;
        Ok(Self { connection })
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// As for [`Client::exec`](super::Client::exec).
    pub async fn exec(&mut self, command: &Command) -> Result<Reply, ClientError> {
        let results = self
            .connection
            .exec_all(std::slice::from_ref(command))
            .await;
        results
            .into_iter()
            .next()
            .unwrap_or(Err(ClientError::Ended))
    }

    /// The master's processes.
    ///
    /// # Errors
    /// As for [`exec`](Self::exec), and [`ClientError::Unreadable`].
    pub async fn processes(&mut self) -> Result<Processes, ClientError> {
        let reply = self.exec(&Command::ShowProc).await?;
        Processes::parse(reply.text()).map_err(|source| ClientError::Unreadable {
            address: self.connection.address().clone(),
            source,
        })
    }
}
