//! The properties of a model that were determined from its weights, stored in the graph without them.
//!
//! They are entries of the file's metadata. What follows from the graph alone is determined again.

use super::checked::Properties;
use super::failure::{Failure, guarded};
use super::int64::IntegerLimits;
use super::sizes::Outline;
use crate::onnx::{DeclaredSignature, OperatorInputs};
use crate::pb::ModelProto;
#[cfg(feature = "threads")]
use crate::pb::StringStringEntryProto;
use crate::rows::Rows;

/// The key of the entry that is `true` or `false`.
const HIDES_NAN: &str = "wisp.rten.hides_nan";

/// The beginning of the keys of limits. The name of the input follows.
const INTEGER_LIMIT: &str = "wisp.rten.integer_limit.";

/// Returns the entries for these properties.
#[cfg(feature = "threads")]
pub(super) fn entries(limits: &IntegerLimits, hides_nan: bool) -> Vec<StringStringEntryProto> {
    let limits = limits.by_name();
    let limits = limits.map(|(name, limit)| (format!("{INTEGER_LIMIT}{name}"), limit.to_string()));
    let hides_nan = (HIDES_NAN.to_owned(), hides_nan.to_string());
    let entries = std::iter::once(hides_nan).chain(limits);
    entries
        .map(|(key, value)| StringStringEntryProto { key, value })
        .collect()
}

/// Returns the properties of a model with such entries, whose weights may be elsewhere.
pub(super) fn read(model: &ModelProto) -> Result<Properties, String> {
    let entry = |key: &str| {
        let mut entries = model.metadata_props.iter();
        let found = entries.find(|entry| entry.key == key)?;
        Some(found.value.as_str())
    };
    let hides_nan = match entry(HIDES_NAN) {
        Some("true") => true,
        Some("false") => false,
        _ => return Err("it has not been split from its weights".to_owned()),
    };
    let graph = (model.graph.as_ref()).ok_or("the file contains no graph")?;
    let signature = DeclaredSignature::of(graph)?.signature;
    let mut limits = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        let stored = entry(&format!("{INTEGER_LIMIT}{}", input.name));
        let limit = stored.map(str::parse).transpose();
        let limit = limit.map_err(|_| format!("the limit of `{}` is not a number", input.name))?;
        limits.push((input.name.clone(), limit));
    }
    let outline = guarded(|| Outline::new(model)).map_err(Failure::into_reason)?;
    Ok(Properties {
        signature,
        rows: Rows::Dependent {
            reason: "the graph was loaded without its weights".to_owned(),
        },
        outline,
        limits: IntegerLimits::of_inputs(limits),
        hides_nan,
        operators: OperatorInputs::of(model),
    })
}
