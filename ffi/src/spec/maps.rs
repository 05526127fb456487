//! Compares the names of map files: what HAProxy looks up must be what the target's policy fills.

use std::path::Path;

use lb_core::Mode;
use lb_haproxy::{
    TargetConfig,
    config::lint::{ConfigFile, route_map_files},
};

use super::{document::Spec, haproxy::HaproxySpec, target::TargetSpec};

/// The most bytes of HAProxy's configuration that are read.
const MAX_FILE: u64 = 16 << 20;

/// A map that one side names otherwise than the other: the field, and what is wrong.
pub(super) type Mismatch = (String, String);

/// The maps of the table `haproxy`, and of the files of the targets, that no policy fills.
pub(super) fn mismatches(spec: &Spec) -> Vec<Mismatch> {
    let targets = || spec.targets.iter().enumerate();
    let mut found = Vec::new();
    if let Some(haproxy) = &spec.haproxy {
        for (index, TargetSpec::Haproxy(target)) in targets() {
            let same = target.socket.path() == Some(Path::new(&haproxy.socket.to_string()));
            if same || spec.targets.len() == 1 {
                found.extend(of_table(haproxy, index, target));
            }
        }
    }
    for (index, TargetSpec::Haproxy(target)) in targets() {
        found.extend(of_file(index, target));
    }
    found
}

/// The settings that the table `haproxy` would have HAProxy look up for this target.
fn of_table(haproxy: &HaproxySpec, index: usize, target: &TargetConfig) -> Vec<Mismatch> {
    let policy = &target.policy;
    let fronts = haproxy
        .frontends
        .iter()
        .enumerate()
        .filter_map(|(number, front)| {
            let (key, name) = match front.mode {
                Mode::Tcp => ("sni_map", &policy.sni_map),
                _ => ("route_map", &policy.route_map),
            };
            let field = format!("haproxy.frontends[{number}].route_map");
            Some((field, front.route_map.as_ref()?.to_string(), key, name))
        });
    let services = haproxy.service_map.as_ref().map(|map| {
        let field = "haproxy.service_map".to_owned();
        (field, map.to_string(), "service_map", &policy.service_map)
    });
    let all = fronts.chain(services);
    all.filter(|(_, file, _, name)| base(file) != name.as_str())
        .map(|(field, file, key, name)| {
            let message = format!(
                "is {file}, and targets[{index}].policy.{key} is {name:?}: nothing would fill it, expected one file name in both"
            );
            (field, message)
        })
        .collect()
}

/// The settings that the configuration that the target names looks up.
fn of_file(index: usize, target: &TargetConfig) -> Option<Mismatch> {
    let growth = target.growth.as_ref().map(|growth| &growth.config);
    let path = target.config_file.as_ref().or(growth)?;
    let bytes = lb_core::files::read(path, MAX_FILE).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let name = path.display().to_string();
    let files = route_map_files(&[ConfigFile {
        name: &name,
        text: &text,
    }]);
    let policy = &target.policy;
    let known = [&policy.route_map, &policy.sni_map, &policy.service_map];
    let is_known = |file: &&String| known.iter().all(|name| base(file) != name.as_str());
    let others: Vec<&str> = files.iter().filter(is_known).map(String::as_str).collect();
    (!others.is_empty()).then(|| {
        let message = format!(
            "{name} looks routes up in {}, and the policy fills {:?}, {:?} and {:?}: expected one file name in both",
            others.join(", "),
            policy.route_map,
            policy.sni_map,
            policy.service_map,
        );
        (format!("targets[{index}].policy.route_map"), message)
    })
}

/// A file's name without its folders.
fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}
