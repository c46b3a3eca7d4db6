//! The explanation of refused inputs for clients, from the message that a backend has for its developers.
//!
//! Backends report the same causes in different words, and add paths of their sources and names of their own
//! types. [`explain`] names the common causes alike for all backends, and keeps the rest of a message if it
//! contains nothing but plain words, numbers and shapes. [`Operator`] is the place in the graph.
//!
//! Invariant: an explanation is one line of bounded length, without paths and without names of types.

use std::fmt;
use wisp_tensor::sanitize::shorten;

/// The maximum length of an explanation in characters, without the operator.
const MAX_CHARS: usize = 200;

/// The maximum length of the name of an operator or an input in characters.
const MAX_NAME_CHARS: usize = 100;

/// The number of inputs that are named; further ones are only counted.
const MAX_INPUTS: usize = 4;

/// The explanation if the message can neither be shown nor is known.
const UNKNOWN: &str = "these sizes or values are not supported";

/// The parts of messages from which a cause is known, in lower case, and the cause in words of ours. The first match decides.
const CAUSES: [(&str, &[&str]); 12] = [
    (
        "an integer is divided by zero",
        &[
            "division by zero",
            "modulo by zero",
            "divide by zero",
            "divides by zero",
            "divisor of zero",
            "divisor contains zero",
        ],
    ),
    (
        "a value is of no category that the model knows",
        &["unknown category", "no category that the model knows"],
    ),
    ("a string is not UTF-8", &["not utf-8", "invalid utf-8"]),
    (
        "a string is not a number",
        &[
            "stod",
            "stof",
            "stoi",
            "stol",
            "invalid float literal",
            "invalid digit found",
        ],
    ),
    (
        "an index is out of range",
        &[
            "out of data bounds",
            "index out of bounds",
            "out of range value in index",
            "is out of range",
            "invalid index",
            "invalid indice",
            "is not within an axis",
            "indices out of",
        ],
    ),
    (
        "a value would take too much memory with these sizes or values",
        &[
            "is smaller than requested bytes",
            "failed to allocate memory",
        ],
    ),
    (
        "a size would be negative",
        &[
            "must be >= 0",
            "must be non-negative",
            "negative dimension",
            "repeated -",
        ],
    ),
    (
        "a step is zero",
        &[
            "delta in range operator can not be zero",
            "'step' value cannot be 0",
            "step must not be zero",
            "step is zero",
        ],
    ),
    (
        "an axis does not exist",
        &[
            "isaxisinrange",
            "axis out of range",
            "is not in valid range",
        ],
    ),
    (
        "the elements of a value do not fit the requested shape",
        &["reshape"],
    ),
    (
        "sizes do not fit each other",
        &[
            "broadcast",
            "dimension mismatch",
            "dimensions mismatch",
            "mismatched dimensions",
            "incompatible input shapes",
            "incompatible shapes",
            "inconsistent concat",
            "must be equal",
            "invalid expand shape",
        ],
    ),
    (
        "an input of an operator has an unsuitable size",
        &["invalid input shape", "of input", "cannot split"],
    ),
];

/// The parts of words that are paths, types or addresses of a backend.
const INTERNAL: [&str; 13] = [
    "#",
    "::",
    ".cc",
    ".cpp",
    ".h:",
    ".rs",
    "0x",
    "\\",
    "*",
    "onnxruntime",
    "operator(",
    "<lambda",
    "&",
];

/// The reason that a graph does not compute some inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// For the log; may contain internals of the backend.
    pub(crate) reason: String,
    /// For the client.
    pub(crate) explanation: String,
}

/// An operator of a graph, as its file names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Operator<'a> {
    /// The name, which may be empty.
    pub(crate) name: &'a str,
    /// The kind of operator, such as `Gather`; empty if it is not known.
    pub(crate) kind: &'a str,
    /// The inputs of the graph on which it depends.
    pub(crate) inputs: Vec<&'a str>,
}

// === impl Refusal ===

impl Refusal {
    /// Returns the refusal for a reason that is also the message to explain.
    pub(crate) fn new(reason: String) -> Refusal {
        Refusal {
            explanation: explain(&reason),
            reason,
        }
    }

    /// Returns the refusal for a message that is only a part of the reason.
    pub(crate) fn of_message(reason: String, message: &str) -> Refusal {
        Refusal {
            explanation: explain(message),
            reason,
        }
    }

    /// Adds the operator that refused.
    pub(crate) fn at(self, operator: &Operator<'_>) -> Refusal {
        match operator.to_string() {
            shown if shown.is_empty() => self,
            shown => Refusal {
                reason: format!("{shown}: {}", self.reason),
                explanation: format!("{shown}: {}", self.explanation),
            },
        }
    }
}

/// Returns a sentence for clients about the cause that `message` describes.
pub(crate) fn explain(message: &str) -> String {
    let message = shorten(after_source(message).trim(), MAX_CHARS);
    let lower = message.to_lowercase();
    let is_of = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let cause = CAUSES.iter().find(|(_, parts)| is_of(parts));
    match (cause, is_plain(&message)) {
        (None, true) => message,
        (None, false) => UNKNOWN.to_owned(),
        (Some((cause, _)), true) if lower.contains(&cause.to_lowercase()) => message,
        (Some((cause, _)), true) => format!("{cause} ({message})"),
        (Some((cause, _)), false) => (*cause).to_owned(),
    }
}

/// Returns the part of a message of ONNX Runtime after the place in its sources and the condition that did not hold.
fn after_source(message: &str) -> &str {
    if let Some((_, after)) = message.rsplit_once(" was false. ") {
        return after;
    }
    // `element_wise_ops.cc:703 Compute Integer division by zero`
    let mut words = message.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(place), Some(_function), Some(after))
            if place.contains(".cc:") || place.contains(".h:") =>
        {
            after
        }
        _ => message,
    }
}

/// Returns whether a message contains only plain words, numbers, shapes, and names in backticks.
fn is_plain(message: &str) -> bool {
    if message.is_empty() || message.matches('`').count() % 2 == 1 {
        return false;
    }
    // Every second part is a name, which may contain anything.
    let mut outside = message.split('`').step_by(2);
    outside.all(|text| {
        let is_plain_word = |word: &str| {
            let has_path = word.len() > 1 && word.contains('/');
            let has_type = word.contains('<') && word.contains('>');
            !has_path && !has_type && !INTERNAL.iter().any(|part| word.contains(part))
        };
        // Structures of Rust are printed as `Name { field: value }`.
        !text.contains("{ ") && text.split_whitespace().all(is_plain_word)
    })
}

// === impl Operator ===

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &str| format!("`{}`", shorten(name, MAX_NAME_CHARS));
        match (self.name, self.kind) {
            ("", "") => return Ok(()),
            ("", kind) => write!(f, "operator {}", shorten(kind, MAX_NAME_CHARS))?,
            (own, "") => f.write_str(&name(own))?,
            (own, kind) => write!(f, "{} ({})", name(own), shorten(kind, MAX_NAME_CHARS))?,
        }
        let shown: Vec<String> = (self.inputs.iter().take(MAX_INPUTS))
            .map(|input| name(input))
            .collect();
        match (shown.len(), self.inputs.len().saturating_sub(MAX_INPUTS)) {
            (0, _) => Ok(()),
            (1, _) => write!(f, ", from input {}", shown.join("")),
            (_, 0) => write!(f, ", from inputs {}", shown.join(", ")),
            (_, more) => write!(f, ", from inputs {} and {more} more", shown.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_cause_has_the_same_words_whichever_backend_reports_it() {
        for (message, expected) in [
            (
                "indices element out of data bounds, idx=3 must be within the inclusive range [-3,2]",
                "an index is out of range (indices element out of data bounds, idx=3 must be within the \
                 inclusive range [-3,2])",
            ),
            (
                "an index is out of range: 7 is not within an axis of 3 elements",
                "an index is out of range: 7 is not within an axis of 3 elements",
            ),
            (
                "/onnxruntime_src/core/providers/cpu/tensor/gather_elements.cc:150 void \
                 onnxruntime::core_impl(const Tensor*) [with Tin = long int] GatherElements op: Out of \
                 range value in index tensor\n",
                "an index is out of range",
            ),
            (
                "element_wise_ops.cc:703 Compute Integer division by zero",
                "an integer is divided by zero (Integer division by zero)",
            ),
            (
                "element_wise_ops.cc:2421 operator() Integer modulo by zero",
                "an integer is divided by zero (Integer modulo by zero)",
            ),
            (
                "input or attribute has invalid value: Divisor contains zero",
                "an integer is divided by zero (input or attribute has invalid value: Divisor contains \
                 zero)",
            ),
            (
                "Unknown Category and zeros = 0.",
                "a value is of no category that the model knows (Unknown Category and zeros = 0.)",
            ),
            (
                "/onnxruntime_src/reshape_helper.h:84 onnxruntime::ReshapeHelper::ReshapeHelper(bool) size \
                 != 0 && (input_shape_size % size) == 0 was false. The input tensor cannot be reshaped to \
                 the requested shape. Input shape:{5}, requested shape:{2,-1}\n",
                "the elements of a value do not fit the requested shape (The input tensor cannot be \
                 reshaped to the requested shape. Input shape:{5}, requested shape:{2,-1})",
            ),
        ] {
            assert_eq!(explain(message), expected);
        }
    }

    #[test]
    fn names_of_the_model_are_shown_and_internals_of_a_backend_are_not() {
        for shown in [
            "`/encoder/layer.0/Gather::x` needs 3 elements",
            "Pad reflect: pre-pad (9) exceeds maximum allowed (2) for axis 0. Input shape:{3}",
            "input `x`: a string is not UTF-8",
        ] {
            assert_eq!(explain(shown), shown);
        }
        for hidden in [
            "assertion failed: TypedFact { shape: 3 }",
            "failed in /home/user/secret/model.py",
            "called core::option::unwrap",
            "a Vec<f32> is short",
            "an unclosed ` /etc/passwd",
            "at 0x7f00aa",
            "",
        ] {
            assert_eq!(explain(hidden), UNKNOWN, "{hidden}");
        }
    }

    #[test]
    fn an_explanation_is_one_short_line() {
        let long = explain(&format!("a\nERROR b\u{202e} {}", "é ".repeat(500)));
        assert!(long.starts_with("a ERROR b  é"), "{long}");
        assert_eq!(long.chars().count(), MAX_CHARS);
        let operator = Operator {
            name: "a\n`b",
            ..Operator::default()
        };
        let refusal = Refusal::new("no".to_owned()).at(&operator);
        assert_eq!(refusal.explanation, "`a `b`: no");
    }

    #[test]
    fn an_operator_is_shown_with_its_kind_and_the_inputs_behind_it() {
        let shown = |name, kind, inputs: &[&'static str]| {
            let inputs = inputs.to_vec();
            Operator { name, kind, inputs }.to_string()
        };
        assert_eq!(
            shown("embed", "Gather", &["ids"]),
            "`embed` (Gather), from input `ids`"
        );
        assert_eq!(
            shown("", "Div", &["a", "b"]),
            "operator Div, from inputs `a`, `b`"
        );
        assert_eq!(
            shown("c", "", &["1", "2", "3", "4", "5", "6"]),
            "`c`, from inputs `1`, `2`, `3`, `4` and 2 more"
        );
        assert_eq!(shown("", "", &["x"]), "");
    }
}
