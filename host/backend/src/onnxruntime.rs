//! ONNX Runtime, whose shared library is opened when the first model asks for it.
//!
//! Here are the engine and the only calls of the library's C interface; what serves a session with them
//! is in [`graph`], what opens the library in [`library`], what a session says of itself in [`signature`].
//! The binding's own `run` wants a session for itself and its tensors want typed slices, so runs and
//! tensors go through the C interface: a session is shared by all its users without a lock, inputs are
//! lent, and outputs are shared, not copied.
//!
//! Invariant: the library handles what others wrote, and is C++. Its exceptions come back as errors; a
//! fault in it that the processor notices ends the process.

mod external_tensor;
mod graph;
mod library;
mod signature;

use self::external_tensor::check_external_data;
use self::graph::OrtGraph;
use crate::onnx;
use crate::{Backend, BackendError, Device, Format, Graph, LoadOptions};
use bytes::{BufMut, Bytes, BytesMut};
use ort::AsPointer;
use ort::ep::{CUDA, ExecutionProvider};
use ort::logging::LogLevel;
use ort::memory::{Allocator, MemoryInfo};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::sys;
use ort::value::TensorElementType;
use prost::Message;
use std::ffi::{CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;

// Tensors are little-endian in Wisp and native in ONNX Runtime; neither side swaps.
#[cfg(target_endian = "big")]
compile_error!("the onnxruntime backend needs a little-endian target");

const ENGINE: &str = "onnxruntime";

/// The ONNX Runtime engine. Lifetime: the process.
#[derive(Debug)]
pub struct OnnxRuntime {
    library: Option<PathBuf>,
    cuda_libraries: Option<PathBuf>,
}

/// A value of the library that is ours to release.
#[derive(Debug)]
struct Value(NonNull<sys::OrtValue>);

// === impl OnnxRuntime ===

impl OnnxRuntime {
    /// The engine whose shared library is `library`, which is opened when it is first needed and stays
    /// open. Without one, the engine is not available. A process has one such library.
    pub fn new(library: Option<PathBuf>) -> OnnxRuntime {
        OnnxRuntime {
            library,
            cuda_libraries: None,
        }
    }

    /// The same, with the libraries of CUDA in this directory rather than where the system finds them.
    pub fn with_cuda_libraries(self, directory: PathBuf) -> OnnxRuntime {
        let cuda_libraries = Some(directory);
        OnnxRuntime {
            cuda_libraries,
            ..self
        }
    }

    /// Let the session compute on a GPU, and fail where it cannot.
    fn register_cuda(&self, builder: &mut SessionBuilder, index: u32) -> Result<(), BackendError> {
        let unavailable = |reason: String| BackendError::Unavailable {
            engine: ENGINE,
            reason: format!(
                "device `cuda:{index}` cannot be used: {reason}; it takes an NVIDIA driver, and the \
                 libraries that `wisp backend install cuda` fetches"
            ),
        };
        let device = i32::try_from(index).map_err(|_| unavailable("no such device".to_owned()))?;
        if let Some(directory) = &self.cuda_libraries {
            library::open_cuda(directory).map_err(unavailable)?;
        }
        let provider = CUDA::default().with_device_id(device);
        let registered = provider.register(builder);
        registered.map_err(|error| unavailable(one_line(error.message())))
    }

    fn environment(&self) -> Result<ort::environment::Environment, BackendError> {
        library::open(self.library.as_deref()).map_err(|reason| BackendError::Unavailable {
            engine: ENGINE,
            reason,
        })
    }
}

impl Backend for OnnxRuntime {
    fn name(&self) -> &'static str {
        ENGINE
    }

    fn version(&self) -> String {
        match self.available() {
            Ok(()) => library::version(),
            Err(_) => "none".to_owned(),
        }
    }

    fn available(&self) -> Result<(), BackendError> {
        self.environment().map(drop)
    }

    fn load(&self, path: &Path, options: &LoadOptions) -> Result<Arc<dyn Graph>, BackendError> {
        let environment = self.environment()?;
        if let Some((Format::Nnef, _)) = Format::of(path) {
            return Err(load_error("it reads ONNX; NNEF is tract's".to_owned()));
        }
        let mut model = onnx::read(path, ENGINE)?;
        let folder = path.parent();
        let graph = model.graph.as_ref();
        let checked = graph.map_or(Ok(()), |graph| check_external_data(graph, folder));
        checked.map_err(load_error)?;
        let mut builder = Session::builder(&environment).map_err(failed_load)?;
        if let Device::Cuda(index) = options.device {
            self.register_cuda(&mut builder, index)?;
        }
        let mut builder = configured(builder, options)?;
        let session = if onnx::remove_zip_maps(&mut model) {
            builder.commit_from_memory(&model.encode_to_vec())
        } else {
            drop(model);
            builder.commit_from_file(path)
        };
        // Its text begins with the path, which the reader of the error knows.
        let session = session.map_err(|error| {
            let own = format!("Load model from {} failed:", path.display());
            load_error(one_line(error.message().replace(&own, "").trim_start()))
        })?;
        Ok(Arc::new(OrtGraph::new(session)?))
    }
}

/// The builder of a session that computes on so many threads.
fn configured(
    builder: SessionBuilder,
    options: &LoadOptions,
) -> Result<SessionBuilder, BackendError> {
    let failed = |error: ort::Error<SessionBuilder>| load_error(one_line(error.message()));
    let builder = builder
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(failed)?
        .with_intra_threads(options.threads.get())
        .map_err(failed)?
        .with_inter_threads(1)
        .map_err(failed)?;
    // Waiting threads sleep: the cores are for other requests.
    let builder = builder
        .with_intra_op_spinning(false)
        .map_err(failed)?
        .with_inter_op_spinning(false)
        .map_err(failed)?;
    builder.with_log_level(LogLevel::Fatal).map_err(failed)
}

fn load_error(reason: String) -> BackendError {
    BackendError::Load {
        engine: ENGINE,
        reason,
    }
}

fn failed_load(error: ort::Error) -> BackendError {
    load_error(one_line(error.message()))
}

fn inputs_error(reason: String) -> BackendError {
    BackendError::Inputs {
        engine: ENGINE,
        reason,
    }
}

fn compute_error(reason: String) -> BackendError {
    BackendError::Compute {
        engine: ENGINE,
        reason,
    }
}

/// The library's texts span lines and can print whole shapes and paths of its sources.
fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 400;
    crate::one_line::one_line(text, MAX_CHARS)
}

// === impl Value: the C interface ===

/// The result that a call of the C interface reports.
#[expect(
    unsafe_code,
    reason = "statuses are the library's to make and ours to release"
)]
fn checked(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: all callers hand on what the library has just returned, once.
    unsafe { ort::Error::result_from_status(status) }
}

/// The value at an address that the library has written.
fn made(value: *mut sys::OrtValue) -> ort::Result<Value> {
    NonNull::new(value)
        .map(Value)
        .ok_or_else(|| ort::Error::new("the library gave no value"))
}

impl Value {
    /// A tensor of the numbers at `content`, which the caller keeps there, unchanged and aligned for
    /// their type, for as long as the value is used.
    #[expect(
        unsafe_code,
        reason = "the binding lends typed slices only, and tensors are bytes"
    )]
    fn lend(
        content: &[u8],
        shape: &[i64],
        element_type: TensorElementType,
        memory: &MemoryInfo<'static>,
    ) -> ort::Result<Value> {
        let mut value = null_mut();
        // SAFETY: all pointers are of live references, with their lengths beside them, and the library checks
        // that length, shape and type agree. It takes a pointer to change through, but never writes to what a
        // run is given.
        let status = unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                memory.ptr(),
                content.as_ptr().cast_mut().cast(),
                content.len(),
                shape.as_ptr(),
                shape.len(),
                element_type.into(),
                &mut value,
            )
        };
        checked(status)?;
        made(value)
    }

    /// A tensor of empty texts.
    #[expect(
        unsafe_code,
        reason = "the binding's texts end at a zero byte and must be UTF-8"
    )]
    fn new_texts(shape: &[i64]) -> ort::Result<Value> {
        let mut value = null_mut();
        let allocator = Allocator::default();
        // SAFETY: all pointers are of live references, with the shape's length beside it. The default
        // allocator is the library's own and stays.
        let status = unsafe {
            (ort::api().CreateTensorAsOrtValue)(
                allocator.ptr().cast_mut(),
                shape.as_ptr(),
                shape.len(),
                TensorElementType::String.into(),
                &mut value,
            )
        };
        checked(status)?;
        made(value)
    }

    /// Set one text of a tensor of texts.
    #[expect(
        unsafe_code,
        reason = "the binding's texts end at a zero byte and must be UTF-8"
    )]
    fn write_text(&mut self, index: usize, text: &[u8]) -> ort::Result<()> {
        let mut room: *mut c_char = null_mut();
        // SAFETY: the value lives; the library checks the index, and that these are texts.
        let status = unsafe {
            (ort::api().GetResizedStringTensorElementBuffer)(
                self.0.as_ptr(),
                index,
                text.len(),
                &mut room,
            )
        };
        checked(status)?;
        // SAFETY: the library has made room for so many bytes there, which nobody else knows of.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), room.cast(), text.len()) };
        Ok(())
    }

    /// What a tensor is of, and its sizes per axis.
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    fn type_and_shape(&self) -> ort::Result<(TensorElementType, Vec<i64>)> {
        let api = ort::api();
        let mut is_tensor = 0;
        // SAFETY: the value lives, and the result is written to a live variable.
        checked(unsafe { (api.IsTensor)(self.0.as_ptr(), &mut is_tensor) })?;
        if is_tensor == 0 {
            return Err(ort::Error::new("it is no tensor"));
        }
        let mut facts = null_mut();
        // SAFETY: as above, and it is a tensor.
        checked(unsafe { (api.GetTensorTypeAndShape)(self.0.as_ptr(), &mut facts) })?;
        let mut element_type =
            sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        let mut rank = 0;
        // SAFETY: the library has just made `facts`.
        let status = unsafe { (api.GetTensorElementType)(facts, &mut element_type) };
        let result = checked(status)
            // SAFETY: the same.
            .and_then(|()| checked(unsafe { (api.GetDimensionsCount)(facts, &mut rank) }))
            .and_then(|()| {
                let mut shape = vec![0; rank];
                // SAFETY: the same, and the shape has room for as many sizes as are said.
                checked(unsafe { (api.GetDimensions)(facts, shape.as_mut_ptr(), rank) })?;
                Ok((element_type.into(), shape))
            });
        // SAFETY: it is ours, and not used any more.
        unsafe { (api.ReleaseTensorTypeAndShapeInfo)(facts) };
        result
    }

    /// The memory of a tensor of numbers, which takes `length` bytes.
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    fn content(&self, length: usize) -> ort::Result<&[u8]> {
        let mut address: *mut c_void = null_mut();
        // SAFETY: the value lives, and the result is written to a live variable.
        checked(unsafe { (ort::api().GetTensorMutableData)(self.0.as_ptr(), &mut address) })?;
        if address.is_null() || length == 0 {
            return Ok(&[]);
        }
        // SAFETY: a tensor is dense, so its shape and type say how many bytes begin there, and the caller has
        // reckoned `length` from them. They live as long as the value; nobody writes to them, since the run
        // that did is over.
        Ok(unsafe { std::slice::from_raw_parts(address.cast(), length) })
    }

    /// The elements of a tensor of `count` texts, in the layout of BYTES.
    #[expect(unsafe_code, reason = "the binding's texts must be UTF-8")]
    fn read_texts(&self, count: usize) -> ort::Result<Bytes> {
        let mut length = 0;
        // SAFETY: the value lives, and the result is written to a live variable; the library checks that these
        // are texts.
        let status =
            unsafe { (ort::api().GetStringTensorDataLength)(self.0.as_ptr(), &mut length) };
        checked(status)?;
        let mut joined = vec![0u8; length];
        let mut starts = vec![0usize; count];
        // SAFETY: both places are as long as is said.
        let status = unsafe {
            (ort::api().GetStringTensorContent)(
                self.0.as_ptr(),
                joined.as_mut_ptr().cast(),
                joined.len(),
                starts.as_mut_ptr(),
                starts.len(),
            )
        };
        checked(status)?;
        let mut content = BytesMut::with_capacity(length.saturating_add(4 * count));
        let ends = starts.iter().skip(1).copied().chain([length]);
        for (&start, end) in starts.iter().zip(ends) {
            let text = joined.get(start..end).unwrap_or_default();
            let size = u32::try_from(text.len()).map_err(ort::Error::wrap)?;
            content.put_u32_le(size);
            content.put_slice(text);
        }
        Ok(content.freeze())
    }
}

impl Drop for Value {
    #[expect(
        unsafe_code,
        reason = "the binding has no type for values of concurrent runs"
    )]
    fn drop(&mut self) {
        // SAFETY: it is ours alone, and this is its last use.
        unsafe { (ort::api().ReleaseValue)(self.0.as_ptr()) };
    }
}

#[expect(
    unsafe_code,
    reason = "answers are dropped on other threads than they are computed on"
)]
// SAFETY: a value has no tie to a thread: the library makes, reads and releases values on any of them.
unsafe impl Send for Value {}
#[expect(unsafe_code, reason = "several answers may hold parts of one value")]
// SAFETY: what is shared is only read.
unsafe impl Sync for Value {}

/// Run the session. Of the outputs, those that are optional in the graph may be absent.
#[expect(unsafe_code, reason = "the binding allows one run at a time")]
fn run(
    session: &Session,
    input_names: &[CString],
    inputs: &[&Value],
    output_names: &[CString],
) -> ort::Result<Vec<Option<Value>>> {
    if inputs.len() != input_names.len() {
        return Err(ort::Error::new("as many inputs as names are needed"));
    }
    let pointers = |names: &[CString]| names.iter().map(|name| name.as_ptr()).collect::<Vec<_>>();
    let (input_names, output_names) = (pointers(input_names), pointers(output_names));
    let inputs: Vec<*const sys::OrtValue> = inputs
        .iter()
        .map(|value| value.0.as_ptr().cast_const())
        .collect();
    let mut outputs: Vec<*mut sys::OrtValue> = vec![null_mut(); output_names.len()];
    // SAFETY: names and values live until the end of this function, in lists as long as is said. The session
    // is not changed by running: the library's interface says that `Run` may be called by many threads at
    // once, also for one session, and its own servers do. (The binding asks for `&mut` because some execution
    // providers once broke that promise; those here, for processors and CUDA, keep it.)
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            null(),
            input_names.as_ptr(),
            inputs.as_ptr(),
            inputs.len(),
            output_names.as_ptr(),
            output_names.len(),
            outputs.as_mut_ptr(),
        )
    };
    // What the run has written is ours, also if it failed later.
    let outputs = outputs
        .into_iter()
        .map(|value| NonNull::new(value).map(Value))
        .collect();
    checked(status)?;
    Ok(outputs)
}
