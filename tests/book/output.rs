//! Compares the output of a command with the output that a page shows.
//!
//! JSON is compared by value, with a tolerance for floats. In other output, white space and the digits of
//! decimal fractions may differ, since a page shows times too.

use super::page::{Block, Language};
use anyhow::{Result, ensure};
use serde_json::Value;

/// The largest difference between numbers, relative to those greater than 1.
const TOLERANCE: f64 = 1e-3;

/// Fails if `printed` differs from the block.
pub(super) fn compare(shown: &Block, printed: &str) -> Result<()> {
    let same = match shown.language {
        Language::Json => are_close(
            &serde_json::from_str(&shown.code)?,
            &serde_json::from_str(printed)?,
        ),
        _ => plain(&shown.code) == plain(printed),
    };
    ensure!(same, "the page shows\n{}\nnot\n{printed}", shown.code);
    Ok(())
}

fn are_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(1.0),
            _ => a == b,
        },
        (Value::String(a), Value::String(b)) => strings_are_close(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are_close(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let same = |(name, value)| b.get(name).is_some_and(|other| are_close(value, other));
            a.len() == b.len() && a.iter().all(same)
        }
        _ => a == b,
    }
}

/// Compares strings such as `0.658682:0`, whose parts between colons may be numbers.
fn strings_are_close(a: &str, b: &str) -> bool {
    let close = |(a, b): (&str, &str)| match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= TOLERANCE,
        _ => a == b,
    };
    a.split(':').count() == b.split(':').count() && a.split(':').zip(b.split(':')).all(close)
}

/// Returns the text with one space for all white space, and the same number for each decimal fraction.
fn plain(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut plain = String::new();
    let mut number = String::new();
    let mut characters = words.chars().peekable();
    while let Some(character) = characters.next() {
        if !character.is_ascii_digit() {
            plain.push(character);
            continue;
        }
        number.clear();
        number.push(character);
        while let Some(next) = characters.next_if(|c| c.is_ascii_digit() || *c == '.') {
            number.push(next);
        }
        plain += if number.contains('.') { "0.0" } else { &number };
    }
    plain
}

#[test]
fn fractions_and_white_space_may_differ_and_nothing_else() {
    assert_eq!(
        plain("read;dur=0.009,\n  x [1, 3]"),
        plain("read;dur=12.5, x   [1, 3]\n")
    );
    assert_ne!(plain("a 0.5"), plain("b 0.5"));
    assert_ne!(plain("[1, 3]"), plain("[1, 2]"));
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let close = |a: &str, b: &str| are_close(&value(a), &value(b));
    assert!(close(r#"{"a":[235.546]}"#, r#"{"a":[235.547]}"#));
    assert!(close(r#""0.658682:0""#, r#""0.658681:0""#));
    assert!(!close(r#"{"a":1.5}"#, r#"{"a":1.6}"#));
    assert!(!close(r#"{"a":1}"#, r#"{"a":1,"b":2}"#));
    assert!(!close(r#""7""#, r#""9""#));
}
