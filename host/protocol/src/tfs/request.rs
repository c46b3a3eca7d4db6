//! Decoding of the members of a body, and of the rows or columns in them.
//!
//! The first of two passes finds the members, in any order, and checks that the whole text is JSON. The
//! second decodes the elements straight into tensors. A member that is one long array of numbers is read
//! by the second pass only (`crate::array_extraction`).

use super::classes::{Classes, Number};
use super::error::DecodeError;
use super::response::{ResponseForm, TfsEncoder};
use super::verb::{SIGNATURE_NAME, Verb};
use crate::array_extraction::ArrayExtraction;
use crate::call::{InferRequest, ModelDescription, Scheduling};
use crate::json_text::json_text;
use crate::quoted::Quoted;
use crate::relaxed_json::{ArrayForm, Defaults, Reader, RowError, Rows, ValueKind, members};

/// The text of each known member. Other members are ignored, as in TF Serving.
#[derive(Default)]
struct Members<'a> {
    signature_name: Option<&'a str>,
    instances: Option<&'a str>,
    inputs: Option<&'a str>,
    examples: Option<&'a str>,
    context: Option<&'a str>,
}

pub(super) fn decode(
    verb: Verb,
    body: &[u8],
    model: &ModelDescription,
) -> Result<(InferRequest, TfsEncoder), DecodeError> {
    let text = json_text(body).map_err(|_| DecodeError::NotUtf8)?;
    if let Some(extraction) = ArrayExtraction::new(text)
        && let Ok(decoded) = decode_text(verb, &extraction.text, Some(&extraction), model)
    {
        return Ok(decoded);
    }
    decode_text(verb, text, None, model)
}

/// Decodes a request from `text`. With an extraction, `text` is the extraction's, and on any error the
/// caller must decode the whole text instead.
pub(super) fn decode_text(
    verb: Verb,
    text: &str,
    extraction: Option<&ArrayExtraction>,
    model: &ModelDescription,
) -> Result<(InferRequest, TfsEncoder), DecodeError> {
    let found = Members::find(text, extraction)?;
    if let Some(name) = found.signature_name {
        check_signature(name, verb)?;
    }
    let (rows, form) = match verb {
        Verb::Predict => match (found.instances, found.inputs) {
            (Some(_), Some(_)) => return Err(DecodeError::TwoFormats),
            (None, None) => return Err(DecodeError::NoFormat),
            (Some(instances), None) => {
                let rows = decode_instances(instances, model)?;
                let count = rows.count();
                (rows, ResponseForm::Rows(count))
            }
            (None, Some(inputs)) => (decode_columns(inputs, model)?, ResponseForm::Columns),
        },
        Verb::Classify => {
            let rows = Rows::new(model).ok_or(DecodeError::NoBatchAxis)?;
            let classes = Classes::new(model)?;
            let rows = decode_examples(&found, rows)?;
            let count = rows.count();
            (rows, ResponseForm::Classes(classes, count))
        }
        Verb::Regress => {
            let rows = Rows::new(model).ok_or(DecodeError::NoBatchAxis)?;
            let number = Number::new(model)?;
            let rows = decode_examples(&found, rows)?;
            let count = rows.count();
            (rows, ResponseForm::Numbers(number, count))
        }
    };
    let request = InferRequest {
        inputs: rows.finish()?,
        parameters: Vec::new(),
        outputs: form.outputs(),
        scheduling: Scheduling::default(),
    };
    Ok((request, TfsEncoder { form }))
}

impl<'a> Members<'a> {
    fn find(
        text: &'a str,
        extraction: Option<&'a ArrayExtraction>,
    ) -> Result<Members<'a>, DecodeError> {
        let mut found = Members::default();
        let mut apart = 0;
        members(text, |name, value| {
            let (slot, name) = match name {
                "signature_name" => (&mut found.signature_name, "signature_name"),
                "instances" => (&mut found.instances, "instances"),
                "inputs" => (&mut found.inputs, "inputs"),
                "examples" => (&mut found.examples, "examples"),
                "context" => (&mut found.context, "context"),
                _ => return Ok(()),
            };
            let list = extraction.and_then(|extraction| extraction.array(value));
            apart += usize::from(list.is_some());
            match slot.replace(list.unwrap_or(value)) {
                None => Ok(()),
                Some(_) => Err(DecodeError::Repeated(name)),
            }
        })?;
        match apart == extraction.map_or(0, ArrayExtraction::count) {
            true => Ok(found),
            false => Err(DecodeError::MisplacedArray),
        }
    }
}

/// Checks `signature_name`. It may name the only signature, be empty or null for the default, or
/// name the verb's method, as TF Serving's own examples do.
fn check_signature(text: &str, verb: Verb) -> Result<(), DecodeError> {
    if text == "null" {
        return Ok(());
    }
    let mut reader = Reader::new(text);
    match reader.string() {
        Some("" | SIGNATURE_NAME) => Ok(()),
        Some(name) if name == verb.method_name() => Ok(()),
        Some(other) => Err(DecodeError::Signature(Quoted::new(other))),
        None => Err(DecodeError::SignatureType),
    }
}

fn decode_instances<'m>(text: &str, model: &'m ModelDescription) -> Result<Rows<'m>, DecodeError> {
    let mut rows = Rows::new(model).ok_or(DecodeError::NoBatchAxis)?;
    each_row("instances", text, |reader| {
        push(&mut rows, reader).map_err(|error| DecodeError::Row {
            member: "instance",
            position: rows.count(),
            error,
        })
    })?;
    Ok(rows)
}

/// Decodes whole inputs, including the batch axis if the model has one.
fn decode_columns<'m>(text: &str, model: &'m ModelDescription) -> Result<Rows<'m>, DecodeError> {
    let mut rows = Rows::whole(model);
    let mut reader = Reader::new(text);
    let pushed = push(&mut rows, &mut reader).and_then(|()| Ok(reader.finish()?));
    match pushed {
        Ok(()) => Ok(rows),
        Err(error) => Err(DecodeError::Member {
            member: "inputs",
            error,
        }),
    }
}

/// Adds a row: an object with values by name, or a bare value for the only input.
fn push(rows: &mut Rows, reader: &mut Reader) -> Result<(), RowError> {
    if reader.kind()? == ValueKind::Object && !reader.is_base64() {
        return rows.push_object(reader, ArrayForm::Nested, &Defaults::default());
    }
    let input = rows.only_input().ok_or_else(|| rows.needs_object())?;
    rows.push_value(input, reader, ArrayForm::Nested)
}

fn decode_examples<'m>(found: &Members, mut rows: Rows<'m>) -> Result<Rows<'m>, DecodeError> {
    let defaults = match found.context {
        None => Defaults::default(),
        Some(text) => decode_context(&rows, text).map_err(|error| DecodeError::Member {
            member: "context",
            error,
        })?,
    };
    let text = found.examples.ok_or(DecodeError::NoExamples)?;
    each_row("examples", text, |reader| {
        let added = match reader.kind()? {
            ValueKind::Object => rows.push_object(reader, ArrayForm::Any, &defaults),
            _ => Err(rows.needs_object()),
        };
        added.map_err(|error| DecodeError::Row {
            member: "example",
            position: rows.count(),
            error,
        })
    })?;
    Ok(rows)
}

fn decode_context(rows: &Rows, text: &str) -> Result<Defaults, RowError> {
    let mut reader = Reader::new(text);
    match reader.kind()? {
        ValueKind::Object => rows.defaults(&mut reader, ArrayForm::Any),
        _ => Err(rows.needs_object()),
    }
}

/// Calls `each` before every item of the array that is `text`, which must not be empty.
fn each_row(
    member: &'static str,
    text: &str,
    each: impl FnMut(&mut Reader) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(text);
    if reader.kind()? != ValueKind::Array {
        return Err(DecodeError::NotAnArray(member));
    }
    if reader.kind_of_first().is_none() {
        return Err(DecodeError::Empty(member));
    }
    reader.array(each)?;
    Ok(reader.finish()?)
}
