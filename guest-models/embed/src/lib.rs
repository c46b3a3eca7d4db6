//! Computes sentence embeddings of texts, including the model's tokenizer.
//!
//! `preprocess` converts texts to token ids and pads them to one length; `postprocess` averages the
//! model's outputs per token and scales the mean to length 1. Since the mean must exclude the padding,
//! both steps need the mask, and the handler implements `infer` itself. `init` builds the table of the
//! vocabulary, which all requests share.

mod postprocess;
mod preprocess;
mod tokenizer;

use wisp_handler::{Datatype, GraphSpec, Graphs, Handler, Request, Response, Result, Signature};

/// The number of elements of an embedding.
const WIDTH: usize = 384;

/// The handler of the embedding model.
#[derive(Debug)]
pub struct Embed;

impl Handler for Embed {
    fn signature() -> Signature {
        let width = WIDTH as i64;
        Signature::new()
            .input("text", Datatype::Bytes, &[-1])
            .output("embedding", Datatype::Fp32, &[-1, width])
            .graph(
                GraphSpec::new("model")
                    .input("input_ids", Datatype::Int64, &[-1, -1])
                    .input("attention_mask", Datatype::Int64, &[-1, -1])
                    .input("token_type_ids", Datatype::Int64, &[-1, -1])
                    .output("last_hidden_state", Datatype::Fp32, &[-1, -1, width]),
            )
    }

    fn init() -> Result<()> {
        tokenizer::VOCABULARY.get()?;
        Ok(())
    }

    fn infer(request: &Request, graphs: &mut dyn Graphs) -> Result<Response> {
        let texts = request.input("text")?.strings(&[-1])?;
        if texts.is_empty() {
            // Graphs do not accept sequences of length 0.
            return postprocess::response(&[]);
        }
        let batch = preprocess::tokens(tokenizer::VOCABULARY.get()?, &texts);
        let outputs = graphs.compute(Self::GRAPH, &batch.to_inputs()?)?;
        postprocess::embeddings(&outputs, &batch)
    }
}

wisp_handler::export!(Embed);

#[cfg(test)]
mod tests;
