//! Loading and unloading of models, with the parameters of HTTP. Files are bytes here.

use super::error::DecodeError;
use crate::call::ModelName;
use crate::codec::CodecError;
use crate::grpc::message::inference::model_repository_parameter::ParameterChoice;
use crate::grpc::message::inference::{
    ModelRepositoryParameter, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest, RepositoryModelUnloadResponse,
};
use crate::load::LoadRequest;
use crate::quoted::Quoted;
use crate::target;
use crate::v2::load_parameters::{LoadParameter, LoadParameterError, LoadParameters};
use crate::v2::{V2Operation, unknown_target};
use std::collections::BTreeMap;

/// Returns the model to load, and the files and settings to load it with.
pub fn load_model(
    message: &RepositoryModelLoadRequest,
) -> Result<(ModelName, LoadRequest), CodecError> {
    let RepositoryModelLoadRequest {
        repository_name,
        model_name,
        parameters,
    } = message;
    let model = model(name(model_name, repository_name)?, V2Operation::Load)?;
    let request = decode_parameters(&model, parameters)?;
    Ok((model, request))
}

/// Returns the model to unload. As in Triton, the parameters have no effect.
pub fn unload_model(message: &RepositoryModelUnloadRequest) -> Result<ModelName, CodecError> {
    let RepositoryModelUnloadRequest {
        repository_name,
        model_name,
        parameters: _,
    } = message;
    let name = name(model_name, repository_name)?;
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
fn name<'a>(name: &'a str, repository: &'a str) -> Result<&'a str, DecodeError> {
    let name = match (name, repository) {
        ("", only) => only,
        (name, "") => name,
        _ => return Err(DecodeError::RepositoryName),
    };
    Ok(name)
}

fn model(name: &str, operation: V2Operation) -> Result<ModelName, DecodeError> {
    target::model(name)
        .map_err(|target| DecodeError::Unknown(unknown_target(&target, operation).into()))
}

fn decode_parameters(
    model: &ModelName,
    parameters: &BTreeMap<String, ModelRepositoryParameter>,
) -> Result<LoadRequest, LoadParameterError> {
    let mut request = LoadParameters::new(model);
    for (parameter, value) in parameters {
        let choice = value.parameter_choice.as_ref();
        let invalid = |expected| LoadParameterError::Type {
            name: Quoted::new(parameter),
            expected,
        };
        match (LoadParameter::parse(parameter)?, choice) {
            (LoadParameter::Config, Some(ParameterChoice::StringParam(text))) => {
                request.set_config(text)?;
            }
            (LoadParameter::Config, _) => return Err(invalid("a string")),
            (LoadParameter::File { version, name }, Some(ParameterChoice::BytesParam(content))) => {
                request.add_file(parameter, (version, name), content.clone())?;
            }
            (LoadParameter::File { .. }, _) => return Err(invalid("of type `bytes_param`")),
            (LoadParameter::Ignored, _) => {}
        }
    }
    request.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use bytes::Bytes;

    #[test]
    fn either_field_may_name_the_model() {
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
        assert_eq!(ask("", "m", Some("foo")), Ok("m".to_owned()));
        assert_eq!(ask("m", "", None), Ok("m".to_owned()));
        assert_eq!(ask("r", "m", None), Err(ErrorKind::NotImplemented));
        assert_eq!(ask("", "../m", None), Err(ErrorKind::NotFound));
    }

    #[test]
    fn a_load_may_bring_files_as_bytes() -> anyhow::Result<()> {
        let load = |parameters: &[(&str, ParameterChoice)]| {
            let parameters = parameters.iter().map(|(name, choice)| {
                let value = ModelRepositoryParameter {
                    parameter_choice: Some(choice.clone()),
                };
                ((*name).to_owned(), value)
            });
            load_model(&RepositoryModelLoadRequest {
                repository_name: String::new(),
                model_name: "m".to_owned(),
                parameters: parameters.collect(),
            })
        };
        let config = || ("config", ParameterChoice::StringParam("{}".to_owned()));
        let content = Bytes::from_static(b"graph");
        let file = || {
            (
                "file:3/model.onnx",
                ParameterChoice::BytesParam(content.clone()),
            )
        };
        let (model, request) = load(&[config(), file()])?;
        assert_eq!(model.as_str(), "m");
        assert_eq!(request.files.len(), 1);
        assert_eq!(request.files[0].content, content);
        assert!(load(&[])?.1.is_plain());
        for (parameters, text) in [
            (
                vec![file()],
                "a request with files needs the parameter `config`, the model's configuration in JSON; `{}` is one",
            ),
            (
                vec![("config", ParameterChoice::StringParam("{".to_owned()))],
                "failed to load `m`: `config` is not a model configuration in JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                vec![("config", ParameterChoice::BoolParam(true))],
                "parameter `config` is not a string",
            ),
            (
                vec![
                    config(),
                    ("file:1/x", ParameterChoice::StringParam(String::new())),
                ],
                "parameter `file:1/x` is not of type `bytes_param`",
            ),
        ] {
            let refused = load(&parameters).expect_err(text);
            assert_eq!(refused.to_string(), text);
            assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
        }
        Ok(())
    }
}
