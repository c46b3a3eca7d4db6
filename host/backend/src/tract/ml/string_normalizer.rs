//! `StringNormalizer`: removes stop words from a list of strings and changes the case of the rest.
//!
//! The case is changed code point by code point, as onnxruntime does in every locale besides the Turkic ones.

use super::super::guard::RefusedValue;
use super::attribute;
use super::operator::{Built, Fact, Kernel, built, elements};
use std::collections::HashSet;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    DatumType, Symbol, TValue, TVec, Tensor, ToDim, TractResult, tensor1, tvec,
};
use tract_onnx::tract_core::internal::{bail, ensure};

struct StringNormalizer {
    case: Case,
    /// The stop words, in lower case if the comparison ignores the case.
    stop_words: HashSet<String>,
    is_case_sensitive: bool,
    /// The number of strings that are left, which follows from their values.
    left: Symbol,
}

/// The change of the case of letters.
#[derive(Clone, Copy)]
enum Case {
    Unchanged,
    Lower,
    Upper,
}

pub(super) fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let case = match node
        .get_attr_opt::<String>("case_change_action")?
        .as_deref()
    {
        None | Some("NONE") => Case::Unchanged,
        Some("LOWER") => Case::Lower,
        Some("UPPER") => Case::Upper,
        Some(other) => return node.bail_attr("case_change_action", &format!("cannot be {other}")),
    };
    let is_case_sensitive = node.get_attr_opt::<i64>("is_case_sensitive")?.unwrap_or(0) != 0;
    let stop_words = attribute::strings(node, "stopwords")?.into_iter();
    let stop_words = stop_words.map(|word| match is_case_sensitive {
        true => word,
        false => Case::Lower.of(&word),
    });
    let normalizer = StringNormalizer {
        case,
        stop_words: stop_words.collect(),
        is_case_sensitive,
        left: context.template.symbols.new_with_prefix("left"),
    };
    built(node, normalizer)
}

impl Case {
    fn of(self, text: &str) -> String {
        match self {
            Case::Unchanged => text.to_owned(),
            Case::Lower => text.chars().map(lower).collect(),
            Case::Upper => text.chars().map(upper).collect(),
        }
    }
}

fn lower(letter: char) -> char {
    match letter {
        // Its full mapping has a combining dot as well.
        '\u{130}' => 'i',
        _ => only(letter.to_lowercase()).unwrap_or(letter),
    }
}

fn upper(letter: char) -> char {
    let shifted = |by: u32| char::from_u32(u32::from(letter) + by).unwrap_or(letter);
    match letter {
        // Greek letters with a iota below, whose full mappings have a iota beside the letter.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => shifted(8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => shifted(9),
        _ => only(letter.to_uppercase()).unwrap_or(letter),
    }
}

/// Returns the item of an iterator that has exactly one.
fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    let first = letters.next()?;
    letters.next().is_none().then_some(first)
}

impl StringNormalizer {
    fn is_stop_word(&self, word: &str) -> bool {
        match self.is_case_sensitive {
            _ if self.stop_words.is_empty() => false,
            true => self.stop_words.contains(word),
            false => self.stop_words.contains(&Case::Lower.of(word)),
        }
    }
}

impl Kernel for StringNormalizer {
    fn name(&self) -> &'static str {
        "StringNormalizer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("StringNormalizer takes one input");
        };
        ensure!(
            *datum_type == DatumType::String,
            "StringNormalizer takes strings, its input is {datum_type:?}"
        );
        let Some((count, rows)) = shape.split_last() else {
            bail!("StringNormalizer takes a list of strings");
        };
        ensure!(
            rows.len() <= 1
                && rows
                    .iter()
                    .all(|rows| rows.as_i64().is_none_or(|rows| rows == 1)),
            "StringNormalizer takes one list of strings, its input has the shape {shape:?}"
        );
        let count = match self.stop_words.is_empty() {
            true => count.clone(),
            false => self.left.to_dim(),
        };
        let shape = rows.iter().map(|_| 1.to_dim()).chain([count]);
        Ok(tvec![(DatumType::String, shape.collect())])
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        let words = elements::<String>(input)?;
        let shape = input.shape();
        let is_list = shape.len() == 1 || shape.first() == Some(&1);
        if words.is_empty() || !is_list {
            return Err(RefusedValue::new(format!(
                "StringNormalizer takes one list of at least one string, not {shape:?}"
            ))
            .into());
        }
        let left = words.iter().filter(|word| !self.is_stop_word(word));
        let mut left: Vec<String> = left.map(|word| self.case.of(word)).collect();
        // As the standard demands, a list is never empty.
        if left.is_empty() {
            left.push(String::new());
        }
        let mut shape: TVec<usize> = shape.into();
        if let Some(count) = shape.last_mut() {
            *count = left.len();
        }
        Ok(tvec![tensor1(&left).into_shape(&shape)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_changes_code_point_by_code_point() {
        for (text, lower) in [
            ("ABC \u{c4}\u{d6}", "abc \u{e4}\u{f6}"),
            ("\u{130}stanbul", "istanbul"),
            ("\u{391}\u{3a3}", "\u{3b1}\u{3c3}"),
            ("\u{1e9e}\u{df}", "\u{df}\u{df}"),
        ] {
            assert_eq!(Case::Lower.of(text), lower);
        }
        for (text, upper) in [
            ("abc \u{e4}\u{f6}", "ABC \u{c4}\u{d6}"),
            ("\u{df}\u{149}", "\u{df}\u{149}"),
            ("\u{3c2}\u{131}\u{ff}", "\u{3a3}I\u{178}"),
            ("\u{1f80}\u{1fb3}", "\u{1f88}\u{1fbc}"),
        ] {
            assert_eq!(Case::Upper.of(text), upper);
        }
    }
}
