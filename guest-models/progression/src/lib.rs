//! Predicts the progression of diabetes a year later from ten measurements of a patient.
//!
//! The model scales its input itself; `preprocess` only rejects values that are not finite.
//! `postprocess` limits the prediction to the observed range, and reports where it was limited.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler of the progression model.
#[derive(Debug)]
pub struct Progression;

impl Handler for Progression {
    fn signature() -> Signature {
        Signature::new()
            .input("features", Datatype::Fp32, &[-1, 10])
            .output("progression", Datatype::Fp32, &[-1])
            .output("corrected", Datatype::Bool, &[-1])
            .graph(
                GraphSpec::new("model")
                    .input("features", Datatype::Fp32, &[-1, 10])
                    .output("progression", Datatype::Fp32, &[-1, 1]),
            )
    }

    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        preprocess::features(request)
    }

    fn postprocess(_request: &Request, outputs: GraphOutputs) -> Result<Response> {
        postprocess::progression(&outputs)
    }
}

wisp_handler::export!(Progression);

#[cfg(test)]
mod tests;
