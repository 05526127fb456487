//! Registering an endpoint in etcd, under a lease that ends with it.

mod entry;
mod event;
mod gate;
mod health;
mod serf;
mod task;
mod write;

pub use entry::{Advert, Entry, Phase};
pub use health::{Health, Probe};
pub use serf::{InvalidSerf, Member, SerfEvent, SerfHandler};
pub use task::{Leave, Registration, RegistrationConfig, RegistrationStatus};
