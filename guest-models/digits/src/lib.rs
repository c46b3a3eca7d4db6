//! Recognizes handwritten digits in pictures.
//!
//! Clients send PNG or JPEG files, or decoded pixels. `preprocess` converts each of them to eight by
//! eight pixels of ink, as in the model's training data; `postprocess` ranks the digits.

mod postprocess;
mod preprocess;

use wisp_handler::{
    Datatype, GraphOutputs, GraphSpec, Handler, Request, Response, Result, Signature, Tensor,
};

/// The handler of the digits model.
#[derive(Debug)]
pub struct Digits;

impl Handler for Digits {
    fn signature() -> Signature {
        Signature::new()
            .input("image", Datatype::Bytes, &[-1])
            .optional_input("pixels", Datatype::Uint8, &[-1, -1, -1])
            .output("label", Datatype::Bytes, &[-1, -1])
            .output("score", Datatype::Fp32, &[-1, -1])
            .graph(
                GraphSpec::new("model")
                    .input("pixels", Datatype::Fp32, &[-1, 1, 8, 8])
                    .output("logits", Datatype::Fp32, &[-1, 10]),
            )
    }

    fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
        // Checked first, so that a wrong parameter costs no decoding.
        postprocess::top_k(request)?;
        preprocess::pixels(request)
    }

    fn postprocess(request: &Request, outputs: GraphOutputs) -> Result<Response> {
        postprocess::ranking(&outputs, postprocess::top_k(request)?)
    }
}

wisp_handler::export!(Digits);

#[cfg(test)]
mod tests;
