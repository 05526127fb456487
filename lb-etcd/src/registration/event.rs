//! Writing what an event of serf means.

use super::{serf::SerfHandler, write};
use crate::{client::Connector, config::ConnectionConfig, error::EtcdError};

impl SerfHandler {
    /// Writes what an event sets and deletes, on any member of the cluster.
    ///
    /// # Errors
    /// [`EtcdError`] when no member could be told.
    pub async fn write(
        connection: ConnectionConfig,
        puts: &[(String, String)],
        deletes: &[String],
    ) -> Result<(), EtcdError> {
        let members = connection.endpoints.len();
        let mut connector = Connector::new(connection)?;
        // A transaction of its own for each: one may not touch a key twice, and etcd limits their number.
        let requests = puts
            .chunks(50)
            .map(|puts| write::put_and_delete(puts, &[]))
            .chain(
                deletes
                    .chunks(50)
                    .map(|deletes| write::put_and_delete(&[], deletes)),
            );
        let requests: Vec<_> = requests.collect();
        let mut attempt = 1;
        loop {
            let result = async {
                let session = connector.open().await?;
                for request in &requests {
                    session.txn(request.clone()).await?;
                }
                Ok(())
            };
            match result.await {
                Err(EtcdError::Call { .. } | EtcdError::Silent { .. }) if attempt < members => {
                    attempt += 1;
                    connector.distrust();
                }
                outcome => return outcome,
            }
        }
    }
}
