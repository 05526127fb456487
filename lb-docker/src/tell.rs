//! Sends what changed.

use lb_core::{Cursor, Sink, SourceError, Update};

use crate::book::Changes;

/// Sends what is wrong, and what changed as one batch at the next revision.
pub(crate) async fn tell(
    changes: Changes,
    at: &mut Cursor,
    sink: &Sink,
) -> Result<(), SourceError> {
    for complaint in changes.complaints {
        sink.send(complaint).await?;
    }
    if !changes.set.is_empty() || !changes.remove.is_empty() {
        at.revision += 1;
        sink.send(Update::Batch {
            at: at.clone(),
            set: changes.set,
            remove: changes.remove,
        })
        .await?;
    }
    Ok(())
}
