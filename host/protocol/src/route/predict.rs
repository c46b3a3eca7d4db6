//! Routing of the paths of the predict API, before the body is read.

use super::call::RestCall;
use super::error::{RouteError, allow};
use crate::call::{InferCall, Selection, Target, VersionChoice};
use crate::predict::{PredictDecoder, Verb};
use crate::rest::RestDecoder;
use crate::target::{self, decoded};
use http::Method;

/// Returns the call for a request with this method and path, without its query. A path without a model
/// selects the only model that is served.
pub(super) fn route(method: &Method, uri_path: &str) -> Result<RestCall, RouteError> {
    // No route has more than two segments. In a longer path, the rest stays joined, and no route
    // matches.
    let segments: Vec<&str> = uri_path.splitn(4, '/').collect();
    let (verb, model) = match segments[..] {
        ["", "health"] => {
            allow(method, Method::GET, "GET")?;
            return Ok(RestCall::Health);
        }
        ["", "predict", ref model @ ..] => (Verb::Predict, model),
        ["", "batch_predict", ref model @ ..] => (Verb::BatchPredict, model),
        _ => return Err(RouteError::UnknownRoute),
    };
    let model = match *model {
        [] => None,
        [model] if !model.is_empty() => Some(model),
        _ => return Err(RouteError::UnknownRoute),
    };
    allow(method, Method::POST, "POST")?;
    let selection = match model {
        None => Selection::OnlyModel,
        Some(name) => Selection::Named(Target {
            model: target::model(&decoded(name))?,
            version: VersionChoice::Default,
        }),
    };
    let decoder = RestDecoder::Predict(PredictDecoder::new(verb));
    Ok(RestCall::Infer(InferCall { selection, decoder }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::ModelName;
    use crate::error::{ErrorKind, HasErrorKind};

    #[test]
    fn a_path_may_omit_the_model() -> anyhow::Result<()> {
        let infer = |model: Option<&str>, verb| {
            let selection = model.map_or(Selection::OnlyModel, |name| {
                Selection::Named(Target {
                    model: ModelName::new(name).unwrap(),
                    version: VersionChoice::Default,
                })
            });
            let decoder = RestDecoder::Predict(PredictDecoder::new(verb));
            RestCall::Infer(InferCall { selection, decoder })
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
            Some("GET")
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
}
