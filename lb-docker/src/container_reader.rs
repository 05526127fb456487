//! Reads containers: all that concern us in few calls, or one.

use futures_util::{StreamExt, stream};
use lb_core::{Diagnostic, Severity};

use crate::{
    api::ListedContainer,
    budget::Gathered,
    config::LabelScheme,
    container::{Container, NetworkMode},
    engine::Engine,
    error::{EngineError, chain},
    surveyor::inspect,
    translate::Rules,
};

/// The result of a listing.
pub(crate) struct Listed {
    pub(crate) containers: Vec<(Container, Option<Container>)>,
    /// The containers that cannot be read, by the ids.
    pub(crate) unread: Vec<(String, Diagnostic)>,
}

/// All running containers that concern us. One call, and one more for each that a listing tells too little of.
pub(crate) async fn list(engine: &Engine, rules: &Rules) -> Result<Listed, EngineError> {
    let inspect_all = rules.options.schemes.contains(&LabelScheme::VirtualHost);
    let mut gathered = Gathered::new(rules.max_label_bytes);
    let mut full = Vec::new();
    let ours = |listed: ListedContainer| {
        let mut container = Container::from_list(listed);
        if container.excess.is_none() && !rules.claims(container.labels.iter()) {
            return None;
        }
        match container.mode == NetworkMode::Own && !inspect_all {
            true => {
                rules.drop_unread(&mut container);
                gathered.push(container.id.clone(), (container, None));
            }
            false => full.push(container.id),
        }
        Some(())
    };
    let (_, mut unread) = engine.list_some("/containers/json", ours).await?;
    let mut inspected = stream::iter(full)
        .map(|id| async move {
            let found = inspect_through(engine, &id).await;
            (id, found)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((id, found)) = inspected.next().await {
        match found {
            Ok((mut container, through)) => {
                rules.drop_unread(&mut container);
                gathered.push(id, (container, through));
            }
            Err(error) if error.is_not_found() => {}
            Err(error) if error.is_of_the_object() => unread.push((id, chain(&error))),
            Err(error) => return Err(error),
        }
    }
    Ok(Listed {
        containers: gathered.into_objects().collect(),
        unread: unread
            .into_iter()
            .map(|(id, error)| {
                let complaint = unreadable(CONTAINER, &id, error);
                (id, complaint)
            })
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
            Ok(mut container) => {
                // Only its network matters.
                container.keep_little();
                found = Some(container);
            }
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What a container is called in diagnostics.
pub(crate) const CONTAINER: &str = "container";

/// The object of a diagnostic.
pub(crate) fn described(kind: &str, id: &str) -> String {
    format!("{kind} {id}")
}

/// The text for an object that cannot be read.
pub(crate) fn unreadable(kind: &str, id: &str, error: String) -> Diagnostic {
    Diagnostic {
        object: described(kind, id),
        field: None,
        value: None,
        message: format!("the engine's description of it cannot be read: {error}"),
        severity: Severity::Error,
    }
}

/// The number of inspections that are under way at once.
pub(crate) const AT_ONCE: usize = 8;
/// The most containers in a chain that share a network.
pub(crate) const MAX_CHAIN: usize = 4;
