//! Decoding of the model configuration that a client sends with a load: JSON in the form of Triton's `ModelConfig`.
//!
//! The settings that this server has are kept. Hints that change no response, such as `optimization`, are ignored.
//! Settings that would change one are errors unless they have their default, and unknown settings are errors. As in
//! protobuf's JSON, names may be in camel case, integers may be strings, and `null` is the same as an absent member.

mod dynamic_batching;
mod error;
mod field;

pub(crate) use self::error::LoadConfigError;
pub(crate) use self::field::is_default;

use self::error::MAX_BYTES;
use self::field::{Field, fields, integer};
use crate::load::{DeclaredTensor, LoadConfig, VersionSelection};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use wisp_tensor::{Dimension, ElementType};

/// The backend in the configuration of a model without graphs.
const NO_BACKEND: &str = "none";

/// Decodes a configuration.
pub(crate) fn decode(text: &str) -> Result<LoadConfig, LoadConfigError> {
    if text.len() > MAX_BYTES {
        return Err(LoadConfigError::TooLarge);
    }
    let document = match serde_json::from_str(text) {
        Ok(Value::Object(document)) => document,
        Ok(_) => return Err(LoadConfigError::Json("expected an object".into())),
        Err(error) => return Err(LoadConfigError::Json(error.to_string().into())),
    };
    decode_fields(&document)
}

/// Decodes the members of a configuration, which may come from another format (`config_text`).
pub(crate) fn decode_fields(document: &Map<String, Value>) -> Result<LoadConfig, LoadConfigError> {
    let mut config = LoadConfig::default();
    let mut platform = None;
    for field in fields(document) {
        match field.snake_case().as_str() {
            "name" => config.name = field.text()?,
            "platform" => platform = field.text()?,
            "backend" => config.backend = field.text()?,
            "max_batch_size" => config.max_batch_size = Some(field.number()?),
            "version_policy" => config.versions = versions(field)?,
            "instance_group" => instance_groups(field, &mut config)?,
            "default_model_filename" => config.default_model_filename = field.text()?,
            "input" => config.inputs = tensors(field)?,
            "output" => config.outputs = tensors(field)?,
            "parameters" => config.parameters = Some(parameters(field)?),
            "response_cache" => config.response_cache = response_cache(field)?,
            "dynamic_batching" => config.dynamic_batching = Some(dynamic_batching::decode(field)?),
            "optimization" | "metric_tags" | "model_warmup" | "model_metrics" => {}
            "runtime"
            | "batch_input"
            | "batch_output"
            | "sequence_batching"
            | "ensemble_scheduling"
            | "cc_model_filenames"
            | "model_operations"
            | "model_transaction_policy"
            | "model_repository_agents" => field.expect_default()?,
            _ => return Err(field.unknown()),
        }
    }
    if config.backend.is_none() {
        // `onnxruntime_onnx`: the backend and the format.
        let backend = platform.as_deref().and_then(|text| text.split('_').next());
        config.backend = backend.map(str::to_owned);
    }
    config.backend = config.backend.filter(|backend| backend != NO_BACKEND);
    Ok(config)
}

fn versions(field: Field<'_>) -> Result<Option<VersionSelection>, LoadConfigError> {
    let mut selection = None;
    for choice in fields(field.object()?) {
        let name = choice.snake_case();
        let mut number = 1;
        let mut specific = Vec::new();
        for setting in fields(choice.object()?) {
            match (name.as_str(), setting.snake_case().as_str()) {
                ("latest", "num_versions") => number = setting.number()?,
                ("specific", "versions") => {
                    for value in setting.list()? {
                        specific.push(integer(value).ok_or_else(|| setting.invalid(VERSIONS))?);
                    }
                }
                _ => return Err(setting.unknown()),
            }
        }
        let chosen = match name.as_str() {
            // 0 is the default in protobuf, which stands for one version.
            "latest" => VersionSelection::Latest(count(number.max(1))),
            "all" => VersionSelection::All,
            "specific" => VersionSelection::Specific(specific),
            _ => return Err(choice.unknown()),
        };
        if selection.replace(chosen).is_some() {
            return Err(field.invalid("one of `latest`, `all` and `specific`"));
        }
    }
    Ok(selection)
}

/// Returns whether the responses of the model are cached, or `None` if the configuration leaves it open.
fn response_cache(field: Field<'_>) -> Result<Option<bool>, LoadConfigError> {
    let mut is_enabled = None;
    for setting in fields(field.object()?) {
        match setting.snake_case().as_str() {
            "enable" => {
                let enable = setting.value.as_bool();
                is_enabled = Some(enable.ok_or_else(|| setting.invalid("a boolean"))?);
            }
            _ => return Err(setting.unknown()),
        }
    }
    Ok(is_enabled)
}

const VERSIONS: &str = "an array of version numbers";

/// Applies the instance groups: their instances together, and the GPU that they name.
fn instance_groups(field: Field<'_>, config: &mut LoadConfig) -> Result<(), LoadConfigError> {
    let mut instances: usize = 0;
    for group in field.list()? {
        let Value::Object(group) = group else {
            return Err(field.invalid("an array of objects"));
        };
        let mut group_instances = 1;
        for setting in fields(group) {
            match setting.snake_case().as_str() {
                "count" => group_instances = setting.number()?.max(1),
                "kind" => match setting.value {
                    Value::String(kind) if kind == "KIND_GPU" => {
                        config.gpu.get_or_insert(0);
                    }
                    Value::String(kind)
                        if ["KIND_AUTO", "KIND_CPU", "KIND_MODEL"].contains(&kind.as_str()) => {}
                    _ => return Err(setting.invalid("a kind, such as `KIND_CPU`")),
                },
                "gpus" => match setting.list()? {
                    [] => {}
                    [gpu] => {
                        let index = integer(gpu).and_then(|index| u32::try_from(index).ok());
                        let index = index.ok_or_else(|| setting.invalid("an array of integers"))?;
                        config.gpu = Some(index);
                    }
                    _ => return Err(setting.unsupported()),
                },
                "name" | "host_policy" | "rate_limiter" => {}
                "passive" | "profile" | "secondary_devices" => setting.expect_default()?,
                _ => return Err(setting.unknown()),
            }
        }
        let group_instances = usize::try_from(group_instances).unwrap_or(usize::MAX);
        instances = instances.saturating_add(group_instances);
    }
    config.instances = NonZeroUsize::new(instances);
    Ok(())
}

fn parameters(field: Field<'_>) -> Result<BTreeMap<String, String>, LoadConfigError> {
    let mut parameters = BTreeMap::new();
    for parameter in fields(field.object()?) {
        let mut text = None;
        for setting in fields(parameter.object()?) {
            match setting.snake_case().as_str() {
                "string_value" => text = setting.text()?,
                _ => return Err(setting.unknown()),
            }
        }
        parameters.insert(parameter.name.to_owned(), text.unwrap_or_default());
    }
    Ok(parameters)
}

fn tensors(field: Field<'_>) -> Result<Vec<DeclaredTensor>, LoadConfigError> {
    let mut tensors = Vec::new();
    for value in field.list()? {
        let Value::Object(object) = value else {
            return Err(field.invalid("an array of objects"));
        };
        let mut tensor = DeclaredTensor {
            name: String::new(),
            element_type: None,
            dimensions: None,
            labels: None,
        };
        for setting in fields(object) {
            match setting.snake_case().as_str() {
                "name" => tensor.name = setting.text()?.unwrap_or_default(),
                "data_type" => tensor.element_type = element_type(setting)?,
                "dims" => tensor.dimensions = Some(dimensions(setting)?),
                "label_filename" => tensor.labels = setting.text()?,
                "format" | "optional" => {}
                "reshape"
                | "is_shape_tensor"
                | "allow_ragged_batch"
                | "is_non_linear_format_io" => setting.expect_default()?,
                _ => return Err(setting.unknown()),
            }
        }
        if tensor.name.is_empty() {
            return Err(field.invalid("an array of objects with a `name`"));
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// Returns the type that a configuration calls `TYPE_FP32`, for example; `None` for `TYPE_INVALID`, the default.
fn element_type(field: Field<'_>) -> Result<Option<ElementType>, LoadConfigError> {
    let name = field
        .value
        .as_str()
        .and_then(|text| text.strip_prefix("TYPE_"));
    let element_type = match name {
        Some("INVALID") => return Ok(None),
        Some("STRING") => Some(ElementType::Bytes),
        Some("BYTES") | None => None,
        Some(name) => ElementType::from_name(name),
    };
    match element_type {
        Some(element_type) => Ok(Some(element_type)),
        None => Err(field.invalid("a data type, such as `TYPE_FP32`")),
    }
}

fn dimensions(field: Field<'_>) -> Result<Vec<Dimension>, LoadConfigError> {
    let sizes = field.list()?.iter().map(|size| {
        let size = match size {
            Value::String(text) => text.parse().ok(),
            size => size.as_i64(),
        };
        let size = size.and_then(Dimension::from_wire);
        size.ok_or_else(|| field.invalid("an array of sizes, from -1"))
    });
    sizes.collect()
}

fn count(number: u32) -> NonZeroUsize {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        decode(text).map_or_else(|error| error.to_string(), |config| format!("{config:?}"))
    }

    #[test]
    fn the_settings_that_the_server_has_are_kept() -> anyhow::Result<()> {
        let config = decode(
            r#"{"name":"m","backend":"tract","max_batch_size":4,"version_policy":{"latest":{"num_versions":2}},
            "instance_group":[{"count":2,"kind":"KIND_CPU"},{"kind":"KIND_CPU"}],"default_model_filename":"x.onnx","response_cache":{"enable":true},
            "input":[{"name":"x","data_type":"TYPE_FP32","dims":[-1,"2"]}],
            "output":[{"name":"y","data_type":"TYPE_STRING","label_filename":"1/labels.txt"}]}"#,
        )?;
        let expected = LoadConfig {
            name: Some("m".to_owned()),
            backend: Some("tract".to_owned()),
            gpu: None,
            max_batch_size: Some(4),
            versions: NonZeroUsize::new(2).map(VersionSelection::Latest),
            response_cache: Some(true),
            instances: NonZeroUsize::new(3),
            parameters: None,
            dynamic_batching: None,
            default_model_filename: Some("x.onnx".to_owned()),
            inputs: vec![DeclaredTensor {
                name: "x".to_owned(),
                element_type: Some(ElementType::Fp32),
                dimensions: Some(vec![Dimension::Variable, Dimension::Fixed(2)]),
                labels: None,
            }],
            outputs: vec![DeclaredTensor {
                name: "y".to_owned(),
                element_type: Some(ElementType::Bytes),
                dimensions: None,
                labels: Some("1/labels.txt".to_owned()),
            }],
        };
        assert_eq!(config, expected);
        Ok(())
    }

    #[test]
    fn names_may_be_in_camel_case_and_null_is_absent() -> anyhow::Result<()> {
        let config = decode(
            r#"{"maxBatchSize":"8","versionPolicy":{"specific":{"versions":["1",3]}},"input":null,
            "instanceGroup":[{"kind":"KIND_GPU","gpus":[1]}],"platform":"onnxruntime_onnx"}"#,
        )?;
        assert_eq!(config.max_batch_size, Some(8));
        let specific = VersionSelection::Specific(vec![1, 3]);
        assert_eq!(config.versions, Some(specific));
        assert_eq!(
            (config.gpu, config.instances),
            (Some(1), NonZeroUsize::new(1))
        );
        assert_eq!(config.backend.as_deref(), Some("onnxruntime"));
        let all = decode(r#"{"version_policy":{"all":{}}}"#)?;
        assert_eq!(all.versions, Some(VersionSelection::All));
        assert_eq!(decode("{}")?, LoadConfig::default());
        Ok(())
    }

    /// From the reply of Triton 2.51 to a request for a configuration, which clients change and send back.
    #[test]
    fn a_configuration_as_triton_writes_it_is_accepted() -> anyhow::Result<()> {
        let config = decode(
            r#"{"name":"spare","platform":"","backend":"tract","runtime":"","version_policy":{"latest":
            {"num_versions":1}},"max_batch_size":4,"input":[{"name":"x","data_type":"TYPE_FP32","format":"FORMAT_NONE",
            "dims":[2],"is_shape_tensor":false,"allow_ragged_batch":false,"optional":false,
            "is_non_linear_format_io":false}],"output":[{"name":"y","data_type":"TYPE_FP32","dims":[2],
            "label_filename":"","is_shape_tensor":false,"is_non_linear_format_io":false}],"batch_input":[],
            "batch_output":[],"optimization":{"priority":"PRIORITY_DEFAULT","input_pinned_memory":{"enable":true},
            "gather_kernel_buffer_threshold":0,"eager_batching":false},"instance_group":[{"name":"spare_0",
            "kind":"KIND_CPU","count":1,"gpus":[],"secondary_devices":[],"profile":[],"passive":false,
            "host_policy":""}],"default_model_filename":"","cc_model_filenames":{},"metric_tags":{},"parameters":
            {"k":{"string_value":"v"}},"model_warmup":[],"model_transaction_policy":{"decoupled":false}}"#,
        )?;
        assert_eq!(config.backend.as_deref(), Some("tract"));
        assert_eq!(config.outputs[0].labels, None);
        let parameters = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        assert_eq!(config.parameters, Some(parameters));
        assert_eq!(config.default_model_filename, None);
        Ok(())
    }

    #[test]
    fn a_field_without_effect_is_an_error_that_names_it() {
        for (text, expected) in [
            (
                r#"{"max_batchsize":1}"#,
                "`config` has the unknown field `max_batchsize`",
            ),
            (
                r#"{"input":[{"name":"x","type":1}]}"#,
                "`config` has the unknown field `type`",
            ),
            (
                r#"{"sequence_batching":{"max_sequence_idle_microseconds":5}}"#,
                "`config`: `sequence_batching` is not supported by this server",
            ),
            (
                r#"{"model_transaction_policy":{"decoupled":true}}"#,
                "`config`: `model_transaction_policy` is not supported by this server",
            ),
            (
                r#"{"instance_group":[{"gpus":[0,1]}]}"#,
                "`config`: `gpus` is not supported by this server",
            ),
            (
                r#"{"max_batch_size":-1}"#,
                "`config`: `max_batch_size` is not an integer from 0 to 4294967295",
            ),
            (
                r#"{"max_batch_size":1.5}"#,
                "`config`: `max_batch_size` is not an integer from 0 to 4294967295",
            ),
            (
                r#"{"max_batch_size":4294967296}"#,
                "`config`: `max_batch_size` is not an integer from 0 to 4294967295",
            ),
            (
                r#"{"input":[{"name":"x","data_type":"FP32"}]}"#,
                "`config`: `data_type` is not a data type, such as `TYPE_FP32`",
            ),
            (
                r#"{"response_cache":{"enable":1}}"#,
                "`config`: `enable` is not a boolean",
            ),
            (
                r#"{"parameters":{"k":"v"}}"#,
                "`config`: `k` is not an object",
            ),
            (
                r#"{"parameters":{"k":{"string_value":1}}}"#,
                "`config`: `string_value` is not a string",
            ),
            (
                r#"{"version_policy":{"all":{},"latest":{}}}"#,
                "`config`: `version_policy` is not one of `latest`, `all` and `specific`",
            ),
            (
                "[]",
                "`config` is not a model configuration in JSON: expected an object",
            ),
        ] {
            assert_eq!(refusal(text), expected, "{text}");
        }
        let broken = refusal("{");
        assert!(
            broken.starts_with("`config` is not a model configuration in JSON: EOF"),
            "{broken}"
        );
        assert_eq!(
            refusal(&" ".repeat(MAX_BYTES + 1)),
            "`config` has more than 262144 bytes"
        );
    }
}
