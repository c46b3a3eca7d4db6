//! The errors for models and versions that do not exist, in the words of Triton, which clients of V2 compare.

use crate::target::UnknownTarget;

/// A request about a model, as far as it determines the words of Triton's errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V2Operation {
    /// An inference, or a request for the metadata or the configuration of a model.
    Call,
    Statistics,
    Load,
}

impl V2Operation {
    /// Returns the operation of a request with this path, or `None` if the path belongs to another protocol.
    pub fn from_path(path: &str) -> Option<V2Operation> {
        let path = path.strip_prefix("/v2/")?;
        Some(match path.rsplit_once('/') {
            Some((_, "stats")) => V2Operation::Statistics,
            Some((model, "load")) if model.starts_with("repository/") => V2Operation::Load,
            _ => V2Operation::Call,
        })
    }
}

/// Returns the error for a model or version that does not exist, or has been unloaded.
pub fn unknown_target(target: &UnknownTarget, operation: V2Operation) -> String {
    match (operation, target) {
        // V2 has no labels, and only the predict API has requests that name no model.
        (
            _,
            UnknownTarget::VersionOfOnlyModel(_)
            | UnknownTarget::Label { .. }
            | UnknownTarget::LabelOfOnlyModel(_),
        ) => target.to_string(),
        (V2Operation::Call, UnknownTarget::Model(model)) => {
            format!("Request for unknown model: '{}' is not found", model.text())
        }
        (V2Operation::Call, UnknownTarget::Version { model, version }) => {
            let version = version.text();
            format!("Request for unknown model: '{model}' version {version} is not found")
        }
        (V2Operation::Call, UnknownTarget::Unloaded(model)) => {
            format!("Request for unknown model: '{model}' has no available versions")
        }
        (V2Operation::Statistics, UnknownTarget::Model(model)) => {
            format!("requested model '{}' is not available", model.text())
        }
        (V2Operation::Statistics, UnknownTarget::Version { model, .. }) => {
            format!("requested model version is not available for model '{model}'")
        }
        (V2Operation::Statistics, UnknownTarget::Unloaded(model)) => {
            format!("requested model '{model}' is not available")
        }
        (V2Operation::Load, UnknownTarget::Model(model)) => not_loaded(model.text()),
        (V2Operation::Load, UnknownTarget::Version { model, .. })
        | (V2Operation::Load, UnknownTarget::Unloaded(model)) => not_loaded(model.as_str()),
    }
}

fn not_loaded(model: &str) -> String {
    format!(
        "failed to load '{model}', failed to poll from model repository: it has no model of this name"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ModelName, Version};

    #[test]
    fn the_errors_begin_with_tritons_words() {
        let name = ModelName::new("m").unwrap();
        let model = UnknownTarget::model(&name);
        let version = UnknownTarget::version(&name, Version::FIRST);
        let unloaded = UnknownTarget::Unloaded(name);
        for (operation, target, expected) in [
            (
                V2Operation::Call,
                &model,
                "Request for unknown model: 'm' is not found",
            ),
            (
                V2Operation::Call,
                &version,
                "Request for unknown model: 'm' version 1 is not found",
            ),
            (
                V2Operation::Call,
                &unloaded,
                "Request for unknown model: 'm' has no available versions",
            ),
            (
                V2Operation::Statistics,
                &model,
                "requested model 'm' is not available",
            ),
            (
                V2Operation::Statistics,
                &version,
                "requested model version is not available for model 'm'",
            ),
            (
                V2Operation::Load,
                &model,
                "failed to load 'm', failed to poll from model repository",
            ),
        ] {
            let text = unknown_target(target, operation);
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn the_path_determines_the_operation() {
        for (path, expected) in [
            ("/v2/models/m/infer", Some(V2Operation::Call)),
            ("/v2/models/m", Some(V2Operation::Call)),
            ("/v2/models/load", Some(V2Operation::Call)),
            (
                "/v2/models/m/versions/1/stats",
                Some(V2Operation::Statistics),
            ),
            ("/v2/repository/models/m/load", Some(V2Operation::Load)),
            ("/v2/repository/models/m/unload", Some(V2Operation::Call)),
            ("/v1/models/m", None),
            ("/predict/m", None),
        ] {
            assert_eq!(V2Operation::from_path(path), expected, "{path}");
        }
    }
}
