//! The part of etcd's version 3 interface that lb uses, over gRPC.

mod call;
mod connector;
mod pulse;
mod release;
mod session;
#[expect(
    clippy::trivially_copy_pass_by_ref,
    unnameable_types,
    unreachable_pub,
    reason = "generated"
)]
pub(crate) mod wire;

pub(crate) use call::chain;
pub(crate) use connector::Connector;
pub(crate) use release::progress_is_ordered;
pub(crate) use session::{Session, Stream};
