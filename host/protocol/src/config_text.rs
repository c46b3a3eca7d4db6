//! Decoding of a model configuration in protobuf's text format, Triton's `config.pbtxt`.
//!
//! `reader` reads the text, and `schema` turns it into the JSON of the same message, which takes the way of the
//! configuration that a client sends (`v2::load_config`). Besides, the fields without an effect are listed here, and
//! the backends of Triton are replaced by their counterparts. Nothing here reads a file.

mod reader;
mod schema;

use self::reader::{ReadError, TextField, TextValue};
use crate::load::LoadConfig;
use crate::quoted::Quoted;
use crate::v2::load_config::{self, LoadConfigError};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use wisp_tensor::ImageLayout;

/// The maximum length of a text in bytes, many times the usual length.
pub const MAX_BYTES: usize = 256 << 10;

/// The fields without an effect, which change no response. `v2::load_config` accepts them too.
const IGNORED: [&str; 4] = [
    "optimization",
    "metric_tags",
    "model_warmup",
    "model_metrics",
];

/// The fields without an effect in each of these lists of messages.
const IGNORED_WITHIN: [(&str, &[&str]); 2] = [
    ("input", &["optional"]),
    ("instance_group", &["host_policy", "rate_limiter"]),
];

/// Triton's backend for ONNX files, which stands only for their format here.
const ONNX_BACKEND: &str = "onnxruntime";

/// The backends of Triton without a counterpart, and their replacements.
const FOREIGN_BACKENDS: [(&str, &str); 10] = [
    ("ensemble", COMPOSITION),
    (
        "python",
        "write a handler for its code (`wisp new`) and export its network as model.onnx",
    ),
    (
        "tensorrt",
        "serve the ONNX file that the plan was built from, as model.onnx",
    ),
    ("tensorrtllm", LANGUAGE_MODEL),
    ("vllm", LANGUAGE_MODEL),
    (
        "pytorch",
        "export the model with `torch.onnx.export` as model.onnx",
    ),
    (
        "tensorflow",
        "convert the model with `tf2onnx` to model.onnx",
    ),
    ("openvino", "serve the original model, as model.onnx"),
    ("dali", "write a handler for the preprocessing (`wisp new`)"),
    (
        "fil",
        "convert the trees with `onnxmltools` or `skl2onnx` to model.onnx",
    ),
];

const COMPOSITION: &str =
    "call the graphs from the handler of one model, with their files in the same version";

const LANGUAGE_MODEL: &str = "this server has no large language models";

/// The settings of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigText {
    /// The settings that a client can send too.
    pub config: LoadConfig,
    /// The layouts of inputs that are images, by name.
    pub layouts: BTreeMap<String, ImageLayout>,
    /// The names of the fields without an effect, such as `optimization` or `instance_group.rate_limiter`, in order.
    pub ignored: Vec<String>,
}

/// The reason that a text cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigTextError {
    #[error("it has more than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("line {line}: {reason}")]
    Line { line: usize, reason: String },
}

impl From<ReadError> for ConfigTextError {
    fn from(error: ReadError) -> ConfigTextError {
        let ReadError { line, reason } = error;
        ConfigTextError::Line { line, reason }
    }
}

/// Decodes a text. As in protobuf, a text that declares the sizes of axes and no `max_batch_size` means 0.
pub fn decode(text: &str) -> Result<ConfigText, ConfigTextError> {
    if text.len() > MAX_BYTES {
        return Err(ConfigTextError::TooLarge);
    }
    let fields = reader::read(text)?;
    let mut members = schema::members(&fields)?;
    let at = |name: &str, reason: String| ConfigTextError::Line {
        line: line_of(&fields, name).unwrap_or(1),
        reason,
    };
    refuse_foreign(&members).map_err(|(name, reason)| at(name, reason))?;
    let mut ignored = ignored(&members);
    if remove_reshapes(&mut members).map_err(|reason| at("reshape", reason))? {
        ignored.insert("reshape".to_owned());
    }
    let config = load_config::decode_fields(&members);
    let mut config = config.map_err(|error| at(name_in(&error), sentence(&error)))?;
    if config.backend.as_deref() == Some(ONNX_BACKEND) {
        config.backend = None;
    }
    let mut tensors = config.inputs.iter().chain(&config.outputs);
    let declares_axes = tensors.any(|tensor| tensor.dimensions.is_some());
    if declares_axes && config.max_batch_size.is_none() {
        config.max_batch_size = Some(0);
    }
    Ok(ConfigText {
        config,
        layouts: layouts(&members),
        ignored: ignored.into_iter().collect(),
    })
}

/// Returns an error with the field that names a backend or an ensemble without a counterpart.
fn refuse_foreign(members: &Map<String, Value>) -> Result<(), (&'static str, String)> {
    if members.contains_key("ensemble_scheduling") {
        let reason = format!("ensembles are not supported: {COMPOSITION}");
        return Err(("ensemble_scheduling", reason));
    }
    for name in ["backend", "platform"] {
        let text = members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        // `tensorrt_plan`: the backend and the format.
        let backend = text.split('_').next().unwrap_or_default();
        let foreign = FOREIGN_BACKENDS.iter().find(|(other, _)| *other == backend);
        if let Some((_, remedy)) = foreign {
            let text = Quoted::new(text);
            return Err((name, format!("{name} {text} is not supported: {remedy}")));
        }
    }
    Ok(())
}

/// Returns the names of the fields that have a value and no effect.
fn ignored(members: &Map<String, Value>) -> BTreeSet<String> {
    let has_value = |members: &Map<String, Value>, name: &str| {
        let value = members.get(name);
        value.is_some_and(|value| !load_config::is_default(value))
    };
    // A message without fields is one too, as in `model_warmup { }`.
    let top = IGNORED.iter().filter(|name| members.contains_key(**name));
    let mut ignored: BTreeSet<String> = top.map(|name| (*name).to_owned()).collect();
    for (list, names) in IGNORED_WITHIN {
        let elements = members.get(list).and_then(Value::as_array);
        for element in elements.into_iter().flatten().filter_map(Value::as_object) {
            let names = names.iter().filter(|name| has_value(element, name));
            ignored.extend(names.map(|name| format!("{list}.{name}")));
        }
    }
    ignored
}

/// Removes each `reshape` to the declared sizes, which changes nothing. Returns whether there was one.
fn remove_reshapes(members: &mut Map<String, Value>) -> Result<bool, String> {
    let mut is_any = false;
    for list in ["input", "output"] {
        let tensors = members.get_mut(list).and_then(Value::as_array_mut);
        let tensors = tensors.into_iter().flatten();
        for tensor in tensors.filter_map(Value::as_object_mut) {
            let Some(reshape) = tensor.remove("reshape") else {
                continue;
            };
            is_any = true;
            let sizes = |value: Option<&Value>| match value {
                Some(Value::Array(sizes)) => sizes.clone(),
                _ => Vec::new(),
            };
            if sizes(reshape.get("shape")) != sizes(tensor.get("dims")) {
                let name = tensor.get("name").and_then(Value::as_str);
                let name = Quoted::new(name.unwrap_or_default());
                return Err(format!(
                    "`reshape` of {list} {name} is not supported: remove it, and set `dims` to the sizes in the graph"
                ));
            }
        }
    }
    Ok(is_any)
}

/// Returns the layouts of the inputs that are images.
fn layouts(members: &Map<String, Value>) -> BTreeMap<String, ImageLayout> {
    let inputs = members.get("input").and_then(Value::as_array);
    let inputs = inputs.into_iter().flatten().filter_map(|input| {
        let name = input.get("name")?.as_str()?;
        let layout = match input.get("format")?.as_str()? {
            "FORMAT_NCHW" => ImageLayout::Nchw,
            "FORMAT_NHWC" => ImageLayout::Nhwc,
            _ => return None,
        };
        Some((name.to_owned(), layout))
    });
    inputs.collect()
}

/// Returns the line of the first field with this name. The names of map entries are their keys.
fn line_of(fields: &[TextField], name: &str) -> Option<usize> {
    fields.iter().find_map(|field| {
        if field.name == name {
            return Some(field.line);
        }
        let within = |value: &TextValue| match value {
            TextValue::Message(fields) => line_of(fields, name),
            TextValue::Text(text) if field.name == "key" && text == name => Some(field.line),
            _ => None,
        };
        match &field.value {
            TextValue::List(values) => values.iter().find_map(within),
            value => within(value),
        }
    })
}

/// Returns the name of the field that an error is about.
fn name_in(error: &LoadConfigError) -> &str {
    match error {
        LoadConfigError::Unknown(name)
        | LoadConfigError::Unsupported(name)
        | LoadConfigError::Value { name, .. } => name.text(),
        LoadConfigError::TooLarge | LoadConfigError::Json(_) => "",
    }
}

/// Returns the reason without the name of the parameter, which a file does not have.
fn sentence(error: &LoadConfigError) -> String {
    match error {
        LoadConfigError::Unknown(name) => format!("unknown field {name}"),
        LoadConfigError::Unsupported(name) => format!("{name} is not supported by this server"),
        LoadConfigError::Value { name, expected } => format!("{name} is not {expected}"),
        LoadConfigError::TooLarge | LoadConfigError::Json(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
