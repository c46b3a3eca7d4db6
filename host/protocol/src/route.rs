//! Maps the head of a request to the call it makes, before any byte of the body is read.
//!
//! This module matches the paths and methods of V2 and delegates those of the other protocols to their
//! modules. It has no access to the models that exist. It also recognizes the parts of the protocol that
//! Wisp does not implement, so that a client reads "not supported" instead of searching for a typo.

mod error;

pub use error::RouteError;
pub(crate) use error::allow;

use crate::call::{Call, InferCall, Selection, Target, VersionChoice};
use crate::rest::RestDecoder;
use crate::target::{decoded, model, numbered};
use crate::v2::V2Decoder;
use crate::{openapi, predict, tfs};
use http::{HeaderMap, Method};

/// Returns the call for a request with this method, path (without query) and headers.
pub fn route(method: &Method, uri_path: &str, headers: &HeaderMap) -> Result<Call, RouteError> {
    let Some(path) = uri_path.strip_prefix("/v2") else {
        return find_elsewhere(method, uri_path);
    };
    // No route has more than seven segments; a longer path stays joined in the eighth and matches
    // nothing.
    let segments: Vec<&str> = path.splitn(8, '/').collect();
    let call = match segments[..] {
        [""] => Call::ServerMetadata,
        ["", "health", "live"] => Call::ServerLive,
        ["", "health", "ready"] => Call::ServerReady,
        ["", "repository", "index"] => {
            allow(method, Method::POST, "POST")?;
            return Ok(Call::RepositoryIndex);
        }
        [
            "",
            "repository",
            "models",
            model,
            verb @ ("load" | "unload"),
        ] => {
            allow(method, Method::POST, "POST")?;
            let model = target(model, None)?.model;
            return Ok(match verb {
                "load" => Call::RepositoryLoad(model),
                _ => Call::RepositoryUnload(model),
            });
        }
        ["", "models"] => Call::ModelList,
        ["", "models", model, ref rest @ ..] => return model_call(method, headers, (model, rest)),
        _ => return Err(unsupported_route(&segments)),
    };
    allow(method, Method::GET, "GET")?;
    Ok(call)
}

/// Returns the call for a path outside V2.
fn find_elsewhere(method: &Method, uri_path: &str) -> Result<Call, RouteError> {
    if uri_path == "/" {
        allow(method, Method::GET, "GET")?;
        return Ok(Call::KserveLive);
    }
    if let Some(call) = openapi::call(uri_path) {
        allow(method, Method::GET, "GET")?;
        return Ok(call);
    }
    let (selection, decoder) = match uri_path.strip_prefix("/v1") {
        Some(path) => match tfs::route(method, path)? {
            tfs::Route::List => return Ok(Call::TfsModelList),
            tfs::Route::Status(target) => return Ok(Call::TfsModelStatus(target)),
            tfs::Route::Metadata(target) => return Ok(Call::TfsModelMetadata(target)),
            tfs::Route::Infer(target, decoder) => {
                (Selection::Named(target), RestDecoder::Tfs(decoder))
            }
        },
        None => match predict::route(method, uri_path)? {
            predict::Route::Health => return Ok(Call::Health),
            predict::Route::Infer(model, decoder) => {
                let named = |model| {
                    let version = VersionChoice::Default;
                    Selection::Named(Target { model, version })
                };
                let selection = model.map_or(Selection::OnlyModel, named);
                (selection, RestDecoder::Predict(decoder))
            }
        },
    };
    Ok(Call::Infer(InferCall { selection, decoder }))
}

fn model_call(
    method: &Method,
    headers: &HeaderMap,
    (model, rest): (&str, &[&str]),
) -> Result<Call, RouteError> {
    let (version, verb) = match *rest {
        ["versions", version, ref verb @ ..] => (Some(version), verb),
        ref verb => (None, verb),
    };
    match *verb {
        // `/v2/models/stats` covers all models, as in Triton.
        [] if model == "stats" && version.is_none() => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::AllStatistics)
        }
        [] => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::ModelMetadata(target(model, version)?))
        }
        ["ready"] => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::ModelReady(target(model, version)?))
        }
        ["infer"] => {
            allow(method, Method::POST, "POST")?;
            let target = target(model, version)?;
            let decoder = RestDecoder::V2(V2Decoder::from_headers(headers)?);
            let selection = Selection::Named(target);
            Ok(Call::Infer(InferCall { selection, decoder }))
        }
        ["config"] => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::ModelConfig(target(model, version)?))
        }
        ["stats"] => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::ModelStatistics(target(model, version)?))
        }
        ["trace", "setting"] => Err(RouteError::NotImplemented("tracing")),
        ["generate" | "generate_stream"] => Err(RouteError::NotImplemented("generation")),
        _ => Err(RouteError::UnknownRoute),
    }
}

/// Returns the error for an unmatched path: a part of the protocol that is not implemented, or an unknown
/// route.
fn unsupported_route(segments: &[&str]) -> RouteError {
    match *segments {
        ["", "systemsharedmemory" | "cudasharedmemory", ..] => {
            RouteError::NotImplemented("shared memory")
        }
        ["", "repository", _, "index"] | ["", "repository", _, "models", _, "load" | "unload"] => {
            RouteError::NotImplemented("a repository's name")
        }
        ["", "logging"] => RouteError::NotImplemented("the logging extension"),
        ["", "trace", "setting"] => RouteError::NotImplemented("tracing"),
        _ => RouteError::UnknownRoute,
    }
}

/// Parses the model and version of a path.
fn target(name: &str, version: Option<&str>) -> Result<Target, RouteError> {
    let model = model(&decoded(name))?;
    Ok(match version {
        None => Target {
            model,
            version: VersionChoice::Default,
        },
        Some(number) => numbered(model, number)?,
    })
}

#[cfg(test)]
mod tests;
