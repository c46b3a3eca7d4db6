//! Converts texts to rows of token ids of equal length.

use crate::tokenizer::{PAD, Vocabulary, tokenize};
use wisp_handler::{Result, Tensor};

/// The divisor of a batch's length. The host plans a graph for each shape, and this step leaves 16
/// lengths instead of 256.
const LENGTH_STEP: usize = 16;

/// Texts as token ids, without padding.
pub(crate) struct Batch {
    pub(crate) rows: Vec<Vec<i64>>,
    /// The number of tokens of the longest text, rounded up to a multiple of [`LENGTH_STEP`].
    pub(crate) length: usize,
}

pub(crate) fn tokens(vocabulary: &Vocabulary, texts: &[&str]) -> Batch {
    let rows = texts.iter().map(|text| tokenize(vocabulary, text));
    let rows: Vec<_> = rows.collect();
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    Batch {
        rows,
        length: longest.next_multiple_of(LENGTH_STEP),
    }
}

impl Batch {
    /// Returns the graph's three inputs, [texts, length] each.
    pub(crate) fn to_inputs(&self) -> Result<Vec<Tensor>> {
        let filled = |value: fn(i64) -> i64, filling: i64| {
            let row =
                move |row: &Vec<i64>| row.iter().map(move |id| value(*id)).collect::<Vec<_>>();
            self.rows.iter().map(row).map(move |mut row| {
                row.resize(self.length, filling);
                row
            })
        };
        Ok(vec![
            Tensor::from_rows("input_ids", &[self.length], filled(|id| id, PAD))?,
            Tensor::from_rows("attention_mask", &[self.length], filled(|_| 1, 0))?,
            Tensor::from_rows("token_type_ids", &[self.length], filled(|_| 0, 0))?,
        ])
    }
}
