//! `wisp infer`: runs one request from the command line, in the same sandbox as the server.

use crate::failure::bad_configuration;
use crate::handler_lines;
use crate::loading::{LoadingOptions, expect_model, loader};
use crate::local_call::LocalCaller;
use crate::options::{InferArgs, InputSource, NamedInput, NamedShape};
use anyhow::Context;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use wisp_protocol::call::{InferRequest, InferResponse, ModelDescription, Scheduling};
use wisp_protocol::codec::{RequestDecoder, ResponseEncoder};
use wisp_protocol::v2::V2Decoder;
use wisp_serving::registry::repository::model_files;
use wisp_tensor::elements_text::elements_text;
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Tensor, TensorSpec};

/// Loads the model, runs the request and prints the response.
pub(crate) fn run(args: &InferArgs) -> anyhow::Result<ExitCode> {
    expect_model(&args.model)?;
    handler_lines::show();
    let loader = loader(&LoadingOptions::of_one_call(
        &args.cache,
        &args.backend,
        &args.handler_limits,
    ))?;
    let subject = || format!("model {}", crate::display::path(&args.model));
    let files = model_files(&args.model).with_context(subject)?;
    let version = loader.load_version(&files).with_context(subject)?;
    let model = version.description();
    for NamedShape { name, .. } in &args.shape {
        if !args.input.iter().any(|input| input.name == *name) {
            return Err(bad_configuration(format!(
                "--shape is for `{name}`, which is not given with --input"
            )));
        }
    }
    let request = InferRequest {
        inputs: args
            .input
            .iter()
            .map(|input| read_input(input, &args.shape, model))
            .collect::<anyhow::Result<_>>()?,
        parameters: args.parameter.clone(),
        outputs: args.output.clone(),
        scheduling: Scheduling::default(),
    };
    let response = LocalCaller::new()?.call(&version, request)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        // The response format of a request that selects no outputs or encoding.
        let empty = Bytes::from_static(br#"{"inputs":[]}"#);
        let (_, encoder) = V2Decoder::default().decode(empty, model)?;
        for chunk in encoder.encode(response, model)?.chunks {
            out.write_all(&chunk)?;
        }
        writeln!(out)?;
    } else {
        print(&mut out, &response)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, response: &InferResponse) -> std::io::Result<()> {
    let width = response
        .outputs
        .iter()
        .map(|output| output.name.len())
        .max()
        .unwrap_or_default();
    for NamedTensor { name, tensor } in &response.outputs {
        writeln!(
            out,
            "{name:width$}  {} {}  {}",
            tensor.element_type(),
            tensor.shape(),
            elements_text(tensor)
        )?;
    }
    for parameter in &response.parameters {
        writeln!(out, "parameter {}: {:?}", parameter.name, parameter.value)?;
    }
    Ok(())
}

fn read_input(
    input: &NamedInput,
    shapes: &[NamedShape],
    model: &ModelDescription,
) -> anyhow::Result<NamedTensor> {
    let inputs = &model.signature.inputs;
    let spec = inputs.iter().find(|spec| spec.name == input.name);
    let spec = spec.ok_or_else(|| {
        let known: Vec<_> = inputs.iter().map(|spec| spec.name.as_str()).collect();
        bad_configuration(format!(
            "the model has no input `{}`; its inputs are: {}",
            input.name,
            known.join(", ")
        ))
    })?;
    let shape = shapes.iter().find(|shape| shape.name == input.name);
    let shape = shape.map(|shape| shape.sizes.as_slice());
    let tensor = match &input.source {
        InputSource::File(path) => file_tensor(spec, path, shape),
        InputSource::Json(value) => json_tensor(spec, value, shape, model),
    };
    Ok(NamedTensor {
        tensor: tensor.with_context(|| format!("input `{}`", input.name))?,
        name: input.name.clone(),
    })
}

/// Reads a file as a tensor: one element of a BYTES input, or the raw little-endian elements of any
/// other type. Its shape is `sizes`, or follows from the declared one and the length of the file.
fn file_tensor(spec: &TensorSpec, path: &Path, sizes: Option<&[u32]>) -> anyhow::Result<Tensor> {
    let content = std::fs::read(path).with_context(|| path.display().to_string())?;
    let Some(size) = spec.element_type.size() else {
        return Ok(Tensor::from_elements([content.as_slice()].into_iter())?);
    };
    if let Some(sizes) = sizes {
        let shape = Shape::new(sizes.to_vec())?;
        let subject = format!(
            "`{}` has {} bytes, which do not fill {} {shape}",
            path.display(),
            content.len(),
            spec.element_type
        );
        return Tensor::new(spec.element_type, shape, Bytes::from(content)).context(subject);
    }
    // The first variable axis takes its size from the length of the file; the others are 1.
    let mut declared = spec.shape.clone();
    let axes = declared.iter_mut();
    let variable = axes.filter(|axis| **axis == Dimension::Variable);
    for other in variable.skip(1) {
        *other = Dimension::Fixed(1);
    }
    let bytes = content.len();
    let subject = || {
        format!(
            "`{}` has {bytes} bytes, which do not fill {} {}",
            path.display(),
            spec.element_type,
            DimensionList(&declared)
        )
    };
    let shape = Shape::fit(&declared, bytes / size).with_context(subject)?;
    Tensor::new(spec.element_type, shape, Bytes::from(content)).with_context(subject)
}

/// Converts nested JSON arrays to a tensor with the datatype of the input. Its shape is `sizes`, or follows
/// from the nesting.
fn json_tensor(
    spec: &TensorSpec,
    value: &Value,
    sizes: Option<&[u32]>,
    model: &ModelDescription,
) -> anyhow::Result<Tensor> {
    let shape = match (sizes, nesting(value)) {
        (Some(sizes), _) => json!(sizes),
        // A single value is a tensor with one element.
        (None, nesting) if nesting.is_empty() => json!(vec![1; spec.shape.len()]),
        (None, nesting) => json!(nesting),
    };
    let data = match value {
        Value::Array(_) => value.clone(),
        scalar => json!([scalar]),
    };
    let input = json!({
        "name": spec.name,
        "datatype": ElementType::name(spec.element_type),
        "shape": shape,
        "data": data,
    });
    let body = serde_json::to_vec(&json!({ "inputs": [input] }))?;
    let (request, _) = V2Decoder::default().decode(Bytes::from(body), model)?;
    let mut inputs = request.inputs;
    let input = inputs.pop().context("the value has no elements")?;
    Ok(input.tensor)
}

/// Returns the sizes of nested arrays, measured along their first elements.
fn nesting(value: &Value) -> Vec<usize> {
    let mut sizes = Vec::new();
    let mut inner = Some(value);
    while let Some(Value::Array(elements)) = inner {
        sizes.push(elements.len());
        inner = elements.first();
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_follows_from_the_nesting() {
        assert_eq!(nesting(&json!([[1, 2, 3], [4, 5, 6]])), [2, 3]);
        assert_eq!(nesting(&json!([])), [0]);
        assert_eq!(nesting(&json!(7)), [0usize; 0]);
    }

    #[test]
    fn a_file_that_does_not_fill_the_shape_is_named_with_its_size() -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        let path = file.path().display();
        let spec = |shape: &[Dimension]| TensorSpec {
            name: "x".to_owned(),
            element_type: ElementType::Fp32,
            shape: shape.to_vec(),
            optional: false,
        };
        let rows = spec(&[Dimension::Variable, Dimension::Fixed(3)]);
        assert_eq!(
            file_tensor(&rows, file.path(), None)?.shape().dimensions(),
            [0, 3]
        );
        let error = |spec| format!("{:#}", file_tensor(spec, file.path(), None).unwrap_err());
        let empty = spec(&[Dimension::Variable, Dimension::Fixed(0)]);
        let expected = format!("`{path}` has 0 bytes, which do not fill FP32 [-1, 0]: ");
        assert!(error(&empty).starts_with(&expected), "{}", error(&empty));
        std::fs::write(file.path(), [0u8; 20])?;
        let expected = format!(
            "`{path}` has 20 bytes, which do not fill FP32 [-1, 3]: 5 elements are not a multiple of 3"
        );
        assert_eq!(error(&rows), expected);
        let sized = |sizes: &[u32]| file_tensor(&rows, file.path(), Some(sizes));
        assert_eq!(sized(&[5, 1])?.shape().dimensions(), [5, 1]);
        assert!(sized(&[2, 3]).is_err());
        // Three elements and a byte.
        std::fs::write(file.path(), [0u8; 13])?;
        let expected = format!("`{path}` has 13 bytes, which do not fill FP32 [-1, 3]: ");
        assert!(error(&rows).starts_with(&expected), "{}", error(&rows));
        Ok(())
    }
}
