//! Thirteen measurements of a wine to the cultivar it was made from.
//!
//! Clients send the measurements as one matrix, or as thirteen columns by name. `preprocess` checks
//! them against what is plausible and standardises them; `postprocess` names the classes. The table of
//! means, deviations and bounds (`features`) is written by the script that trains the model.

mod features;
mod postprocess;
mod preprocess;

use features::FEATURES;
use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler of the wine model.
#[derive(Debug)]
pub struct Wine;

impl Handler for Wine {
    fn signature() -> Signature {
        let signature = Signature::new().input("features", Datatype::Fp32, &[-1, 13]);
        let columns = FEATURES.iter().map(|feature| feature.name);
        columns
            .fold(signature, |signature, name| {
                signature.optional_input(name, Datatype::Fp32, &[-1])
            })
            .output("class", Datatype::Bytes, &[-1])
            .output("probabilities", Datatype::Fp32, &[-1, 3])
            .graph(
                GraphSpec::new("model")
                    .input("features", Datatype::Fp32, &[-1, 13])
                    .output("probabilities", Datatype::Fp32, &[-1, 3]),
            )
    }

    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        preprocess::features(request)
    }

    fn postprocess(_request: &Request, outputs: GraphOutputs) -> Result<Response> {
        postprocess::classes(&outputs)
    }
}

wisp_handler::export!(Wine);

#[cfg(test)]
mod tests;
