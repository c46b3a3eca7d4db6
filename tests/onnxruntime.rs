//! Tests of ONNX Runtime as a backend, with the library from its Python package.

use crate::harness::{Repository, TestOptions, TestServer, root, scale};
use crate::python;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use wisp_backend::onnxruntime::OnnxRuntime;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, BackendError, Device, Graph, LoadOptions, ModelSource};
use wisp_tensor::number::from_numbers;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// Returns the backend with the library from the clients' environment.
pub(crate) fn engine() -> Result<OnnxRuntime> {
    Ok(OnnxRuntime::new(Some(library()?)))
}

/// Returns the library from the clients' environment.
pub(crate) fn library() -> Result<PathBuf> {
    let directory = python::packages()?.join("onnxruntime/capi");
    let mut entries = std::fs::read_dir(&directory)?.filter_map(Result::ok);
    let library = entries.find(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("libonnxruntime.so.")
    });
    Ok(library.context("the package holds no library")?.path())
}

/// Returns the directory of the graphs that `identity_models.py` writes.
fn models() -> Result<&'static Path> {
    static MODELS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&MODELS, || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("identity_models");
        let shown = directory.to_str().context("not UTF-8")?;
        python::run("identity_models.py", &[shown])?;
        Ok(directory)
    })
}

fn load(model: &str) -> Result<Arc<dyn Graph>> {
    let path = models()?.join(format!("{model}.onnx"));
    Ok(engine()?.load(ModelSource::Path(&path), &LoadOptions::default())?)
}

fn input(name: &str, tensor: Tensor) -> NamedTensor {
    let name = name.to_owned();
    NamedTensor { name, tensor }
}

fn floats(name: &str, numbers: &[f64]) -> Result<NamedTensor> {
    let mut numbers_left = numbers.iter().copied();
    let shape = Shape::new(vec![u32::try_from(numbers.len())?])?;
    let next = || numbers_left.next().unwrap_or_default();
    Ok(input(name, from_numbers(ElementType::Fp32, shape, next)?))
}

#[test]
fn every_type_passes_through_at_any_address() -> Result<()> {
    for element_type in ElementType::ALL {
        let graph = load(element_type.name())?;
        let spec = &graph.signature().inputs[0];
        ensure!(spec.element_type == element_type, "{spec:?}");
        for rows in [0, 1, 3] {
            let shape = Shape::new(vec![rows, 2])?;
            let tensor = match element_type {
                ElementType::Bytes => texts(&shape)?,
                _ => {
                    let mut number = 0.0;
                    let next = || {
                        number = 1.0 - number;
                        number
                    };
                    from_numbers(element_type, shape.clone(), next)?
                }
            };
            for offset in 0..8 {
                let mut moved = vec![0; offset];
                moved.extend_from_slice(tensor.content());
                let content = Bytes::from(moved).slice(offset..);
                let tensor = Tensor::new(element_type, shape.clone(), content)?;
                let outputs = graph.compute(&[input("x", tensor.clone())])?;
                ensure!(outputs.len() == 1 && outputs[0].name == "y", "{outputs:?}");
                ensure!(
                    outputs[0].tensor == tensor,
                    "{element_type} {rows} {offset}"
                );
            }
        }
    }
    Ok(())
}

/// Returns strings with unusual contents: with zero bytes, empty, and not UTF-8.
fn texts(shape: &Shape) -> Result<Tensor> {
    let texts: [&[u8]; 6] = [
        b"a\0b",
        b"",
        b"\xff\xfe",
        "é".as_bytes(),
        b"\0",
        b"long enough for the heap",
    ];
    let flat = Tensor::from_elements(texts.into_iter().take(shape.elements()))?;
    let content = flat.content().clone();
    Ok(Tensor::new(ElementType::Bytes, shape.clone(), content)?)
}

#[test]
fn an_input_that_is_an_output_outlives_its_request() -> Result<()> {
    let graph = load("handed_on")?;
    let outputs = graph.compute(&[floats("x", &[1.0, 2.0])?])?;
    let expected = floats("x", &[1.0, 2.0])?;
    ensure!(outputs[0] == expected, "{outputs:?}");
    // The memory of the earlier outputs is overwritten now, unless it was copied.
    for _ in 0..100 {
        graph.compute(&[floats("x", &[7.0, 8.0])?])?;
    }
    drop(graph);
    ensure!(outputs[0] == expected, "{outputs:?}");
    ensure!(outputs[1] == floats("y", &[-1.0, -2.0])?, "{outputs:?}");
    Ok(())
}

#[test]
fn threads_that_share_a_session_agree() -> Result<()> {
    let path = root().join("examples/digits/1/model.onnx");
    let (engine, options) = (engine()?, LoadOptions::default());
    let (graph, reference) = (
        engine.load(ModelSource::Path(&path), &options)?,
        Tract::new().load(ModelSource::Path(&path), &options)?,
    );
    let rounds = 200 * scale();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=4)
            .map(|rows| {
                let (graph, reference) = (&graph, &reference);
                scope.spawn(move || -> Result<()> {
                    let inputs = wisp_backend::measure::varied_inputs(&**reference, rows)?;
                    let expected = reference.compute(&inputs)?;
                    for _ in 0..rounds {
                        let found = graph.compute(&inputs)?;
                        let difference =
                            wisp_tensor::difference::largest_difference(&expected, &found);
                        ensure!(difference < 1e-4, "{difference}");
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("it panicked"))??;
        }
        Ok(())
    })
}

#[test]
fn sizes_that_an_operator_refuses_are_errors_of_the_request() -> Result<()> {
    let graph = load("sum")?;
    let inputs = [floats("a", &[1.0, 2.0])?, floats("b", &[1.0, 2.0, 3.0])?];
    match graph.compute(&inputs) {
        Err(BackendError::Inputs { reason, .. }) => ensure!(reason.contains("Add"), "{reason}"),
        other => anyhow::bail!("{other:?}"),
    }
    // The failures do not affect other computations.
    let inputs = [floats("a", &[1.0, 2.0])?, floats("b", &[1.0, 2.0])?];
    ensure!(graph.compute(&inputs)?[0] == floats("y", &[2.0, 4.0])?);
    Ok(())
}

#[test]
fn the_operators_that_are_advised_are_those_of_the_release() -> Result<()> {
    const LIST: &str = "host/backend/src/model_outline/onnx_runtime_operators.txt";
    let listed = std::fs::read_to_string(root().join(LIST))?;
    let found = python::run("onnxruntime_operators.py", &[])?;
    ensure!(
        listed == found,
        "write the output of tests/clients/onnxruntime_operators.py to {LIST}"
    );
    Ok(())
}

#[test]
fn an_absent_library_and_an_absent_gpu_are_named() -> Result<()> {
    let model = models()?.join("FP32.onnx");
    let reason = |engine: &OnnxRuntime, device| {
        let options = LoadOptions {
            device,
            ..LoadOptions::default()
        };
        match engine.load(ModelSource::Path(&model), &options) {
            Err(BackendError::Unavailable { reason, .. }) => Ok(reason),
            other => anyhow::bail!("{other:?}"),
        }
    };
    let none = reason(&OnnxRuntime::new(None), Device::Cpu)?;
    ensure!(none.contains("wisp backend install onnxruntime"), "{none}");
    let gone = OnnxRuntime::new(Some(PathBuf::from("/nowhere/libonnxruntime.so")));
    let gone = reason(&gone, Device::Cpu)?;
    ensure!(
        gone.contains("`/nowhere/libonnxruntime.so` cannot be opened"),
        "{gone}"
    );
    let gpu = reason(&engine()?, Device::Cuda(0))?;
    ensure!(gpu.starts_with("device `cuda:0` cannot be used"), "{gpu}");
    Ok(())
}

#[test]
fn a_model_is_served_by_the_backend_of_its_model_file() -> Result<()> {
    let repository = Repository::of(&["wine", "digits"])?
        .with_example("wine", "fast")?
        .with_file(
            "fast/model.toml",
            "backend = 'onnxruntime'\nthreads = 2\ninstances = 1",
        )?
        .with_example("digits", "chosen")?
        .with_file("chosen/model.toml", "backend = 'auto'")?
        .with_model("nowhere", "wine", None)?
        .with_file("nowhere/model.toml", "backend = 'tensorflow'")?;
    let options = TestOptions {
        backends: vec![Arc::new(engine()?)],
        ..TestOptions::default()
    };
    let server = TestServer::with_options(repository, options)?;
    for (model, platform) in [("wine", "tract_onnx"), ("fast", "onnxruntime_onnx")] {
        let metadata = server.get(&format!("/v2/models/{model}"))?.ok()?;
        ensure!(metadata["platform"] == platform, "{metadata}");
    }
    let request = json!({ "inputs": [{
        "name": "features", "datatype": "FP64", "shape": [1, 13],
        "data": [13.5, 1.8, 2.6, 20, 96, 2.5, 2.6, 0.3, 1.7, 3.5, 1.1, 3.8, 845],
    }] });
    let answers = [
        server.infer("wine", &request)?.json()?,
        server.infer("fast", &request)?.json()?,
    ];
    ensure!(
        answers[0]["outputs"] == answers[1]["outputs"],
        "{answers:?}"
    );
    let chosen = server.get("/v2/models/chosen")?.ok()?;
    let platform = chosen["platform"].as_str().unwrap_or_default();
    ensure!(
        ["tract_onnx", "onnxruntime_onnx"].contains(&platform),
        "{chosen}"
    );
    let refusal = server.get("/v2/models/nowhere")?.error(503);
    ensure!(refusal.is_ok(), "{refusal:?}");
    Ok(())
}
