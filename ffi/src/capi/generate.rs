//! `haproxy.cfg` out of a short description.

use std::{ffi::c_char, net::SocketAddr, path::PathBuf};

use lb_core::{Mode, Name};
use lb_haproxy::config::{Backend, Balance, Bind, Check, Config, ConfigPath, Frontend, Slots};
use serde::Deserialize;

use super::{
    boundary::{enter, hand_out, place, text},
    plane::format,
    status::{Error, Failure, Status},
    text::Text,
};
use crate::spec::Format;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    version: String,
    socket: String,
    #[serde(default)]
    server_state_file: Option<String>,
    #[serde(default)]
    frontends: Vec<FrontendWish>,
    #[serde(default)]
    backends: Vec<BackendWish>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FrontendWish {
    name: Name,
    bind: SocketAddr,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    default_backend: Option<Name>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendWish {
    name: Name,
    slots: u32,
    #[serde(default = "slot")]
    slot_prefix: Name,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    balance: BalanceWish,
    #[serde(default)]
    check: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BalanceWish {
    Leastconn,
    Random,
    #[default]
    Roundrobin,
}

fn slot() -> Name {
    Name::from_text("slot")
}

fn path(what: &str, text: &str) -> Result<ConfigPath, Failure> {
    PathBuf::from(text)
        .to_str()
        .unwrap_or_default()
        .parse()
        .map_err(|error| Failure::invalid(what, error))
}

impl Wish {
    fn parse(text: &str) -> Result<Self, Failure> {
        match format(text) {
            Format::Json => {
                serde_json::from_str(text).map_err(|error| Failure::invalid("wish", error))
            }
            Format::Toml => {
                toml::from_str(text).map_err(|error| Failure::invalid("wish", error.message()))
            }
        }
    }

    fn render(self) -> Result<String, Failure> {
        let version = self
            .version
            .parse()
            .map_err(|error| Failure::invalid("version", error))?;
        let mut config = Config::new(path("socket", &self.socket)?);
        if let Some(file) = &self.server_state_file {
            config.global.server_state_file = Some(path("server_state_file", file)?);
        }
        for wish in self.frontends {
            let mut frontend = Frontend::new(wish.name, Bind::Tcp(wish.bind));
            frontend.mode = wish.mode;
            frontend.default_backend = wish.default_backend;
            config.frontends.push(frontend);
        }
        for wish in self.backends {
            let mut slots = Slots::new(wish.slot_prefix, wish.slots);
            slots.check = wish.check.then(Check::default);
            let mut backend = Backend::new(wish.name, slots);
            backend.mode = wish.mode;
            backend.balance = match wish.balance {
                BalanceWish::Leastconn => Balance::LeastConn,
                BalanceWish::Random => Balance::Random,
                BalanceWish::Roundrobin => Balance::RoundRobin,
            };
            config.backends.push(backend);
        }
        config
            .render(&version)
            .map_err(|error| Failure::caused(Status::InvalidArgument, &error))
    }
}

/// The text of a haproxy.cfg that has what the plane needs, out of a description in TOML or JSON: {"version": "2.6.12",
/// "socket": "/run/haproxy/admin.sock", "server_state_file": …, "frontends": [{"name", "bind": "0.0.0.0:80", "mode":
/// "http" | "tcp", "default_backend"}], "backends": [{"name", "slots": 20, "slot_prefix", "mode", "balance":
/// "roundrobin" | "leastconn" | "random", "check": true}]}. Nothing is written to any file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_config_generate(
    wish: *const c_char,
    wish_len: usize,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for texts.
        let wish = unsafe { text(wish, wish_len, "wish") }?;
        let out = place(out, "out")?;
        let config = Wish::parse(wish)?.render()?;
        // SAFETY: checked.
        unsafe { hand_out(out, Text::new(config)) };
        Ok(())
    })
}
