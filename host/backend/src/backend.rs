//! The trait of inference backends.

use crate::device::Device;
use crate::error::BackendError;
use crate::graph::Graph;
use crate::model_source::ModelSource;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use wisp_tensor::Dimension;

/// An inference backend, which loads model files into graphs.
pub trait Backend: Send + Sync + std::fmt::Debug {
    /// Returns the name of the backend in metadata and configuration, such as `tract`.
    fn name(&self) -> &'static str;

    /// Returns the version of the backend, which invalidates stored records of other versions.
    fn version(&self) -> String;

    /// Returns [`BackendError::Unavailable`], with the missing part as its reason, if the
    /// backend cannot load any model.
    fn available(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// Returns whether the rows of a batch may be computed faster one by one than together, which the
    /// caller should then measure.
    fn rows_may_be_faster(&self) -> bool {
        false
    }

    /// Reads, checks and optimises a model. Blocks, for seconds with a large model.
    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError>;
}

/// The settings of a model for its backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// The device that computes.
    pub device: Device,
    /// The number of threads that one computation may use, including the caller's.
    pub threads: NonZeroUsize,
    /// The shapes of inputs, by name, that fix axes which the file leaves variable. A variable axis here
    /// stays as it is in the file. A name or a size that contradicts the file is an error.
    pub shapes: BTreeMap<String, Vec<Dimension>>,
}

impl Default for LoadOptions {
    /// Returns the CPU and one thread, since a server uses its other cores for other requests.
    fn default() -> LoadOptions {
        LoadOptions {
            device: Device::Cpu,
            threads: NonZeroUsize::MIN,
            shapes: BTreeMap::new(),
        }
    }
}
