//! Pictures to labels: the handler of a model that takes images.
//!
//! `preprocess` decodes PNG and JPEG files, resizes them and scales their colours as the model was
//! trained; `postprocess` ranks the labels. Every request gets an instance of its own, so there is no
//! state here: tables are constants.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler, which `export!` makes the component.
#[derive(Debug)]
pub struct Pictures;

impl Handler for Pictures {
    /// The inputs and outputs of the handler and of the graph in `model.onnx`. `wisp check`
    /// compares this with the real graph. -1 is an axis of any size, here the pictures.
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
