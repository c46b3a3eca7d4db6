//! Tests of models trained with scikit-learn, LightGBM and XGBoost and of single operators: tract, and for some
//! the onnxruntime backend, against onnxruntime's Python API.
//!
//! A script creates the models and onnxruntime's results for them once, below the target directory.

use crate::harness::difference::{Tolerance, difference};
use crate::harness::root;
use crate::python;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wisp_backend::tract::Tract;
use wisp_backend::{Backend, LoadOptions, ModelSource};
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// Models for which onnxruntime's sum of exponentials underflows to an infinite logarithm, while the
/// embedded backend returns the finite one.
const UNDERFLOWS: [&str; 4] = [
    "log sum exp 1000 [1] 0",
    "log sum exp 1000 [1] 0 newer",
    "log sum exp 1000 [1] 1",
    "log sum exp 1000 [1] 1 newer",
];

/// A model, and computations that onnxruntime made with it.
#[derive(Debug, Deserialize)]
struct Case {
    model: String,
    set: String,
    /// The absolute and relative tolerance of floats.
    tolerance: f64,
    computations: Vec<Computation>,
}

#[derive(Debug, Deserialize)]
struct Computation {
    inputs: Vec<Entry>,
    outputs: Vec<Entry>,
}

/// A tensor, and its place in the file of contents.
#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    datatype: String,
    shape: Vec<u32>,
    offset: usize,
    length: usize,
}

#[test]
fn the_coverage_set_loads_and_agrees() -> Result<()> {
    check("coverage", 22)
}

#[test]
fn more_models_load_and_agree() -> Result<()> {
    check("more", 70)
}

#[test]
fn text_pipelines_load_and_agree() -> Result<()> {
    check("text", 9)
}

#[test]
fn boosted_trees_of_other_libraries_load_and_agree() -> Result<()> {
    check("boosting", 12)
}

/// LightGBM's classifiers declare one label for all rows, and text is compared in a locale that the machine may
/// not have.
#[test]
fn onnxruntime_agrees_with_its_python_api() -> Result<()> {
    let onnxruntime = crate::onnxruntime::engine()?;
    check_with(&onnxruntime, "text", 9)?;
    check_with(&onnxruntime, "boosting", 12)
}

#[test]
fn operators_agree_one_by_one() -> Result<()> {
    check("operators", 324)
}

fn check(set: &str, expected: usize) -> Result<()> {
    check_with(&Tract::new(), set, expected)
}

/// Checks all computations of a set, and fails with everything that differs.
fn check_with(backend: &dyn Backend, set: &str, expected: usize) -> Result<()> {
    let directory = models()?;
    let manifest = std::fs::read(directory.join("manifest.json"))?;
    let contents = std::fs::read(directory.join("tensors.bin"))?;
    let cases: Vec<Case> = serde_json::from_slice(&manifest)?;
    let mut failures = String::new();
    let mut checked = 0;
    for case in cases.iter().filter(|case| case.set == set) {
        checked += 1;
        let Case { model, .. } = case;
        let underflows = UNDERFLOWS.contains(&model.as_str());
        match check_model(backend, case, (directory, contents.as_slice())) {
            Err(error) if !underflows => writeln!(failures, "{model}: {error:#}")?,
            Ok(()) if underflows => writeln!(failures, "{model} agrees and is listed")?,
            _ => {}
        }
    }
    ensure!(failures.is_empty(), "of {checked} models:\n{failures}");
    ensure!(
        checked == expected,
        "{checked} models instead of {expected}"
    );
    Ok(())
}

/// Checks all computations of a model, whose tensors are slices of the contents of a file in the directory.
fn check_model(
    backend: &dyn Backend,
    case: &Case,
    (directory, contents): (&Path, &[u8]),
) -> Result<()> {
    let graph = backend.load(
        ModelSource::Path(&directory.join(format!("{}.onnx", case.model))),
        &LoadOptions::default(),
    )?;
    let tolerance = Tolerance {
        relative: case.tolerance,
        absolute: case.tolerance,
    };
    for computation in &case.computations {
        let tensors = |entries: &[Entry]| {
            let tensors = entries.iter().map(|entry| tensor(entry, contents));
            tensors.collect::<Result<Vec<NamedTensor>>>()
        };
        let inputs = tensors(&computation.inputs)?;
        let rows = &computation.inputs[0].shape;
        let outputs = graph
            .compute(&inputs)
            .with_context(|| format!("inputs of {rows:?}"))?;
        let expected = tensors(&computation.outputs)?;
        ensure!(outputs.len() == expected.len(), "{} outputs", outputs.len());
        for (output, expected) in outputs.iter().zip(&expected) {
            let NamedTensor { name, tensor } = expected;
            ensure!(
                output.name == *name,
                "`{}` instead of `{name}`",
                output.name
            );
            let difference = difference(&output.tensor, tensor, tolerance);
            ensure!(
                difference.is_none(),
                "`{name}` {difference:?}, inputs of {rows:?}"
            );
        }
    }
    Ok(())
}

fn tensor(entry: &Entry, contents: &[u8]) -> Result<NamedTensor> {
    let element_type = ElementType::ALL
        .into_iter()
        .find(|element_type| element_type.to_string() == entry.datatype)
        .with_context(|| format!("`{}` is of unknown type", entry.name))?;
    let content = &contents[entry.offset..entry.offset + entry.length];
    let shape = Shape::new(entry.shape.clone())?;
    Ok(NamedTensor {
        name: entry.name.clone(),
        tensor: Tensor::new(element_type, shape, content.to_vec().into())?,
    })
}

/// Returns the directory of the models, which are created on first use.
pub(crate) fn models() -> Result<&'static Path> {
    static MODELS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    python::once(&MODELS, || {
        let scripts = root().join("tests/clients");
        let mut hasher = DefaultHasher::new();
        python::packages()?.hash(&mut hasher);
        for script in ["sklearn_models.py", "ml_operators.py", "trained_models.py"] {
            std::fs::read(scripts.join(script))?.hash(&mut hasher);
        }
        let name = format!("sklearn-{:016x}", hasher.finish());
        let directory = python::target_directory()?.join(&name);
        let _guard = python::lock(&name)?;
        if !directory.join(python::WHOLE).is_file() {
            std::fs::create_dir_all(&directory)?;
            let path = directory.to_str().context("the path is text")?;
            python::run("sklearn_models.py", &[path])?;
            std::fs::write(directory.join(python::WHOLE), "")?;
        }
        Ok(directory)
    })
}
