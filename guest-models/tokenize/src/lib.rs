//! Computes vectors of texts, with the `tokenizer.json` of any model on the Hugging Face Hub.
//!
//! `init` builds the tokenizer with the crate `tokenizers`, once for each version. The tokenizer is a file of the
//! model, so one component serves models with different ones. `preprocess` converts texts to token ids;
//! the graph looks up the vectors of the tokens and computes their mean.

mod preprocess;

use tokenizers::utils::parallelism::set_parallelism;
use tokenizers::{Tokenizer, TruncationParams};
use wisp_handler::{
    Datatype, Error, GraphSpec, Graphs, Handler, Lazy, Request, Response, Result, Signature,
    config, files, random,
};

/// The file of the model that describes its tokenizer.
const FILE: &str = "tokenizer.json";

/// The maximum number of tokens of a text, unless the setting `max_tokens` is another.
const MAX_TOKENS: usize = 256;

static TOKENIZER: Lazy<Tokenizer> = Lazy::new(build);

/// The handler.
#[derive(Debug)]
pub struct Tokenize;

impl Handler for Tokenize {
    fn signature() -> Signature {
        Signature::new()
            .input("text", Datatype::Bytes, &[-1])
            .output("vector", Datatype::Fp32, &[-1, -1])
            .output("input_ids", Datatype::Int64, &[-1, -1])
            .output("attention_mask", Datatype::Int64, &[-1, -1])
            .graph(
                GraphSpec::new("model")
                    .input("input_ids", Datatype::Int64, &[-1, -1])
                    .input("attention_mask", Datatype::Int64, &[-1, -1])
                    .output("vector", Datatype::Fp32, &[-1, -1]),
            )
    }

    fn init() -> Result<()> {
        // To measure what it saves: with `false`, every request builds the tokenizer.
        if config::get("build_at_load")?.unwrap_or(true) {
            TOKENIZER.get()?;
        }
        Ok(())
    }

    fn infer(request: &Request, graphs: &mut dyn Graphs) -> Result<Response> {
        let texts = request.input("text")?.strings(&[-1])?;
        if texts.is_empty() {
            return Err(Error::client("input `text` has no texts"));
        }
        let inputs = preprocess::inputs(TOKENIZER.get()?, &texts)?;
        let outputs = graphs.compute(Self::GRAPH, &inputs)?;
        let tensors = outputs.into_tensors().into_iter().chain(inputs);
        Ok(tensors.fold(Response::new(), Response::with_output))
    }
}

/// Builds the tokenizer from the model's file.
fn build() -> Result<Tokenizer> {
    // There are no threads.
    set_parallelism(false);
    let file = files::read(FILE)?;
    // The seeds of the hash tables: `init` has no random numbers, and all requests share the tables anyway.
    let tokenizer = random::with_seed(0, || Tokenizer::from_bytes(file));
    let invalid = |error| Error::handler(format_args!("the model's file `{FILE}`: {error}"));
    let mut tokenizer = tokenizer.map_err(invalid)?;
    let truncation = TruncationParams {
        max_length: config::get("max_tokens")?.unwrap_or(MAX_TOKENS),
        ..TruncationParams::default()
    };
    tokenizer
        .with_truncation(Some(truncation))
        .map_err(|error| Error::handler(format_args!("the setting `max_tokens`: {error}")))?;
    // The padding is that of `preprocess`.
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

wisp_handler::export!(Tokenize);

#[cfg(test)]
mod tests;
