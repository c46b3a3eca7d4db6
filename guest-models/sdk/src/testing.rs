//! Runs a handler natively, with a closure in place of its graphs.
//!
//! [`infer`] performs the same checks as the host: it compares the request, the graph inputs, the
//! graph outputs and the response with the handler's signature. A handler that passes can be deployed.
//! [`Model`] provides the settings and files that a handler reads, and its random numbers and time.

#[cfg(not(target_arch = "wasm32"))]
mod model;

#[cfg(not(target_arch = "wasm32"))]
pub use model::Model;

use crate::error::{Error, Result};
use crate::request::Declared;
use crate::signature::TensorSpec;
use crate::tensor::Origin;
use crate::{GraphOutputs, Graphs, Handler, Request, Response, Signature, Tensor};

/// Graphs that are computed by a closure from name and inputs to outputs.
///
/// For tests that call [`Handler::infer`] themselves. [`infer`] does so, and checks the response too.
#[derive(Debug)]
pub struct FakeGraph<F> {
    signature: Signature,
    compute: F,
}

impl<F: FnMut(&str, &[Tensor]) -> Result<Vec<Tensor>>> FakeGraph<F> {
    /// Creates the graphs of `H`, all computed by the closure.
    pub fn new<H: Handler>(compute: F) -> Self {
        Self {
            signature: H::signature(),
            compute,
        }
    }
}

impl<F: FnMut(&str, &[Tensor]) -> Result<Vec<Tensor>>> Graphs for FakeGraph<F> {
    fn compute(&mut self, graph: &str, inputs: &[Tensor]) -> Result<GraphOutputs> {
        let spec = self.signature.graphs.iter().find(|spec| spec.name == graph);
        let spec = spec.ok_or_else(|| {
            Error::handler(format_args!("graph `{graph}` is not in the signature"))
        })?;
        check(&spec.inputs, inputs)?;
        let mut outputs = (self.compute)(graph, inputs)?;
        for output in &mut outputs {
            output.origin = Origin::Graph;
        }
        check(&spec.outputs, &outputs)?;
        Ok(GraphOutputs::new(outputs))
    }
}

/// Runs one request with `H`, with its graphs computed by a closure from name and inputs to outputs.
///
/// [`Handler::init`] is called before, as when a version is loaded.
///
/// # Errors
/// Returns the handler's own errors, and an error for everything that does not match its signature.
///
/// ```
/// use wisp_handler::{Datatype, GraphSpec, Handler, Request, Result, Signature, Tensor, testing};
///
/// /// Passes tensors on as they are.
/// struct Doubling;
///
/// impl Handler for Doubling {
///     fn signature() -> Signature {
///         let graph = GraphSpec::new("model")
///             .input("x", Datatype::Fp32, &[-1])
///             .output("y", Datatype::Fp32, &[-1]);
///         Signature::new().input("x", Datatype::Fp32, &[-1]).output("y", Datatype::Fp32, &[-1]).graph(graph)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let request = Request::new().with_input(Tensor::new("x", &[2], &[1.0_f32, 2.0])?);
/// let response = testing::infer::<Doubling>(&request, |graph, inputs| {
///     assert_eq!(graph, "model");
///     let x = inputs[0].view::<f32>(&[-1])?;
///     Ok(vec![Tensor::collect("y", x.shape(), x.iter().map(|x| 2.0 * x))?])
/// })?;
/// assert_eq!(*response.outputs()[0].view::<f32>(&[-1])?, [2.0, 4.0]);
///
/// let wrong = Request::new().with_input(Tensor::new("x", &[1], &[1_i64])?);
/// let error = testing::infer::<Doubling>(&wrong, |_, _| Ok(Vec::new())).unwrap_err();
/// assert_eq!(error.message(), "input `x` is INT64, expected FP32");
/// # Ok(())
/// # }
/// ```
pub fn infer<H: Handler>(
    request: &Request,
    compute: impl FnMut(&str, &[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Response> {
    H::init()?;
    let signature = H::signature();
    check(&signature.inputs, request.inputs())?;
    let request = &Request {
        declared: Declared::by::<H>(),
        ..request.clone()
    };
    let response = H::infer(request, &mut FakeGraph::new::<H>(compute))?;
    check(&signature.outputs, response.outputs())?;
    for spec in &signature.outputs {
        if request.wants(&spec.name) && response.output(&spec.name).is_none() {
            return Err(Error::handler(format_args!(
                "output `{}` is missing",
                spec.name
            )));
        }
    }
    Ok(response)
}

fn check(specs: &[TensorSpec], tensors: &[Tensor]) -> Result<()> {
    tensors.iter().try_for_each(|tensor| {
        let spec = specs.iter().find(|spec| spec.name == tensor.name());
        spec.ok_or_else(|| tensor.error("is not in the signature"))?
            .check(tensor)
    })
}
