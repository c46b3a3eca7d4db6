//! The model and version that a message selects.

use crate::call::Selection;
use crate::grpc::message::prediction::{BatchPredictRequest, PredictRequest};
use crate::grpc::target::TargetError;
use crate::target::{self, NamedVersion};

/// Returns the version that a request selects, of the model that it names or else of the only one served.
pub fn selection(message: &PredictRequest) -> Result<Selection, TargetError> {
    let PredictRequest {
        model_name,
        model_version,
        version_label,
        ..
    } = message;
    select(model_name, model_version, version_label)
}

/// Returns the version that a batch selects: the model and the version are its own, or else taken from the first
/// row that has one.
pub fn batch_selection(message: &BatchPredictRequest) -> Result<Selection, TargetError> {
    let rows = message.requests.iter();
    let names = rows.map(|row| row.model_name.as_str());
    let model = first(&message.model_name, names);
    let (number, label) = batch_version(message);
    select(model, number, label)
}

/// Returns the number and the label of the version that a batch selects; both are empty if it selects none.
pub(super) fn batch_version(message: &BatchPredictRequest) -> (&str, &str) {
    let own = (&*message.model_version, &*message.version_label);
    let rows = message.requests.iter();
    let rows = rows.map(|row| (&*row.model_version, &*row.version_label));
    let mut versions = std::iter::once(own).chain(rows);
    versions
        .find(|version| *version != ("", ""))
        .unwrap_or_default()
}

/// Returns the first text that is not empty; empty if there is none.
fn first<'a>(own: &'a str, rows: impl Iterator<Item = &'a str>) -> &'a str {
    let mut texts = std::iter::once(own).chain(rows);
    texts.find(|text| !text.is_empty()).unwrap_or_default()
}

fn select(model: &str, number: &str, label: &str) -> Result<Selection, TargetError> {
    let version = match (number, label) {
        ("", "") => NamedVersion::Default,
        (number, "") => NamedVersion::Number(number),
        ("", label) => NamedVersion::Label(label),
        _ => return Err(TargetError::SeveralVersions),
    };
    let model = match model {
        "" => None,
        name => Some(target::model(name)?),
    };
    Ok(target::selection(model, version)?)
}
