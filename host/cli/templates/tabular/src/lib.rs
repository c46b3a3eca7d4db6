//! Measurements of parcels to a size class: the handler of a model that takes rows of numbers.
//!
//! `preprocess` checks what the client sent and scales it as the model was trained; `postprocess`
//! turns the model's logits into a class and probabilities. Every request gets an instance of its
//! own, so there is no state here: tables are constants.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler, which `export!` makes the component.
#[derive(Debug)]
pub struct Parcels;

impl Handler for Parcels {
    /// The inputs and outputs of the handler and of the graph in `model.onnx`. `wisp check`
    /// compares this with the real graph. -1 is an axis of any size, here the rows.
    fn signature() -> Signature {
        Signature::new()
            .input("features", Datatype::Fp32, &[-1, 4])
            .output("class", Datatype::Bytes, &[-1])
            .output("probabilities", Datatype::Fp32, &[-1, 3])
            .graph(
                GraphSpec::new("model")
                    .input("features", Datatype::Fp32, &[-1, 4])
                    .output("logits", Datatype::Fp32, &[-1, 3]),
            )
    }

    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        preprocess::features(request)
    }

    fn postprocess(_request: &Request, outputs: GraphOutputs) -> Result<Response> {
        postprocess::classes(&outputs)
    }
}

wisp_handler::export!(Parcels);

#[cfg(test)]
mod tests;
