//! What in a haproxy.cfg breaks which guarantee.

use std::{collections::BTreeSet, ffi::c_char};

use lb_haproxy::{
    Policy,
    config::lint::{ConfigFile, Finding, LintOptions, lint},
};
use serde::{Deserialize, Serialize};

use super::{
    boundary::{enter, hand_out, place, text},
    plane::format,
    status::{Error, Failure, Status},
    text::Text,
};
use crate::spec::Format;

/// The facts that are known beside the text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Known {
    name: Option<String>,
    version: Option<String>,
    policy: Policy,
    open_files: Option<u64>,
    memory: Option<u64>,
    missing: BTreeSet<String>,
}

/// The result.
#[derive(Debug, Serialize)]
struct Linted {
    ok: bool,
    findings: Vec<Finding>,
}

impl Known {
    fn parse(text: &str) -> Result<Self, Failure> {
        match format(text) {
            _ if text.is_empty() => Ok(Self::default()),
            Format::Json => {
                serde_json::from_str(text).map_err(|error| Failure::invalid("options", error))
            }
            Format::Toml => {
                toml::from_str(text).map_err(|error| Failure::invalid("options", error.message()))
            }
        }
    }

    fn lint(self, config: &str) -> Result<Linted, Failure> {
        let version = self.version.as_deref().map(str::parse).transpose();
        let mut options = LintOptions::default();
        options.version = version.map_err(|error| Failure::invalid("version", error))?;
        options.policy = self.policy;
        options.open_files = self.open_files;
        options.memory = self.memory;
        options.missing = self.missing;
        let file = ConfigFile {
            name: self.name.as_deref().unwrap_or("haproxy.cfg"),
            text: config,
        };
        let findings = lint(&[file], &options);
        Ok(Linted {
            ok: findings.is_empty(),
            findings,
        })
    }
}

/// The lines of a haproxy.cfg that break a guarantee, as JSON: {"ok": …, "findings": [{"code": "socket-level",
/// "severity": "error" | "warning", "file", "line", "section", "guarantee", "message", "instead"}]}. Options, in TOML
/// or JSON, say what is known beside it, all of it optional, or nothing at all (NULL, 0): {"name": "haproxy.cfg",
/// "version": "2.6.12", "policy": {as for a target}, "open_files": 65536, "memory": bytes, "missing": [map files that
/// are not there]}. HAProxy is not asked and no file is read. A finding is no error: the status is LB_STATUS_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lb_config_lint(
    config: *const c_char,
    config_len: usize,
    options: *const c_char,
    options_len: usize,
    out: *mut *mut Text,
    err: *mut *mut Error,
) -> Status {
    enter(err, || {
        // SAFETY: the header's rules for texts.
        let config = unsafe { text(config, config_len, "config") }?;
        // SAFETY: the same.
        let options = unsafe { text(options, options_len, "options") }?;
        let out = place(out, "out")?;
        let linted = Known::parse(options)?.lint(config)?;
        let text = Text::json(&linted)?;
        // SAFETY: checked.
        unsafe { hand_out(out, text) };
        Ok(())
    })
}
