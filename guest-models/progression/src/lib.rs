//! Ten measurements of a patient to the progression of diabetes a year later.
//!
//! The model scales its input itself; `preprocess` only refuses what is not a number. `postprocess`
//! keeps the prediction within what was ever observed, and says where it had to.

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
