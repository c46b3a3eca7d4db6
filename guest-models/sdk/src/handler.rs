//! The trait that handlers implement.

use crate::{GraphOutputs, Graphs, Request, Response, Result, Signature, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the provided [`Handler::init`], which leaves no state worth keeping.
static HAS_NO_INIT: AtomicBool = AtomicBool::new(false);

/// The preprocessing and postprocessing of one model.
///
/// A typical handler has one graph and implements [`preprocess`](Self::preprocess) and
/// [`postprocess`](Self::postprocess). A handler with several graphs, with a loop, or with state to
/// pass from preprocessing to postprocessing implements [`infer`](Self::infer) instead.
///
/// There is no `self`: every request runs in a new instance, and no state outlives it. State that all
/// requests share is in statics that [`init`](Self::init) sets, usually of the type
/// [`Lazy`](crate::Lazy).
///
/// The [front page](crate) has a complete handler with one graph. This one computes two graphs, and keeps
/// the lengths of the texts from preprocessing to postprocessing:
///
/// ```
/// use wisp_handler::{Datatype, GraphSpec, Graphs, Handler, Request, Response, Result, Signature, Tensor};
///
/// struct Search;
///
/// impl Handler for Search {
///     fn signature() -> Signature {
///         Signature::new()
///             .input("text", Datatype::Bytes, &[-1])
///             .output("score_per_byte", Datatype::Fp32, &[-1])
///             .graph(
///                 GraphSpec::new("encoder") // encoder.onnx
///                     .input("length", Datatype::Fp32, &[-1])
///                     .output("vector", Datatype::Fp32, &[-1, 8]),
///             )
///             .graph(
///                 GraphSpec::new("ranker") // ranker.onnx
///                     .input("vector", Datatype::Fp32, &[-1, 8])
///                     .output("score", Datatype::Fp32, &[-1]),
///             )
///     }
///
///     fn infer(request: &Request, graphs: &mut dyn Graphs) -> Result<Response> {
///         let texts = request.input("text")?.strings(&[-1])?;
///         let lengths: Vec<f32> = texts.iter().map(|text| text.len() as f32).collect();
///         let length = Tensor::new("length", &[lengths.len()], &lengths)?;
///         let vectors = graphs.compute("encoder", &[length])?.into_tensors();
///         let scores = graphs.compute("ranker", &vectors)?;
///         let scores = scores.tensor("score")?.view::<f32>(&[-1])?;
///         let per_byte = scores.iter().zip(&lengths).map(|(score, length)| score / length);
///         Ok(Response::new().with_output(Tensor::collect("score_per_byte", &[lengths.len()], per_byte)?))
///     }
/// }
///
/// # fn main() -> Result<()> {
/// # let request = Request::new().with_input(Tensor::bytes("text", &[1], ["four"])?);
/// # let response = wisp_handler::testing::infer::<Search>(&request, |graph, inputs| match graph {
/// #     "encoder" => Ok(vec![Tensor::from_rows("vector", &[8], [[1.0_f32; 8]])?]),
/// #     _ => Ok(vec![Tensor::collect("score", &[1], inputs[0].view::<f32>(&[1, 8])?.iter().take(1).copied())?]),
/// # })?;
/// # assert_eq!(*response.outputs()[0].view::<f32>(&[1])?, [0.25]);
/// # Ok(())
/// # }
/// ```
pub trait Handler {
    /// The graph that the provided [`infer`](Self::infer) computes: `model` is `model.onnx`.
    const GRAPH: &'static str = "model";

    /// Returns the inputs and outputs for clients, and those of the graphs. Called when a version is
    /// loaded.
    fn signature() -> Signature;

    /// Builds the state that all requests share, such as tokenizers and tables, from the model's
    /// [settings](crate::config) and [files](crate::files).
    ///
    /// It is called once, when a version is loaded. The instance of every request starts with the
    /// memory that it leaves. The memory is mapped copy-on-write, so pages that a request does not
    /// touch cost nothing, and no request sees the changes of another.
    ///
    /// All requests and all replicas start with the same state, so there are no graphs, no [random numbers](crate::random)
    /// and no [time](crate::clock) here. Do not keep secrets or seeds of random numbers in this state.
    ///
    /// The provided implementation does nothing.
    ///
    /// # Errors
    /// An error fails the load of the version, and its text is the reason that the operator sees.
    fn init() -> Result<()> {
        HAS_NO_INIT.store(true, Ordering::Relaxed);
        Ok(())
    }

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

/// Returns whether the last call of [`Handler::init`] was one of the provided implementation.
#[cfg(target_arch = "wasm32")]
pub(crate) fn has_no_init() -> bool {
    HAS_NO_INIT.load(Ordering::Relaxed)
}
