//! The ONNX Runtime backend, whose shared library is opened when the first model needs it.
//!
//! This module contains the backend. [`graph`] serves a session, [`interface`] calls the C interface of the
//! library, [`arena`] is the memory that all sessions share, [`library`] opens the library, [`signature`] reads the
//! inputs and outputs of a session, and [`external_tensor`] reads the data that a model stores outside its file.
//!
//! Invariant: the library processes untrusted files and is written in C++. Its exceptions are returned as
//! errors; a fault that the processor detects ends the process.

mod arena;
mod error;
mod external_tensor;
mod graph;
mod interface;
mod library;
mod signature;

use self::error::{NAME, failed_load, load_error, short};
use self::external_tensor::ExternalTensors;
use self::graph::{Declarations, OrtGraph};
use self::library::Library;
use crate::backend::{Backend, LoadOptions};
use crate::device::Device;
use crate::error::BackendError;
use crate::format::Format;
use crate::graph::Graph;
use crate::memory;
use crate::model_source::ModelSource;
use crate::onnx::{self, AxisSymbols, OperatorInputs};
use crate::pb::ModelProto;
use crate::rows::Rows;
use ort::ep::{CUDA, ExecutionProvider};
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use prost::Message;
use std::path::PathBuf;
use std::sync::Arc;

// Tensors are little-endian in Wisp and native in ONNX Runtime; neither side swaps.
#[cfg(target_endian = "big")]
compile_error!("the onnxruntime backend needs a little-endian target");

/// The ONNX Runtime backend. Lifetime: the process.
#[derive(Debug)]
pub struct OnnxRuntime {
    library: Option<PathBuf>,
    cuda_libraries: Option<PathBuf>,
    max_compute_bytes: usize,
}

// === impl OnnxRuntime ===

impl OnnxRuntime {
    /// Returns a backend whose shared library is `library`. It is opened at the first use and stays open.
    /// Without a library, the backend is not available. A process has only one such library.
    pub fn new(library: Option<PathBuf>) -> OnnxRuntime {
        OnnxRuntime {
            library,
            cuda_libraries: None,
            max_compute_bytes: memory::compute_budget().capacity(),
        }
    }

    /// Sets the memory for all computations together to `bytes`, without weights, instead of
    /// [`memory::compute_budget`]. It takes effect when the library is opened.
    pub fn with_max_compute_bytes(self, bytes: usize) -> OnnxRuntime {
        OnnxRuntime {
            max_compute_bytes: bytes,
            ..self
        }
    }

    /// Sets the directory of the CUDA libraries, instead of the search path of the system.
    pub fn with_cuda_libraries(self, directory: PathBuf) -> OnnxRuntime {
        let cuda_libraries = Some(directory);
        OnnxRuntime {
            cuda_libraries,
            ..self
        }
    }

    /// Registers a GPU with the session. Returns an error if the GPU cannot be used.
    fn register_cuda(&self, builder: &mut SessionBuilder, index: u32) -> Result<(), BackendError> {
        let unavailable = |reason: String| BackendError::Unavailable {
            backend: NAME,
            reason: format!(
                "device `cuda:{index}` cannot be used: {reason}; it needs an NVIDIA driver, and \
                 the libraries that `wisp backend install cuda` installs"
            ),
        };
        let device = i32::try_from(index).map_err(|_| unavailable("no such device".to_owned()))?;
        if let Some(directory) = &self.cuda_libraries {
            library::open_cuda(directory).map_err(unavailable)?;
        }
        let provider = CUDA::default().with_device_id(device);
        let registered = provider.register(builder);
        registered.map_err(|error| unavailable(short(error.message())))
    }

    fn open(&self) -> Result<Library, BackendError> {
        let opened = library::open(self.library.as_deref(), self.max_compute_bytes);
        opened.map_err(|reason| BackendError::Unavailable {
            backend: NAME,
            reason,
        })
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        match self.available() {
            Ok(()) => library::version(),
            Err(_) => "none".to_owned(),
        }
    }

    fn available(&self) -> Result<(), BackendError> {
        self.open().map(drop)
    }

    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
    ) -> Result<Arc<dyn Graph>, BackendError> {
        let library = self.open()?;
        if source.format() == Format::Nnef {
            return Err(load_error(
                "it loads ONNX files only; NNEF needs tract".to_owned(),
            ));
        }
        let mut content = onnx::read_content(source, NAME)?;
        let mut model = onnx::decode(&content, NAME)?;
        onnx::check_counts(&model).map_err(load_error)?;
        let fixed = onnx::fix_shapes(&mut model, &options.shapes).map_err(load_error)?;
        // Before the rewrites, so that errors have the names of the file.
        let operators = OperatorInputs::of(&model);
        let rows = onnx::rows(&model);
        let folder = source.folder();
        let external = ExternalTensors::take(&mut model, folder.as_ref()).map_err(load_error)?;
        let changes = [
            fixed,
            cfg!(target_os = "linux") && onnx::set_locale(&mut model),
            onnx::remove_zip_maps(&mut model),
            onnx::guard_integer_divisions(&mut model).map_err(load_error)?,
            onnx::guard_empty_values(&mut model),
            external.has_moved(),
        ];
        if changes.contains(&true) {
            content = model.encode_to_vec().into();
        }
        let declarations = declarations(&model, operators, rows);
        drop(model);
        let mut builder = Session::builder(&library.environment).map_err(failed_load)?;
        if let Device::Cuda(index) = options.device {
            self.register_cuda(&mut builder, index)?;
        }
        let mut builder = configured(builder, options)?;
        let initializers = external.lend_to(&mut builder).map_err(failed_load)?;
        // Loads the bytes that were checked, since the file may have changed in the meantime.
        let session = builder.commit_from_memory(&content);
        drop(content);
        let session = session.map_err(failed_load)?;
        Ok(Arc::new(OrtGraph::new(
            session,
            initializers,
            library.arena,
            declarations,
        )?))
    }
}

/// Returns the declarations in the file that a session does not report, with the operators and the relation
/// of the rows before the file was rewritten.
fn declarations(model: &ModelProto, operators: OperatorInputs, rows: Rows) -> Declarations {
    let graph = model.graph.as_ref();
    let optional = onnx::optional_inputs(model).into_iter();
    Declarations {
        symbols: graph.map(AxisSymbols::of).unwrap_or_default(),
        outputs: graph.map(onnx::declared_outputs).unwrap_or_default(),
        optional: optional.map(|input| input.spec).collect(),
        operators,
        rows,
    }
}

/// Returns the builder of a session with the number of threads in `options`.
fn configured(
    builder: SessionBuilder,
    options: &LoadOptions,
) -> Result<SessionBuilder, BackendError> {
    let failed = |error: ort::Error<SessionBuilder>| load_error(short(error.message()));
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(failed)?
        .with_intra_threads(options.threads.get())
        .map_err(failed)?
        .with_inter_threads(1)
        .map_err(failed)?
        .with_env_allocators()
        .map_err(failed)?
        // A file in the library's own format is rejected, since its content is not checked here.
        .with_config_entry("session.load_model_format", "ONNX")
        .map_err(failed)?;
    // Waiting threads sleep, since the cores serve other requests.
    let builder = builder
        .with_intra_op_spinning(false)
        .map_err(failed)?
        .with_inter_op_spinning(false)
        .map_err(failed)?;
    builder.with_log_level(LogLevel::Fatal).map_err(failed)
}
