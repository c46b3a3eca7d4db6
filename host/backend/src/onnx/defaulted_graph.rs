//! A graph with optional inputs, for backends whose graphs take all of their inputs.
//!
//! The model is loaded twice: as the file is, with the defaults as constants, and with the optional inputs as
//! inputs, for requests that contain one. The first is as fast as if nothing were optional. A model whose
//! optional inputs a backend cannot compute as inputs is served without them.

use super::optional_input::{OptionalInput, optional_inputs};
use crate::cancellation::Cancellation;
use crate::error::BackendError;
use crate::graph::Graph;
use crate::pb::ModelProto;
use crate::rows::Rows;
use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;
use wisp_tensor::{Dimension, NamedTensor, Signature, TensorError};

/// A graph whose optional inputs may be left out. Lifetime: a model version.
#[derive(Debug)]
struct DefaultedGraph {
    /// The graph without optional inputs.
    plain: Arc<dyn Graph>,
    /// The graph with all inputs.
    whole: Arc<dyn Graph>,
    defaults: Vec<NamedTensor>,
    signature: Signature,
}

/// Loads `model` with `load`, which receives the model and the values of inputs for a trial computation.
pub(crate) fn load_with_defaults(
    model: ModelProto,
    load: impl Fn(ModelProto, &[NamedTensor]) -> Result<Arc<dyn Graph>, BackendError>,
) -> Result<Arc<dyn Graph>, BackendError> {
    let optional = optional_inputs(&model);
    if optional.is_empty() {
        return load(model, &[]);
    }
    let mut whole = model.clone();
    if let Some(graph) = &mut whole.graph {
        let is_optional = |name: &str| optional.iter().any(|input| input.spec.name == name);
        graph
            .initializer
            .retain(|tensor| !is_optional(&tensor.name));
    }
    let plain = load(model, &[])?;
    let defaults: Vec<NamedTensor> = optional.iter().map(default).collect();
    match load(whole, &defaults) {
        Ok(whole) => Ok(Arc::new(DefaultedGraph {
            signature: signature(&plain, &whole, optional),
            plain,
            whole,
            defaults,
        })),
        Err(_) => Ok(plain),
    }
}

/// Returns `inputs` with the values of `defaults` instead of those with the same name.
pub(crate) fn with_values(
    mut inputs: Vec<NamedTensor>,
    values: &[NamedTensor],
) -> Vec<NamedTensor> {
    for input in &mut inputs {
        if let Some(value) = values.iter().find(|value| value.name == input.name) {
            input.tensor = value.tensor.clone();
        }
    }
    inputs
}

fn default(input: &OptionalInput) -> NamedTensor {
    NamedTensor {
        name: input.spec.name.clone(),
        tensor: input.default.clone(),
    }
}

/// Returns the signature of a graph that computes as `plain` or as `whole` does.
fn signature(
    plain: &Arc<dyn Graph>,
    whole: &Arc<dyn Graph>,
    optional: Vec<OptionalInput>,
) -> Signature {
    let mut signature = plain.signature().clone();
    let specs = optional.into_iter().map(|input| input.spec);
    signature.inputs.extend(specs);
    for (spec, other) in signature.outputs.iter_mut().zip(&whole.signature().outputs) {
        // The sizes may depend on the values of optional inputs.
        for (size, other) in spec.shape.iter_mut().zip(&other.shape) {
            if size != other {
                *size = Dimension::Variable;
            }
        }
    }
    signature
}

impl DefaultedGraph {
    /// Returns the graph for these inputs, and the inputs that it takes.
    fn choose<'a>(&self, inputs: &'a [NamedTensor]) -> (&dyn Graph, Cow<'a, [NamedTensor]>) {
        let is_given = |name: &str| inputs.iter().any(|input| input.name == name);
        if !self.defaults.iter().any(|default| is_given(&default.name)) {
            return (&*self.plain, Cow::Borrowed(inputs));
        }
        let missing = self
            .defaults
            .iter()
            .filter(|default| !is_given(&default.name));
        let all = inputs.iter().chain(missing).cloned().collect();
        (&*self.whole, Cow::Owned(all))
    }
}

impl Graph for DefaultedGraph {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn rows(&self) -> Rows {
        self.plain.rows()
    }

    fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
        let (graph, inputs) = self.choose(inputs);
        graph.compute(&inputs)
    }

    fn compute_prepared(
        &self,
        inputs: &[NamedTensor],
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        let (graph, inputs) = self.choose(inputs);
        graph.compute_prepared(&inputs)
    }

    fn compute_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Result<Vec<NamedTensor>, BackendError> {
        let (graph, inputs) = self.choose(inputs);
        graph.compute_cancellable(&inputs, cancellation)
    }

    fn compute_prepared_cancellable(
        &self,
        inputs: &[NamedTensor],
        cancellation: &Cancellation,
    ) -> Option<Result<Vec<NamedTensor>, BackendError>> {
        let (graph, inputs) = self.choose(inputs);
        graph.compute_prepared_cancellable(&inputs, cancellation)
    }

    fn sample_inputs(&self) -> Result<Vec<NamedTensor>, TensorError> {
        self.plain.sample_inputs()
    }

    fn preparation_capacity(&self) -> Option<NonZeroUsize> {
        self.plain.preparation_capacity()
    }

    fn forget_preparation(&self, inputs: &[NamedTensor]) {
        let (graph, inputs) = self.choose(inputs);
        graph.forget_preparation(&inputs);
    }

    fn wrong_declarations(&self) -> &[String] {
        self.plain.wrong_declarations()
    }
}
