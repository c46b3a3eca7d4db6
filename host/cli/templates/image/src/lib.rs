//! The handler of a model that classifies images.
//!
//! `preprocess` decodes PNG, JPEG and WebP files, resizes them, and scales their colours as in training;
//! `postprocess` ranks the labels. Each request gets a new instance, so the handler has no state, and
//! tables are constants.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler. `export!` turns it into the component.
#[derive(Debug)]
pub struct Pictures;

impl Handler for Pictures {
    /// Returns the inputs and outputs for clients, and those of the graph in `model.onnx`, which `wisp
    /// check` compares with the real graph. -1 is an axis of any size: the number of pictures.
    fn signature() -> Signature {
        Signature::new()
            .input("image", Datatype::Bytes, &[-1])
            .output("label", Datatype::Bytes, &[-1, 3])
            .output("score", Datatype::Fp32, &[-1, 3])
            .graph(
                GraphSpec::new("model")
                    .input("pixels", Datatype::Fp32, &[-1, 3, 32, 32])
                    .output("logits", Datatype::Fp32, &[-1, 3]),
            )
    }

    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        preprocess::pixels(request)
    }

    fn postprocess(_request: &Request, outputs: GraphOutputs) -> Result<Response> {
        postprocess::ranking(&outputs)
    }
}

wisp_handler::export!(Pictures);

#[cfg(test)]
mod tests;
