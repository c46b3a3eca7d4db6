//! From texts to rows of token ids, all as long as the longest.

use crate::tokenizer::{PAD, tokenize};
use wisp_handler::{Result, Tensor};

/// Texts as token ids, not filled up yet.
pub(crate) struct Batch {
    pub(crate) rows: Vec<Vec<i64>>,
    /// Tokens of the longest.
    pub(crate) length: usize,
}

pub(crate) fn tokens(texts: &[&str]) -> Batch {
    let rows: Vec<_> = texts.iter().map(|text| tokenize(text)).collect();
    let length = rows.iter().map(Vec::len).max().unwrap_or(0);
    Batch { rows, length }
}

impl Batch {
    /// The graph's three inputs, [texts, length] each.
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
