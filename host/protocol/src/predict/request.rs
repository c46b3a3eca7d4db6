//! Decoding of the features of one request, or of each row of a batch.
//!
//! The first pass checks that the whole text is JSON and finds the rows. Each row is then decoded from
//! its own text, so that decoding continues with the next row after an invalid one.

use super::error::{DecodeError, PredictRowError};
use super::mapping::PredictionMapping;
use super::response::{PredictEncoder, ResponseRows};
use crate::call::{InferRequest, ModelDescription, Scheduling};
use crate::json_text::json_text;
use crate::relaxed_json::{
    ArrayForm, Defaults, Reader, RowError, Rows, SyntaxError, ValueKind, members,
};

/// The maximum number of invalid rows in a batch; with more, the whole request fails. An error is longer
/// than the shortest row, so the limit bounds the response to a batch of invalid rows.
const MAX_INVALID_ROWS: usize = 1024;

/// The member that asks for the names of classes.
const CLASS_NAMES: &str = "class_names";

/// The method of a path, its first segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Predict,
    BatchPredict,
}

pub(super) fn decode(
    verb: Verb,
    body: &[u8],
    model: &ModelDescription,
) -> Result<(InferRequest, PredictEncoder), DecodeError> {
    let text = json_text(body).map_err(|_| DecodeError::NotUtf8)?;
    let (rows, response_rows, class_names) = match verb {
        Verb::Predict => decode_one(text, model)?,
        Verb::BatchPredict => decode_batch(text, model)?,
    };
    let mapping = PredictionMapping::new(model);
    let name_bytes = class_names.then(|| mapping.name_bytes(model));
    let request = InferRequest {
        inputs: rows.finish()?,
        parameters: Vec::new(),
        outputs: mapping.outputs(),
        scheduling: Scheduling::default(),
    };
    Ok((
        request,
        PredictEncoder {
            mapping,
            rows: response_rows,
            name_bytes,
        },
    ))
}

/// Decodes one row, and whether the client asks for the names of classes.
fn decode_one<'m>(
    text: &str,
    model: &'m ModelDescription,
) -> Result<(Rows<'m>, ResponseRows, bool), DecodeError> {
    if Reader::new(text).kind()? != ValueKind::Object {
        return Err(DecodeError::NoObject);
    }
    let mut rows = Rows::new(model).unwrap_or_else(|| Rows::whole(model));
    let row = RowText::find(text).map_err(|error| match error {
        PredictRowError::Syntax(error) => DecodeError::Syntax(error),
        error => DecodeError::Row(error),
    })?;
    push(&mut rows, row.features)?;
    Ok((rows, ResponseRows::One, row.class_names))
}

/// Decodes the rows of a batch, and whether the client asks for the names of classes, for the batch or in
/// one of its rows.
fn decode_batch<'m>(
    text: &str,
    model: &'m ModelDescription,
) -> Result<(Rows<'m>, ResponseRows, bool), DecodeError> {
    let batch = Batch::find(text)?;
    let mut class_names = batch.class_names;
    let mut rows = Rows::new(model).ok_or(DecodeError::NoBatchAxis)?;
    let mut row_errors = Vec::new();
    let mut position = 0usize;
    let mut reader = Reader::new(batch.list);
    reader.array(|reader| {
        let text = reader.skip()?;
        let row = match batch.row {
            Row::Features => Ok(RowText {
                features: text,
                class_names: false,
            }),
            Row::Object => RowText::find(text),
        };
        let pushed = row.and_then(|row| {
            class_names |= row.class_names;
            push(&mut rows, row.features)
        });
        if let Err(error) = pushed {
            if row_errors.len() == MAX_INVALID_ROWS {
                return Err(DecodeError::ManyInvalid {
                    limit: MAX_INVALID_ROWS,
                    last: error,
                });
            }
            row_errors.push((position, error));
        }
        position += 1;
        Ok(())
    })?;
    if rows.count() > 0 {
        let response_rows = ResponseRows::Batch {
            rows: rows.count(),
            row_errors,
        };
        return Ok((rows, response_rows, class_names));
    }
    Err(match row_errors.into_iter().next() {
        Some((_, first)) => DecodeError::NoValidRow(first),
        None => DecodeError::Empty,
    })
}

/// The rows of a batch in the body.
struct Batch<'a> {
    list: &'a str,
    row: Row,
    class_names: bool,
}

#[derive(Clone, Copy)]
enum Row {
    /// A value without `features` around it.
    Features,
    /// An object with the member `features`.
    Object,
}

impl<'a> Batch<'a> {
    fn find(text: &'a str) -> Result<Batch<'a>, DecodeError> {
        let mut reader = Reader::new(text);
        if reader.kind()? == ValueKind::Array {
            let list = reader.skip()?;
            reader.finish()?;
            return Ok(Batch {
                list,
                row: Row::Object,
                class_names: false,
            });
        }
        if reader.kind()? != ValueKind::Object {
            return Err(DecodeError::NoBatch);
        }
        let (mut features, mut instances, mut class_names) = (None, None, None);
        members(text, |name, value| {
            let (slot, name) = match name {
                "features" => (&mut features, "features"),
                "instances" => (&mut instances, "instances"),
                CLASS_NAMES => (&mut class_names, CLASS_NAMES),
                _ => return Ok(()),
            };
            match slot.replace(value) {
                None => Ok(()),
                Some(_) => Err(DecodeError::Repeated(name)),
            }
        })?;
        let (list, row) = match (features, instances) {
            (Some(list), None) => (list, Row::Features),
            (None, Some(list)) => (list, Row::Object),
            (Some(_), Some(_)) => return Err(DecodeError::TwoBatches),
            (None, None) => return Err(DecodeError::NoBatch),
        };
        let class_names = flag(class_names).ok_or(DecodeError::ClassNames)?;
        match Reader::new(list).kind()? {
            ValueKind::Array => Ok(Batch {
                list,
                row,
                class_names,
            }),
            _ => Err(DecodeError::NoBatch),
        }
    }
}

/// The members of one row.
struct RowText<'a> {
    features: &'a str,
    class_names: bool,
}

impl<'a> RowText<'a> {
    /// Finds the members in `text`, which must be exactly one object.
    fn find(text: &'a str) -> Result<RowText<'a>, PredictRowError> {
        if Reader::new(text).kind()? != ValueKind::Object {
            return Err(PredictRowError::NoObject);
        }
        let (mut features, mut class_names) = (None, None);
        let mut repeated = None;
        members(text, |name, value| {
            let (slot, name) = match name {
                "features" => (&mut features, "features"),
                CLASS_NAMES => (&mut class_names, CLASS_NAMES),
                _ => return Ok(()),
            };
            // Reported once the whole text has been checked.
            if slot.replace(value).is_some() {
                repeated = Some(name);
            }
            Ok::<_, SyntaxError>(())
        })?;
        if let Some(name) = repeated {
            return Err(PredictRowError::Repeated(name));
        }
        Ok(RowText {
            features: features.ok_or(PredictRowError::NoFeatures)?,
            class_names: flag(class_names).ok_or(PredictRowError::ClassNames)?,
        })
    }
}

/// Returns the bool of an optional member, which is false by default; `None` if it is no bool.
fn flag(member: Option<&str>) -> Option<bool> {
    match member.map(str::trim) {
        None | Some("false") => Some(false),
        Some("true") => Some(true),
        Some(_) => None,
    }
}

fn push(rows: &mut Rows, features: &str) -> Result<(), PredictRowError> {
    push_value(rows, &mut Reader::new(features)).map_err(PredictRowError::Features)
}

fn push_value(rows: &mut Rows, reader: &mut Reader) -> Result<(), RowError> {
    if reader.kind()? == ValueKind::Object && !reader.is_base64() {
        return rows.push_object(reader, ArrayForm::Any, &Defaults::default());
    }
    let input = rows
        .only_numeric_input()
        .ok_or_else(|| rows.needs_object())?;
    rows.push_value(input, reader, ArrayForm::Any)
}
