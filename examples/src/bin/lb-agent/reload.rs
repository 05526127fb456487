//! Carries a changed configuration over to a control plane that runs.

use std::fmt::Display;

use lb::spec::{SourceSpec, Spec, TargetSpec};
use lb_core::{Handle, Name};

use crate::failure::chain;

/// Something to do to one source or target.
#[derive(Debug, Clone, PartialEq)]
enum Change<'s, T> {
    Add(&'s T),
    Remove(&'s Name),
    Replace(&'s T),
}

/// Makes the control plane what `next` says, touching only what is written differently there. Returns what is in
/// effect then, and what waits for the next start: that stays as it was.
pub(crate) async fn change(handle: &Handle, now: &Spec, next: Spec) -> (Spec, Vec<String>) {
    let mut effect = next.clone();
    for change in changes(&now.sources, &next.sources, SourceSpec::name) {
        let name = change.name(SourceSpec::name).clone();
        let outcome = source(handle, change).await;
        if !told("source", &name, outcome) {
            keep(&now.sources, &mut effect.sources, &name, SourceSpec::name);
        }
    }
    for change in changes(&now.targets, &next.targets, TargetSpec::name) {
        let name = change.name(TargetSpec::name).clone();
        let outcome = target(handle, change).await;
        if !told("target", &name, outcome) {
            keep(&now.targets, &mut effect.targets, &name, TargetSpec::name);
        }
    }
    settings(handle, now, &next);
    let mut waiting: Vec<String> = fixed(now, &next).into_iter().map(str::to_owned).collect();
    let written = names(&effect.sources);
    in_order_of(&now.sources, &mut effect.sources);
    let order = names(&effect.sources);
    if order != written {
        waiting.push(format!(
            "the order of the sources: {written} in the file, {order} in effect (the first of two that disagree counts)"
        ));
    }
    for setting in &waiting {
        tracing::warn!(setting, "the setting changes when the agent starts again");
    }
    effect.agent.log.format = now.agent.log.format;
    effect.agent.metrics = now.agent.metrics;
    effect.agent.socket.clone_from(&now.agent.socket);
    effect.initial_limit = now.initial_limit;
    effect.pass_limit = now.pass_limit;
    effect.waves = now.waves;
    (effect, waiting)
}

/// The names of sources in their order.
fn names(sources: &[SourceSpec]) -> String {
    let names: Vec<&str> = sources
        .iter()
        .map(|source| source.name().as_str())
        .collect();
    names.join(", ")
}

/// Puts sources in the order in which they are in effect: those that were there stay before those that were added.
fn in_order_of(now: &[SourceSpec], effect: &mut [SourceSpec]) {
    let place = |source: &SourceSpec| now.iter().position(|known| known.name() == source.name());
    effect.sort_by_key(|source| place(source).unwrap_or(usize::MAX));
}

/// Settings that take effect at once. The whole configuration was checked, so none is refused.
fn settings(handle: &Handle, now: &Spec, next: &Spec) {
    if now.guard != next.guard {
        match handle.set_guard(next.guard.clone()) {
            Ok(()) => tracing::info!("guard changed"),
            Err(error) => tracing::error!("guard stays as it is: {error}"),
        }
    }
    if (now.settle, now.resync) != (next.settle, next.resync) {
        match handle.set_timing(next.settle, next.resync) {
            Ok(()) => tracing::info!("settle and resync changed"),
            Err(error) => tracing::error!("settle and resync stay as they are: {error}"),
        }
    }
}

async fn source(handle: &Handle, change: Change<'_, SourceSpec>) -> Result<&'static str, String> {
    match change {
        Change::Add(spec) => {
            let source = spec.clone().build().map_err(|error| chain(&error))?;
            handle
                .add_source(source)
                .await
                .map_err(|error| chain(&error))?;
            Ok("added")
        }
        Change::Remove(name) => {
            handle
                .remove_source(name)
                .await
                .map_err(|error| chain(&error))?;
            Ok("removed")
        }
        Change::Replace(spec) => {
            let source = spec.clone().build().map_err(|error| chain(&error))?;
            handle
                .replace_source(source)
                .await
                .map_err(|error| chain(&error))?;
            Ok("changed")
        }
    }
}

async fn target(handle: &Handle, change: Change<'_, TargetSpec>) -> Result<&'static str, String> {
    match change {
        Change::Add(spec) => {
            let driver = spec.clone().build().map_err(|error| chain(&error))?;
            handle
                .add_target(driver)
                .await
                .map_err(|error| chain(&error))?;
            Ok("added")
        }
        Change::Remove(name) => {
            handle
                .remove_target(name)
                .await
                .map_err(|error| chain(&error))?;
            Ok("removed")
        }
        Change::Replace(spec) => {
            // Built first: what cannot be built leaves the old one in place. The new driver adopts what it finds.
            let driver = spec.clone().build().map_err(|error| chain(&error))?;
            handle
                .remove_target(spec.name())
                .await
                .map_err(|error| chain(&error))?;
            handle
                .add_target(driver)
                .await
                .map_err(|error| chain(&error))?;
            Ok("changed")
        }
    }
}

impl<'s, T> Change<'s, T> {
    fn name(&self, name: fn(&T) -> &Name) -> &'s Name {
        match self {
            Self::Add(spec) | Self::Replace(spec) => name(spec),
            Self::Remove(name) => name,
        }
    }
}

/// The changes that lead from `now` to `next`. What is new comes before what goes, so that an endpoint that moves from
/// one source to another never vanishes.
fn changes<'s, T: PartialEq>(
    now: &'s [T],
    next: &'s [T],
    name: fn(&T) -> &Name,
) -> Vec<Change<'s, T>> {
    let find = |list: &'s [T], wanted: &Name| list.iter().find(|spec| name(spec) == wanted);
    let mut changes = Vec::new();
    for spec in next {
        match find(now, name(spec)) {
            None => changes.push(Change::Add(spec)),
            Some(before) if before != spec => changes.push(Change::Replace(spec)),
            Some(_) => {}
        }
    }
    for spec in now {
        if find(next, name(spec)).is_none() {
            changes.push(Change::Remove(name(spec)));
        }
    }
    changes
}

/// Puts back what could not be changed, so that the next reload tries it again.
fn keep<T: Clone>(now: &[T], effect: &mut Vec<T>, wanted: &Name, name: fn(&T) -> &Name) {
    effect.retain(|spec| name(spec) != wanted);
    effect.extend(now.iter().find(|spec| name(spec) == wanted).cloned());
}

fn told(what: &str, name: &Name, outcome: Result<&'static str, impl Display>) -> bool {
    match outcome {
        Ok(done) => {
            tracing::info!("{what} {name} {done}");
            true
        }
        Err(error) => {
            tracing::error!("{what} {name} stays as it is: {error}");
            false
        }
    }
}

/// Settings that are written differently but cannot be changed while the agent runs.
fn fixed(now: &Spec, next: &Spec) -> Vec<&'static str> {
    [
        ("agent.metrics", now.agent.metrics != next.agent.metrics),
        ("agent.socket", now.agent.socket != next.agent.socket),
        (
            "agent.log.format",
            now.agent.log.format != next.agent.log.format,
        ),
        ("initial_limit", now.initial_limit != next.initial_limit),
        ("pass_limit", now.pass_limit != next.pass_limit),
        ("waves", now.waves != next.waves),
    ]
    .into_iter()
    .filter_map(|(setting, differs)| differs.then_some(setting))
    .collect()
}

#[cfg(test)]
mod tests {
    use lb::spec::Format;

    use super::*;

    fn spec(text: &str) -> Spec {
        Spec::parse(text, Format::Toml).unwrap()
    }

    fn file(name: &str, path: &str) -> String {
        format!("[[sources]]\nkind = \"file\"\nname = \"{name}\"\npath = \"{path}\"\n")
    }

    #[test]
    fn only_what_is_written_differently_is_touched_and_the_new_comes_first() {
        let now = spec(&(file("a", "/a") + &file("b", "/b") + &file("c", "/c")));
        let next = spec(&(file("c", "/other") + &file("d", "/d") + &file("a", "/a")));
        let changes = changes(&now.sources, &next.sources, SourceSpec::name);
        let expected = [
            Change::Replace(&next.sources[0]),
            Change::Add(&next.sources[1]),
            Change::Remove(now.sources[1].name()),
        ];
        assert_eq!(changes, expected);
    }

    #[test]
    fn sources_keep_their_order_until_the_agent_starts_again() {
        let now = spec(&(file("a", "/a") + &file("b", "/b")));
        let next = spec(&(file("new", "/n") + &file("b", "/b") + &file("a", "/a")));
        let mut effect = next.sources;
        assert_eq!(names(&effect), "new, b, a");
        in_order_of(&now.sources, &mut effect);
        // The next reload of the same file finds it again.
        assert_eq!(names(&effect), "a, b, new");
    }

    #[test]
    fn settings_that_cannot_be_changed_are_named() {
        let next = spec("settle = 1\npass_limit = 9\n[agent]\nsocket = \"/x\"");
        assert_eq!(fixed(&spec(""), &next), ["agent.socket", "pass_limit"]);
        assert!(fixed(&next, &next).is_empty());
    }
}
