//! Maps the head of a request to the call it makes, before any byte of the body is read.
//!
//! This module matches the paths and methods of V2 and delegates those of the other protocols to their
//! modules. It has no access to the models that exist. It also recognizes the parts of the protocol that
//! Wisp does not implement, so that a client reads "not supported" instead of searching for a typo.

mod error;

pub use error::RouteError;
pub(crate) use error::{Reason, allow};

use crate::call::{Call, InferCall, Selection, Target, VersionChoice};
use crate::target::{decoded, model, numbered};
use crate::{openapi, predict, rest, tfs, v2};
use http::{HeaderMap, Method};

/// Returns the call for a request with this method, path (without query) and headers.
pub fn route(method: &Method, uri_path: &str, headers: &HeaderMap) -> Result<Call, RouteError> {
    Ok(find(method, uri_path, headers)?)
}

fn find(method: &Method, uri_path: &str, headers: &HeaderMap) -> Result<Call, Reason> {
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
fn find_elsewhere(method: &Method, uri_path: &str) -> Result<Call, Reason> {
    if uri_path == "/" {
        allow(method, Method::GET, "GET")?;
        return Ok(Call::KserveLive);
    }
    if let Some(call) = openapi::call(uri_path) {
        allow(method, Method::GET, "GET")?;
        return Ok(call);
    }
    let (selection, codec) = match uri_path.strip_prefix("/v1") {
        Some(path) => match tfs::route(method, path)? {
            tfs::Route::List => return Ok(Call::TfsModelList),
            tfs::Route::Status(target) => return Ok(Call::TfsModelStatus(target)),
            tfs::Route::Metadata(target) => return Ok(Call::TfsModelMetadata(target)),
            tfs::Route::Infer(target, codec) => (Selection::Named(target), rest::Codec::Tfs(codec)),
        },
        None => match predict::route(method, uri_path)? {
            predict::Route::Health => return Ok(Call::Health),
            predict::Route::Infer(model, codec) => {
                let named = |model| {
                    let version = VersionChoice::Default;
                    Selection::Named(Target { model, version })
                };
                let selection = model.map_or(Selection::OnlyModel, named);
                (selection, rest::Codec::Predict(codec))
            }
        },
    };
    Ok(Call::Infer(InferCall { selection, codec }))
}

fn model_call(
    method: &Method,
    headers: &HeaderMap,
    (model, rest): (&str, &[&str]),
) -> Result<Call, Reason> {
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
            let codec = rest::Codec::V2(v2::Codec::from_headers(headers)?);
            let selection = Selection::Named(target);
            Ok(Call::Infer(InferCall { selection, codec }))
        }
        ["config"] => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::ModelConfig(target(model, version)?))
        }
        ["stats"] => {
            allow(method, Method::GET, "GET")?;
            Ok(Call::ModelStatistics(target(model, version)?))
        }
        ["trace", "setting"] => Err(Reason::NotImplemented("tracing")),
        ["generate" | "generate_stream"] => Err(Reason::NotImplemented("generation")),
        _ => Err(Reason::UnknownRoute),
    }
}

/// Returns the error for an unmatched path: a part of the protocol that is not implemented, or an unknown
/// route.
fn unsupported_route(segments: &[&str]) -> Reason {
    match *segments {
        ["", "systemsharedmemory" | "cudasharedmemory", ..] => {
            Reason::NotImplemented("shared memory")
        }
        ["", "repository", _, "index"] | ["", "repository", _, "models", _, "load" | "unload"] => {
            Reason::NotImplemented("a repository's name")
        }
        ["", "logging"] => Reason::NotImplemented("the logging extension"),
        ["", "trace", "setting"] => Reason::NotImplemented("tracing"),
        _ => Reason::UnknownRoute,
    }
}

/// Parses the model and version of a path.
fn target(name: &str, version: Option<&str>) -> Result<Target, Reason> {
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
