//! Tests with texts as people publish them, and with texts that are refused.

use super::*;
use crate::dynamic_batching::DynamicBatching;
use crate::load::{DeclaredTensor, VersionSelection};
use std::num::NonZeroUsize;
use wisp_tensor::{Dimension, ElementType};

fn refusal(text: &str) -> String {
    decode(text).map_or_else(|error| error.to_string(), |text| format!("{text:?}"))
}

fn tensor(name: &str, element_type: ElementType, sizes: &[i64]) -> DeclaredTensor {
    let sizes = sizes.iter().filter_map(|&size| Dimension::from_wire(size));
    DeclaredTensor {
        name: name.to_owned(),
        element_type: Some(element_type),
        dimensions: Some(sizes.collect()),
        labels: None,
    }
}

/// A classifier with everything that model repositories usually have.
const RESNET50: &str = r#"
# Served by two instances.
name: "resnet50"
platform: "onnxruntime_onnx"
max_batch_size : 128
input [
  {
    name: "data"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
  }
]
output [
  {
    name: "prob"
    data_type: TYPE_FP32
    dims: [ 1000 ]
    label_filename: "labels.txt"
  }
]
instance_group [
  {
    count: 2
    kind: KIND_GPU
    gpus: [ 1 ]
  }
]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
}
version_policy: { latest { num_versions: 2 } }
response_cache { enable: true }
optimization { execution_accelerators {
  gpu_execution_accelerator : [ {
    name : "tensorrt"
    parameters { key: "precision_mode" value: "FP16" }
    parameters { key: "max_workspace_size_bytes" value: "1073741824" }
  } ]
}}
parameters: {
  key: "author"
  value: { string_value: "someone" }
}
"#;

#[test]
fn the_settings_of_a_published_configuration_are_kept() -> anyhow::Result<()> {
    let ConfigText {
        config,
        layouts,
        ignored,
    } = decode(RESNET50)?;
    let expected = LoadConfig {
        name: Some("resnet50".to_owned()),
        gpu: Some(1),
        max_batch_size: Some(128),
        versions: NonZeroUsize::new(2).map(VersionSelection::Latest),
        response_cache: Some(true),
        instances: NonZeroUsize::new(2),
        dynamic_batching: Some(DynamicBatching {
            preferred_batch_size: vec![4, 8],
            max_queue_delay_microseconds: 100,
            ..DynamicBatching::default()
        }),
        parameters: Some([("author".to_owned(), "someone".to_owned())].into()),
        inputs: vec![tensor("data", ElementType::Fp32, &[3, 224, 224])],
        outputs: vec![DeclaredTensor {
            labels: Some("labels.txt".to_owned()),
            ..tensor("prob", ElementType::Fp32, &[1000])
        }],
        ..LoadConfig::default()
    };
    assert_eq!(config, expected);
    assert_eq!(
        layouts,
        BTreeMap::from([("data".to_owned(), ImageLayout::Nchw)])
    );
    assert_eq!(ignored, ["optimization"]);
    Ok(())
}

#[test]
fn the_simple_model_of_triton_is_read() -> anyhow::Result<()> {
    let text = r#"
name: "simple"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
output [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] } ]
output { name: "OUTPUT1" data_type: TYPE_INT32 dims: 16 }
"#;
    let read = decode(text)?;
    let sixteen = |name| tensor(name, ElementType::Int32, &[16]);
    let inputs = vec![sixteen("INPUT0"), sixteen("INPUT1")];
    assert_eq!(read.config.inputs, inputs);
    let outputs = vec![sixteen("OUTPUT0"), sixteen("OUTPUT1")];
    assert_eq!(read.config.outputs, outputs);
    assert_eq!(read.config.max_batch_size, Some(8));
    assert_eq!(read.config.backend, None);
    assert_eq!(read.ignored, [""; 0]);
    Ok(())
}

#[test]
fn a_reshape_counts_if_it_changes_the_sizes() -> anyhow::Result<()> {
    // From Triton's quick start: clients would send an image without the axis of the batch.
    let densenet = r#"
name: "densenet_onnx"
platform: "onnxruntime_onnx"
max_batch_size : 0
input [
  {
    name: "data_0"
    data_type: TYPE_FP32
    format: FORMAT_NCHW
    dims: [ 3, 224, 224 ]
    reshape { shape: [ 1, 3, 224, 224 ] }
  }
]
"#;
    assert_eq!(
        refusal(densenet),
        "line 11: `reshape` of input `data_0` is not supported: remove it, and set `dims` to the sizes in the graph"
    );
    let same = decode("output { name: 'y' dims: [ 1, 2 ] reshape { shape: [ 1, 2 ] } }")?;
    assert_eq!(same.ignored, ["reshape"]);
    Ok(())
}

#[test]
fn a_maximum_batch_size_of_zero_differs_from_none() -> anyhow::Result<()> {
    let input = r#"input { name: "x" data_type: TYPE_FP32 dims: [ -1, 13 ] }"#;
    assert_eq!(decode("max_batch_size: 0")?.config.max_batch_size, Some(0));
    assert_eq!(decode(r#"backend: "tract""#)?.config.max_batch_size, None);
    // Nothing else in such a text shows that the sizes include a batch axis.
    assert_eq!(decode(input)?.config.max_batch_size, Some(0));
    let batched = decode(&format!("{input} max_batch_size: 8"))?;
    assert_eq!(batched.config.max_batch_size, Some(8));
    assert_eq!(decode("")?.config, LoadConfig::default());
    Ok(())
}

#[test]
fn policies_numbers_and_enums_may_be_written_in_each_way() -> anyhow::Result<()> {
    let all = decode("version_policy: { all { } }")?;
    assert_eq!(all.config.versions, Some(VersionSelection::All));
    let given = decode("version_policy < specific: < versions: 1, versions: [ 0x3, 010 ] > >")?;
    let versions = VersionSelection::Specific(vec![1, 3, 8]);
    assert_eq!(given.config.versions, Some(versions));
    let numbered = decode("input { name: 'x' data_type: 11 } response_cache { enable: True }")?;
    let input = &numbered.config.inputs[0];
    assert_eq!(input.element_type, Some(ElementType::Fp32));
    assert_eq!(numbered.config.response_cache, Some(true));
    Ok(())
}

#[test]
fn each_ignored_field_is_named_once_unless_it_has_its_default() -> anyhow::Result<()> {
    let text = r#"
        optimization { graph { level: 1 } }
        dynamic_batching { }
        model_warmup [ { name: "zeros" batch_size: 1 inputs { key: "x" value: { data_type: TYPE_FP32 zero_data: true } } } ]
        response_cache { enable: false }
        metric_tags { key: "a" value: "b" }
        input [ { name: "x" format: FORMAT_NHWC }, { name: "y" optional: true }, { name: "z" optional: false } ]
        instance_group [ { kind: KIND_CPU rate_limiter { priority: 2 } }, { host_policy: "p" } ]"#;
    assert_eq!(
        decode(text)?.ignored,
        [
            "input.optional",
            "instance_group.host_policy",
            "instance_group.rate_limiter",
            "metric_tags",
            "model_warmup",
            "optimization",
        ]
    );
    Ok(())
}

#[test]
fn a_setting_without_counterpart_is_refused_with_its_line_and_a_remedy() {
    for (text, expected) in [
        (
            "name: \"m\"\nensemble_scheduling { step [ { model_name: \"a\" model_version: -1 } ] }",
            "line 2: ensembles are not supported: call the graphs from the handler of one model, with their files in \
             the same version",
        ),
        (
            "name: \"m\"\nbackend: \"python\"",
            "line 2: backend `python` is not supported: write a handler for its code (`wisp new`) and export its \
             network as model.onnx",
        ),
        (
            "platform: \"tensorrt_plan\"",
            "line 1: platform `tensorrt_plan` is not supported: serve the ONNX file that the plan was built from, as \
             model.onnx",
        ),
        (
            "sequence_batching { max_sequence_idle_microseconds: 5000000 }",
            "line 1: `sequence_batching` is not supported by this server",
        ),
        (
            "\n\nmodel_transaction_policy { decoupled: true }",
            "line 3: `model_transaction_policy` is not supported by this server",
        ),
        (
            "max_batch_size: -1",
            "line 1: `max_batch_size` is not an integer from 0 to 4294967295",
        ),
        (
            "instance_group [\n { gpus: [ 0, 1 ] }\n]",
            "line 2: `gpus` is not supported by this server",
        ),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn unknown_fields_and_mistakes_are_refused_with_their_lines() {
    for (text, expected) in [
        (
            "name: \"m\"\nmax_batchsize: 8\n",
            "line 2: ModelConfig has no field `max_batchsize`",
        ),
        (
            "# x\n\ninput {\n  dim: [1]\n}\n",
            "line 4: ModelInput has no field `dim`",
        ),
        (
            "optimization {\n cuda { graph: true } }",
            "line 2: Cuda has no field `graph`",
        ),
        (
            "max_batch_size: eight",
            "line 1: `max_batch_size` is not an integer from -2147483648 to 2147483647",
        ),
        (
            "max_batch_size: 1\nmax_batch_size: 2\n",
            "line 2: `max_batch_size` is set twice",
        ),
        (
            "input { data_type: FP32 }",
            "line 1: `data_type`: `FP32` is not one of its names, such as `TYPE_BF16`",
        ),
        ("name: m", "line 1: `name` is not a text in quotation marks"),
        (
            "response_cache { enable: maybe }",
            "line 1: `enable` is not `true` or `false`",
        ),
        (
            "version_policy: 1",
            "line 1: `version_policy` is not a message in braces",
        ),
        (
            "name: \"m\"\n\ninput [\n  { name: \"x\" }\n",
            "line 5: the text ends, expected `,` or `]`",
        ),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
    let long = refusal(&format!("{}: 1", "x".repeat(100_000)));
    assert!(long.len() < 1000, "{} bytes", long.len());
    assert_eq!(
        refusal(&"#".repeat(MAX_BYTES + 1)),
        "it has more than 262144 bytes"
    );
    let deep = refusal(&"optimization {".repeat(10_000));
    assert_eq!(deep, "line 1: it is more than 32 levels deep");
}
