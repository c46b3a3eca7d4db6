//! The interface with which a handler computes the graphs of its model.
//!
//! It is a trait, so that a handler can run with wasi:nn in a component and with a closure in a test
//! ([`testing`](crate::testing)).

use crate::Tensor;
use crate::error::{Error, Result};

/// The graphs of the model version that the handler belongs to.
///
/// [`Handler::infer`](crate::Handler::infer) receives them. Its provided implementation computes one graph.
pub trait Graphs {
    /// Computes the graph of this name on named inputs.
    ///
    /// # Errors
    /// Fails with `Fault::Handler` if there is no such graph, or if it rejects the inputs or fails to
    /// compute.
    fn compute(&mut self, graph: &str, inputs: &[Tensor]) -> Result<GraphOutputs>;
}

/// The outputs of a computation.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphOutputs {
    tensors: Vec<Tensor>,
}

impl GraphOutputs {
    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        Self { tensors }
    }

    /// Returns the output of this name.
    ///
    /// # Errors
    /// Fails with `Fault::Handler` if the graph has no such output.
    ///
    /// ```
    /// # use wisp_handler::{GraphOutputs, Response, Result, Tensor};
    /// fn postprocess(outputs: GraphOutputs) -> Result<Response> {
    ///     let logits = outputs.tensor("logits")?.view::<f32>(&[-1, 10])?;
    ///     let best = logits.rows().map(|row| row.iter().copied().fold(f32::MIN, f32::max));
    ///     Ok(Response::new().with_output(Tensor::collect("best", &[logits.row_count()], best)?))
    /// }
    /// ```
    pub fn tensor(&self, name: &str) -> Result<&Tensor> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.tensors.iter().map(Tensor::name).collect();
            Error::handler(format_args!(
                "the handler reads an output `{name}`, which the graph does not have; its outputs are: {}",
                names.join(", ")
            ))
        })
    }

    /// Returns all outputs, in the graph's order.
    pub fn into_tensors(self) -> Vec<Tensor> {
        self.tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_the_graph_lacks_is_the_handlers_fault() -> Result<()> {
        let logits = Tensor::new("logits", &[1], &[0.5_f32])?;
        let outputs = GraphOutputs::new(vec![logits]);
        assert!(outputs.tensor("logits").is_ok());
        assert_eq!(
            outputs.tensor("logit").unwrap_err(),
            Error::handler(
                "the handler reads an output `logit`, which the graph does not have; its outputs are: \
                 logits"
            )
        );
        Ok(())
    }
}
