//! The program `lb-register`, as a module: registers an endpoint for as long as a command runs, or for as long as it
//! runs itself, or handles one event of a serf agent.

mod args;
mod program;

pub use args::{Args, InvalidArgs, USAGE, Work};
pub use program::{RegisterError, explain, main, run};
