//! Routing of the paths below `/v2`, before the body is read.
//!
//! The parts of the protocol that Wisp does not implement have an error of their own, so that a client reads
//! "not supported" instead of searching for a typo.

use super::call::RestCall;
use super::error::{RouteError, allow};
use super::segments::split;
use crate::call::{InferCall, Selection, Target, VersionChoice};
use crate::release::ReleaseChange;
use crate::rest::RestDecoder;
use crate::routing::RoutingKey;
use crate::target::{decoded, model, numbered};
use crate::upload::{UploadFileName, UploadNameError, VersionName};
use crate::v2::{GenerateDecoder, GenerateForm, SharedMemory, UnknownRegion, V2Decoder};
use http::{HeaderMap, Method};

/// Returns the call for a request with this method, path (without its `/v2`) and headers.
pub(super) fn route(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<RestCall, RouteError> {
    // Only the name of an uploaded file is in the eighth segment, in which a longer path stays joined.
    let mut places = [""; 8];
    let segments = split(path, &mut places);
    let call = match *segments {
        [""] => RestCall::ServerMetadata,
        ["", "health", "live"] => RestCall::ServerLive,
        ["", "health", "ready"] => RestCall::ServerReady,
        ["", "repository", "index"] => {
            allow(method, Method::POST, "POST")?;
            return Ok(RestCall::RepositoryIndex);
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
                "load" => RestCall::RepositoryLoad(model),
                _ => RestCall::RepositoryUnload(model),
            });
        }
        ["", "repository", "models", model, "release"] => {
            RestCall::ReleaseStatus(target(model, None)?.model)
        }
        [
            "",
            "repository",
            "models",
            model,
            "release",
            verb @ ("start" | "promote" | "abort" | "close"),
        ] => {
            allow(method, Method::POST, "POST")?;
            let model = target(model, None)?.model;
            let change = match verb {
                "start" => return Ok(RestCall::ReleaseStart(model)),
                "promote" => ReleaseChange::Promote,
                "abort" => ReleaseChange::Abort,
                _ => ReleaseChange::Close,
            };
            return Ok(RestCall::ReleaseChange(model, change));
        }
        [
            "",
            "repository",
            "models",
            model,
            "versions",
            version,
            ref rest @ ..,
        ] => {
            return version_change(method, VersionName::parse(model, version), rest);
        }
        ["", "trace", "setting"] => {
            let (get, set) = (
                RestCall::TraceSettings(None),
                RestCall::SetTraceSettings(None),
            );
            return settings(method, get, set);
        }
        ["", "logging"] => {
            return settings(method, RestCall::LogSettings, RestCall::SetLogSettings);
        }
        ["", "systemsharedmemory", ref rest @ ..] => {
            return shared_memory(method, SharedMemory::System, rest);
        }
        ["", "cudasharedmemory", ref rest @ ..] => {
            return shared_memory(method, SharedMemory::Cuda, rest);
        }
        ["", "models"] => RestCall::ModelList,
        ["", "models", model, ref rest @ ..] => return model_call(method, headers, (model, rest)),
        _ => return Err(unsupported_route(segments)),
    };
    allow(method, Method::GET, "GET")?;
    Ok(call)
}

fn model_call(
    method: &Method,
    headers: &HeaderMap,
    (model, rest): (&str, &[&str]),
) -> Result<RestCall, RouteError> {
    let (version, verb) = match *rest {
        ["versions", version, ref verb @ ..] => (Some(version), verb),
        ref verb => (None, verb),
    };
    match *verb {
        // `/v2/models/stats` covers all models, as in Triton.
        [] if model == "stats" && version.is_none() => {
            allow(method, Method::GET, "GET")?;
            Ok(RestCall::AllStatistics)
        }
        [] => {
            allow(method, Method::GET, "GET")?;
            Ok(RestCall::ModelMetadata(target(model, version)?))
        }
        ["ready"] => {
            allow(method, Method::GET, "GET")?;
            Ok(RestCall::ModelReady(target(model, version)?))
        }
        ["infer"] => {
            allow(method, Method::POST, "POST")?;
            let target = target(model, version)?;
            let decoder = RestDecoder::V2(V2Decoder::from_headers(headers)?);
            let selection = Selection::Named(target);
            Ok(infer(selection, decoder))
        }
        [verb @ ("generate" | "generate_stream")] => {
            allow(method, Method::POST, "POST")?;
            let form = match verb {
                "generate" => GenerateForm::Object,
                _ => GenerateForm::Events,
            };
            let selection = Selection::Named(target(model, version)?);
            let decoder = RestDecoder::Generate(GenerateDecoder::new(form));
            Ok(infer(selection, decoder))
        }
        ["config"] => {
            allow(method, Method::GET, "GET")?;
            Ok(RestCall::ModelConfig(target(model, version)?))
        }
        ["stats"] => {
            allow(method, Method::GET, "GET")?;
            Ok(RestCall::ModelStatistics(target(model, version)?))
        }
        ["trace", "setting"] => {
            let target = Some(target(model, version)?);
            let get = RestCall::TraceSettings(target.clone());
            settings(method, get, RestCall::SetTraceSettings(target))
        }
        _ => Err(RouteError::UnknownRoute),
    }
}

fn infer(selection: Selection, decoder: RestDecoder) -> RestCall {
    RestCall::Infer(InferCall {
        selection,
        routing: RoutingKey::default(),
        decoder,
    })
}

/// Returns the call for a path below a version in the repository.
fn version_change(
    method: &Method,
    name: Result<VersionName, UploadNameError>,
    rest: &[&str],
) -> Result<RestCall, RouteError> {
    match *rest {
        [] => {
            allow(method, Method::DELETE, "DELETE")?;
            Ok(RestCall::DeleteVersion(name?))
        }
        ["commit"] => {
            allow(method, Method::POST, "POST")?;
            Ok(RestCall::CommitVersion(name?))
        }
        ["files", file] => {
            allow(method, Method::PUT, "PUT")?;
            Ok(RestCall::UploadFile(name?, UploadFileName::parse(file)?))
        }
        _ => Err(RouteError::UnknownRoute),
    }
}

/// Returns the call for settings, which GET reads and POST changes.
fn settings(method: &Method, get: RestCall, set: RestCall) -> Result<RestCall, RouteError> {
    match *method {
        Method::POST => Ok(set),
        Method::GET | Method::HEAD => Ok(get),
        _ => Err(RouteError::Method {
            allowed: "GET, HEAD, POST",
        }),
    }
}

/// Returns the call for a path of the extensions for shared memory. None is ever registered.
fn shared_memory(
    method: &Method,
    memory: SharedMemory,
    rest: &[&str],
) -> Result<RestCall, RouteError> {
    match *rest {
        ["status"] => {
            allow(method, Method::GET, "GET")?;
            Ok(RestCall::SharedMemoryStatus)
        }
        ["region", region, "status"] => {
            allow(method, Method::GET, "GET")?;
            Err(UnknownRegion::new(memory, &decoded(region)).into())
        }
        ["unregister"] | ["region", _, "unregister"] => {
            allow(method, Method::POST, "POST")?;
            Ok(RestCall::SharedMemoryUnregister)
        }
        ["region", _, "register"] => Err(RouteError::NotImplemented("shared memory")),
        _ => Err(RouteError::UnknownRoute),
    }
}

/// Returns the error for an unmatched path: a part of the protocol that is not implemented, or an unknown
/// route.
fn unsupported_route(segments: &[&str]) -> RouteError {
    match *segments {
        ["", "repository", _, "index"] | ["", "repository", _, "models", _, "load" | "unload"] => {
            RouteError::NotImplemented("a repository's name")
        }
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
