//! `haproxy.cfg` out of a short description.

use std::ffi::c_char;

use super::{
    boundary::{enter, hand_out, place, text},
    plane::format,
    status::{Error, Failure, Status},
    text::Text,
};
use crate::spec::HaproxySpec;

fn render(desired: &str) -> Result<String, Failure> {
    let caused = |error: &dyn std::error::Error| Failure::caused(Status::InvalidArgument, error);
    let spec = HaproxySpec::parse(desired, format(desired)).map_err(|error| caused(&error))?;
    let version = spec
        .version
        .as_deref()
        .ok_or_else(|| Failure::invalid("version", "missing, expected such as \"2.6.12\""))?;
    let version = version
        .parse()
        .map_err(|error| Failure::invalid("version", error))?;
    spec.config(&version)
        .render(&version)
        .map_err(|error| caused(&error))
}

/// The text of a haproxy.cfg that has what the plane needs, out of a description in TOML or JSON: {"version": "2.6.12",
/// "socket": "/run/haproxy/admin.sock", "server_state_file": …, "service_map", "maxconn", "threads", "hard_stop_after",
/// "stats", "frontends": [{"name", "bind": "0.0.0.0:80", "tls": {"bind", "certificates", "list", "http2",
/// "only_tls13"}, "mode": "http" | "tcp", "default_backend", "route_map", "rate_limit": {"requests", "period"}}],
/// "backends": [{"name", "slots": 20, "slot_prefix", "mode", "balance": "roundrobin" | "leastconn" | "random" | "hash
/// source" | "hash uri" | "hash header NAME", "http_reuse", "server_header", "cookie": {"name", "key", "secure"},
/// "check": true | {"inter", "fall", "rise", "path", "host", "expect"}, "maxconn"}]}: the table `haproxy` of lb-agent's
/// configuration. Nothing is written to any file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_config_generate(
    desired: *const c_char,
    desired_len: usize,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for texts.
        let desired = unsafe { text(desired, desired_len, "desired") }?;
        let out = place(out, "out")?;
        let config = render(desired)?;
        // SAFETY: checked.
        unsafe { hand_out(out, Text::new(config)) };
        Ok(())
    })
}
