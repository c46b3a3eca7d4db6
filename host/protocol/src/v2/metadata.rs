//! The metadata and health documents of V2.

use crate::call::{ModelDescription, ModelName, Version};
use crate::encoded_response::document;
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use wisp_tensor::TensorSpec;

/// The supported extensions of V2, by Triton's names.
pub(crate) const EXTENSIONS: [&str; 7] = [
    "binary_tensor_data",
    "classification",
    "parameters",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "statistics",
];

#[derive(Serialize)]
struct Server<'a> {
    name: &'static str,
    version: &'a str,
    extensions: [&'static str; EXTENSIONS.len()],
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    versions: Vec<String>,
    platform: &'a str,
    inputs: Vec<Spec<'a>>,
    outputs: Vec<Spec<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Spec<'a> {
    name: &'a str,
    datatype: &'static str,
    /// The size of each axis; -1 for a variable one.
    shape: Vec<i64>,
}

#[derive(Serialize)]
struct List<'a> {
    models: Vec<&'a str>,
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    ready: bool,
    /// The message that clients of V2 read from every response other than 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Returns the server's metadata. `version` is the version of the program.
pub fn server_metadata(version: &str) -> Bytes {
    document(&Server {
        name: "wisp",
        version,
        extensions: EXTENSIONS,
    })
}

/// Returns the inputs and outputs of a model. `versions` are those that a client may request.
pub fn model_metadata(model: &ModelDescription, versions: &[Version]) -> Bytes {
    document(&Model {
        name: model.model.as_str(),
        versions: versions.iter().map(Version::to_string).collect(),
        platform: &model.platform,
        inputs: model.signature.inputs.iter().map(Spec::new).collect(),
        outputs: model.signature.outputs.iter().map(Spec::new).collect(),
        parameters: (!model.properties.is_empty()).then_some(&model.properties),
    })
}

/// Returns the names of the models, in KServe's format.
pub fn model_list(models: &[ModelName]) -> Bytes {
    let models = models.iter().map(ModelName::as_str).collect();
    document(&List { models })
}

/// Returns the liveness document. It is always `true`, since a process that responds is alive.
pub fn live() -> Bytes {
    document(&Live { live: true })
}

/// Returns the readiness of the server. With `false`, the document belongs to a 503.
pub fn ready(ready: bool) -> Bytes {
    document(&Ready {
        name: None,
        ready,
        error: (!ready).then_some("the server is not ready"),
    })
}

/// Returns the readiness of a model. With `false`, the document belongs to a 400, as in Triton.
pub fn model_ready(model: &ModelName, ready: bool) -> Bytes {
    document(&Ready {
        name: Some(model.as_str()),
        ready,
        error: (!ready).then_some("Model version not ready"),
    })
}

impl<'a> Spec<'a> {
    fn new(spec: &'a TensorSpec) -> Spec<'a> {
        Spec {
            name: &spec.name,
            datatype: spec.element_type.name(),
            shape: spec.shape.iter().map(|size| size.to_wire()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoded_response::encode_error;
    use crate::fixture::{model, spec};
    use wisp_tensor::ElementType;

    #[test]
    fn small_documents_have_the_keys_that_clients_read() {
        let name = ModelName::new("m").unwrap();
        let documents = [
            (live(), r#"{"live":true}"#),
            (ready(true), r#"{"ready":true}"#),
            (
                model_ready(&name, false),
                r#"{"name":"m","ready":false,"error":"Model version not ready"}"#,
            ),
            (encode_error("no \"x\"\n"), r#"{"error":"no \"x\"\n"}"#),
            (
                server_metadata("0.1.0"),
                concat!(
                    r#"{"name":"wisp","version":"0.1.0","extensions":["#,
                    r#""binary_tensor_data","classification","parameters","model_repository","#,
                    r#""model_repository(unload_dependents)","model_configuration","statistics"]}"#,
                ),
            ),
        ];
        for (document, expected) in documents {
            assert_eq!(document, expected);
        }
    }

    #[test]
    fn metadata_has_versions_as_strings_and_variable_axes_as_minus_one() {
        let versions = ["1", "12"].map(|text| Version::from_decimal(text).unwrap());
        let inputs = vec![spec("x", ElementType::Fp32, &[-1, 2])];
        let mut model = model(inputs, vec![spec("y", ElementType::Bytes, &[-1, 2])]);
        let expected = concat!(
            r#"{"name":"wine","versions":["1","12"],"platform":"tract_onnx","#,
            r#""inputs":[{"name":"x","datatype":"FP32","shape":[-1,2]}],"#,
            r#""outputs":[{"name":"y","datatype":"BYTES","shape":[-1,2]}]}"#,
        );
        assert_eq!(model_metadata(&model, &versions), expected);
        let property = ("backend_selection".to_owned(), "auto: tract".to_owned());
        model.properties.extend([property]);
        let expected = expected.strip_suffix('}').unwrap().to_owned()
            + r#","parameters":{"backend_selection":"auto: tract"}}"#;
        assert_eq!(model_metadata(&model, &versions), expected);
    }
}
