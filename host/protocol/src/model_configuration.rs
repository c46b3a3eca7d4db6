//! The facts about a model that only its configuration in Triton's format contains.

use crate::dynamic_batching::DynamicBatching;
use std::collections::BTreeMap;
use wisp_tensor::ImageLayout;

/// The part of a model's description that only its configuration contains. Lifetime: a model version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelConfiguration {
    pub version_policy: VersionPolicy,
    /// The order of the axes of the inputs that are images, by name.
    pub image_layouts: BTreeMap<String, ImageLayout>,
    /// The files with the class names of outputs, by output, relative to the directory of the model.
    pub label_files: BTreeMap<String, String>,
    /// The number of computations of a graph that may run at the same time.
    pub instances: u32,
    /// The index of the GPU that computes the graphs; `None` for the CPU.
    pub gpu: Option<u32>,
    /// The rules by which requests are computed together; `None` if each is computed alone.
    pub dynamic_batching: Option<DynamicBatching>,
    /// Set if responses are kept for later requests with the same inputs.
    pub response_cache: bool,
    /// The name of the file that answers requests: of the main graph, or of the handler.
    pub file_name: String,
}

/// The versions of a model that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionPolicy {
    /// This many of the highest versions.
    Latest(u32),
    All,
    Specific(Vec<u64>),
}

impl Default for VersionPolicy {
    fn default() -> VersionPolicy {
        VersionPolicy::Latest(1)
    }
}
