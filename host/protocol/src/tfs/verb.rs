//! The verbs of the protocol: the methods of a path, after the colon.

use super::classes::{Classes, Number};
use crate::call::ModelDescription;

/// The name of a model's only signature.
pub const SIGNATURE_NAME: &str = "serving_default";

/// The method of a path, after the colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Predict,
    Classify,
    Regress,
}

impl Verb {
    /// Returns TF Serving's method name for the verb.
    pub(super) fn method_name(self) -> &'static str {
        match self {
            Verb::Predict => "tensorflow/serving/predict",
            Verb::Classify => "tensorflow/serving/classify",
            Verb::Regress => "tensorflow/serving/regress",
        }
    }

    /// Returns whether the model has the axes and outputs that this verb needs.
    pub(crate) fn is_supported_by(self, model: &ModelDescription) -> bool {
        match self {
            Verb::Predict => true,
            Verb::Classify => model.max_batch_size > 0 && Classes::new(model).is_ok(),
            Verb::Regress => model.max_batch_size > 0 && Number::new(model).is_ok(),
        }
    }
}
