//! Loading and unloading of models.
//!
//! Files and configurations come from the repository only, as over HTTP.

use super::error::DecodeError;
use crate::call::ModelName;
use crate::codec::CodecError;
use crate::grpc::message::inference::{
    ModelRepositoryParameter, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
};
use crate::target;
use crate::v2::control::unsupported_parameter;
use crate::v2::{V2Operation, unknown_target};
use std::collections::BTreeMap;

/// Returns the model to load.
pub fn load_model(message: &RepositoryModelLoadRequest) -> Result<ModelName, CodecError> {
    let RepositoryModelLoadRequest {
        repository_name,
        model_name,
        parameters,
    } = message;
    let name = name(model_name, repository_name, parameters)?;
    Ok(model(name, V2Operation::Load)?)
}

/// Returns the model to unload.
pub fn unload_model(message: &RepositoryModelUnloadRequest) -> Result<ModelName, CodecError> {
    let RepositoryModelUnloadRequest {
        repository_name,
        model_name,
        parameters,
    } = message;
    let name = name(model_name, repository_name, parameters)?;
    Ok(model(name, V2Operation::Call)?)
}

/// Returns the response to a load, with KServe's fields; Triton's client ignores them.
pub fn loaded(model: &ModelName) -> RepositoryModelLoadResponse {
    RepositoryModelLoadResponse {
        model_name: model.to_string(),
        is_loaded: true,
    }
}

/// Returns the response to an unload.
pub fn unloaded(model: &ModelName) -> RepositoryModelUnloadResponse {
    RepositoryModelUnloadResponse {
        model_name: model.to_string(),
        is_unloaded: true,
    }
}

/// Returns the model's name. KServe's client sends it in the first field, in which Triton's client sends
/// the repository's name, and sends nothing else.
fn name<'a>(
    name: &'a str,
    repository: &'a str,
    parameters: &BTreeMap<String, ModelRepositoryParameter>,
) -> Result<&'a str, DecodeError> {
    let name = match (name, repository) {
        ("", only) => only,
        (name, "") => name,
        _ => return Err(DecodeError::RepositoryName),
    };
    if let Some(other) = unsupported_parameter(parameters) {
        return Err(DecodeError::ControlParameter(other));
    }
    Ok(name)
}

fn model(name: &str, operation: V2Operation) -> Result<ModelName, DecodeError> {
    target::model(name)
        .map_err(|target| DecodeError::Unknown(unknown_target(&target, operation).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn either_field_may_name_the_model_without_parameters() {
        let ask = |repository: &str, name: &str, parameter: Option<&str>| {
            let parameters = parameter.map(|key| (key.to_owned(), Default::default()));
            unload_model(&RepositoryModelUnloadRequest {
                repository_name: repository.to_owned(),
                model_name: name.to_owned(),
                parameters: parameters.into_iter().collect(),
            })
            .map(|model| model.to_string())
            .map_err(|error| error.kind())
        };
        assert_eq!(ask("", "m", Some("unload_dependents")), Ok("m".to_owned()));
        assert_eq!(ask("m", "", None), Ok("m".to_owned()));
        assert_eq!(ask("r", "m", None), Err(ErrorKind::NotImplemented));
        assert_eq!(ask("", "m", Some("config")), Err(ErrorKind::NotImplemented));
        assert_eq!(ask("", "../m", None), Err(ErrorKind::NotFound));
    }
}
