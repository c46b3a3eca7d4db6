//! The four interfaces of wasi:nn as wasmtime links them: names and signatures.
//!
//! Only this file and [`types`](super::types) depend on the release candidate's exact definitions.
//! wasmtime checks every name and type here against the component when it is loaded.

use super::resource::{NamedResource, NnContext, NnError, NnGraph, NnTensor};
use super::types::{ExecutionTarget, GraphEncoding, TensorType};
use crate::compute::ComputeError;
use crate::instance::{InstanceState, Unprepared};
use crate::limits::LimitError;
use bytes::Bytes;
use std::time::{Duration, Instant};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, WasmList};

const TENSOR: &str = "wasi:nn/tensor@0.2.0-rc-2024-10-28";
const GRAPH: &str = "wasi:nn/graph@0.2.0-rc-2024-10-28";
const INFERENCE: &str = "wasi:nn/inference@0.2.0-rc-2024-10-28";
const ERRORS: &str = "wasi:nn/errors@0.2.0-rc-2024-10-28";

const COMPUTE: &str = "[method]graph-execution-context.compute";

type Store<'a> = StoreContextMut<'a, InstanceState>;
type ComputeReturn = (Result<Vec<NamedResource>, Resource<NnError>>,);

/// Links everything except `compute`.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut errors = linker.instance(ERRORS)?;
    errors.resource(
        "error",
        ResourceType::host::<NnError>(),
        |mut store, rep| {
            store
                .data_mut()
                .drop_resource(Resource::<NnError>::new_own(rep))
        },
    )?;
    errors.func_wrap(
        "[method]error.code",
        |store: Store<'_>, (this,): (Resource<NnError>,)| Ok((store.data().error(&this)?.code,)),
    )?;
    errors.func_wrap(
        "[method]error.data",
        |store: Store<'_>, (this,): (Resource<NnError>,)| {
            Ok((store.data().error(&this)?.text.clone(),))
        },
    )?;

    let mut tensor = linker.instance(TENSOR)?;
    tensor.resource(
        "tensor",
        ResourceType::host::<NnTensor>(),
        |mut store, rep| store.data_mut().drop_tensor(Resource::new_own(rep)),
    )?;
    tensor.func_wrap(
        "[constructor]tensor",
        |mut store: Store<'_>,
         (dimensions, tensor_type, data): (Vec<u32>, TensorType, WasmList<u8>)| {
            let element_type = tensor_type.element_type();
            let admitted = store
                .data_mut()
                .admit_tensor(&dimensions, element_type, data.len())?;
            // The only copy: out of the guest's memory, with the size that was admitted.
            let content = admitted.and_then(|admitted| admitted.copy(data.as_le_slice(&store)));
            let handle = store
                .data_mut()
                .insert_tensor(dimensions, tensor_type, content)?;
            Ok((handle,))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.dimensions",
        |store: Store<'_>, (this,): (Resource<NnTensor>,)| {
            Ok((store.data().tensor(&this)?.dimensions.clone(),))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.ty",
        |store: Store<'_>, (this,): (Resource<NnTensor>,)| {
            Ok((store.data().tensor(&this)?.tensor_type,))
        },
    )?;
    tensor.func_wrap(
        "[method]tensor.data",
        |store: Store<'_>, (this,): (Resource<NnTensor>,)| -> wasmtime::Result<(Bytes,)> {
            Ok((store.data().tensor(&this)?.content(),))
        },
    )?;

    let mut inference = linker.instance(INFERENCE)?;
    inference.resource(
        "graph-execution-context",
        ResourceType::host::<NnContext>(),
        |mut store, rep| {
            store
                .data_mut()
                .drop_resource(Resource::<NnContext>::new_own(rep))
        },
    )?;

    let mut graph = linker.instance(GRAPH)?;
    graph.resource(
        "graph",
        ResourceType::host::<NnGraph>(),
        |mut store, rep| {
            store
                .data_mut()
                .drop_resource(Resource::<NnGraph>::new_own(rep))
        },
    )?;
    graph.func_wrap(
        "load",
        |mut store: Store<'_>, (_, _, _): (Vec<WasmList<u8>>, GraphEncoding, ExecutionTarget)| {
            Ok((store.data_mut().refuse_load()?,))
        },
    )?;
    graph.func_wrap(
        "load-by-name",
        |mut store: Store<'_>, (name,): (String,)| Ok((store.data_mut().load_by_name(&name)?,)),
    )?;
    graph.func_wrap(
        "[method]graph.init-execution-context",
        |mut store: Store<'_>, (this,): (Resource<NnGraph>,)| {
            Ok((store.data_mut().init_execution_context(&this)?,))
        },
    )
}

/// Links a `compute` that runs on the calling thread.
pub(crate) fn add_inline_compute(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(INFERENCE)?.func_wrap(
        COMPUTE,
        |mut store: Store<'_>,
         (context, inputs): (Resource<NnContext>, Vec<NamedResource>)|
         -> wasmtime::Result<ComputeReturn> {
            let state = store.data_mut();
            let started = Instant::now();
            let deadline = state.deadline;
            let computed = state
                .prepare_compute(&context, inputs)?
                .map(|prepared| prepared.compute.compute_inline(&prepared.inputs, deadline));
            let took = started.elapsed();
            state.compute += took;
            state.backend += took;
            // Neither error is returned to the guest: the call may be repeated as a queued one.
            match computed {
                Ok(Err(ComputeError::Unprepared)) => return Err(Unprepared.into()),
                Ok(Err(ComputeError::Deadline)) => return Err(LimitError::Deadline.into()),
                _ => {}
            }
            Ok((state.finish_compute(computed)?,))
        },
    )
}

/// Links a `compute` that suspends the guest's fiber until the graph has computed.
pub(crate) fn add_queued_compute(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    linker.instance(INFERENCE)?.func_wrap_async(
        COMPUTE,
        |mut store: Store<'_>, (context, inputs): (Resource<NnContext>, Vec<NamedResource>)| {
            Box::new(async move {
                let started = Instant::now();
                let options = store.data().compute_options();
                let prepared = store.data_mut().prepare_compute(&context, inputs)?;
                let mut queue = Duration::ZERO;
                let mut backend = Duration::ZERO;
                let computed = match prepared {
                    Ok(prepared) => {
                        let computing = prepared.compute.compute(prepared.inputs, options);
                        Ok(computing.await.map(|computed| {
                            queue = computed.queue;
                            backend = computed.backend;
                            computed.outputs
                        }))
                    }
                    Err(error) => Err(error),
                };
                let state = store.data_mut();
                state.queue += queue;
                state.backend += backend;
                state.compute += started.elapsed().saturating_sub(queue);
                let returned: ComputeReturn = (state.finish_compute(computed)?,);
                Ok(returned)
            })
        },
    )
}
