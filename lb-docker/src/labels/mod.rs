//! What labels ask for. One file for each scheme; each turns one object's labels into wishes and says what it
//! could not understand or honour. Pure.

mod docker_flow;
mod easy_haproxy;
mod own;
mod reader;
mod schemes;
#[cfg(test)]
mod tests;
mod traefik;
mod traefik_rule;
mod virtual_host;
mod wish;

pub(crate) use own::routes as parse_routes;
pub(crate) use reader::Complaints;
pub(crate) use schemes::{claims, wishes};
pub(crate) use wish::{Subject, Wish, Wishes};
