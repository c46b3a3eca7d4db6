//! The bodies of requests to load or unload a model, and of their responses.
//!
//! A load may contain the model's files, in base64, and a configuration. Otherwise the model is loaded as it is in the
//! repository.

use super::error::DecodeError;
use super::load_parameters::{
    LoadParameter, LoadParameterError, LoadParameters, MAX_LOAD_PARAMETERS,
};
use super::request::object;
use crate::call::ModelName;
use crate::codec::CodecError;
use crate::encoded_response::document;
use crate::load::LoadRequest;
use crate::quoted::Quoted;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use bytes::Bytes;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Deserialize)]
struct Load<'a> {
    #[serde(borrow, default)]
    parameters: Option<Parameters<'a>>,
}

/// The parameters of a load by name, at most [`MAX_LOAD_PARAMETERS`] of them.
#[derive(Default)]
struct Parameters<'a>(BTreeMap<String, &'a RawValue>);

#[derive(Deserialize)]
struct Unload {
    #[serde(default, rename = "parameters")]
    _parameters: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Serialize)]
struct Loaded<'a> {
    name: &'a str,
    load: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored_fields: Option<&'a [String]>,
}

#[derive(Serialize)]
struct Unloaded<'a> {
    name: &'a str,
    unload: bool,
}

/// Decodes the body of a request to load this model. It may be empty.
pub fn decode_load(model: &ModelName, body: &[u8]) -> Result<LoadRequest, CodecError> {
    if body.is_empty() {
        return Ok(LoadRequest::default());
    }
    let Load { parameters } = object(body)?;
    let Parameters(parameters) = parameters.unwrap_or_default();
    Ok(decode_parameters(model, &parameters)?)
}

fn decode_parameters(
    model: &ModelName,
    parameters: &BTreeMap<String, &RawValue>,
) -> Result<LoadRequest, LoadParameterError> {
    let mut request = LoadParameters::new(model);
    for (parameter, value) in parameters {
        match LoadParameter::parse(parameter)? {
            LoadParameter::Config => request.set_config(&text(parameter, value)?)?,
            LoadParameter::File { version, name } => {
                let text = text(parameter, value)?;
                let content = STANDARD_PAD_INDIFFERENT.decode(text.as_bytes());
                let content = content.map_err(|_| LoadParameterError::Type {
                    name: Quoted::new(parameter),
                    expected: "a file in base64",
                })?;
                request.add_file(parameter, (version, name), Bytes::from(content))?;
            }
            LoadParameter::Ignored => {}
        }
    }
    request.finish()
}

/// Returns the text of a parameter, without a copy unless it contains escapes.
fn text<'a>(parameter: &str, value: &'a RawValue) -> Result<Cow<'a, str>, LoadParameterError> {
    if let Ok(text) = serde_json::from_str::<&str>(value.get()) {
        return Ok(Cow::Borrowed(text));
    }
    let text = serde_json::from_str::<String>(value.get());
    text.map(Cow::Owned).map_err(|_| LoadParameterError::Type {
        name: Quoted::new(parameter),
        expected: "a string",
    })
}

/// Checks the body of a request to unload a model. It may be empty, and as in Triton its parameters have no effect.
pub fn check_unload(body: &[u8]) -> Result<(), CodecError> {
    if body.is_empty() {
        return Ok(());
    }
    let parsed: Result<Unload, DecodeError> = object(body);
    parsed?;
    Ok(())
}

/// Returns the response to a load, in KServe's format, which Triton's clients also accept.
///
/// Its member `ignored_fields` is our own: the fields of the model's `config.pbtxt` without an effect, if there are any.
pub fn loaded(model: &ModelName, ignored_fields: &[String]) -> Bytes {
    document(&Loaded {
        name: model.as_str(),
        load: true,
        ignored_fields: (!ignored_fields.is_empty()).then_some(ignored_fields),
    })
}

/// Returns the response to an unload, in the same format.
pub fn unloaded(model: &ModelName) -> Bytes {
    let name = model.as_str();
    document(&Unloaded { name, unload: true })
}

// === impl Parameters ===

impl<'de: 'a, 'a> Deserialize<'de> for Parameters<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parameters<'a>, D::Error> {
        deserializer.deserialize_map(ParametersVisitor)
    }
}

struct ParametersVisitor;

impl<'de> Visitor<'de> for ParametersVisitor {
    type Value = Parameters<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters<'de>, A::Error> {
        let mut parameters = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            if parameters.contains_key(&name) {
                let name = Quoted::new(&name);
                return Err(Error::custom(format_args!(
                    "parameter {name} is given twice"
                )));
            }
            if parameters.len() == MAX_LOAD_PARAMETERS {
                return Err(Error::custom(format_args!(
                    "more than {MAX_LOAD_PARAMETERS} parameters"
                )));
            }
            parameters.insert(name, value);
        }
        Ok(Parameters(parameters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Version;
    use crate::error::ErrorKind;
    use crate::load::{LoadConfig, UploadedFile};

    fn load(body: &str) -> Result<LoadRequest, CodecError> {
        decode_load(&ModelName::new("m").unwrap(), body.as_bytes())
    }

    #[test]
    fn a_load_may_bring_the_files_and_the_configuration_of_the_model() -> anyhow::Result<()> {
        for body in ["", "{}", r#"{"parameters":{"unload_dependents":false}}"#] {
            assert!(load(body)?.is_plain(), "{body}");
        }
        let body = concat!(
            r#"{"parameters":{"config":"{\"max_batch_size\":2}","#,
            r#""file:1/model.onnx":"AP8=","file:1\/data":"\/w"}}"#,
        );
        let file = |name: &str, content: &'static [u8]| UploadedFile {
            version: Version::FIRST,
            name: name.to_owned(),
            content: Bytes::from_static(content),
        };
        let expected = LoadRequest {
            config: Some(LoadConfig {
                max_batch_size: Some(2),
                ..LoadConfig::default()
            }),
            files: vec![file("data", b"\xff"), file("model.onnx", b"\x00\xff")],
        };
        assert_eq!(load(body)?, expected);
        Ok(())
    }

    #[test]
    fn a_parameter_that_cannot_be_used_is_named() {
        for (body, kind, text) in [
            (
                r#"{"parameters":{"foo":1}}"#,
                ErrorKind::InvalidRequest,
                "load has no parameter `foo`, expected `config` or `file:<version>/<file>`",
            ),
            (
                r#"{"parameters":{"config":{}}}"#,
                ErrorKind::InvalidRequest,
                "parameter `config` is not a string",
            ),
            (
                r#"{"parameters":{"file:1/model.onnx":"AA=="}}"#,
                ErrorKind::InvalidRequest,
                "a request with files needs the parameter `config`, the model's configuration in JSON; `{}` is one",
            ),
            (
                r#"{"parameters":{"config":"{}","file:1/model.onnx":"?"}}"#,
                ErrorKind::InvalidRequest,
                "parameter `file:1/model.onnx` is not a file in base64",
            ),
            (
                r#"{"parameters":{"config":"{\"runtime\":\"x\"}"}}"#,
                ErrorKind::NotImplemented,
                "failed to load `m`: `config`: `runtime` is not supported by this server",
            ),
            // As sent by NVIDIA's examples.
            (
                r#"{"parameters":{"config":"\"parameters\": {\"config\": {{\"max_batch_size\": \"16\"}}}"}}"#,
                ErrorKind::InvalidRequest,
                "failed to load `m`: `config` is not a model configuration in JSON: trailing characters at line 1 column 13",
            ),
        ] {
            let refused = load(body).expect_err(body);
            assert_eq!((refused.kind(), refused.to_string().as_str()), (kind, text));
        }
        for body in [r#"{"parameters":1}"#, r#"{"parameters":[]}"#, "x", "[]"] {
            let refused = load(body).map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::InvalidRequest), "{body}");
        }
    }

    #[test]
    fn parameters_are_limited_in_number_and_given_once() {
        let numbered = |count: usize| {
            let members: Vec<String> = (0..count).map(|name| format!("\"{name}\":1")).collect();
            format!("{{\"parameters\":{{{}}}}}", members.join(","))
        };
        for (body, text) in [
            (numbered(MAX_LOAD_PARAMETERS), "load has no parameter `0`"),
            (
                numbered(MAX_LOAD_PARAMETERS + 1),
                "more than 258 parameters",
            ),
            (
                r#"{"parameters":{"config":"{}","config":"{}"}}"#.to_owned(),
                "parameter `config` is given twice",
            ),
        ] {
            let refused = load(&body).expect_err(text);
            assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{text}");
            assert!(refused.to_string().contains(text), "{refused}");
        }
    }

    #[test]
    fn parameters_of_an_unload_have_no_effect() {
        for body in [
            "",
            "{}",
            r#"{"parameters":{"unload_dependents":"x","foo":1}}"#,
        ] {
            assert_eq!(check_unload(body.as_bytes()), Ok(()), "{body}");
        }
        for body in [r#"{"parameters":1}"#, "x"] {
            let refused = check_unload(body.as_bytes()).map_err(|error| error.kind());
            assert_eq!(refused, Err(ErrorKind::InvalidRequest), "{body}");
        }
    }
}
