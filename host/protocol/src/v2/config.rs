//! The configuration of a model in Triton's format, from the fields of its description.
//!
//! It has all members that Triton writes for every model, so that its clients find them, `dynamic_batching` if rules are
//! set by which requests are computed together, and `response_cache` if responses are cached. This module writes JSON; `grpc::v2::model_config` writes the message.

use crate::call::ModelDescription;
use crate::dynamic_batching::DynamicBatching;
use crate::encoded_response::document;
use crate::model_configuration::{ModelConfiguration, VersionPolicy};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use wisp_tensor::{ElementType, ImageLayout, TensorSpec};

/// The configuration of a model, with Triton's member names.
#[derive(Serialize)]
pub(crate) struct Config<'a> {
    pub(crate) name: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) backend: &'a str,
    runtime: &'static str,
    pub(crate) version_policy: Policy<'a>,
    pub(crate) max_batch_size: u32,
    pub(crate) input: Vec<Input<'a>>,
    pub(crate) output: Vec<Output<'a>>,
    batch_input: [Empty; 0],
    batch_output: [Empty; 0],
    pub(crate) optimization: Optimization,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dynamic_batching: Option<&'a DynamicBatching>,
    pub(crate) instance_group: [InstanceGroup; 1],
    pub(crate) default_model_filename: &'a str,
    cc_model_filenames: Empty,
    metric_tags: Empty,
    pub(crate) parameters: BTreeMap<&'a str, Parameter<'a>>,
    model_warmup: [Empty; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) response_cache: Option<ResponseCache>,
}

/// An object without members.
#[derive(Serialize)]
struct Empty {}

/// The versions that are served.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Policy<'a> {
    Latest { num_versions: u32 },
    All {},
    Specific { versions: &'a [u64] },
}

#[derive(Serialize)]
pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: &'static str,
    pub(crate) format: &'static str,
    pub(crate) dims: Vec<i64>,
    is_shape_tensor: bool,
    allow_ragged_batch: bool,
    pub(crate) optional: bool,
    is_non_linear_format_io: bool,
}

#[derive(Serialize)]
pub(crate) struct Output<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: &'static str,
    pub(crate) dims: Vec<i64>,
    pub(crate) label_filename: &'a str,
    is_shape_tensor: bool,
    is_non_linear_format_io: bool,
}

/// Settings of Triton's buffers, none of which applies.
#[derive(Serialize)]
pub(crate) struct Optimization {
    priority: &'static str,
    pub(crate) input_pinned_memory: PinnedMemory,
    pub(crate) output_pinned_memory: PinnedMemory,
    gather_kernel_buffer_threshold: u32,
    eager_batching: bool,
}

#[derive(Serialize)]
pub(crate) struct PinnedMemory {
    pub(crate) enable: bool,
}

/// The computations that may run at the same time, and their device.
#[derive(Serialize)]
pub(crate) struct InstanceGroup {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) count: u32,
    pub(crate) gpus: Vec<u32>,
    secondary_devices: [Empty; 0],
    profile: [Empty; 0],
    passive: bool,
    host_policy: &'static str,
}

#[derive(Serialize)]
pub(crate) struct ResponseCache {
    pub(crate) enable: bool,
}

#[derive(Serialize)]
pub(crate) struct Parameter<'a> {
    pub(crate) string_value: &'a str,
}

/// Returns the configuration of a model as JSON.
pub fn model_config(model: &ModelDescription) -> Bytes {
    document(&Config::new(model))
}

// === impl Config ===

impl<'a> Config<'a> {
    pub(crate) fn new(model: &'a ModelDescription) -> Config<'a> {
        let inputs = model.signature.inputs.iter();
        let outputs = model.signature.outputs.iter();
        let properties = model.properties.iter();
        let parameters = properties.map(|(name, value)| {
            let string_value = value.as_str();
            (name.as_str(), Parameter { string_value })
        });
        let configuration = &model.configuration;
        let pinned_memory = || PinnedMemory { enable: false };
        Config {
            name: model.model.as_str(),
            platform: &model.platform,
            backend: model.platform.split('_').next().unwrap_or_default(),
            runtime: "",
            version_policy: Policy::new(&configuration.version_policy),
            max_batch_size: model.max_batch_size,
            input: inputs.map(|spec| Input::new(spec, model)).collect(),
            output: outputs.map(|spec| Output::new(spec, model)).collect(),
            batch_input: [],
            batch_output: [],
            optimization: Optimization {
                priority: "PRIORITY_DEFAULT",
                input_pinned_memory: pinned_memory(),
                output_pinned_memory: pinned_memory(),
                gather_kernel_buffer_threshold: 0,
                eager_batching: false,
            },
            dynamic_batching: configuration.dynamic_batching.as_ref(),
            instance_group: [InstanceGroup::new(model.model.as_str(), configuration)],
            default_model_filename: &configuration.file_name,
            cc_model_filenames: Empty {},
            metric_tags: Empty {},
            parameters: parameters.collect(),
            model_warmup: [],
            response_cache: (configuration.response_cache)
                .then_some(ResponseCache { enable: true }),
        }
    }
}

// === impl Policy ===

impl<'a> Policy<'a> {
    fn new(policy: &'a VersionPolicy) -> Policy<'a> {
        match policy {
            VersionPolicy::Latest(number) => Policy::Latest {
                num_versions: *number,
            },
            VersionPolicy::All => Policy::All {},
            VersionPolicy::Specific(versions) => Policy::Specific { versions },
        }
    }
}

// === impl Input ===

impl<'a> Input<'a> {
    fn new(spec: &'a TensorSpec, model: &ModelDescription) -> Input<'a> {
        let layout = model.configuration.image_layouts.get(&spec.name);
        Input {
            name: &spec.name,
            data_type: data_type(spec.element_type),
            format: format(layout.copied()),
            dims: dims(spec, model),
            is_shape_tensor: false,
            allow_ragged_batch: false,
            optional: spec.optional,
            is_non_linear_format_io: false,
        }
    }
}

// === impl Output ===

impl<'a> Output<'a> {
    fn new(spec: &'a TensorSpec, model: &'a ModelDescription) -> Output<'a> {
        let labels = model.configuration.label_files.get(&spec.name);
        Output {
            name: &spec.name,
            data_type: data_type(spec.element_type),
            dims: dims(spec, model),
            label_filename: labels.map_or("", String::as_str),
            is_shape_tensor: false,
            is_non_linear_format_io: false,
        }
    }
}

// === impl InstanceGroup ===

impl InstanceGroup {
    fn new(model: &str, configuration: &ModelConfiguration) -> InstanceGroup {
        InstanceGroup {
            name: format!("{model}_0"),
            kind: match configuration.gpu {
                Some(_) => "KIND_GPU",
                None => "KIND_CPU",
            },
            count: configuration.instances,
            gpus: configuration.gpu.into_iter().collect(),
            secondary_devices: [],
            profile: [],
            passive: false,
            host_policy: "",
        }
    }
}

/// Returns the shape of an input or output. As in Triton, it excludes the batch axis of a model with a
/// `max_batch_size` above 0.
fn dims(spec: &TensorSpec, model: &ModelDescription) -> Vec<i64> {
    let batch_axes = usize::from(model.max_batch_size > 0);
    let dims = spec.shape.iter().skip(batch_axes);
    dims.map(|size| size.to_wire()).collect()
}

/// Returns the name of the order of an input's axes in a model configuration.
fn format(layout: Option<ImageLayout>) -> &'static str {
    match layout {
        None => "FORMAT_NONE",
        Some(ImageLayout::Nchw) => "FORMAT_NCHW",
        Some(ImageLayout::Nhwc) => "FORMAT_NHWC",
    }
}

/// Returns the name of an element type in a model configuration.
fn data_type(element_type: ElementType) -> &'static str {
    match element_type {
        ElementType::Bool => "TYPE_BOOL",
        ElementType::Uint8 => "TYPE_UINT8",
        ElementType::Uint16 => "TYPE_UINT16",
        ElementType::Uint32 => "TYPE_UINT32",
        ElementType::Uint64 => "TYPE_UINT64",
        ElementType::Int8 => "TYPE_INT8",
        ElementType::Int16 => "TYPE_INT16",
        ElementType::Int32 => "TYPE_INT32",
        ElementType::Int64 => "TYPE_INT64",
        ElementType::Fp16 => "TYPE_FP16",
        ElementType::Bf16 => "TYPE_BF16",
        ElementType::Fp32 => "TYPE_FP32",
        ElementType::Fp64 => "TYPE_FP64",
        ElementType::Bytes => "TYPE_STRING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamic_batching::QueuePolicy;
    use crate::fixture::{configured_model, spec};
    use serde_json::{Value, json};

    fn config(model: &ModelDescription) -> Value {
        serde_json::from_slice(&model_config(model)).unwrap()
    }

    #[test]
    fn the_configuration_has_all_members_that_triton_writes() {
        let input = |name: &str, format: &str, optional: bool| {
            json!({
                "name": name,
                "data_type": "TYPE_FP32",
                "format": format,
                "dims": [3, 8, 8],
                "is_shape_tensor": false,
                "allow_ragged_batch": false,
                "optional": optional,
                "is_non_linear_format_io": false,
            })
        };
        let group = json!({
            "name": "wine_0",
            "kind": "KIND_CPU",
            "count": 2,
            "gpus": [],
            "secondary_devices": [],
            "profile": [],
            "passive": false,
            "host_policy": "",
        });
        let expected = json!({
            "name": "wine",
            "platform": "tract_onnx",
            "backend": "tract",
            "runtime": "",
            "version_policy": {"latest": {"num_versions": 1}},
            "max_batch_size": 8,
            "input": [input("image", "FORMAT_NCHW", false), input("other", "FORMAT_NONE", true)],
            "output": [{
                "name": "y",
                "data_type": "TYPE_STRING",
                "dims": [],
                "label_filename": "labels.txt",
                "is_shape_tensor": false,
                "is_non_linear_format_io": false,
            }],
            "batch_input": [],
            "batch_output": [],
            "optimization": {
                "priority": "PRIORITY_DEFAULT",
                "input_pinned_memory": {"enable": false},
                "output_pinned_memory": {"enable": false},
                "gather_kernel_buffer_threshold": 0,
                "eager_batching": false,
            },
            "instance_group": [group],
            "default_model_filename": "model.onnx",
            "cc_model_filenames": {},
            "metric_tags": {},
            "parameters": {"backend_selection": {"string_value": "auto: tract"}},
            "model_warmup": [],
        });
        assert_eq!(config(&configured_model()), expected);
    }

    #[test]
    fn policies_and_devices_have_tritons_names() {
        let mut model = configured_model();
        for (policy, expected) in [
            (VersionPolicy::All, json!({"all": {}})),
            (
                VersionPolicy::Specific(vec![1, 3]),
                json!({"specific": {"versions": [1, 3]}}),
            ),
        ] {
            model.configuration.version_policy = policy;
            assert_eq!(config(&model)["version_policy"], expected);
        }
        model.configuration.gpu = Some(1);
        let group = &config(&model)["instance_group"][0];
        assert_eq!(
            (&group["kind"], &group["gpus"]),
            (&json!("KIND_GPU"), &json!([1]))
        );
        assert_eq!(format(Some(ImageLayout::Nhwc)), "FORMAT_NHWC");
    }

    #[test]
    fn a_dynamic_batcher_has_all_members_that_triton_writes() {
        let mut model = configured_model();
        assert!(config(&model).get("dynamic_batching").is_none());
        model.configuration.dynamic_batching = Some(DynamicBatching {
            preferred_batch_size: vec![8],
            priority_queue_policy: [(2, QueuePolicy::default())].into(),
            ..DynamicBatching::default()
        });
        let policy = json!({
            "timeout_action": "REJECT",
            "default_timeout_microseconds": 0,
            "allow_timeout_override": false,
            "max_queue_size": 0,
        });
        let expected = json!({
            "preferred_batch_size": [8],
            "max_queue_delay_microseconds": 0,
            "preserve_ordering": false,
            "priority_levels": 0,
            "default_priority_level": 0,
            "priority_queue_policy": {"2": policy},
        });
        assert_eq!(config(&model)["dynamic_batching"], expected);
    }

    #[test]
    fn a_response_cache_is_shown_where_it_is_enabled() {
        let mut model = configured_model();
        assert!(config(&model).get("response_cache").is_none());
        model.configuration.response_cache = true;
        assert_eq!(config(&model)["response_cache"], json!({"enable": true}));
    }

    #[test]
    fn shapes_without_a_batch_are_complete() {
        let model = ModelDescription {
            max_batch_size: 0,
            ..crate::fixture::pairs(vec![spec("y", ElementType::Fp32, &[-1])])
        };
        assert_eq!(config(&model)["input"][0]["dims"], json!([-1, 2]));
    }
}
