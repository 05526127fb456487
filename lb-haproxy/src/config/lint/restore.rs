//! What a reload would forget. Pure.

use super::{
    document::{ConfigFile, Document, Kind},
    proxy::Proxy,
};
use crate::policy::Policy;

/// A backend whose slots a reload of this configuration would not give their addresses back, and why.
///
/// Each backend is read with the `defaults` that it starts from, named with `from` or not.
pub(crate) fn forgets(text: &str, policy: &Policy) -> Option<(String, &'static str)> {
    let file = ConfigFile { name: "", text };
    let document = Document::parse(&[file]);
    let state_file = document
        .global()
        .any(|line| line.word(0) == "server-state-file");
    let sections = document.sections.iter();
    for section in sections.filter(|its| matches!(its.kind, Kind::Backend | Kind::Listen)) {
        let proxy = Proxy::of(&document, section, policy);
        let astray = document.chain(section).iter().any(|its| its.astray);
        for slot in proxy.slots() {
            let loads = proxy.last(&["load-server-state-from-file"]);
            let first = slot.settings.get("init-addr").map(|ways| ways.split(','));
            let last_first = first.and_then(|mut ways| ways.next()) == Some("last");
            let why = if astray {
                "the defaults that it starts from are not in the configuration"
            } else if !state_file {
                "`global` has no server-state-file"
            } else if loads.map(|line| line.word(1)) != Some("global") {
                "it has no load-server-state-from-file global"
            } else if slot.is_literal() || !last_first {
                "HAProxy restores an address only to slots written `slot.invalid:1 disabled init-addr last,127.0.0.1`"
            } else {
                continue;
            };
            return Some((section.name.clone(), why));
        }
    }
    None
}
