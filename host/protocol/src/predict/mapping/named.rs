//! The names of the classes in a prediction, for clients that ask for `class_names`.
//!
//! The names of the probabilities' classes are the labels of that output, or else the strings that the
//! model itself returns for each class. The prediction is such a name too, if it is a class:
//! - An integer or bool of an output with labels of its own is the index of one of them.
//! - Another integer or bool beside probabilities is one of their names if it is written in the same way,
//!   such as the integer keys of a map of scikit-learn, or else the index of a name.
//! - A string is a name as it is.

use super::{Prediction, PredictionMapping, Predictions};
use crate::call::ModelDescription;
use crate::class_names::{ClassNames, name_bytes};
use crate::relaxed_json::write_element;
use std::borrow::Cow;
use wisp_tensor::ElementType;

/// The names of the classes in the predictions of a response. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct PredictionNames<'a> {
    /// The names of the probabilities' classes, unless each row has its own.
    scores: Option<ClassNames<'a>>,
    /// The labels of the output with the prediction.
    own: Option<&'a [String]>,
}

impl PredictionMapping {
    /// Returns the maximum number of bytes that the names take in one row of a response.
    pub(crate) fn name_bytes(&self, model: &ModelDescription) -> usize {
        let outputs = [&self.probabilities, &self.label, &self.value];
        // The prediction is written in addition to the names of all classes.
        name_bytes(model, outputs.into_iter().flatten()).saturating_mul(2)
    }
}

impl<'a> PredictionNames<'a> {
    pub(crate) fn new(
        predictions: &Predictions<'_>,
        model: &'a ModelDescription,
    ) -> PredictionNames<'a> {
        let scores = predictions.probabilities.as_ref().map(|scores| {
            let output = scores.output.name.as_str();
            ClassNames::of_output(model, output, scores.width)
        });
        let has_labels = predictions.probabilities.as_ref().is_some_and(|scores| {
            let output = &scores.output.name;
            model.class_labels.contains_key(output)
        });
        let own = predictions.label();
        let own = own.and_then(|output| model.class_labels.get(&output.name));
        PredictionNames {
            scores: scores.filter(|_| has_labels || !predictions.has_row_labels()),
            own: own.map(Vec::as_slice),
        }
    }

    /// Returns the names of the probabilities' classes in a row.
    pub(crate) fn classes<'r>(
        &'r self,
        predictions: &Predictions<'r>,
        row: usize,
    ) -> Option<Cow<'r, ClassNames<'r>>>
    where
        'a: 'r,
    {
        if let Some(names) = &self.scores {
            return Some(Cow::Borrowed(names));
        }
        let labels = predictions.label.as_ref()?;
        let strings = labels.row(row).iter();
        let strings = strings.map(|&label| String::from_utf8_lossy(label));
        Some(Cow::Owned(ClassNames::new(strings, labels.width)))
    }

    /// Returns the name of the predicted class of a row; `None` if the prediction is not a class, or a
    /// string already.
    pub(crate) fn prediction(&self, predictions: &Predictions<'_>, row: usize) -> Option<String> {
        let position = match predictions.prediction(row) {
            Prediction::Class(class) => class,
            Prediction::Element(ElementType::Bytes, _) if predictions.has_row_labels() => {
                predictions.probabilities.as_ref()?.greatest(row)?
            }
            Prediction::Element(element_type, element) => {
                return self.number(element_type, element);
            }
            Prediction::Unknown | Prediction::Several(_) => return None,
        };
        let names = self.classes(predictions, row)?;
        names.name(position).map(str::to_owned)
    }

    /// Returns the name of the class that an integer or a bool stands for.
    fn number(&self, element_type: ElementType, element: &[u8]) -> Option<String> {
        let text = integer(element_type, element)?;
        let index = text.parse::<usize>().ok();
        if let Some(labels) = self.own {
            let label = labels.get(index?).filter(|label| !label.is_empty());
            return label.cloned();
        }
        let names = self.scores.as_ref()?;
        match names.contains(&text) {
            true => Some(text),
            false => names.name(index?).map(str::to_owned),
        }
    }
}

impl Predictions<'_> {
    /// Returns whether there is a string for each class of the probabilities in every row.
    fn has_row_labels(&self) -> bool {
        let widths = self.label.as_ref().zip(self.probabilities.as_ref());
        widths.is_some_and(|(label, scores)| {
            let is_string = label.element_type() == ElementType::Bytes;
            is_string && label.width == scores.width && label.width != 1
        })
    }
}

/// Returns the digits of an integer, or of a bool as 0 or 1; `None` for other types.
fn integer(element_type: ElementType, element: &[u8]) -> Option<String> {
    match element_type {
        ElementType::Fp16
        | ElementType::Bf16
        | ElementType::Fp32
        | ElementType::Fp64
        | ElementType::Bytes => None,
        ElementType::Bool => Some(u8::from(element != [0]).to_string()),
        ElementType::Uint8
        | ElementType::Uint16
        | ElementType::Uint32
        | ElementType::Uint64
        | ElementType::Int8
        | ElementType::Int16
        | ElementType::Int32
        | ElementType::Int64 => {
            let mut text = Vec::new();
            write_element(&mut text, element_type, element);
            String::from_utf8(text).ok()
        }
    }
}
