//! Converts texts to rows of token ids of equal length.

use tokenizers::Tokenizer;
use wisp_handler::{Error, Result, Tensor};

/// The divisor of a batch's length. The host plans a graph for each shape.
const LENGTH_STEP: usize = 16;

/// Returns the inputs of the graph, [texts, length] each.
pub(crate) fn inputs(tokenizer: &Tokenizer, texts: &[&str]) -> Result<Vec<Tensor>> {
    let failed = |error| Error::handler(format_args!("the tokenizer failed: {error}"));
    let rows = texts.iter().map(|text| {
        let encoding = tokenizer.encode_fast(*text, true).map_err(failed)?;
        Ok(encoding.get_ids().to_vec())
    });
    let rows = rows.collect::<Result<Vec<Vec<u32>>>>()?;
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    // A text can have no tokens, and a graph computes at least one.
    let length = longest.max(1).next_multiple_of(LENGTH_STEP);
    let filled = |value: fn(u32) -> i64| {
        rows.iter().map(move |row| {
            let mut row: Vec<i64> = row.iter().map(|id| value(*id)).collect();
            row.resize(length, 0);
            row
        })
    };
    Ok(vec![
        Tensor::from_rows("input_ids", &[length], filled(i64::from))?,
        Tensor::from_rows("attention_mask", &[length], filled(|_| 1))?,
    ])
}
