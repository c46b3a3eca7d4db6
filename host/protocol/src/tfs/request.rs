//! Decoding of the members of a body, and of the rows or columns in them.
//!
//! The first of two passes finds the members, in any order, and checks that the whole text is JSON. The
//! second decodes the elements straight into tensors. A member that is one long array of numbers is read
//! by the second pass only (`crate::outline`).

use super::classes::{Classes, Number};
use super::error::Reason;
use super::response::{Reply, Shown};
use super::{SIGNATURE_NAME, Verb};
use crate::call::{InferRequest, ModelDescription};
use crate::label::Label;
use crate::lenient::{Defaults, Form, Kind, Reader, RowProblem, Rows, members};
use crate::outline::Outline;

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
) -> Result<(InferRequest, Reply), Reason> {
    let text = str::from_utf8(body).map_err(|_| Reason::NotUtf8)?;
    if let Some(outline) = Outline::new(text)
        && let Ok(decoded) = decode_text(verb, &outline.text, Some(&outline), model)
    {
        return Ok(decoded);
    }
    decode_text(verb, text, None, model)
}

/// Decodes a request from `text`. With an outline, `text` is the outline's, and on any error the
/// caller must decode the whole text instead.
pub(super) fn decode_text(
    verb: Verb,
    text: &str,
    outline: Option<&Outline>,
    model: &ModelDescription,
) -> Result<(InferRequest, Reply), Reason> {
    let found = Members::find(text, outline)?;
    if let Some(name) = found.signature_name {
        check_signature(name, verb)?;
    }
    let (rows, shown) = match verb {
        Verb::Predict => match (found.instances, found.inputs) {
            (Some(_), Some(_)) => return Err(Reason::TwoFormats),
            (None, None) => return Err(Reason::NoFormat),
            (Some(instances), None) => {
                let rows = decode_instances(instances, model)?;
                let count = rows.count();
                (rows, Shown::Rows(count))
            }
            (None, Some(inputs)) => (decode_columns(inputs, model)?, Shown::Columns),
        },
        Verb::Classify => {
            let rows = Rows::new(model).ok_or(Reason::NoBatchAxis)?;
            let classes = Classes::new(model)?;
            let rows = decode_examples(&found, rows)?;
            let count = rows.count();
            (rows, Shown::Classes(classes, count))
        }
        Verb::Regress => {
            let rows = Rows::new(model).ok_or(Reason::NoBatchAxis)?;
            let number = Number::new(model)?;
            let rows = decode_examples(&found, rows)?;
            let count = rows.count();
            (rows, Shown::Numbers(number, count))
        }
    };
    let request = InferRequest {
        inputs: rows.finish()?,
        parameters: Vec::new(),
        outputs: shown.outputs(),
    };
    Ok((request, Reply { shown }))
}

impl<'a> Members<'a> {
    fn find(text: &'a str, outline: Option<&'a Outline>) -> Result<Members<'a>, Reason> {
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
            let list = outline.and_then(|outline| outline.list(value));
            apart += usize::from(list.is_some());
            match slot.replace(list.unwrap_or(value)) {
                None => Ok(()),
                Some(_) => Err(Reason::Repeated(name)),
            }
        })?;
        match apart == outline.map_or(0, Outline::count) {
            true => Ok(found),
            false => Err(Reason::Outline),
        }
    }
}

/// Checks `signature_name`. It may name the only signature, be empty or null for the default, or
/// name the verb's method, as TF Serving's own examples do.
fn check_signature(text: &str, verb: Verb) -> Result<(), Reason> {
    if text == "null" {
        return Ok(());
    }
    let mut reader = Reader::new(text);
    match reader.string() {
        Some("" | SIGNATURE_NAME) => Ok(()),
        Some(name) if name == verb.method_name() => Ok(()),
        Some(other) => Err(Reason::Signature(Label::new(other))),
        None => Err(Reason::SignatureType),
    }
}

fn decode_instances<'m>(text: &str, model: &'m ModelDescription) -> Result<Rows<'m>, Reason> {
    let mut rows = Rows::new(model).ok_or(Reason::NoBatchAxis)?;
    each_row("instances", text, |reader| {
        push(&mut rows, reader).map_err(|problem| Reason::Row {
            member: "instance",
            position: rows.count(),
            problem,
        })
    })?;
    Ok(rows)
}

/// Decodes whole inputs, including the batch axis if the model has one.
fn decode_columns<'m>(text: &str, model: &'m ModelDescription) -> Result<Rows<'m>, Reason> {
    let mut rows = Rows::whole(model);
    let mut reader = Reader::new(text);
    let pushed = push(&mut rows, &mut reader).and_then(|()| Ok(reader.finish()?));
    match pushed {
        Ok(()) => Ok(rows),
        Err(problem) => Err(Reason::Member {
            member: "inputs",
            problem,
        }),
    }
}

/// Adds a row: an object with values by name, or a bare value for the only input.
fn push(rows: &mut Rows, reader: &mut Reader) -> Result<(), RowProblem> {
    if reader.kind()? == Kind::Object && !reader.is_base64() {
        return rows.push_object(reader, Form::Nested, &Defaults::default());
    }
    let input = rows.only_input().ok_or_else(|| rows.needs_object())?;
    rows.push_value(input, reader, Form::Nested)
}

fn decode_examples<'m>(found: &Members, mut rows: Rows<'m>) -> Result<Rows<'m>, Reason> {
    let defaults = match found.context {
        None => Defaults::default(),
        Some(text) => decode_context(&rows, text).map_err(|problem| Reason::Member {
            member: "context",
            problem,
        })?,
    };
    let text = found.examples.ok_or(Reason::NoExamples)?;
    each_row("examples", text, |reader| {
        let added = match reader.kind()? {
            Kind::Object => rows.push_object(reader, Form::Loose, &defaults),
            _ => Err(rows.needs_object()),
        };
        added.map_err(|problem| Reason::Row {
            member: "example",
            position: rows.count(),
            problem,
        })
    })?;
    Ok(rows)
}

fn decode_context(rows: &Rows, text: &str) -> Result<Defaults, RowProblem> {
    let mut reader = Reader::new(text);
    match reader.kind()? {
        Kind::Object => rows.defaults(&mut reader, Form::Loose),
        _ => Err(rows.needs_object()),
    }
}

/// Calls `each` before every item of the array that is `text`, which must not be empty.
fn each_row(
    member: &'static str,
    text: &str,
    each: impl FnMut(&mut Reader) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let mut reader = Reader::new(text);
    if reader.kind()? != Kind::List {
        return Err(Reason::NotAList(member));
    }
    if reader.kind_of_first().is_none() {
        return Err(Reason::Empty(member));
    }
    reader.list(each)?;
    Ok(reader.finish()?)
}
