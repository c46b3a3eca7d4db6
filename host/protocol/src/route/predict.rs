//! Routing of the paths of the predict API, before the body is read.
//!
//! `/versions/{version}` or `/labels/{label}` after the model's name, or `version=` or `label=` in the query,
//! selects a version. Other members of the query are ignored, as in all protocols.

use super::call::RestCall;
use super::error::{RouteError, allow};
use super::segments::split;
use crate::call::{InferCall, Selection, Target, VersionChoice};
use crate::predict::{PredictDecoder, Verb};
use crate::rest::RestDecoder;
use crate::routing::RoutingKey;
use crate::target::{self, NamedVersion, decoded};
use http::Method;

/// Returns the call for a request with this method and path, without its query. A path without a model
/// selects the only model that is served.
pub(super) fn route(method: &Method, uri_path: &str) -> Result<RestCall, RouteError> {
    // No route has more than four segments. In a longer path, the rest stays joined, and no route
    // matches.
    let mut places = [""; 6];
    let (verb, target) = match *split(uri_path, &mut places) {
        ["", "health"] => {
            allow(method, Method::GET, "GET")?;
            return Ok(RestCall::Health);
        }
        ["", "predict", ref target @ ..] => (Verb::Predict, target),
        ["", "batch_predict", ref target @ ..] => (Verb::BatchPredict, target),
        _ => return Err(RouteError::UnknownRoute),
    };
    let (model, version) = match *target {
        [] => (None, None),
        [model] if !model.is_empty() => (Some(model), None),
        [model, by @ ("versions" | "labels"), version] if !model.is_empty() => {
            (Some(model), Some((by, decoded(version))))
        }
        _ => return Err(RouteError::UnknownRoute),
    };
    allow(method, Method::POST, "POST")?;
    let model = model.map(|name| target::model(&decoded(name)));
    let model = model.transpose()?;
    let version = match &version {
        Some(("versions", number)) => NamedVersion::Number(number),
        Some((_, label)) => NamedVersion::Label(label),
        None => NamedVersion::Default,
    };
    Ok(RestCall::Infer(InferCall {
        selection: target::selection(model, version)?,
        routing: RoutingKey::default(),
        decoder: RestDecoder::Predict(PredictDecoder::new(verb)),
    }))
}

/// Returns the call with the version that the query selects, if it is a call of the predict API.
pub(super) fn with_query(call: RestCall, query: &str) -> Result<RestCall, RouteError> {
    let (selection, routing, decoder) = match call {
        RestCall::Infer(InferCall {
            selection,
            routing,
            decoder: decoder @ RestDecoder::Predict(_),
        }) => (selection, routing, decoder),
        other => return Ok(other),
    };
    let mut named = None;
    for member in query.split('&') {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        if name != "version" && name != "label" {
            continue;
        }
        if named.replace((name, decoded(value))).is_some() {
            return Err(RouteError::SeveralVersions);
        }
    }
    let version = match &named {
        Some(("version", number)) => NamedVersion::Number(number),
        Some((_, label)) => NamedVersion::Label(label),
        None => {
            return Ok(RestCall::Infer(InferCall {
                selection,
                routing,
                decoder,
            }));
        }
    };
    let model = match selection {
        Selection::Named(Target {
            model,
            version: VersionChoice::Default,
        }) => Some(model),
        Selection::OnlyModel(VersionChoice::Default) => None,
        Selection::Named(_) | Selection::OnlyModel(_) => return Err(RouteError::SeveralVersions),
    };
    let selection = target::selection(model, version)?;
    Ok(RestCall::Infer(InferCall {
        selection,
        routing,
        decoder,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ModelName, Version, VersionLabel};
    use crate::error::{ErrorKind, HasErrorKind};

    #[test]
    fn a_path_may_omit_the_model() -> anyhow::Result<()> {
        let infer = |model: Option<&str>, verb| {
            let only = Selection::OnlyModel(VersionChoice::Default);
            let selection = model.map_or(only, |name| {
                Selection::Named(Target {
                    model: ModelName::new(name).unwrap(),
                    version: VersionChoice::Default,
                })
            });
            let decoder = RestDecoder::Predict(PredictDecoder::new(verb));
            RestCall::Infer(InferCall {
                selection,
                routing: RoutingKey::default(),
                decoder,
            })
        };
        let cases = [
            ("/predict", infer(None, Verb::Predict)),
            ("/predict/iris", infer(Some("iris"), Verb::Predict)),
            ("/predict/a%2Eb", infer(Some("a.b"), Verb::Predict)),
            ("/batch_predict", infer(None, Verb::BatchPredict)),
            (
                "/batch_predict/iris",
                infer(Some("iris"), Verb::BatchPredict),
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(route(&Method::POST, path)?, expected, "{path}");
            let error = route(&Method::GET, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MethodNotAllowed, "{path}");
            assert_eq!(error.allow(), Some("POST"));
        }
        assert_eq!(route(&Method::GET, "/health")?, RestCall::Health);
        assert_eq!(
            route(&Method::POST, "/health").unwrap_err().allow(),
            Some("GET, HEAD")
        );
        Ok(())
    }

    #[test]
    fn other_paths_are_not_found() {
        for path in [
            "",
            "/",
            "/predict/",
            "/predict/a/b",
            "/predict/versions/3",
            "/predict/a/versions",
            "/predict/a/versions/",
            "/predict/a/versions/x",
            "/predict/a/versions/0",
            "/predict/a/versions/1/x",
            "/predict/a/labels/",
            "/predict/a/labels/%2e%2e",
            "/predict//versions/1",
            "/batch_predict/a/Labels/stable",
            "/Predict",
            "/healthz",
            "/health/",
            "/predict/%2e%2e",
            "/predict/a%20b",
            "predict",
            "/v1",
        ] {
            let error = route(&Method::POST, path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
        }
    }

    fn named(model: Option<&str>, version: VersionChoice) -> RestCall {
        let selection = match model {
            None => Selection::OnlyModel(version),
            Some(name) => Selection::Named(Target {
                model: ModelName::new(name).unwrap(),
                version,
            }),
        };
        let decoder = RestDecoder::Predict(PredictDecoder::new(Verb::Predict));
        RestCall::Infer(InferCall {
            selection,
            routing: RoutingKey::default(),
            decoder,
        })
    }

    fn number(text: &str) -> VersionChoice {
        VersionChoice::Number(Version::from_decimal(text).unwrap())
    }

    fn label(text: &str) -> VersionChoice {
        VersionChoice::Label(VersionLabel::new(text).unwrap())
    }

    fn post(path: &str) -> Result<RestCall, RouteError> {
        match path.split_once('?') {
            Some((path, query)) => with_query(route(&Method::POST, path)?, query),
            None => route(&Method::POST, path),
        }
    }

    #[test]
    fn the_path_or_the_query_selects_a_version() -> anyhow::Result<()> {
        for (path, model, version) in [
            ("/predict/iris/versions/3", Some("iris"), number("3")),
            ("/predict/iris/versions/03", Some("iris"), number("3")),
            ("/predict/iris/labels/stable", Some("iris"), label("stable")),
            ("/predict/iris/labels/a%2Db", Some("iris"), label("a-b")),
            ("/predict/iris?version=3", Some("iris"), number("3")),
            (
                "/predict/iris?x=1&label=stable",
                Some("iris"),
                label("stable"),
            ),
            ("/predict/iris?label=a%2Db&x", Some("iris"), label("a-b")),
            ("/predict?version=12", None, number("12")),
            ("/predict?label=canary", None, label("canary")),
            ("/predict/versions?version=1", Some("versions"), number("1")),
            (
                "/predict/iris?Version=3",
                Some("iris"),
                VersionChoice::Default,
            ),
            ("/predict?", None, VersionChoice::Default),
        ] {
            assert_eq!(post(path)?, named(model, version), "{path}");
        }
        assert_eq!(
            post("/predict/iris/versions/3")?,
            post("/predict/iris?version=3")?
        );
        Ok(())
    }

    #[test]
    fn a_version_that_no_model_can_have_is_not_found() {
        for (path, text) in [
            (
                "/predict/iris?version=x",
                "unknown version: `iris` has no version `x`",
            ),
            (
                "/predict/iris?version=",
                "unknown version: `iris` has no version ``",
            ),
            (
                "/predict/iris?version",
                "unknown version: `iris` has no version ``",
            ),
            (
                "/predict/iris?label=../x",
                "unknown version label: `iris` has no label `../x`",
            ),
            (
                "/predict/iris?label=",
                "unknown version label: `iris` has no label ``",
            ),
            (
                "/predict/iris/labels/",
                "unknown version label: `iris` has no label ``",
            ),
            (
                "/predict?label=a%20b",
                "unknown version label: the only model has no label `a b`",
            ),
            (
                "/predict?version=0",
                "unknown version: the only model has no version `0`",
            ),
            (
                "/predict/iris/versions/-1",
                "unknown version: `iris` has no version `-1`",
            ),
        ] {
            let error = post(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{path}");
            assert_eq!(error.to_string(), text, "{path}");
        }
    }

    #[test]
    fn a_version_may_be_selected_once() {
        for path in [
            "/predict/iris?version=1&version=1",
            "/predict/iris?version=1&label=stable",
            "/predict/iris/versions/1?version=1",
            "/predict/iris/labels/stable?version=1",
        ] {
            let error = post(path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{path}");
            assert_eq!(error.allow(), None);
        }
    }

    #[test]
    fn the_query_of_other_protocols_selects_nothing() -> anyhow::Result<()> {
        assert_eq!(with_query(RestCall::Health, "version=1")?, RestCall::Health);
        Ok(())
    }
}
