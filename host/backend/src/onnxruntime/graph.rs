//! A session that serves requests.

use super::arena::{Arena, ArenaUse, Refusal};
use super::error::{
    NAME, compute_error, failed_load, inputs_error, load_error, refused_run, short,
};
use super::external_tensor::Initializers;
use super::interface::{RunOptions, Value, run};
use super::signature;
use crate::cancellation::Cancellation;
use crate::error::BackendError;
use crate::graph::Graph;
use crate::input_order::given_in_signature_order;
use crate::observed_shapes::correct;
use crate::onnx::{AxisSymbols, OperatorInputs};
use crate::probe::{ProbeError, TimeLimit, probe, two_row_inputs};
use crate::rows::Rows;
use crate::sample::Sample;
use bytes::Bytes;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use std::borrow::Cow;
use std::ffi::CString;
use std::sync::Arc;
use wisp_tensor::{
    Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorError, TensorSpec,
};

/// A model loaded by [`super::OnnxRuntime`]. Lifetime: a model version.
#[derive(Debug)]
pub(super) struct OrtGraph {
    /// The session, which is dropped before its initializers.
    session: Arc<Served>,
    signature: Signature,
    /// The operators of the file, for messages about inputs that one of them refuses.
    operators: OperatorInputs,
    rows: Rows,
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    /// Marks inputs as being in CPU memory.
    memory: MemoryInfo<'static>,
    /// The sample inputs that the graph was found to compute.
    sample: Sample,
    /// The declarations of outputs in the file that computing has shown to be wrong.
    wrong_declarations: Vec<String>,
}

/// The declarations of a file that a session does not report.
#[derive(Debug)]
pub(super) struct Declarations {
    pub(super) symbols: AxisSymbols,
    /// The shapes of outputs, if they are declared.
    pub(super) outputs: Vec<Option<Vec<Dimension>>>,
    /// The inputs that a request may leave out.
    pub(super) optional: Vec<TensorSpec>,
    /// The operators, as the file names them.
    pub(super) operators: OperatorInputs,
    /// The relation between the rows of a batch.
    pub(super) rows: Rows,
}

/// A session and the values that must outlive it. Fields are dropped in this order.
#[derive(Debug)]
struct Served {
    session: Session,
    _initializers: Initializers,
    arena: &'static Arena,
}

/// An input of a run, which borrows the bytes of the tensor.
struct Input<'a> {
    value: Value,
    /// A copy of bytes that were not aligned for their type.
    _aligned: Option<Vec<u8>>,
    _tensor: &'a Tensor,
}

/// A value as the owner of shared bytes.
struct Content {
    length: usize,
    /// Released before the session that owns the memory: fields are dropped in this order.
    value: Value,
    _use: ArenaUse,
    _session: Arc<Served>,
}

// === impl OrtGraph ===

impl OrtGraph {
    pub(super) fn new(
        session: Session,
        initializers: Initializers,
        arena: &'static Arena,
        declarations: Declarations,
    ) -> Result<OrtGraph, BackendError> {
        let mut signature = signature::of(&session).map_err(load_error)?;
        let is_new = |spec: &TensorSpec| signature.inputs.iter().all(|i| i.name != spec.name);
        let optional: Vec<TensorSpec> = declarations.optional.into_iter().filter(is_new).collect();
        signature.inputs.extend(optional);
        let symbols = &declarations.symbols;
        let (device, kind) = (AllocationDevice::CPU, AllocatorType::Device);
        let mut graph = OrtGraph {
            input_names: c_names(signature.inputs.iter().map(|spec| &spec.name))?,
            output_names: c_names(signature.outputs.iter().map(|spec| &spec.name))?,
            session: Arc::new(Served {
                session,
                _initializers: initializers,
                arena,
            }),
            signature,
            operators: declarations.operators,
            rows: declarations.rows,
            memory: MemoryInfo::new(device, 0, kind, MemoryType::Default).map_err(failed_load)?,
            sample: Sample::default(),
            wrong_declarations: Vec::new(),
        };
        // A graph that computes at none of the sizes tried is served anyway: loading has checked that all
        // its operators exist, and zeros or empty strings may just be unsuitable inputs.
        let compute = |graph: &OrtGraph, inputs: &[NamedTensor]| {
            let limit = TimeLimit::start();
            graph.compute_cancellable(inputs, limit.cancellation())
        };
        match probe(&graph.signature, symbols, |inputs| compute(&graph, inputs)) {
            Ok((sample, outputs)) => {
                let mut computed = vec![outputs];
                let two_rows = two_row_inputs(&sample, &graph.signature, symbols);
                computed.extend(two_rows.and_then(|inputs| compute(&graph, &inputs).ok()));
                graph.wrong_declarations =
                    correct(&mut graph.signature, &declarations.outputs, &computed);
                graph.sample = sample;
            }
            Err(ProbeError::Refused(_)) => {}
            Err(slow @ ProbeError::TooSlow) => return Err(load_error(slow.into_reason())),
        }
        Ok(graph)
    }

    /// Runs the session, and once more if the arena first had to release memory.
    fn run(
        &self,
        (names, inputs): (&[CString], &[&Value]),
        cancellation: &Cancellation,
    ) -> Result<Vec<Option<Value>>, BackendError> {
        let Served { session, arena, .. } = &*self.session;
        let failed = |error: ort::Error| compute_error(short(error.message()));
        let options = Arc::new(RunOptions::new().map_err(failed)?);
        let ended = Arc::clone(&options);
        let _on_cancel = cancellation.on_cancel(move || ended.terminate());
        let _use = arena.enter();
        let run = || run(session, &options, (names, inputs), &self.output_names);
        let mut result = run();
        let refusal = |result: &ort::Result<_>| match result {
            Ok(_) => None,
            Err(error) => arena.refusal(error.message()),
        };
        let mut refused = refusal(&result);
        if let Some(Refusal::Full(_)) = refused
            && arena.shrink().is_ok()
        {
            result = run();
            refused = refusal(&result);
        }
        let error = match result {
            Ok(outputs) => return Ok(outputs),
            Err(error) => error,
        };
        let max_bytes = arena.max_bytes();
        Err(match refused {
            _ if cancellation.is_cancelled() => BackendError::Cancelled,
            Some(Refusal::Full(bytes)) if arena.is_shared() => BackendError::Overloaded {
                backend: NAME,
                reason: format!("{bytes} bytes more, with {max_bytes} for all computations"),
            },
            // The message of the library contains the number of bytes.
            Some(Refusal::Full(_) | Refusal::TooLarge(_)) => {
                refused_run(error.message(), &self.operators)
            }
            None => self.failed_run(&error),
        })
    }

    /// Classifies a failed run. The library reports a generic failure if sizes do not suit an operator. In
    /// a loaded graph, only the inputs differ between runs, so such a failure is attributed to them.
    fn failed_run(&self, error: &ort::Error) -> BackendError {
        use ort::ErrorCode::{GenericFailure, InvalidArgument, RuntimeException};
        match error.code() {
            InvalidArgument | GenericFailure | RuntimeException => {
                refused_run(error.message(), &self.operators)
            }
            _ => compute_error(short(error.message())),
        }
    }

    fn output(
        &self,
        value: Value,
        expected: ElementType,
        inputs: &[&Tensor],
    ) -> Result<Tensor, String> {
        let message = |error: ort::Error| short(error.message());
        let (found, shape) = value.type_and_shape().map_err(message)?;
        if signature::element_type(found) != Some(expected) {
            return Err(format!("it is {found:?} instead of {expected}"));
        }
        let dimensions = shape
            .iter()
            .map(|&size| u32::try_from(size))
            .collect::<Result<Vec<u32>, _>>()
            .map_err(|_| format!("its shape is {shape:?}"))?;
        let shape = Shape::new(dimensions).map_err(|error| error.to_string())?;
        let content = match expected.size() {
            None => value.read_texts(shape.elements()).map_err(message)?,
            Some(size) => {
                let length = (shape.elements().checked_mul(size)).ok_or("it is too large")?;
                self.share(value, length, inputs).map_err(message)?
            }
        };
        Tensor::new(expected, shape, content).map_err(|error| error.to_string())
    }

    /// Returns the bytes of a value without a copy, unless they belong to an input, which a
    /// graph may return as an output.
    fn share(&self, value: Value, length: usize, inputs: &[&Tensor]) -> ort::Result<Bytes> {
        let content = value.content(length)?;
        let start = content.as_ptr();
        let is_lent = |tensor: &&Tensor| tensor.content().as_ptr_range().contains(&start);
        if inputs.iter().any(is_lent) {
            return Ok(Bytes::copy_from_slice(content));
        }
        Ok(Bytes::from_owner(Content {
            length,
            value,
            _use: self.session.arena.enter(),
            _session: Arc::clone(&self.session),
        }))
    }
}

impl Graph for OrtGraph {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        self.rows.clone()
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        self.compute_cancellable(inputs, &Cancellation::new())
    }

    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        Some(self.compute_cancellable(inputs, cancellation))
    }

    fn compute_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        let given = given_in_signature_order(&self.signature, inputs).map_err(inputs_error)?;
        let names = match given.len() == self.input_names.len() {
            true => Cow::Borrowed(self.input_names.as_slice()),
            false => {
                let names = given
                    .iter()
                    .map(|&(input, _)| self.input_names[input].clone());
                Cow::Owned(names.collect())
            }
        };
        let ordered: Vec<&Tensor> = given.into_iter().map(|(_, tensor)| tensor).collect();
        let lent = ordered
            .iter()
            .map(|tensor| Input::new(tensor, &self.memory))
            .collect::<ort::Result<Vec<Input>>>()
            .map_err(|error| compute_error(short(error.message())))?;
        let values: Vec<&Value> = lent.iter().map(|input| &input.value).collect();
        let outputs = self.run((&names, &values), cancellation)?;
        outputs
            .into_iter()
            .zip(&self.signature.outputs)
            .map(|(value, spec)| {
                let tensor = value
                    .ok_or_else(|| "it is absent".to_owned())
                    .and_then(|value| self.output(value, spec.element_type, &ordered))
                    .map_err(|reason| compute_error(format!("output `{}`: {reason}", spec.name)))?;
                Ok(NamedTensor {
                    name: spec.name.clone(),
                    tensor,
                })
            })
            .collect()
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        self.sample.inputs(&self.signature)
    }

    fn wrong_declarations(&self) -> &[String] {
        &self.wrong_declarations
    }
}

fn c_names<'a>(names: impl Iterator<Item = &'a String>) -> Result<Vec<CString>, BackendError> {
    names
        .map(|name| CString::new(name.as_str()))
        .collect::<Result<Vec<CString>, _>>()
        .map_err(|_| load_error("a name has a zero byte".to_owned()))
}

// === impl Input, Content ===

impl<'a> Input<'a> {
    fn new(tensor: &'a Tensor, memory: &MemoryInfo<'static>) -> ort::Result<Input<'a>> {
        let shape: Vec<i64> = (tensor.shape().dimensions().iter())
            .map(|&size| i64::from(size))
            .collect();
        let content = tensor.content();
        let mut aligned = None;
        let value = match tensor.element_type().size() {
            None => {
                let mut value = Value::new_texts(&shape)?;
                for (index, string) in tensor.elements().enumerate() {
                    value.write_string(index, string)?;
                }
                value
            }
            Some(size) => {
                let element_type = signature::to_library(tensor.element_type());
                if content.as_ptr().addr().is_multiple_of(size) {
                    Value::lend(content, &shape, element_type, memory)?
                } else {
                    let copy = aligned.insert(vec![0; content.len() + size]);
                    let start = copy.as_ptr().align_offset(size);
                    let room = &mut copy[start..start + content.len()];
                    room.copy_from_slice(content);
                    Value::lend(room, &shape, element_type, memory)?
                }
            }
        };
        Ok(Input {
            value,
            _aligned: aligned,
            _tensor: tensor,
        })
    }
}

impl AsRef<[u8]> for Content {
    fn as_ref(&self) -> &[u8] {
        // The same call has succeeded before. If it failed now, the result would be too short for the shape.
        self.value.content(self.length).unwrap_or_default()
    }
}
