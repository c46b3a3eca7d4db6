//! Loading and unloading: what a client may say beside the model's name, and what it reads back.
//!
//! Files and configurations come from the repository alone; a request that brings its own is told so
//! and not half followed.

use super::error::{DecodeError, Reason};
use super::request::object;
use crate::call::ModelName;
use crate::label::Label;
use crate::reply::document;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is said by tritonclient unasked, and means nothing where no model depends on another.
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

/// Whether the body of a request to load or unload asks for something that is done. An empty one does.
pub fn check_control(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() {
        return Ok(());
    }
    let Request { parameters } = object(body)?;
    match unsupported_parameter(&parameters.unwrap_or_default()) {
        None => Ok(()),
        Some(name) => Err(Reason::ControlParameter(name).into()),
    }
}

/// The first of the parameters of a load or unload, over HTTP or gRPC, that is not followed.
pub(crate) fn unsupported_parameter<V>(parameters: &BTreeMap<String, V>) -> Option<Label> {
    let mut names = parameters.keys();
    let name = names.find(|name| *name != UNLOAD_DEPENDENTS)?;
    Some(Label::new(name))
}

/// The answer to a load, in KServe's words, which Triton's clients take too.
pub fn loaded(model: &ModelName) -> Bytes {
    let name = model.as_str();
    document(&Loaded { name, load: true })
}

/// The answer to an unload.
pub fn unloaded(model: &ModelName) -> Bytes {
    let name = model.as_str();
    document(&Unloaded { name, unload: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_clients_send_unasked_is_taken_and_what_would_change_the_model_is_not() {
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
