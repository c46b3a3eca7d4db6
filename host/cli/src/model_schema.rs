//! The JSON schema of `model.toml`, for editors.
//!
//! Its structure comes from the definitions in `wisp_serving::registry::model_file`, which `key_probe` reads.
//! [`KEYS`] adds the descriptions, and [`constraints`] the facts that types do not show. The tests compare both with the
//! definitions and with the reference in the book.

mod key_probe;

use anyhow::anyhow;
use key_probe::{ANY_NAME, Shape, shape, table_among};
use serde_json::{Map, Value, json};
use wisp_sandbox::grants::Grant;
use wisp_serving::registry::model_file::ModelFile;

/// The names of keys, with their tables, and their descriptions.
const KEYS: [(&str, &str); 66] = [
    (
        "max_batch_size",
        "The maximum number of rows of the first axis in one request; 0 if the first axis is not a batch.",
    ),
    (
        "versions",
        "The versions that are loaded: \"latest\" (the default), \"all\", { latest = N } or an array of numbers.",
    ),
    (
        "labels",
        "Labels of versions, such as stable and canary, which clients of TensorFlow Serving request.",
    ),
    (
        "export",
        "The command that creates a model.onnx that the repository does not contain. Wisp does not run it.",
    ),
    (
        "optional",
        "Whether the server starts and is ready even if the model cannot be loaded; false by default.",
    ),
    (
        "backend",
        "The backend: tract, rten, onnxruntime or auto; by default the server's.",
    ),
    (
        "device",
        "The device that computes: cpu (the default), cuda for the first GPU, or cuda:N.",
    ),
    (
        "threads",
        "The number of threads that one computation may use; 1 by default.",
    ),
    (
        "instances",
        "The number of computations of a graph that run at once; by default the server's.",
    ),
    (
        "batching",
        "The rules by which requests are computed together: \"auto\" (the default), \"off\" or a table with Triton's names.",
    ),
    (
        "batching.max_batch_size",
        "The number of rows of a batch; 32 by default. A larger request is computed alone.",
    ),
    (
        "batching.max_queue_delay_microseconds",
        "The time for which an incomplete batch is held; 0 by default.",
    ),
    (
        "batching.preferred_batch_size",
        "The sizes of batches that are sent at once when they are reached.",
    ),
    (
        "batching.preserve_ordering",
        "Whether responses leave in the order of the requests; false by default.",
    ),
    (
        "batching.priority_levels",
        "The number of levels; 0 by default. Level 1 is the highest.",
    ),
    (
        "batching.default_priority_level",
        "The level of requests without a priority; needed if there are levels.",
    ),
    (
        "batching.default_queue_policy",
        "The limits on waiting requests.",
    ),
    (
        "batching.default_queue_policy.default_timeout_microseconds",
        "The time after which a waiting request has timed out; 0, the default, for none.",
    ),
    (
        "batching.default_queue_policy.timeout_action",
        "What happens to a request that has timed out: reject (the default), or delay until all others are computed.",
    ),
    (
        "batching.default_queue_policy.allow_timeout_override",
        "Whether a request may lower the time for itself, with its parameter timeout; false by default.",
    ),
    (
        "batching.default_queue_policy.max_queue_size",
        "The number of requests that may wait; 0, the default, for the limit of the server.",
    ),
    (
        "batching.priority_queue_policy",
        "The limits on waiting requests of single levels, by the number of the level.",
    ),
    (
        "batching.priority_queue_policy.<name>.default_timeout_microseconds",
        "The time after which a waiting request has timed out; 0, the default, for none.",
    ),
    (
        "batching.priority_queue_policy.<name>.timeout_action",
        "What happens to a request that has timed out: reject (the default), or delay until all others are computed.",
    ),
    (
        "batching.priority_queue_policy.<name>.allow_timeout_override",
        "Whether a request may lower the time for itself, with its parameter timeout; false by default.",
    ),
    (
        "batching.priority_queue_policy.<name>.max_queue_size",
        "The number of requests that may wait; 0, the default, for the limit of the server.",
    ),
    (
        "payload_log",
        "Whether inputs and outputs are written to the payload log of the server, if it has one; true by default.",
    ),
    (
        "parameters",
        "Texts for clients, by name, which the configuration and the metadata of the model contain.",
    ),
    (
        "inputs",
        "The settings of inputs, by name: shapes of the main graph's, and rules for the values that clients send.",
    ),
    (
        "inputs.<name>.shape",
        "The sizes of the input's axes, which fix variable axes; -1 leaves an axis as it is in the file.",
    ),
    (
        "inputs.<name>.format",
        "The order of the axes of an image: NCHW, NHWC or none; by default what the graph shows.",
    ),
    (
        "inputs.<name>.min",
        "The smallest value of each feature; smaller ones are rejected.",
    ),
    (
        "inputs.<name>.max",
        "The largest value of each feature; larger ones are rejected.",
    ),
    (
        "inputs.<name>.nulls",
        "Whether NaN and empty strings are rejected (\"reject\") or accepted (\"allow\").",
    ),
    (
        "inputs.<name>.allowed",
        "The only accepted values: integers, or strings for BYTES.",
    ),
    (
        "inputs.<name>.feature_names",
        "The names of the features, which are the columns of the last axis, in order.",
    ),
    (
        "inputs.<name>.features",
        "Rules for single features, by name or position, which replace the rules of the input.",
    ),
    (
        "inputs.<name>.features.<name>.min",
        "The smallest value of the feature.",
    ),
    (
        "inputs.<name>.features.<name>.max",
        "The largest value of the feature.",
    ),
    (
        "inputs.<name>.features.<name>.nulls",
        "Whether NaN and empty strings are rejected (\"reject\") or accepted (\"allow\").",
    ),
    (
        "inputs.<name>.features.<name>.allowed",
        "The only accepted values of the feature.",
    ),
    ("outputs", "The settings of outputs, by name."),
    ("outputs.<name>.min", "The smallest value of the output."),
    ("outputs.<name>.max", "The largest value of the output."),
    (
        "outputs.<name>.nulls",
        "Whether NaN and empty strings are violations (\"reject\") or not (\"allow\").",
    ),
    (
        "outputs.<name>.on_violation",
        "Whether a response with another value is an error (\"reject\") or only counted (\"warn\").",
    ),
    (
        "outputs.<name>.labels",
        "A text file with the names of the output's classes, one per line, in the model's directory.",
    ),
    ("cache", "The cache of the model's responses."),
    (
        "cache.enabled",
        "Whether a response is kept for later requests with the same inputs; false by default.",
    ),
    (
        "cache.ttl_seconds",
        "The time for which a response is kept; 3600 by default.",
    ),
    ("handler", "The handler of the model."),
    (
        "handler.source",
        "The handler's crate, relative to the model's directory. Only building reads it.",
    ),
    (
        "handler.files",
        "The files that the handler can read, relative to the version's directory or else to the model's.",
    ),
    (
        "handler.config",
        "The settings that the handler can read: strings, numbers, booleans, and arrays of one of them.",
    ),
    (
        "handler.grants",
        "The capabilities that the handler has in addition: random (random numbers) and clock (the time).",
    ),
    ("http", "The settings of a web component."),
    (
        "http.route",
        "The route of the web component; by default /apps/ and the name of the model.",
    ),
    (
        "http.allowed_hosts",
        "The hosts, with their ports, to which the web component may send requests over HTTP; by default none.",
    ),
    (
        "limits",
        "Limits of the handler. Each lowers a limit of the server, and none can raise one.",
    ),
    ("limits.memory_bytes", "The linear memory of an instance."),
    (
        "limits.table_elements",
        "The number of elements of any table of an instance.",
    ),
    (
        "limits.tensor_bytes",
        "The tensors that the host holds for an instance.",
    ),
    (
        "limits.transfer_bytes",
        "One transfer from the handler to the host: the response, or one tensor.",
    ),
    (
        "limits.handles",
        "The number of resources that an instance holds at once.",
    ),
    (
        "limits.guest_time_milliseconds",
        "The time of the handler's own code in one call; computing is not counted.",
    ),
    (
        "limits.log_bytes",
        "The lines that one call logs; each counts 64 bytes more than its text.",
    ),
];

/// Returns the schema. Draft 7 is the newest version that the editors' TOML language servers support.
pub(crate) fn schema() -> anyhow::Result<Value> {
    let mut schema = property(&[])?;
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("model.toml of a model that Wisp serves");
    Ok(schema)
}

/// Returns the schema of the value at this path.
fn property(path: &[&str]) -> anyhow::Result<Value> {
    let below = |key| property(&[path, &[key]].concat());
    let shape = shape::<ModelFile>(path).map_err(|reason| anyhow!("{reason}"))?;
    let table = |keys: &'static [&'static str]| -> anyhow::Result<Value> {
        let properties = keys.iter().map(|&key| Ok((key.to_owned(), below(key)?)));
        let properties = properties.collect::<anyhow::Result<Map<_, _>>>()?;
        Ok(json!({"type": "object", "properties": properties, "additionalProperties": false}))
    };
    let mut value = match shape {
        Shape::Table(keys) => table(keys)?,
        Shape::Names => json!({"type": "object", "additionalProperties": below(ANY_NAME)?}),
        Shape::Value(Some(kind)) => json!({ "type": kind }),
        Shape::Value(None) => json!({}),
    };
    let name = path.join(".");
    if let Some((_, description)) = KEYS.iter().find(|(key, _)| *key == name) {
        value["description"] = json!(description);
    }
    let mut constraints = constraints(&name);
    if let Some(keys) = table_among::<ModelFile>(path, shape) {
        // The other values are those that the constraints allow.
        constraints = json!({"anyOf": [constraints, table(keys)?]});
    }
    if let Value::Object(constraints) = constraints {
        for (member, constraint) in constraints {
            value[member] = constraint;
        }
    }
    Ok(value)
}

/// Returns the constraints on the value of a key that its type does not show; null if there are none.
fn constraints(name: &str) -> Value {
    match name {
        "max_batch_size" => json!({"minimum": 0, "maximum": u32::MAX}),
        "versions" => {
            let number = json!({"type": "integer", "minimum": 1});
            json!({"anyOf": [
                {"enum": ["latest", "all"]},
                {
                    "type": "object",
                    "required": ["latest"],
                    "properties": {"latest": number.clone()},
                    "additionalProperties": false,
                },
                {"type": "array", "items": number, "minItems": 1},
            ]})
        }
        "backend" => json!({"enum": ["auto", "tract", "rten", "onnxruntime"]}),
        "inputs.<name>.nulls" | "inputs.<name>.features.<name>.nulls" | "outputs.<name>.nulls" => {
            json!({"enum": ["reject", "allow"]})
        }
        "inputs.<name>.allowed" | "inputs.<name>.features.<name>.allowed" => {
            json!({"items": {"type": ["integer", "string"]}, "minItems": 1})
        }
        "inputs.<name>.feature_names" => json!({"uniqueItems": true}),
        "outputs.<name>.on_violation" => json!({"enum": ["reject", "warn"]}),
        "inputs.<name>.format" => json!({"enum": ["NCHW", "NHWC", "none"]}),
        "handler.files" => json!({"items": {"type": "string", "minLength": 1}}),
        "handler.config.<name>" => json!({"anyOf": [
            {"type": ["string", "number", "boolean"]},
            {"type": "array", "items": {"type": "string"}},
            {"type": "array", "items": {"type": "number"}},
            {"type": "array", "items": {"type": "boolean"}},
        ]}),
        "device" => json!({"pattern": "^cpu$|^cuda(:[0-9]+)?$"}),
        "labels.<name>" | "threads" | "instances" => json!({"minimum": 1}),
        "batching" => json!({"enum": ["auto", "off"]}),
        rule if rule.starts_with("batching.") => batching(rule),
        "cache.ttl_seconds" => json!({"minimum": 1, "maximum": u32::MAX}),
        "inputs.<name>.shape" => {
            let size = json!({"type": "integer", "minimum": -1, "maximum": u32::MAX});
            json!({ "items": size })
        }
        "handler.grants" => {
            let names = Grant::ALL.map(Grant::name);
            json!({"items": {"enum": names}})
        }
        "outputs.<name>.labels" | "handler.source" => json!({"minLength": 1}),
        limit if limit.starts_with("limits.") => json!({"minimum": 0}),
        _ => Value::Null,
    }
}

/// Returns the constraints on a rule of batching.
fn batching(rule: &str) -> Value {
    match rule.rsplit('.').next() {
        Some("max_batch_size") => json!({"minimum": 1, "maximum": 65_536}),
        Some("preferred_batch_size") => {
            json!({"items": {"type": "integer", "minimum": 1, "maximum": 65_536}})
        }
        Some("timeout_action") => json!({"enum": ["reject", "delay"]}),
        Some("priority_levels" | "default_priority_level" | "max_queue_size") => {
            json!({"minimum": 0})
        }
        Some(time) if time.ends_with("_microseconds") => json!({"minimum": 0}),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
