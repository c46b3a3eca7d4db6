//! Decoding of the features of one request, or of each row of a batch.
//!
//! The first pass checks that the whole text is JSON and finds the rows. Each row is then decoded from
//! its own text, so that decoding continues with the next row after an invalid one.

use super::Verb;
use super::error::{Reason, Refusal};
use super::outcome::Outcome;
use super::response::{Answer, Reply};
use crate::call::{InferRequest, ModelDescription};
use crate::lenient::{Defaults, Form, Kind, Reader, RowProblem, Rows, SyntaxError, members};

/// The maximum number of invalid rows in a batch; with more, the whole request fails. An error is longer
/// than the shortest row, so the limit bounds the response to a batch of invalid rows.
const MAX_INVALID_ROWS: usize = 1024;

pub(super) fn decode(
    verb: Verb,
    body: &[u8],
    model: &ModelDescription,
) -> Result<(InferRequest, Reply), Reason> {
    let text = str::from_utf8(body).map_err(|_| Reason::NotUtf8)?;
    let (rows, answer) = match verb {
        Verb::Predict => decode_one(text, model)?,
        Verb::BatchPredict => decode_batch(text, model)?,
    };
    let outcome = Outcome::new(model);
    let request = InferRequest {
        inputs: rows.finish()?,
        parameters: Vec::new(),
        outputs: outcome.outputs(),
    };
    Ok((request, Reply { outcome, answer }))
}

fn decode_one<'m>(text: &str, model: &'m ModelDescription) -> Result<(Rows<'m>, Answer), Reason> {
    if Reader::new(text).kind()? != Kind::Object {
        return Err(Reason::NoObject);
    }
    let mut rows = Rows::new(model).unwrap_or_else(|| Rows::whole(model));
    let features = features(text).map_err(|refusal| match refusal {
        Refusal::Syntax(error) => Reason::Syntax(error),
        refusal => Reason::Row(refusal),
    })?;
    push(&mut rows, features)?;
    Ok((rows, Answer::One))
}

fn decode_batch<'m>(text: &str, model: &'m ModelDescription) -> Result<(Rows<'m>, Answer), Reason> {
    let batch = Batch::find(text)?;
    let mut rows = Rows::new(model).ok_or(Reason::NoBatchAxis)?;
    let mut refusals = Vec::new();
    let mut position = 0usize;
    let mut reader = Reader::new(batch.list);
    reader.list(|reader| {
        let text = reader.skip()?;
        let features = match batch.row {
            Row::Features => Ok(text),
            Row::Object => features(text),
        };
        if let Err(refusal) = features.and_then(|features| push(&mut rows, features)) {
            if refusals.len() == MAX_INVALID_ROWS {
                return Err(Reason::ManyInvalid {
                    limit: MAX_INVALID_ROWS,
                    last: refusal,
                });
            }
            refusals.push((position, refusal));
        }
        position += 1;
        Ok(())
    })?;
    if rows.count() > 0 {
        let answer = Answer::Batch {
            rows: rows.count(),
            refusals,
        };
        return Ok((rows, answer));
    }
    Err(match refusals.into_iter().next() {
        Some((_, first)) => Reason::NoValidRow(first),
        None => Reason::Empty,
    })
}

/// The rows of a batch in the body.
struct Batch<'a> {
    list: &'a str,
    row: Row,
}

#[derive(Clone, Copy)]
enum Row {
    /// A value without `features` around it.
    Features,
    /// An object with the member `features`.
    Object,
}

impl<'a> Batch<'a> {
    fn find(text: &'a str) -> Result<Batch<'a>, Reason> {
        let mut reader = Reader::new(text);
        if reader.kind()? == Kind::List {
            let list = reader.skip()?;
            reader.finish()?;
            let row = Row::Object;
            return Ok(Batch { list, row });
        }
        if reader.kind()? != Kind::Object {
            return Err(Reason::NoBatch);
        }
        let (mut features, mut instances) = (None, None);
        members(text, |name, value| {
            let (slot, name) = match name {
                "features" => (&mut features, "features"),
                "instances" => (&mut instances, "instances"),
                _ => return Ok(()),
            };
            match slot.replace(value) {
                None => Ok(()),
                Some(_) => Err(Reason::Repeated(name)),
            }
        })?;
        let (list, row) = match (features, instances) {
            (Some(list), None) => (list, Row::Features),
            (None, Some(list)) => (list, Row::Object),
            (Some(_), Some(_)) => return Err(Reason::TwoBatches),
            (None, None) => return Err(Reason::NoBatch),
        };
        match Reader::new(list).kind()? {
            Kind::List => Ok(Batch { list, row }),
            _ => Err(Reason::NoBatch),
        }
    }
}

/// Returns the text of `features` in `text`, which must be exactly one object.
fn features(text: &str) -> Result<&str, Refusal> {
    if Reader::new(text).kind()? != Kind::Object {
        return Err(Refusal::NoObject);
    }
    let mut found = None;
    let mut is_repeated = false;
    members(text, |name, value| {
        if name == "features" {
            is_repeated |= found.replace(value).is_some();
        }
        Ok::<_, SyntaxError>(())
    })?;
    match (found, is_repeated) {
        (_, true) => Err(Refusal::TwoFeatures),
        (Some(features), false) => Ok(features),
        (None, false) => Err(Refusal::NoFeatures),
    }
}

fn push(rows: &mut Rows, features: &str) -> Result<(), Refusal> {
    push_value(rows, &mut Reader::new(features)).map_err(Refusal::Features)
}

fn push_value(rows: &mut Rows, reader: &mut Reader) -> Result<(), RowProblem> {
    if reader.kind()? == Kind::Object && !reader.is_base64() {
        return rows.push_object(reader, Form::Loose, &Defaults::default());
    }
    let input = rows
        .only_numeric_input()
        .ok_or_else(|| rows.needs_object())?;
    rows.push_value(input, reader, Form::Loose)
}
