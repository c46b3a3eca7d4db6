//! Formats sizes, counts, paths, words of a shell, declared tensors, and selected backends and batching for the terminal.

use std::path::{Path, PathBuf};
use wisp_serving::registry::version_description::SELECTION;
use wisp_serving::version::ModelVersion;
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{OneLine, TensorSpec};

/// Formats a size in the largest unit in which it is at least 1: `512 B`, `17.8 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Computed as integer tenths: a float would round some sizes up to the next unit.
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10 * 1024 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Formats a count with thousands separators: `22,565,376`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a path for the terminal: relative if it is below the current directory, and on one line.
pub(crate) fn path(path: &Path) -> String {
    let current = std::env::current_dir().and_then(|current| current.canonicalize());
    let relative = current
        .ok()
        .and_then(|current| path.strip_prefix(current).ok().map(PathBuf::from));
    match relative {
        Some(relative) if relative.as_os_str().is_empty() => ".".to_owned(),
        Some(relative) => OneLine(relative.display()).to_string(),
        None => OneLine(path.display()).to_string(),
    }
}

/// Quotes a word for a POSIX shell, unless it reads the word as it is.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Formats a declared tensor: `features: FP32 [-1, 13], optional`.
pub(crate) fn tensor(spec: &TensorSpec) -> String {
    let optional = if spec.optional { ", optional" } else { "" };
    format!(
        "{}: {} {}{optional}",
        spec.name,
        spec.element_type,
        DimensionList(&spec.shape)
    )
}

/// Formats the automatic selections of a version's backends, such as `auto: rten 20.1 us, tract 35.0 us`.
/// Returns `None` if its backends were named.
pub(crate) fn backend_selections(version: &ModelVersion) -> Option<String> {
    version.description().properties.get(SELECTION).cloned()
}

/// Formats the batching of a version's graphs, such as `auto: up to 32 rows, 1.2 us a row instead of 10.4 us`. Returns
/// `None` if it has no graphs.
pub(crate) fn batching(version: &ModelVersion) -> Option<String> {
    let decisions = version.batching().decisions();
    let texts = decisions
        .iter()
        .map(|(graph, decision)| match decisions.len() {
            1 => decision.to_string(),
            _ => format!("{graph}: {decision}"),
        });
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_the_right_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (18_177, "17.7 KiB"),
            (1024 * 1024 - 1, "1023.9 KiB"),
            (90_900_000, "86.6 MiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_path_is_one_line_whatever_it_contains() {
        let shown = path(Path::new("/models/a\n\u{1b}[2J"));
        assert_eq!(shown, r"/models/a\n\u{1b}[2J");
    }

    #[test]
    fn characters_that_a_shell_interprets_are_quoted() {
        assert_eq!(shell_word("a/b-c_1.png"), "a/b-c_1.png");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (22_565_376, "22,565,376"),
        ] {
            assert_eq!(count(number), text);
        }
    }
}
