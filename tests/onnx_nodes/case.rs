//! The cases that `tests/clients/onnx_node_tests.py` wrote: models with inputs and expected outputs.

use crate::python;
use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// An entry of the manifest.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Case {
    /// `<kind>/<name>`; the kind `node` is the package's node tests.
    pub(super) name: String,
    /// The reason why no V2 request can carry the case.
    pub(super) not_servable: Option<String>,
    #[serde(flatten)]
    pub(super) content: Option<Content>,
}

/// The tolerances, inputs and expected outputs of a case.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Content {
    pub(super) rtol: f64,
    pub(super) atol: f64,
    /// True if the values differ between runs; then only types and shapes are compared.
    pub(super) random: bool,
    pub(super) inputs: Vec<Stored>,
    pub(super) outputs: Vec<Stored>,
}

/// A tensor within the case's file of tensors.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<u32>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    length: usize,
}

/// Returns every case, sorted by name.
pub(super) fn all() -> Result<&'static [Case]> {
    static CASES: OnceLock<Result<Vec<Case>, String>> = OnceLock::new();
    let cases = CASES.get_or_init(|| read().map_err(|error| format!("{error:#}")));
    cases.as_deref().map_err(|error| anyhow!("{error}"))
}

fn read() -> Result<Vec<Case>> {
    let manifest = python::onnx_node_tests()?.join("manifest.json");
    let cases: Vec<Case> = serde_json::from_slice(&std::fs::read(manifest)?)?;
    for Case {
        name,
        not_servable,
        content,
    } in &cases
    {
        ensure!(
            content.is_some() != not_servable.is_some(),
            "{name}: half an entry"
        );
    }
    Ok(cases)
}

impl Case {
    /// Returns the path of the model's file.
    pub(super) fn model(&self) -> Result<PathBuf> {
        self.file("onnx")
    }

    /// Returns the bytes that the stored tensors are slices of.
    pub(super) fn tensors(&self) -> Result<Bytes> {
        Ok(std::fs::read(self.file("bin")?)?.into())
    }

    fn file(&self, extension: &str) -> Result<PathBuf> {
        let directory: &Path = python::onnx_node_tests()?;
        Ok(directory.join(format!("{}.{extension}", self.name)))
    }
}

impl Stored {
    /// Reads the declaration of a tensor from V2's JSON; its bytes are stored elsewhere.
    pub(super) fn declared(tensor: &serde_json::Value) -> Result<Stored> {
        Ok(Stored::deserialize(tensor)?)
    }

    pub(super) fn element_type(&self) -> Result<ElementType> {
        ElementType::from_name(&self.datatype).with_context(|| self.datatype.clone())
    }

    /// Returns the bytes of this tensor among those of its case.
    pub(super) fn content(&self, tensors: &Bytes) -> Bytes {
        tensors.slice(self.offset..self.offset + self.length)
    }

    pub(super) fn tensor(&self, tensors: &Bytes) -> Result<NamedTensor> {
        let shape = Shape::new(self.shape.clone())?;
        let tensor = Tensor::new(self.element_type()?, shape, self.content(tensors))?;
        Ok(NamedTensor {
            name: self.name.clone(),
            tensor,
        })
    }
}
