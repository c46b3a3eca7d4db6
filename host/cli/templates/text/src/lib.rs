//! Texts to a mood: the handler of a model that takes text.
//!
//! `preprocess` splits each text into words and counts them in hashed columns, so that no vocabulary
//! is needed; `postprocess` turns the model's logits into a label and scores. Every request gets an
//! instance of its own, so there is no state here: tables are constants.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler, which `export!` makes the component.
#[derive(Debug)]
pub struct Mood;

impl Handler for Mood {
    /// The inputs and outputs of the handler and of the graph in `model.onnx`. `wisp check`
    /// compares this with the real graph. -1 is an axis of any size, here the texts.
    fn signature() -> Signature {
        Signature::new()
            .input("text", Datatype::Bytes, &[-1])
            .output("label", Datatype::Bytes, &[-1])
            .output("scores", Datatype::Fp32, &[-1, 2])
            .graph(
                GraphSpec::new("model")
                    .input("counts", Datatype::Fp32, &[-1, 512])
                    .output("logits", Datatype::Fp32, &[-1, 2]),
            )
    }

    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        preprocess::counts(request)
    }

    fn postprocess(_request: &Request, outputs: GraphOutputs) -> Result<Response> {
        postprocess::labels(&outputs)
    }
}

wisp_handler::export!(Mood);

#[cfg(test)]
mod tests;
