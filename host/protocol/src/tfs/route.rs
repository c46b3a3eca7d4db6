//! The family of paths below `/v1/models`, before a byte of body is read.
//!
//! TF Serving's patterns: keywords in any case; a name is what stands before the next `/` or `:`,
//! its percent escapes decoded once; `/versions/0` means the latest version, as ovmsclient asks.

use super::{Codec, Verb};
use crate::call::{ModelName, Target, Version, VersionChoice, VersionLabel};
use crate::error::ErrorKind;
use crate::label::Label;
use http::Method;
use percent_encoding::percent_decode_str;

/// One request of this dialect, as far as its path says what it wants. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The models there are.
    List,
    /// How a model is: TF Serving's status and KServe V1's readiness.
    Status(Target),
    /// What a model takes and gives.
    Metadata(Target),
    Infer(Target, Codec),
}

/// Why a path makes no request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct RouteError(#[from] Reason);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("this server has no such route")]
    Route,
    #[error("unknown model: {0}")]
    Model(Label),
    #[error("unknown version: `{model}` has no version {version}")]
    Version { model: ModelName, version: Label },
    #[error("this route takes {allowed} only")]
    Method { allowed: &'static str },
}

impl RouteError {
    /// What the dialect's error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        match self.0 {
            Reason::Route | Reason::Model(_) | Reason::Version { .. } => ErrorKind::NotFound,
            Reason::Method { .. } => ErrorKind::MethodNotAllowed,
        }
    }

    /// The value of the `Allow` header that has to go with a refused method.
    pub fn allow(&self) -> Option<&'static str> {
        match self.0 {
            Reason::Method { allowed } => Some(allowed),
            _ => None,
        }
    }
}

/// What a request with this method and path, without its `/v1` and its query, asks for.
pub fn route(method: &Method, path_after_v1: &str) -> Result<Route, RouteError> {
    let route = find(path_after_v1)?;
    let (expected, allowed) = match route {
        Route::Infer(..) => (Method::POST, "POST"),
        Route::List | Route::Status(_) | Route::Metadata(_) => (Method::GET, "GET"),
    };
    match *method == expected {
        true => Ok(route),
        false => Err(RouteError(Reason::Method { allowed })),
    }
}

fn find(path: &str) -> Result<Route, Reason> {
    let (path, verb) = match path.split_once(':') {
        Some((path, verb)) => (path, Some(verb_of(verb)?)),
        None => (path, None),
    };
    // No route has more than six segments; what is longer stays joined and matches nothing.
    let segments: Vec<&str> = path.splitn(7, '/').collect();
    let ["", models, ref rest @ ..] = segments[..] else {
        return Err(Reason::Route);
    };
    if !models.eq_ignore_ascii_case("models") {
        return Err(Reason::Route);
    }
    let (model, rest) = match *rest {
        [] | [""] if verb.is_none() => return Ok(Route::List),
        [model, ref rest @ ..] if !model.is_empty() => (model, rest),
        _ => return Err(Reason::Route),
    };
    let (choice, rest) = match *rest {
        [by, version, ref rest @ ..] => (Some((by, version)), rest),
        ref rest => (None, rest),
    };
    let target = |choice| target(model, choice);
    match (verb, rest) {
        (Some(verb), []) => Ok(Route::Infer(target(choice)?, Codec::new(verb))),
        (None, []) => Ok(Route::Status(target(choice)?)),
        (None, [last]) if last.eq_ignore_ascii_case("metadata") => {
            Ok(Route::Metadata(target(choice)?))
        }
        _ => Err(Reason::Route),
    }
}

fn verb_of(text: &str) -> Result<Verb, Reason> {
    let verbs = [
        ("predict", Verb::Predict),
        ("classify", Verb::Classify),
        ("regress", Verb::Regress),
    ];
    let verb = verbs
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name));
    verb.map(|&(_, verb)| verb).ok_or(Reason::Route)
}

fn target(model: &str, choice: Option<(&str, &str)>) -> Result<Target, Reason> {
    let decoded = percent_decode_str(model).decode_utf8_lossy();
    let unknown = || Reason::Model(Label::new(&decoded));
    let named = ModelName::new(&decoded).map_err(|_| unknown());
    let version = match choice {
        None => Some(VersionChoice::Default),
        Some((by, number)) if by.eq_ignore_ascii_case("versions") => match number {
            "0" => Some(VersionChoice::Default),
            _ => Version::from_decimal(number).map(VersionChoice::Number),
        },
        Some((by, label)) if by.eq_ignore_ascii_case("labels") => {
            let label = percent_decode_str(label).decode_utf8_lossy();
            VersionLabel::new(&label).map(VersionChoice::Label)
        }
        Some(_) => return Err(Reason::Route),
    };
    let model = named?;
    match (version, choice) {
        (Some(version), _) => Ok(Target { model, version }),
        (None, choice) => {
            let version = Label::new(choice.map_or("", |(_, text)| text));
            Err(Reason::Version { model, version })
        }
    }
}

#[cfg(test)]
mod tests;
