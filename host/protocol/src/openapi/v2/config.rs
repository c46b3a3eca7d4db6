//! The schema of a model's configuration in Triton's format.

use crate::openapi::operation::{Document, object};
use serde_json::{Value, json};

/// Adds the schema `ModelConfig`.
pub(super) fn add_schema(document: &mut Document) {
    let text = || json!({"type": "string"});
    let flag = || json!({"type": "boolean"});
    let count = || json!({"type": "integer", "minimum": 0});
    let list = |items: Value| json!({"type": "array", "items": items});
    let sizes = list(json!({"type": "integer", "minimum": -1, "description": "-1 where variable"}));
    let input = object(json!({
        "name": text(),
        "data_type": text(),
        "format": {"enum": ["FORMAT_NONE", "FORMAT_NCHW", "FORMAT_NHWC"]},
        "dims": sizes.clone(),
        "is_shape_tensor": flag(),
        "allow_ragged_batch": flag(),
        "optional": flag(),
        "is_non_linear_format_io": flag(),
    }));
    let output = object(json!({
        "name": text(),
        "data_type": text(),
        "dims": sizes,
        "label_filename": text(),
        "is_shape_tensor": flag(),
        "is_non_linear_format_io": flag(),
    }));
    let pinned_memory = object(json!({"enable": flag()}));
    let optimization = object(json!({
        "priority": text(),
        "input_pinned_memory": pinned_memory.clone(),
        "output_pinned_memory": pinned_memory,
        "gather_kernel_buffer_threshold": count(),
        "eager_batching": flag(),
    }));
    let instance_group = object(json!({
        "name": text(),
        "kind": {"enum": ["KIND_CPU", "KIND_GPU"]},
        "count": count(),
        "gpus": list(count()),
        "secondary_devices": {"type": "array", "maxItems": 0},
        "profile": {"type": "array", "maxItems": 0},
        "passive": flag(),
        "host_policy": text(),
    }));
    let empty_list = || json!({"type": "array", "maxItems": 0});
    let empty_object = || json!({"type": "object", "maxProperties": 0});
    let parameter = object(json!({"string_value": text()}));
    let input = document.schema("InputConfig", input);
    let output = document.schema("OutputConfig", output);
    let mut config = object(json!({
        "name": text(),
        "platform": text(),
        "backend": text(),
        "runtime": text(),
        "version_policy": version_policy(),
        "max_batch_size": count(),
        "input": list(input),
        "output": list(output),
        "batch_input": empty_list(),
        "batch_output": empty_list(),
        "optimization": optimization,
        "instance_group": list(instance_group),
        "default_model_filename": text(),
        "cc_model_filenames": empty_object(),
        "metric_tags": empty_object(),
        "parameters": {"type": "object", "additionalProperties": parameter},
        "model_warmup": empty_list(),
    }));
    // Only of models whose requests are computed together.
    config["properties"]["dynamic_batching"] = dynamic_batching();
    // Only of models whose responses are cached.
    let cache = object(json!({"enable": {"type": "boolean"}}));
    config["properties"]["response_cache"] = cache;
    document.schema("ModelConfig", config);
}

/// Returns the schema of the rules by which requests are computed together.
fn dynamic_batching() -> Value {
    let flag = || json!({"type": "boolean"});
    let count = || json!({"type": "integer", "minimum": 0});
    let queue_policy = object(json!({
        "timeout_action": {"enum": ["REJECT", "DELAY"]},
        "default_timeout_microseconds": count(),
        "allow_timeout_override": flag(),
        "max_queue_size": count(),
    }));
    let mut batching = object(json!({
        "preferred_batch_size": {"type": "array", "items": count()},
        "max_queue_delay_microseconds": count(),
        "preserve_ordering": flag(),
        "priority_levels": count(),
        "default_priority_level": count(),
        "priority_queue_policy": {"type": "object", "additionalProperties": queue_policy.clone()},
    }));
    batching["properties"]["default_queue_policy"] = queue_policy;
    batching
}

/// Returns the schema of the versions that are served.
fn version_policy() -> Value {
    let count = json!({"type": "integer", "minimum": 1});
    let specific = json!({"type": "array", "items": count.clone()});
    let policies = [
        object(json!({"latest": object(json!({"num_versions": count}))})),
        object(json!({"all": {"type": "object", "maxProperties": 0}})),
        object(json!({"specific": object(json!({"versions": specific}))})),
    ];
    json!({ "oneOf": policies })
}
