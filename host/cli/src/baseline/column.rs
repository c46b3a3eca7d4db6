//! The values of a column, as its feature holds them, and their distribution.

use super::table::Cell;
use std::collections::HashMap;
use wisp_serving::quality::distribution::{
    CategoricalDistribution, Distribution, NumericDistribution,
};
use wisp_serving::quality::rules::rounded;
use wisp_tensor::ElementType;
use wisp_tensor::sanitize::shorten;

/// Texts for a missing number, in lower case. An empty text is one too.
const MISSING_NUMBERS: [&str; 5] = ["nan", "na", "n/a", "null", "none"];

/// The maximum number of different texts that are counted one by one.
const MAX_TEXTS: usize = 1 << 16;

/// The entry of a missing text.
const MISSING_TEXT: u32 = u32::MAX;

/// The entry of a text beyond [`MAX_TEXTS`].
const OTHER_TEXT: u32 = u32::MAX - 1;

/// The maximum length of a value in an error.
const MAX_VALUE_CHARS: usize = 40;

/// The values of a feature in the rows that are used.
#[derive(Debug)]
pub(super) struct Column {
    element_type: ElementType,
    /// The numbers, which are NaN if missing.
    numbers: Vec<f64>,
    /// The texts as entries of `known`.
    texts: Vec<u32>,
    known: HashMap<String, u32>,
}

/// The values of a column, and the number of those that are missing.
#[derive(Debug)]
pub(super) struct Distributed {
    pub(super) distribution: Distribution,
    pub(super) missing: u64,
}

impl Column {
    pub(super) fn new(element_type: ElementType) -> Column {
        Column {
            element_type,
            numbers: Vec::new(),
            texts: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Adds a value. An error is the reason that the feature cannot have it.
    pub(super) fn push(&mut self, cell: &Cell<'_>) -> Result<(), String> {
        if self.element_type != ElementType::Bytes {
            let number = match cell {
                Cell::Missing => f64::NAN,
                Cell::Number(number) => *number,
                Cell::Text(text) => parsed(text)?,
                Cell::Unsupported => return Err(unsupported()),
            };
            self.numbers.push(self.held(number)?);
            return Ok(());
        }
        let text: &str = match cell {
            Cell::Missing => "",
            Cell::Text(text) => text,
            Cell::Number(number) => {
                return Err(format!("{number} is a number, and the input is BYTES"));
            }
            Cell::Unsupported => return Err(unsupported()),
        };
        let entry = self.entry(text);
        self.texts.push(entry);
        Ok(())
    }

    /// Returns the number that a tensor holds for `number`.
    fn held(&self, number: f64) -> Result<f64, String> {
        if number.is_nan() {
            return Ok(number);
        }
        let element_type = self.element_type;
        let is_float = matches!(
            element_type,
            ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64
        );
        let held = rounded(element_type, number);
        match (held.is_finite(), is_float || number.fract() == 0.0) {
            (true, true) => Ok(held),
            (false, _) => Err(format!("{number:?} is not a finite {element_type}")),
            (_, false) => Err(format!(
                "{number:?} is not an integer, and the input is {element_type}"
            )),
        }
    }

    fn entry(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return MISSING_TEXT;
        }
        if let Some(entry) = self.known.get(text) {
            return *entry;
        }
        if self.known.len() >= MAX_TEXTS {
            return OTHER_TEXT;
        }
        let entry = u32::try_from(self.known.len()).unwrap_or(OTHER_TEXT);
        self.known.insert(text.to_owned(), entry);
        entry
    }

    /// Drops every second row.
    pub(super) fn halve(&mut self) {
        halve(&mut self.numbers);
        halve(&mut self.texts);
    }

    /// Returns the distribution of the values; `None` if there are none, or if they have none.
    pub(super) fn distributed(self, max_points: usize) -> Option<Distributed> {
        if self.element_type == ElementType::Bytes {
            return self.texts_distributed();
        }
        let all = self.numbers.len();
        let values: Vec<f64> = (self.numbers.into_iter())
            .filter(|number| !number.is_nan())
            .collect();
        let missing = u64::try_from(all - values.len()).ok()?;
        let distribution = NumericDistribution::of(values, max_points)?;
        Some(Distributed {
            distribution: Distribution::Numeric(distribution),
            missing,
        })
    }

    fn texts_distributed(self) -> Option<Distributed> {
        let (mut missing, mut other) = (0u64, 0u64);
        let mut counts = vec![0u64; self.known.len()];
        for entry in self.texts {
            match entry {
                MISSING_TEXT => missing += 1,
                entry => {
                    let index = usize::try_from(entry).ok();
                    match index.and_then(|index| counts.get_mut(index)) {
                        Some(count) => *count += 1,
                        None => other += 1,
                    }
                }
            }
        }
        let frequencies = self.known.into_iter().filter_map(|(text, entry)| {
            let index = usize::try_from(entry).ok()?;
            let count = counts.get(index).copied().filter(|count| *count > 0)?;
            Some((text, count))
        });
        let distribution = CategoricalDistribution::of(frequencies.collect(), other)?;
        Some(Distributed {
            distribution: Distribution::Categorical(distribution),
            missing,
        })
    }
}

fn halve<T>(values: &mut Vec<T>) {
    let mut position = 0usize;
    values.retain(|_| {
        position += 1;
        position % 2 == 1
    });
}

/// Returns the number in a text, or NaN if it is missing.
fn parsed(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let lower = text.to_ascii_lowercase();
    if text.is_empty() || MISSING_NUMBERS.contains(&lower.as_str()) {
        return Ok(f64::NAN);
    }
    match lower.as_str() {
        "true" => Ok(1.0),
        "false" => Ok(0.0),
        _ => {
            let number = text.parse::<f64>();
            number.map_err(|_| format!("`{}` is not a number", shorten(text, MAX_VALUE_CHARS)))
        }
    }
}

fn unsupported() -> String {
    "its type is neither a number nor a text".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use wisp_serving::quality::distribution::MAX_POINTS;

    fn text(text: &str) -> Cell<'_> {
        Cell::Text(Cow::Borrowed(text))
    }

    #[test]
    fn numbers_are_read_from_texts_as_their_type_holds_them() {
        let mut column = Column::new(ElementType::Fp32);
        for cell in [text("0.1"), Cell::Number(0.1), text(" 1e3 "), text("true")] {
            column.push(&cell).expect("a number");
        }
        for missing in ["", "NaN", "NA", "n/a", "null", "None"] {
            column.push(&text(missing)).expect("missing");
        }
        column.push(&Cell::Missing).expect("missing");
        let distributed = column.distributed(MAX_POINTS).expect("values");
        assert_eq!(distributed.missing, 7);
        let Distribution::Numeric(numeric) = distributed.distribution else {
            panic!("{:?}", distributed.distribution);
        };
        assert_eq!(numeric.points, [f64::from(0.1f32), 1.0, 1000.0]);
        assert_eq!(numeric.counts, [0, 2, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_value_that_a_feature_cannot_have_is_refused() {
        for (element_type, cell, reason) in [
            (ElementType::Fp32, text("abc"), "`abc` is not a number"),
            (ElementType::Fp32, text("inf"), "inf is not a finite FP32"),
            (
                ElementType::Fp32,
                text("1e300"),
                "1e300 is not a finite FP32",
            ),
            (ElementType::Int64, text("1.5"), "1.5 is not an integer"),
            (ElementType::Bytes, Cell::Number(1.0), "1 is a number"),
            (ElementType::Fp32, Cell::Unsupported, "its type is neither"),
        ] {
            let error = Column::new(element_type).push(&cell).expect_err(reason);
            assert!(error.starts_with(reason), "{error}");
        }
        assert_eq!(Column::new(ElementType::Int64).push(&text("3.0")), Ok(()));
    }

    #[test]
    fn texts_are_counted() {
        let mut column = Column::new(ElementType::Bytes);
        for value in ["b", "a", "b", "", "b", "c"] {
            column.push(&text(value)).expect("a text");
        }
        column.halve();
        let distributed = column.distributed(MAX_POINTS).expect("values");
        assert_eq!(distributed.missing, 0);
        let Distribution::Categorical(texts) = distributed.distribution else {
            panic!("{:?}", distributed.distribution);
        };
        assert_eq!(texts.categories, ["b"]);
        assert_eq!(texts.counts, [3]);
        assert!(
            Column::new(ElementType::Bytes)
                .distributed(MAX_POINTS)
                .is_none()
        );
        assert!(
            Column::new(ElementType::Fp64)
                .distributed(MAX_POINTS)
                .is_none()
        );
    }
}
