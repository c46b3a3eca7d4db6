//! Routing of the paths below `/v1/models`, before the body is read.
//!
//! As in TF Serving, keywords are case-insensitive, and a name extends to the next `/` or `:`, with its
//! percent escapes decoded once. `/versions/0`, which ovmsclient sends, is the default version.

use super::call::RestCall;
use super::error::{RouteError, allow};
use super::segments::split;
use crate::call::{InferCall, Selection, Target, VersionChoice};
use crate::rest::RestDecoder;
use crate::routing::RoutingKey;
use crate::target::{decoded, labelled, model, numbered};
use crate::tfs::{TfsDecoder, Verb};
use http::Method;

/// Returns the call for a request with this method and path, without its `/v1` and its query.
pub(super) fn route(method: &Method, path_after_v1: &str) -> Result<RestCall, RouteError> {
    let call = find(path_after_v1)?;
    match call {
        RestCall::Infer(_) => allow(method, Method::POST, "POST")?,
        _ => allow(method, Method::GET, "GET")?,
    }
    Ok(call)
}

fn find(path: &str) -> Result<RestCall, RouteError> {
    let (path, verb) = match path.split_once(':') {
        Some((path, verb)) => (path, Some(verb_of(verb)?)),
        None => (path, None),
    };
    // No route has more than six segments, the empty one before the first `/` included. Any
    // further segments stay joined in the seventh, and no route matches.
    let mut places = [""; 7];
    let ["", models, ref rest @ ..] = *split(path, &mut places) else {
        return Err(RouteError::UnknownRoute);
    };
    if !models.eq_ignore_ascii_case("models") {
        return Err(RouteError::UnknownRoute);
    }
    let (model, rest) = match *rest {
        [] | [""] if verb.is_none() => return Ok(RestCall::TfsModelList),
        [model, ref rest @ ..] if !model.is_empty() => (model, rest),
        _ => return Err(RouteError::UnknownRoute),
    };
    let (choice, rest) = match *rest {
        [by, version, ref rest @ ..] => (Some((by, version)), rest),
        ref rest => (None, rest),
    };
    let target = |choice| target(model, choice);
    match (verb, rest) {
        (Some(verb), []) => Ok(RestCall::Infer(InferCall {
            selection: Selection::Named(target(choice)?),
            routing: RoutingKey::default(),
            decoder: RestDecoder::Tfs(TfsDecoder::new(verb)),
        })),
        (None, []) => Ok(RestCall::TfsModelStatus(target(choice)?)),
        (None, [last]) if last.eq_ignore_ascii_case("metadata") => {
            Ok(RestCall::TfsModelMetadata(target(choice)?))
        }
        _ => Err(RouteError::UnknownRoute),
    }
}

fn verb_of(text: &str) -> Result<Verb, RouteError> {
    let verbs = [
        ("predict", Verb::Predict),
        ("classify", Verb::Classify),
        ("regress", Verb::Regress),
    ];
    let verb = verbs
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name));
    verb.map(|&(_, verb)| verb).ok_or(RouteError::UnknownRoute)
}

fn target(name: &str, choice: Option<(&str, &str)>) -> Result<Target, RouteError> {
    let model = model(&decoded(name));
    Ok(match choice {
        Some((by, number)) if by.eq_ignore_ascii_case("versions") && number != "0" => {
            numbered(model?, number)?
        }
        Some((by, label)) if by.eq_ignore_ascii_case("labels") => {
            labelled(model?, &decoded(label))?
        }
        Some((by, _)) if !by.eq_ignore_ascii_case("versions") => {
            return Err(RouteError::UnknownRoute);
        }
        _ => Target {
            model: model?,
            version: VersionChoice::Default,
        },
    })
}

#[cfg(test)]
mod tests;
