//! `Tokenizer` of ONNX Runtime's domain, which the text pipelines of scikit-learn need: splits each string into
//! tokens, and pads the rows of tokens to one length.
//!
//! Tokens are the matches of a regular expression in the syntax of RE2, whose classes are those of ASCII, or
//! single characters. Lists of separators are not supported.

use super::attribute;
use super::operator::{Built, Fact, Kernel, built, elements};
use regex::{Regex, RegexBuilder};
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::prelude::{
    DatumType, Symbol, TValue, TVec, Tensor, ToDim, TractError, TractResult, tensor1, tvec,
};
use tract_onnx::tract_core::internal::{bail, ensure};

struct Tokenizer {
    tokens: Tokens,
    /// Set if each row begins and ends with a mark.
    has_marks: bool,
    padding: String,
    /// The length of a row, which follows from the values.
    width: Symbol,
}

enum Tokens {
    Characters,
    /// Matches of at least this many characters.
    Matches(Regex, usize),
}

/// The marks at the start and the end of a row.
const MARKS: [&str; 2] = ["\u{2}", "\u{3}"];

/// The maximum size of a compiled expression in bytes, hundreds of times that of a usual one.
const MAX_EXPRESSION_BYTES: usize = 1 << 20;

/// The classes and assertions that are about ASCII in RE2 and about Unicode in `regex`.
const ASCII_CLASSES: [(char, &str); 8] = [
    ('w', "[0-9A-Za-z_]"),
    ('W', "[^0-9A-Za-z_]"),
    ('d', "[0-9]"),
    ('D', "[^0-9]"),
    ('s', r"[\t\n\f\r ]"),
    ('S', r"[^\t\n\f\r ]"),
    ('b', r"(?-u:\b)"),
    ('B', r"(?-u:\B)"),
];

/// The bytes that a token takes in memory besides its text: a string, and the least that is allocated.
const TOKEN_BYTES: usize = size_of::<String>() + 32;

pub(super) fn build(context: &ParsingContext, node: &NodeProto) -> Built {
    let separators = attribute::strings(node, "separators")?;
    let expression = node.get_attr_opt::<String>("tokenexp")?.unwrap_or_default();
    let min_characters = node.get_attr_opt::<usize>("mincharnum")?.unwrap_or(1);
    let tokens = match separators.as_slice() {
        [] if !expression.is_empty() => Tokens::Matches(compile(&expression)?, min_characters),
        [separator] if separator.is_empty() && expression.is_empty() && min_characters <= 1 => {
            Tokens::Characters
        }
        _ => return node.bail_attr("separators", "is not supported, but `tokenexp` is"),
    };
    let tokenizer = Tokenizer {
        tokens,
        has_marks: node.get_attr_opt::<i64>("mark")?.unwrap_or(0) != 0,
        padding: node.get_attr_opt("pad_value")?.unwrap_or_default(),
        width: context.template.symbols.new_with_prefix("tokens"),
    };
    built(node, tokenizer)
}

fn compile(expression: &str) -> TractResult<Regex> {
    let mut builder = RegexBuilder::new(&with_ascii_classes(expression));
    let compiled = builder.size_limit(MAX_EXPRESSION_BYTES).build();
    compiled.map_err(|error| TractError::msg(format!("Tokenizer has an invalid tokenexp: {error}")))
}

/// Returns an expression of RE2 for `regex`.
fn with_ascii_classes(expression: &str) -> String {
    let mut translated = String::with_capacity(expression.len());
    let mut characters = expression.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            translated.push(character);
            continue;
        }
        let Some(escaped) = characters.next() else {
            translated.push('\\');
            break;
        };
        match ASCII_CLASSES.iter().find(|(class, _)| *class == escaped) {
            Some((_, class)) => translated.push_str(class),
            None => translated.extend(['\\', escaped]),
        }
    }
    translated
}

impl Tokenizer {
    /// Returns the tokens of a string.
    fn tokens<'t>(&self, text: &'t str) -> Vec<&'t str> {
        match &self.tokens {
            Tokens::Characters => {
                let starts = text.char_indices();
                let characters = starts.map(|(at, character)| &text[at..][..character.len_utf8()]);
                characters.collect()
            }
            Tokens::Matches(expression, min_characters) => {
                let matches = expression.find_iter(text).map(|found| found.as_str());
                let is_token =
                    |found: &&str| !found.is_empty() && found.chars().count() >= *min_characters;
                matches.filter(is_token).collect()
            }
        }
    }

    /// Returns the length of rows of which the longest has this many tokens.
    fn width(&self, most: usize) -> usize {
        match self.has_marks && most > 0 {
            true => most + MARKS.len(),
            false => most,
        }
    }
}

impl Kernel for Tokenizer {
    fn name(&self) -> &'static str {
        "Tokenizer"
    }

    fn outputs(&self, inputs: &[Fact]) -> TractResult<TVec<Fact>> {
        let [(datum_type, shape)] = inputs else {
            bail!("Tokenizer takes one input");
        };
        ensure!(
            *datum_type == DatumType::String,
            "Tokenizer takes strings, its input is {datum_type:?}"
        );
        ensure!(
            matches!(shape.len(), 1 | 2),
            "Tokenizer takes strings in one or two dimensions, got {}",
            shape.len()
        );
        let shape = shape.iter().cloned().chain([self.width.to_dim()]);
        Ok(tvec![(DatumType::String, shape.collect())])
    }

    fn output_bytes(&self, inputs: &[TValue]) -> TractResult<Option<u64>> {
        let texts = elements::<String>(&inputs[0])?;
        let most = texts.iter().map(|text| self.tokens(text).len()).max();
        let cells = texts.len().saturating_mul(self.width(most.unwrap_or(0)));
        let padded = TOKEN_BYTES.saturating_add(self.padding.len());
        let content = texts.iter().map(String::len).fold(0, usize::saturating_add);
        let bytes = cells.saturating_mul(padded).saturating_add(content);
        Ok(Some(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }

    fn compute(&self, inputs: &[TValue]) -> TractResult<TVec<Tensor>> {
        let input = &inputs[0];
        let texts = elements::<String>(input)?;
        let rows: Vec<Vec<&str>> = texts.iter().map(|text| self.tokens(text)).collect();
        let width = self.width(rows.iter().map(Vec::len).max().unwrap_or(0));
        let mut output = Vec::with_capacity(rows.len() * width);
        for row in rows {
            let end = output.len() + width;
            let [first, last] = MARKS;
            let marks = self.has_marks && width > 0;
            output.extend(marks.then(|| first.to_owned()));
            output.extend(row.into_iter().map(str::to_owned));
            output.extend(marks.then(|| last.to_owned()));
            output.resize(end, self.padding.clone());
        }
        let shape: TVec<usize> = input.shape().iter().copied().chain([width]).collect();
        Ok(tvec![tensor1(&output).into_shape(&shape)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_ascii() -> anyhow::Result<()> {
        for (expression, text, expected) in [
            (r"\w+", "a d\u{e9}f_1", ["a", "d", "f_1"].as_slice()),
            (r"[\w-]+", "a-b \u{e9}", &["a-b"]),
            (r"\d+|\S", "12 \u{661}", &["12", "\u{661}"]),
            (r"\bc", "ab cd", &["c"]),
            (".", "d\u{e9}\n", &["d", "\u{e9}"]),
            (r"\\w", r"\w", &[r"\w"]),
        ] {
            let found = compile(expression)?;
            let found: Vec<&str> = found.find_iter(text).map(|found| found.as_str()).collect();
            assert_eq!(found, expected, "{expression}");
        }
        assert!(compile("a(?=b)").is_err());
        assert!(compile("((a{100}){100}){100}").is_err());
        Ok(())
    }
}
