//! A request to load a model, independent of any wire format.
//!
//! These are plain values without behavior: the files and the settings that a client may send in place of those in
//! the repository.

use crate::call::Version;
use crate::dynamic_batching::DynamicBatching;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use wisp_tensor::{Dimension, ElementType};

/// A request to load a model. The default loads the model as it is in the repository. Lifetime: one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadRequest {
    /// The settings that replace the repository's.
    pub config: Option<LoadConfig>,
    /// The files of the model, in place of those in the repository; empty if the model is in the repository.
    pub files: Vec<UploadedFile>,
}

impl LoadRequest {
    /// Returns whether the model is loaded as it is in the repository.
    pub fn is_plain(&self) -> bool {
        self.config.is_none() && self.files.is_empty()
    }
}

/// A file of a version. Its name is one component of a path, and neither `.` nor `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedFile {
    pub version: Version,
    pub name: String,
    pub content: Bytes,
}

/// The settings in a model configuration that this server has. A setting without a value is not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadConfig {
    /// The name of the model, which must be the same as in the request.
    pub name: Option<String>,
    pub backend: Option<String>,
    /// The index of the GPU that computes.
    pub gpu: Option<u32>,
    pub max_batch_size: Option<u32>,
    pub versions: Option<VersionSelection>,
    /// Set if the responses of the model are cached.
    pub response_cache: Option<bool>,
    /// The number of computations at the same time.
    pub instances: Option<NonZeroUsize>,
    /// The texts for clients, by name.
    pub parameters: Option<BTreeMap<String, String>>,
    /// The rules by which requests are computed together.
    pub dynamic_batching: Option<DynamicBatching>,
    /// The file of the main graph in the directory of a version.
    pub default_model_filename: Option<String>,
    /// The declared inputs, which must agree with the model's.
    pub inputs: Vec<DeclaredTensor>,
    /// The declared outputs, which must agree with the model's.
    pub outputs: Vec<DeclaredTensor>,
}

/// The versions to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSelection {
    /// This many of the highest versions.
    Latest(NonZeroUsize),
    All,
    Specific(Vec<u64>),
}

/// The declaration of one input or output in a model configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTensor {
    pub name: String,
    pub element_type: Option<ElementType>,
    /// The sizes of the axes, without the batch axis of a model with a maximum batch size.
    pub dimensions: Option<Vec<Dimension>>,
    /// The file with the labels of the classes.
    pub labels: Option<String>,
}
