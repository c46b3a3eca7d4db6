//! The models that could not be loaded at the start, and the error that ends the server because of them.

use std::error::Error;
use std::fmt;
use wisp_protocol::call::ModelName;
use wisp_serving::registry::Registry;
use wisp_serving::registry::load_error::LoadError;

/// A model, or one version of it, that could not be loaded.
#[derive(Debug)]
pub(super) struct FailedModel {
    model: String,
    /// The reason with its causes, for the operator.
    reason: String,
    /// The backend or device that the model needs and that is not available, if that is the reason.
    unavailable: Option<String>,
}

/// The error of a start at which required models could not be loaded.
#[derive(Debug)]
pub(super) struct LoadFailures {
    pub(super) models: Vec<FailedModel>,
}

impl FailedModel {
    pub(super) fn new(model: &str, error: &LoadError) -> FailedModel {
        FailedModel {
            model: model.to_owned(),
            reason: with_causes(error),
            unavailable: error.unavailable(),
        }
    }

    /// Returns whether the server is incomplete without the model, as it was loaded into this registry. A
    /// directory whose name is not valid for a model is not in the registry.
    pub(super) fn is_required(&self, registry: &Registry) -> bool {
        let name = ModelName::new(&self.model).ok();
        let entry = name.and_then(|name| registry.entry(&name).ok());
        entry.is_none_or(|entry| entry.blocks_readiness)
    }

    /// Returns the message for a model whose backend or device is missing.
    pub(super) fn missing(&self) -> Option<String> {
        let reason = self.unavailable.as_ref()?;
        Some(format!("model `{}`: {reason}", self.model))
    }
}

impl fmt::Display for LoadFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "not every model can be loaded:")?;
        for FailedModel { model, reason, .. } in &self.models {
            writeln!(f, "`{model}`: {reason}")?;
        }
        f.write_str(
            "correct or remove them, set `optional = true` in the model.toml of those that may be missing, \
             or serve the others with --no-exit-on-error",
        )
    }
}

impl Error for LoadFailures {}

/// Returns the text of an error and of its causes. Causes that a text repeats already are left out.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::call::Version;

    #[test]
    fn every_failed_model_is_named_with_its_reason_and_the_remedy() {
        let (version, missing) = (Version::FIRST, std::io::ErrorKind::NotFound);
        let models = vec![
            FailedModel::new("a", &LoadError::Empty { version }),
            FailedModel::new("b", &LoadError::HandlerFile(missing.into())),
        ];
        let text = LoadFailures { models }.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(
            lines[1],
            "`a`: version 1 contains neither a .onnx file nor a handler.wasm"
        );
        assert_eq!(
            lines[2],
            "`b`: handler.wasm cannot be read: entity not found"
        );
        assert!(lines[3].contains("optional = true"), "{text}");
        assert!(lines[3].contains("--no-exit-on-error"), "{text}");
    }

    #[test]
    fn a_name_that_no_model_can_have_is_a_failure() {
        let error = LoadError::HandlerNotBuilt;
        let failed = FailedModel::new("my model", &error);
        assert!(failed.is_required(&Registry::default()));
    }
}
