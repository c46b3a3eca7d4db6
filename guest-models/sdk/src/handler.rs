//! The trait that handlers implement.

use crate::{GraphOutputs, Graphs, Request, Response, Result, Signature, Tensor};

/// The preprocessing and postprocessing of one model.
///
/// A typical handler has one graph and implements [`preprocess`](Self::preprocess) and
/// [`postprocess`](Self::postprocess). A handler with several graphs, with a loop, or with state to
/// pass from preprocessing to postprocessing implements [`infer`](Self::infer) instead.
///
/// There is no `self`: every request runs in an instance of its own, and no state outlives it.
pub trait Handler {
    /// The graph that the provided [`infer`](Self::infer) computes: `model` is `model.onnx`.
    const GRAPH: &'static str = "model";

    /// Returns the inputs and outputs for clients, and those of the graphs. Called when a version is
    /// loaded.
    fn signature() -> Signature;

    /// Converts the request to the inputs of the graph. The provided implementation returns the
    /// request's inputs unchanged.
    ///
    /// # Errors
    /// An implementation names the party at fault with [`Error::client`](crate::Error::client) or
    /// [`Error::handler`](crate::Error::handler).
    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        Ok(request.inputs().to_vec())
    }

    /// Converts the outputs of the graph to the response. The provided implementation returns the
    /// graph's outputs unchanged.
    ///
    /// # Errors
    /// As for [`preprocess`](Self::preprocess).
    fn postprocess(request: &Request, outputs: GraphOutputs) -> Result<Response> {
        let _ = request;
        Ok(outputs.into_tensors().into())
    }

    /// Converts a request to a response. The provided implementation preprocesses, computes and
    /// postprocesses.
    ///
    /// # Errors
    /// Returns the errors of the three steps.
    fn infer(request: &Request, graphs: &mut dyn Graphs) -> Result<Response> {
        let inputs = Self::preprocess(request)?;
        let outputs = graphs.compute(Self::GRAPH, &inputs)?;
        Self::postprocess(request, outputs)
    }
}
