//! Routing of the paths of the predict API, before the body is read.

use super::{PredictDecoder, Verb};
use crate::call::ModelName;
use crate::route::{RouteError, allow};
use crate::target::{self, decoded};
use http::Method;

/// A request of the predict API, identified by its method and path. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A health check.
    Health,
    /// An inference. `None` selects the only model that is served.
    Infer(Option<ModelName>, PredictDecoder),
}

/// Returns the route of a request with this method and path, without its query.
pub(crate) fn route(method: &Method, uri_path: &str) -> Result<Route, RouteError> {
    // No route has more than two segments. In a longer path, the rest stays joined, and no route
    // matches.
    let segments: Vec<&str> = uri_path.splitn(4, '/').collect();
    let (verb, model) = match segments[..] {
        ["", "health"] => {
            allow(method, Method::GET, "GET")?;
            return Ok(Route::Health);
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
    let model = model
        .map(|name| target::model(&decoded(name)))
        .transpose()?;
    Ok(Route::Infer(model, PredictDecoder::new(verb)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, HasErrorKind};
    use crate::route::RouteError;

    fn route(method: &Method, path: &str) -> Result<Route, RouteError> {
        Ok(super::route(method, path)?)
    }

    #[test]
    fn a_path_may_omit_the_model() -> anyhow::Result<()> {
        let infer = |model: Option<&str>, verb| {
            Route::Infer(
                model.map(|m| ModelName::new(m).unwrap()),
                PredictDecoder::new(verb),
            )
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
        assert_eq!(route(&Method::GET, "/health")?, Route::Health);
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
