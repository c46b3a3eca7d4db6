//! A case that `tests/clients/case_files.py` wrote: a model with inputs and expected outputs.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// An entry of a manifest.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Case {
    /// `<group>/<name>`, unique among the cases of a manifest.
    pub(crate) name: String,
    /// The reason why no V2 request can carry the case.
    pub(crate) not_servable: Option<String>,
    #[serde(flatten)]
    pub(crate) content: Option<Content>,
    /// The directory of the manifest.
    #[serde(skip)]
    directory: PathBuf,
}

/// The tolerances, inputs and expected outputs of a case.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Content {
    #[serde(default)]
    pub(crate) rtol: f64,
    #[serde(default)]
    pub(crate) atol: f64,
    /// True if the values differ between runs; then only types and shapes are compared.
    #[serde(default)]
    pub(crate) random: bool,
    /// True if the tolerances are complete, and need no allowance for sums of large terms.
    #[serde(default)]
    pub(crate) strict: bool,
    /// True if every bit must be equal, including the signs of zeros, except within NaNs.
    #[serde(default)]
    pub(crate) bitwise: bool,
    /// True if one of the embedded backends must compute the case.
    #[serde(default)]
    pub(crate) served: bool,
    pub(crate) inputs: Vec<Stored>,
    pub(crate) outputs: Vec<Stored>,
    /// Other outputs that are right as well, because ONNX does not define which are.
    #[serde(default)]
    pub(crate) also_right: Vec<Stored>,
}

/// A tensor within the case's file of tensors.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) datatype: String,
    pub(crate) shape: Vec<u32>,
    #[serde(default)]
    offset: usize,
    #[serde(default)]
    length: usize,
}

/// Returns every case of the manifest in `directory`, sorted by name.
pub(super) fn read(directory: &Path) -> Result<Vec<Case>> {
    let path = directory.join("manifest.json");
    let manifest = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let mut cases: Vec<Case> = serde_json::from_slice(&manifest)?;
    for case in &mut cases {
        ensure!(
            case.content.is_some() != case.not_servable.is_some(),
            "{}: half an entry",
            case.name
        );
        case.directory = directory.to_owned();
    }
    Ok(cases)
}

impl Case {
    /// Returns the path of the model's file.
    pub(crate) fn model(&self) -> PathBuf {
        self.file("onnx")
    }

    /// Returns the bytes that the stored tensors are slices of.
    pub(crate) fn tensors(&self) -> Result<Bytes> {
        Ok(std::fs::read(self.file("bin"))?.into())
    }

    /// Returns the part of the name before the slash.
    pub(crate) fn group(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Returns whether one of the embedded backends must compute the case.
    pub(crate) fn is_served(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.served)
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", self.name))
    }
}

impl Content {
    /// Returns the inputs, whose bytes are slices of `tensors`.
    pub(crate) fn input_tensors(&self, tensors: &Bytes) -> Result<Vec<NamedTensor>> {
        let inputs = self.inputs.iter().map(|input| input.tensor(tensors));
        inputs.collect()
    }
}

impl Stored {
    /// Reads the declaration of a tensor from V2's JSON; its bytes are stored elsewhere.
    pub(crate) fn declared(tensor: &serde_json::Value) -> Result<Stored> {
        Ok(Stored::deserialize(tensor)?)
    }

    pub(crate) fn element_type(&self) -> Result<ElementType> {
        ElementType::from_name(&self.datatype).with_context(|| self.datatype.clone())
    }

    /// Returns the bytes of this tensor among those of its case.
    pub(crate) fn content(&self, tensors: &Bytes) -> Bytes {
        tensors.slice(self.offset..self.offset + self.length)
    }

    pub(crate) fn tensor(&self, tensors: &Bytes) -> Result<NamedTensor> {
        let shape = Shape::new(self.shape.clone())?;
        let tensor = Tensor::new(self.element_type()?, shape, self.content(tensors))?;
        Ok(NamedTensor {
            name: self.name.clone(),
            tensor,
        })
    }
}
