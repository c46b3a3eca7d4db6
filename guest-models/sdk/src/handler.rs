//! The trait that a handler is.

use crate::{GraphOutputs, Graphs, Request, Response, Result, Signature, Tensor};

/// One model's preprocessing and postprocessing.
///
/// The usual handler has one graph and writes [`preprocess`](Self::preprocess) and
/// [`postprocess`](Self::postprocess). One with several graphs, with a loop, or with something to
/// remember between the two halves writes [`infer`](Self::infer) instead.
///
/// There is no `self`: every request gets an instance of its own, and nothing outlives it.
pub trait Handler {
    /// The graph that the provided [`infer`](Self::infer) computes: `model` is `model.onnx`.
    const GRAPH: &'static str = "model";

    /// What clients send and get, and what the graphs take and give. Called when a version is loaded.
    fn signature() -> Signature;

    /// From the request to the inputs of the graph. Provided: the request's inputs as they are.
    ///
    /// # Errors
    /// Say whose fault it is: [`Error::client`](crate::Error::client) or
    /// [`Error::handler`](crate::Error::handler).
    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        Ok(request.inputs().to_vec())
    }

    /// From the outputs of the graph to the response. Provided: the graph's outputs as they are.
    ///
    /// # Errors
    /// As for [`preprocess`](Self::preprocess).
    fn postprocess(request: &Request, outputs: GraphOutputs) -> Result<Response> {
        let _ = request;
        Ok(outputs.into_tensors().into())
    }

    /// The whole way from request to response. Provided: preprocess, compute, postprocess.
    ///
    /// # Errors
    /// Those of the three steps.
    fn infer(request: &Request, graphs: &mut dyn Graphs) -> Result<Response> {
        let inputs = Self::preprocess(request)?;
        let outputs = graphs.compute(Self::GRAPH, &inputs)?;
        Self::postprocess(request, outputs)
    }
}
