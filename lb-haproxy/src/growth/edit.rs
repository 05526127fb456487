//! Edits a configuration so that it has what is needed.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::{Mode, Name};

use super::{
    BackendNeed, GrowthConfig, Need,
    section::{Section, sections, text, words},
};
use crate::{config::lint::forgets, policy::Policy};

/// A configuration that has what was needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grown {
    /// Its text.
    pub text: String,
    /// Backends with more slots than HAProxy has now, and which slots those are.
    pub slots: BTreeMap<Name, NewSlots>,
    /// Spare backends that the text has and HAProxy has not.
    pub backends: Vec<Name>,
    /// Needs that the bounds, or the configuration, do not allow to be met.
    pub left: Vec<CannotGrow>,
}

/// Slots that a backend gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSlots {
    /// The prefix of their names, before the number.
    pub prefix: String,
    /// The number of the first.
    pub first: u32,
    /// The number of the last.
    pub last: u32,
}

/// Why a configuration cannot be made to have what is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotGrow {
    /// It has as many as the bounds allow.
    #[error("backend {backend} has {slots} slots, {most} are the most that growth is allowed")]
    AtMostSlots {
        /// The backend.
        backend: Name,
        /// The number of its slots.
        slots: u32,
        /// The bound.
        most: u32,
    },
    /// There are as many spare backends as the bounds allow.
    #[error("there are {backends} backends {prefix}…, as many as growth is allowed")]
    AtMostBackends {
        /// The prefix of their names.
        prefix: String,
        /// The number of backends.
        backends: u32,
    },
    /// The configuration has no such backend: another file may.
    #[error("the configuration has no backend {backend}")]
    NoBackend {
        /// The backend.
        backend: Name,
    },
    /// The backend has no line of slots that can be made longer.
    #[error(
        "backend {backend} has no line `server-template {prefix} 1-N … disabled` to make longer"
    )]
    NoTemplate {
        /// The backend.
        backend: Name,
        /// The prefix of its slots' names.
        prefix: String,
    },
    /// There is no spare backend to make another one like it.
    #[error("the configuration has no backend {prefix}1 to make more like it")]
    NoSpare {
        /// The prefix of their names.
        prefix: String,
    },
    /// A reload would lose the addresses in a backend's slots, and requests with them.
    #[error("a reload would lose the addresses of backend {backend}: {why}")]
    Forgets {
        /// The backend.
        backend: String,
        /// The part that is missing.
        why: &'static str,
    },
}

/// Edits `config` so that it has what is needed, as far as the bounds allow. What need not change stays as it is,
/// to the byte.
///
/// # Errors
/// [`CannotGrow::Forgets`] where a reload of this configuration would lose requests.
pub fn grow(
    config: &str,
    need: &Need,
    bounds: &GrowthConfig,
    policy: &Policy,
) -> Result<Grown, CannotGrow> {
    // Every backend with slots must get their addresses back from the state file: each loses them at the reload, not only
    // the one that grows.
    if let Some((backend, why)) = forgets(config, policy) {
        return Err(CannotGrow::Forgets { backend, why });
    }
    let mut edit = Edit {
        sections: sections(config),
        bounds,
        policy,
        slots: BTreeMap::new(),
        backends: Vec::new(),
        left: Vec::new(),
    };
    for (backend, need) in &need.slots {
        if let Err(why) = edit.more_slots(backend, *need) {
            edit.left.push(why);
        }
    }
    for (mode, prefix) in [
        (Mode::Http, &policy.spare_http),
        (Mode::Tcp, &policy.spare_tcp),
    ] {
        let count = need.backends.values().filter(|its| **its == mode).count();
        if count > 0
            && let Err(why) = edit.more_backends(prefix, u32::try_from(count).unwrap_or(u32::MAX))
        {
            edit.left.push(why);
        }
    }
    for (backend, (mode, servers)) in &need.made {
        if let Err(why) = edit.keep(backend, *mode, *servers) {
            edit.left.push(why);
        }
    }
    let text = match edit.changed(config) {
        true => text(&edit.sections),
        false => config.to_owned(),
    };
    Ok(Grown {
        text,
        slots: edit.slots,
        backends: edit.backends,
        left: edit.left,
    })
}

struct Edit<'a> {
    sections: Vec<Section>,
    bounds: &'a GrowthConfig,
    policy: &'a Policy,
    slots: BTreeMap<Name, NewSlots>,
    backends: Vec<Name>,
    left: Vec<CannotGrow>,
}

/// A line of slots: `server-template PREFIX 1-N ADDRESS … disabled …`.
struct Template {
    /// Its place in its section.
    at: usize,
    prefix: String,
    count: u32,
    range: String,
}

impl Edit<'_> {
    fn changed(&self, before: &str) -> bool {
        sections(before) != self.sections
    }

    fn more_slots(&mut self, backend: &Name, need: BackendNeed) -> Result<(), CannotGrow> {
        let (bounds, policy) = (self.bounds, self.policy);
        let section = self
            .sections
            .iter_mut()
            .find(|section| section.is_backend() && section.name == backend.as_str())
            .ok_or_else(|| CannotGrow::NoBackend {
                backend: backend.clone(),
            })?;
        let template = template(section).ok_or_else(|| CannotGrow::NoTemplate {
            backend: backend.clone(),
            prefix: policy.slot_prefix.clone(),
        })?;
        // What HAProxy has, not what the file has: the file may have grown before a reload that failed.
        let has = need.slots.min(template.count);
        let asked = need.slots.saturating_add(need.short);
        let most = bounds.most_slots.max(has);
        let count = larger(need.slots, bounds.grow_by)
            .max(asked)
            .min(most)
            .max(template.count);
        if count <= need.slots {
            return Err(CannotGrow::AtMostSlots {
                backend: backend.clone(),
                slots: need.slots,
                most: bounds.most_slots,
            });
        }
        if count < asked {
            self.left.push(CannotGrow::AtMostSlots {
                backend: backend.clone(),
                slots: need.slots,
                most: bounds.most_slots,
            });
        }
        if count > template.count
            && let Some(line) = section.lines.get_mut(template.at)
        {
            *line = with_range(line, &template.range, count);
        }
        self.slots.insert(
            backend.clone(),
            NewSlots {
                prefix: template.prefix,
                first: has + 1,
                last: count,
            },
        );
        Ok(())
    }

    /// The place of the last spare backend of a mode.
    fn spare(&self, prefix: &str) -> Result<usize, CannotGrow> {
        let is_spare = |section: &Section| {
            let number = section.name.strip_prefix(prefix);
            // A `listen` would listen twice.
            section.keyword == "backend" && number.is_some_and(|its| its.parse::<u32>().is_ok())
        };
        let spare = self.sections.iter().rposition(is_spare);
        spare.ok_or_else(|| CannotGrow::NoSpare {
            prefix: prefix.to_owned(),
        })
    }

    /// Adds a backend like the one at `model`, which starts from the same `defaults`.
    fn add_like(&mut self, model: usize, name: &str) {
        let Some(section) = self.sections.get(model) else {
            return;
        };
        let copy = section.copy(name);
        let next = |section: &Section| section.keyword == "defaults";
        let later = self.sections.iter().skip(model).position(next);
        match later {
            // What names no `defaults` starts from the last before it.
            Some(later) if copy.from().is_none() => self.sections.insert(model + later, copy),
            // At the end, so that no other backend's number changes.
            _ => self.sections.push(copy),
        }
    }

    /// Declares a backend that was made at run time, like a spare one.
    fn keep(&mut self, backend: &Name, mode: Mode, servers: u32) -> Result<(), CannotGrow> {
        let declared = |section: &Section| section.name == backend.as_str();
        if !self.sections.iter().any(declared) {
            let model = self.spare(match mode {
                Mode::Tcp => &self.policy.spare_tcp,
                _ => &self.policy.spare_http,
            })?;
            self.add_like(model, backend.as_str());
        }
        let need = BackendNeed {
            slots: 0,
            short: servers,
        };
        self.more_slots(backend, need)
    }

    fn more_backends(&mut self, prefix: &str, short: u32) -> Result<(), CannotGrow> {
        let numbered = |section: &Section| -> Option<u32> {
            let number = section.name.strip_prefix(prefix)?;
            section.is_backend().then(|| number.parse().ok()).flatten()
        };
        let taken: BTreeSet<u32> = self.sections.iter().filter_map(numbered).collect();
        let model = self.spare(prefix)?;
        let has = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        let count = larger(has, self.bounds.grow_by)
            .max(has.saturating_add(short))
            .min(self.bounds.most_backends);
        if count <= has {
            return Err(CannotGrow::AtMostBackends {
                prefix: prefix.to_owned(),
                backends: has,
            });
        }
        let free = (1..).filter(|number| !taken.contains(number));
        for number in free.take((count - has) as usize) {
            let name = format!("{prefix}{number}");
            self.add_like(model, &name);
            self.backends.push(Name::from_text(&name));
        }
        Ok(())
    }
}

/// The lines of slots in a section: servers declared disabled, by a template.
fn slots_of(section: &Section) -> impl Iterator<Item = (usize, Vec<&str>)> {
    section
        .settings("server-template")
        .filter(|(_, words)| words.contains(&"disabled"))
}

/// The only line of slots of a section, if its numbers begin at 1.
fn template(section: &Section) -> Option<Template> {
    let mut all = slots_of(section);
    let (at, words) = all.next()?;
    if all.next().is_some() {
        return None;
    }
    // In quotes, or with an escape, it is not what HAProxy calls them.
    let prefix: Name = words.get(1)?.parse().ok()?;
    let range = words.get(2)?;
    let (first, last) = range.split_once('-').unwrap_or(("1", range));
    let (first, count): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
    (first == 1).then(|| Template {
        at,
        prefix: prefix.into(),
        count,
        range: (*range).to_owned(),
    })
}

/// The line with another range: the first word after the prefix is replaced where it stands.
fn with_range(line: &str, range: &str, count: u32) -> String {
    let after_prefix = words(line)
        .nth(1)
        .and_then(|prefix| {
            let setting = line.find("server-template")? + "server-template".len();
            Some(setting + line.get(setting..)?.find(prefix)? + prefix.len())
        })
        .unwrap_or(0);
    let (before, rest) = line.split_at(after_prefix);
    format!("{before}{}", rest.replacen(range, &format!("1-{count}"), 1))
}

fn larger(count: u32, percent: u32) -> u32 {
    let more = u64::from(count) * u64::from(percent) / 100;
    count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
}
