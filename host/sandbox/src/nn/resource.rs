//! The host values behind a guest's wasi:nn resource handles, and the operations on them.
//!
//! Every function here operates on [`InstanceState`] alone, so both linkers share them.

use super::types::{ErrorCode, TensorType};
use crate::compute::{Compute, ComputeError};
use crate::instance::InstanceState;
use crate::limits::LimitError;
use crate::text::bounded;
use bytes::Bytes;
use std::sync::Arc;
use wasmtime::component::Resource;
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::signature::{check_complete, check_tensors};
use wisp_tensor::tensor::byte_length;
use wisp_tensor::{ElementType, NamedTensor, Reservation, Shape, ShapeError, Tensor};

/// The maximum number of tensors without a valid shape that one instance may create. A guest that exceeds
/// it does so on purpose.
const MAX_INVALID_TENSORS: u32 = 16;

/// `wasi:nn/tensor.tensor`.
#[derive(Debug)]
pub(super) struct NnTensor {
    pub(super) dimensions: Vec<u32>,
    pub(super) tensor_type: TensorType,
    content: Result<Tensor, NnError>,
}

/// `wasi:nn/graph.graph`.
#[derive(Debug)]
pub(super) struct NnGraph {
    compute: Arc<dyn Compute>,
}

/// `wasi:nn/inference.graph-execution-context`.
#[derive(Debug)]
pub(super) struct NnContext {
    compute: Arc<dyn Compute>,
}

/// `wasi:nn/errors.error`.
#[derive(Debug, Clone)]
pub(super) struct NnError {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

/// A tensor that matches its shape and has been charged, before its bytes are copied.
#[derive(Debug)]
pub(super) struct AdmittedTensor {
    element_type: ElementType,
    shape: Shape,
    reservation: Reservation,
}

/// Inputs that match their graph's signature.
#[derive(Debug)]
pub(super) struct PreparedCompute {
    pub(super) compute: Arc<dyn Compute>,
    pub(super) inputs: Vec<NamedTensor>,
}

pub(super) type NamedResource = (String, Resource<NnTensor>);

impl NnError {
    fn new(code: ErrorCode, text: impl AsRef<str>) -> NnError {
        NnError {
            code,
            // The text may repeat names that the guest chose, and its memory is not charged to the
            // instance.
            text: bounded(text.as_ref()),
        }
    }

    pub(super) fn invalid(reason: &dyn std::fmt::Display) -> NnError {
        NnError::new(ErrorCode::InvalidArgument, reason.to_string())
    }
}

impl NnTensor {
    pub(super) fn content(&self) -> Bytes {
        match &self.content {
            Ok(tensor) => tensor.content().clone(),
            Err(_) => Bytes::new(),
        }
    }
}

impl AdmittedTensor {
    /// Returns the tensor with a copy of `content`, whose bytes stay reserved until their last clone is
    /// dropped.
    pub(super) fn copy(self, content: &[u8]) -> Result<Tensor, NnError> {
        let tensor = Tensor::new(
            self.element_type,
            self.shape,
            Bytes::copy_from_slice(content),
        );
        let tensor = tensor.map_err(|error| NnError::invalid(&error))?;
        Ok(tensor.with_reservation(self.reservation))
    }
}

/// Returns the shape of a tensor of `length` bytes, or an error if the length does not match.
fn tensor_shape(
    dimensions: &[u32],
    element_type: ElementType,
    length: usize,
) -> Result<Shape, NnError> {
    let rank = dimensions.len();
    if rank > MAX_RANK {
        // Checked before the dimensions are copied: a guest can pass as many as fit in its memory.
        return Err(NnError::invalid(&ShapeError::Rank { rank }));
    }
    let shape = Shape::new(dimensions.to_vec()).map_err(|error| NnError::invalid(&error))?;
    let expected = element_type
        .size()
        .and_then(|size| byte_length(&shape, size).ok());
    if expected != Some(length) {
        return Err(NnError::invalid(&format_args!(
            "shape {shape} of {element_type} does not take {length} bytes"
        )));
    }
    Ok(shape)
}

impl InstanceState {
    fn insert<T: Send + 'static>(&mut self, value: T) -> wasmtime::Result<Resource<T>> {
        let limit = self.handle_limit;
        self.table
            .push(value)
            .map_err(|_| LimitError::Handles { limit }.into())
    }

    /// Checks that `length` bytes are a tensor of this type and shape that this instance may still
    /// create, and charges them before they are copied.
    ///
    /// Fails the call if the instance's limit allows the tensor but the host has no memory for it.
    pub(super) fn admit_tensor(
        &mut self,
        dimensions: &[u32],
        element_type: ElementType,
        length: usize,
    ) -> wasmtime::Result<Result<AdmittedTensor, NnError>> {
        let shape = match tensor_shape(dimensions, element_type, length) {
            Ok(shape) => shape,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match self.tensor_budget.charge(length)? {
            Some(reservation) => Ok(AdmittedTensor {
                element_type,
                shape,
                reservation,
            }),
            None => Err(NnError::new(
                ErrorCode::TooLarge,
                self.tensor_budget.explanation(),
            )),
        })
    }

    /// Creates a handle to an admitted tensor, or to the error that left it without bytes.
    pub(super) fn insert_tensor(
        &mut self,
        mut dimensions: Vec<u32>,
        tensor_type: TensorType,
        content: Result<Tensor, NnError>,
    ) -> wasmtime::Result<Resource<NnTensor>> {
        if content.is_err() {
            // They were not charged, so no more of them are kept than a valid tensor could have.
            dimensions.truncate(MAX_RANK);
            dimensions.shrink_to_fit();
            self.invalid_tensors += 1;
            if self.invalid_tensors > MAX_INVALID_TENSORS {
                return Err(LimitError::InvalidTensors {
                    limit: MAX_INVALID_TENSORS,
                }
                .into());
            }
        }
        self.insert(NnTensor {
            dimensions,
            tensor_type,
            content,
        })
    }

    pub(super) fn tensor(&self, handle: &Resource<NnTensor>) -> wasmtime::Result<&NnTensor> {
        Ok(self.table.get(handle)?)
    }

    pub(super) fn drop_tensor(&mut self, handle: Resource<NnTensor>) -> wasmtime::Result<()> {
        self.take_tensor(handle).map(drop)
    }

    fn take_tensor(&mut self, handle: Resource<NnTensor>) -> wasmtime::Result<NnTensor> {
        let tensor = self.table.delete(handle)?;
        if let Ok(content) = &tensor.content {
            self.tensor_budget.release(content.content().len());
        }
        Ok(tensor)
    }

    pub(super) fn load_by_name(
        &mut self,
        name: &str,
    ) -> wasmtime::Result<Result<Resource<NnGraph>, Resource<NnError>>> {
        match self.graphs.find(name) {
            Some(compute) => {
                let compute = Arc::clone(compute);
                self.insert(NnGraph { compute }).map(Ok)
            }
            // The text repeats nothing: guests must not learn which graphs exist besides those of their
            // version.
            None => self
                .insert(NnError::new(
                    ErrorCode::NotFound,
                    "this version has no graph of that name",
                ))
                .map(Err),
        }
    }

    pub(super) fn refuse_load(
        &mut self,
    ) -> wasmtime::Result<Result<Resource<NnGraph>, Resource<NnError>>> {
        self.insert(NnError::new(
            ErrorCode::UnsupportedOperation,
            "graphs are loaded by name only",
        ))
        .map(Err)
    }

    pub(super) fn init_execution_context(
        &mut self,
        graph: &Resource<NnGraph>,
    ) -> wasmtime::Result<Result<Resource<NnContext>, Resource<NnError>>> {
        let compute = Arc::clone(&self.table.get(graph)?.compute);
        self.insert(NnContext { compute }).map(Ok)
    }

    pub(super) fn error(&self, handle: &Resource<NnError>) -> wasmtime::Result<&NnError> {
        Ok(self.table.get(handle)?)
    }

    pub(super) fn drop_resource<T: 'static>(
        &mut self,
        handle: Resource<T>,
    ) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }

    /// Takes the inputs from the guest and checks them against the graph.
    pub(super) fn prepare_compute(
        &mut self,
        context: &Resource<NnContext>,
        inputs: Vec<NamedResource>,
    ) -> wasmtime::Result<Result<PreparedCompute, NnError>> {
        let running = self.clock.pause();
        self.preprocess.get_or_insert(running);
        let compute = Arc::clone(&self.table.get(context)?.compute);
        let mut taken = Vec::with_capacity(inputs.len());
        for (name, handle) in inputs {
            taken.push((name, self.take_tensor(handle)?.content));
        }
        let prepared = taken
            .into_iter()
            .map(|(name, content)| content.map(|tensor| NamedTensor { name, tensor }))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|inputs| {
                let specs = &compute.signature().inputs;
                check_tensors(specs, &inputs)
                    .and_then(|()| check_complete(specs, &inputs))
                    .map_err(|error| NnError::new(ErrorCode::InvalidArgument, error.to_string()))?;
                Ok(PreparedCompute { compute, inputs })
            });
        Ok(prepared)
    }

    /// Passes the outputs to the guest, or the error.
    pub(super) fn finish_compute(
        &mut self,
        computed: Result<Result<Vec<NamedTensor>, ComputeError>, NnError>,
    ) -> wasmtime::Result<Result<Vec<NamedResource>, Resource<NnError>>> {
        let outputs = match computed {
            Ok(Ok(outputs)) => outputs,
            Ok(Err(cause)) => {
                let error = NnError::from(&cause);
                if !matches!(cause, ComputeError::Inputs { .. }) {
                    self.compute_error = Some(cause);
                }
                return self.fail_compute(error);
            }
            Err(error) => return self.fail_compute(error),
        };
        let mut handles = Vec::with_capacity(outputs.len());
        for NamedTensor { name, tensor } in outputs {
            let Some(tensor_type) = TensorType::from_element_type(tensor.element_type()) else {
                return self.fail_compute(NnError::new(
                    ErrorCode::UnsupportedOperation,
                    format!("output `{name}` has a type that wasi:nn does not support"),
                ));
            };
            let Some(reservation) = self.tensor_budget.charge(tensor.content().len())? else {
                return self.fail_compute(NnError::new(
                    ErrorCode::TooLarge,
                    self.tensor_budget.explanation(),
                ));
            };
            let output = NnTensor {
                dimensions: tensor.shape().dimensions().to_vec(),
                tensor_type,
                content: Ok(tensor.with_reservation(reservation)),
            };
            handles.push((name, self.insert(output)?));
        }
        self.clock.resume();
        Ok(Ok(handles))
    }

    fn fail_compute(
        &mut self,
        error: NnError,
    ) -> wasmtime::Result<Result<Vec<NamedResource>, Resource<NnError>>> {
        let handle = self.insert(error)?;
        self.clock.resume();
        Ok(Err(handle))
    }
}

impl From<&ComputeError> for NnError {
    fn from(error: &ComputeError) -> NnError {
        match error {
            ComputeError::Inputs { explanation, .. } => NnError::new(
                ErrorCode::InvalidArgument,
                format!("the graph cannot compute these inputs: {explanation}"),
            ),
            ComputeError::QueueFull
            | ComputeError::QueueTimeout
            | ComputeError::WouldMissDeadline
            | ComputeError::NoMemory => NnError::new(ErrorCode::RuntimeError, error.to_string()),
            // The sandbox ends an inline call on this error, so it never reaches the guest.
            ComputeError::Unprepared => {
                NnError::new(ErrorCode::RuntimeError, "the graph is not prepared")
            }
            ComputeError::Deadline => {
                NnError::new(ErrorCode::Timeout, "the request's deadline has passed")
            }
            ComputeError::Backend(_) => NnError::new(ErrorCode::RuntimeError, "the backend failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use anyhow::Context;
    use std::time::{Duration, Instant};
    use wisp_tensor::MemoryBudget;

    fn state(limits: &Limits) -> InstanceState {
        let budget = Arc::new(MemoryBudget::new(usize::MAX));
        let deadline = Instant::now() + Duration::from_secs(60);
        InstanceState::new(limits, &budget, Arc::default(), deadline)
    }

    /// Creates a handle to a small resource.
    fn hold(state: &mut InstanceState) -> Result<Resource<NnError>, LimitError> {
        state
            .insert(NnError::new(ErrorCode::NotFound, "none"))
            .map_err(|error| error.downcast().expect("only a limit refuses"))
    }

    #[test]
    fn one_resource_more_than_the_limit_is_refused_and_dropping_one_makes_room()
    -> anyhow::Result<()> {
        let state = &mut state(&Limits {
            handles: 3,
            ..Limits::default()
        });
        let (first, _second, _third) = (hold(state)?, hold(state)?, hold(state)?);
        let refusal = hold(state).err().context("a fourth was accepted")?;
        assert_eq!(refusal, LimitError::Handles { limit: 3 });
        state.drop_resource(first).unwrap();
        hold(state)?;
        Ok(())
    }

    #[test]
    fn a_tensor_of_too_many_axes_keeps_as_few_of_them_as_a_valid_one() -> anyhow::Result<()> {
        let state = &mut state(&Limits::default());
        let wide = vec![1; 1 << 20];
        let refusal = state.admit_tensor(&wide, ElementType::Fp32, 4).unwrap();
        let refusal = refusal.err().context("a million axes were accepted")?;
        assert_eq!(refusal.code, ErrorCode::InvalidArgument);
        let handle = state
            .insert_tensor(wide, TensorType::Fp32, Err(refusal))
            .unwrap();
        let kept = &state.tensor(&handle).unwrap().dimensions;
        assert_eq!((kept.len(), kept.capacity()), (MAX_RANK, MAX_RANK));
        Ok(())
    }
}
