//! The edge: sockets, deadlines and the conversation with one process. Everything it says and understands is in
//! [`proto`](crate::proto).

mod address;
mod connection;
mod deadline;
mod error;
mod identify;
mod identity;
mod master;
mod reload;
mod siblings;
mod stream;
mod worker;

pub use address::{InvalidSocketAddress, SocketAddress};
pub use connection::{ClientConfig, Counters};
pub(crate) use deadline::Deadline;
pub(crate) use deadline::remaining;
pub use error::{ClientError, Interruption};
pub(crate) use identify::identify;
pub use identity::{SocketIdentity, socket_identity};
pub use master::MasterClient;
pub use reload::{ReloadError, Reloaded, reload};
pub(crate) use siblings::{
    ask_epoch, ask_sockets, is_another_process, is_same_process, other_sockets,
};
pub use worker::Client;
