//! A handler that computes two graphs on the same features, one after the other: tests see whether the requests of
//! separate sandboxes are joined at each of them.

use wisp_handler::{Datatype, GraphSpec, Graphs, Handler, Request, Response, Result, Signature};

/// The graphs, which have the signature of `progression`. The outputs for clients have their names.
const GRAPHS: [&str; 2] = ["model", "other"];

/// The handler.
#[derive(Debug)]
pub struct EnsembleGuest;

impl Handler for EnsembleGuest {
    fn signature() -> Signature {
        let signature = Signature::new().input("features", Datatype::Fp32, &[-1, 10]);
        GRAPHS.iter().fold(signature, |signature, name| {
            signature.output(name, Datatype::Fp32, &[-1, 1]).graph(
                GraphSpec::new(name)
                    .input("features", Datatype::Fp32, &[-1, 10])
                    .output("progression", Datatype::Fp32, &[-1, 1]),
            )
        })
    }

    fn infer(request: &Request, graphs: &mut dyn Graphs) -> Result<Response> {
        let mut response = Response::new();
        for name in GRAPHS {
            let outputs = graphs.compute(name, request.inputs())?;
            let progression = outputs.tensor("progression")?.clone();
            response = response.with_output(progression.renamed(name));
        }
        Ok(response)
    }
}

wisp_handler::export!(EnsembleGuest);
