//! Computes vectors of texts, with the `tokenizer.json` of any model on the Hugging Face Hub.
//!
//! `init` builds the tokenizer with the crate `tokenizers`, once for each version, and encodes a text with it. The tokenizer is a file of the
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

/// A text that `init` encodes, with letters, digits, marks and spaces of several kinds.
const WARM_UP: &str = "It's 12:30, and they'll say \u{201c}caf\u{e9}\u{201d} \u{2014} or \u{4f60}\u{597d}, \
                       \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}!\r\n\n\tEND  (v2.0) $9 \u{1f642}";

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
        // For measurements: with `false`, every request builds the tokenizer.
        if config::get("build_at_load")?.unwrap_or(true) {
            warm_up(TOKENIZER.get()?);
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

/// Encodes a text. Regular expressions build their automata while they are used, and every request would build them again.
fn warm_up(tokenizer: &Tokenizer) {
    // A tokenizer that refuses this text may accept those of all requests.
    let _ = random::with_seed(0, || preprocess::inputs(tokenizer, &[WARM_UP]));
}

wisp_handler::export!(Tokenize);

#[cfg(test)]
mod tests;
