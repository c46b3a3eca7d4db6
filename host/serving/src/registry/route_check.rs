//! The check that no two models have the same route.

use crate::registry::ModelEntry;
use crate::registry::load_error::LoadError;
use wisp_protocol::call::ModelName;

/// Returns the entry of a model, or one that cannot be called, with the reason, if another model has its route.
pub(crate) fn with_own_route<'a>(
    model: &ModelName,
    entry: ModelEntry,
    mut others: impl Iterator<Item = (&'a ModelName, &'a ModelEntry)>,
) -> (ModelEntry, Option<LoadError>) {
    let Some(route) = entry.route().cloned() else {
        return (entry, None);
    };
    let has_route =
        |other: &(&ModelName, &ModelEntry)| other.0 != model && other.1.route() == Some(&route);
    let Some((other, _)) = others.find(has_route) else {
        return (entry, None);
    };
    let other = other.clone();
    let error = LoadError::RouteTaken { route, other };
    (entry.refused(&error.client_reason()), Some(error))
}
