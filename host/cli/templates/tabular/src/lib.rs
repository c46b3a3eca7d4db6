//! The handler of a model that sorts parcels into size classes by their measurements.
//!
//! `preprocess` checks the client's features and scales them as in training; `postprocess` turns the
//! model's logits into a class and probabilities. Each request gets a new instance, so the handler has no
//! state, and tables are constants.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler. `export!` turns it into the component.
#[derive(Debug)]
pub struct Parcels;

impl Handler for Parcels {
    /// Returns the inputs and outputs for clients, and those of the graph in `model.onnx`, which `wisp
    /// check` compares with the real graph. -1 is an axis of any size: the number of rows.
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
