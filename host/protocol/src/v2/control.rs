//! The bodies of requests to load or unload a model, and of their responses.
//!
//! Files and configurations come from the repository only. A request that contains its own is
//! rejected, not applied in part.

use super::error::DecodeError;
use super::request::object;
use crate::call::ModelName;
use crate::codec::CodecError;
use crate::encoded_response::document;
use crate::quoted::Quoted;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The parameter that tritonclient adds by itself. It has no effect, since models are independent.
const UNLOAD_DEPENDENTS: &str = "unload_dependents";

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    parameters: Option<BTreeMap<String, IgnoredAny>>,
}

#[derive(Serialize)]
struct Loaded<'a> {
    name: &'a str,
    load: bool,
}

#[derive(Serialize)]
struct Unloaded<'a> {
    name: &'a str,
    unload: bool,
}

/// Checks that the body of a request to load or unload has no unsupported parameter. It may be empty.
pub fn check_control(body: &[u8]) -> Result<(), CodecError> {
    if body.is_empty() {
        return Ok(());
    }
    let Request { parameters } = object(body)?;
    match unsupported_parameter(&parameters.unwrap_or_default()) {
        None => Ok(()),
        Some(name) => Err(DecodeError::ControlParameter(name).into()),
    }
}

/// Returns the first unsupported parameter of a request to load or unload, over HTTP or gRPC.
pub(crate) fn unsupported_parameter<V>(parameters: &BTreeMap<String, V>) -> Option<Quoted> {
    let mut names = parameters.keys();
    let name = names.find(|name| *name != UNLOAD_DEPENDENTS)?;
    Some(Quoted::new(name))
}

/// Returns the response to a load, in KServe's format, which Triton's clients also accept.
pub fn loaded(model: &ModelName) -> Bytes {
    let name = model.as_str();
    document(&Loaded { name, load: true })
}

/// Returns the response to an unload, in the same format.
pub fn unloaded(model: &ModelName) -> Bytes {
    let name = model.as_str();
    document(&Unloaded { name, unload: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn parameters_that_would_change_the_model_are_rejected() {
        for body in ["", "{}", r#"{"parameters":{"unload_dependents":false}}"#] {
            assert_eq!(check_control(body.as_bytes()), Ok(()), "{body}");
        }
        for (body, kind) in [
            (
                r#"{"parameters":{"config":"{}"}}"#,
                ErrorKind::NotImplemented,
            ),
            (
                r#"{"parameters":{"file:1/model.onnx":"AA=="}}"#,
                ErrorKind::NotImplemented,
            ),
            (r#"{"parameters":1}"#, ErrorKind::InvalidRequest),
            ("x", ErrorKind::InvalidRequest),
        ] {
            let refused = check_control(body.as_bytes()).map_err(|error| error.kind());
            assert_eq!(refused, Err(kind), "{body}");
        }
    }
}
