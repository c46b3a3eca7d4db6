//! Computing: the way from a handler to the graphs of its model.
//!
//! A trait, so that the same handler runs over wasi:nn in a component and over a closure in a test
//! ([`testing`](crate::testing)).

use crate::Tensor;
use crate::error::{Error, Result};

/// The graphs of the model version that the handler belongs to.
pub trait Graphs {
    /// Computes the graph of this name on named inputs.
    ///
    /// # Errors
    /// A graph that is not there, or that refuses or fails to compute: the handler's fault.
    fn compute(&mut self, graph: &str, inputs: &[Tensor]) -> Result<GraphOutputs>;
}

/// What a graph computed.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphOutputs {
    tensors: Vec<Tensor>,
}

impl GraphOutputs {
    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        Self { tensors }
    }

    /// The output of this name.
    ///
    /// # Errors
    /// The handler's fault where the graph has none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        found.ok_or_else(|| Error::handler(format_args!("graph output `{name}` is missing")))
    }

    /// The outputs themselves, in the graph's order.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }
}
