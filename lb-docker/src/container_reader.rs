//! Reads containers: all that concern us in few calls, or one.

use futures_util::{StreamExt, stream};
use lb_core::{Diagnostic, Severity};

use crate::{
    api::ListedContainer,
    config::LabelScheme,
    container::{Container, NetworkMode},
    engine::Engine,
    error::EngineError,
    surveyor::inspect,
    translate::Rules,
};

/// What a listing found.
pub(crate) struct Listed {
    pub(crate) containers: Vec<(Container, Option<Container>)>,
    pub(crate) unread: Vec<Diagnostic>,
}

/// All running containers that concern us. One call, and one more for each that a listing tells too little of.
pub(crate) async fn list(engine: &Engine, rules: &Rules) -> Result<Listed, EngineError> {
    let (listed, unread) = engine.list::<ListedContainer>("/containers/json").await?;
    let inspect_all = rules.options.schemes.contains(&LabelScheme::VirtualHost);
    let (short, full): (Vec<Container>, Vec<Container>) = listed
        .into_iter()
        .map(Container::from_list)
        .filter(|container| {
            let labels = container
                .labels
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            rules.claims(labels)
        })
        .partition(|container| container.mode == NetworkMode::Own && !inspect_all);
    let inspected: Vec<Result<_, EngineError>> = stream::iter(full)
        .map(|container| async move { inspect_through(engine, &container.id).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut containers: Vec<_> = short
        .into_iter()
        .map(|container| (container, None))
        .collect();
    for found in inspected {
        match found {
            Ok(found) => containers.push(found),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Listed {
        containers,
        unread: unread
            .into_iter()
            .map(|(id, error)| unreadable("container", &id, error))
            .collect(),
    })
}

/// One container, and the one whose network it uses.
pub(crate) async fn inspect_through(
    engine: &Engine,
    id: &str,
) -> Result<(Container, Option<Container>), EngineError> {
    let container = inspect(engine, id).await?;
    let through = network_owner(engine, &container).await?;
    Ok((container, through))
}

/// The container whose network `container` uses, at the end of a chain of such.
pub(crate) async fn network_owner(
    engine: &Engine,
    container: &Container,
) -> Result<Option<Container>, EngineError> {
    let mut found: Option<Container> = None;
    for _ in 0..MAX_CHAIN {
        let mode = &found.as_ref().unwrap_or(container).mode;
        let NetworkMode::Container(other) = mode else {
            break;
        };
        match inspect(engine, &other.clone()).await {
            Ok(container) => found = Some(container),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What to say of an object that cannot be read.
pub(crate) fn unreadable(kind: &str, id: &str, error: String) -> Diagnostic {
    Diagnostic {
        object: format!("{kind} {id}"),
        field: None,
        value: None,
        message: format!("the engine's description of it cannot be read: {error}"),
        severity: Severity::Error,
    }
}

/// How many inspections are under way at once.
pub(crate) const AT_ONCE: usize = 8;
/// How long a chain of containers that share a network may be.
const MAX_CHAIN: usize = 4;
