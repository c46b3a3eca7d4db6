//! The dispatch of HTTP requests: one match over all calls.
//!
//! It only returns success or failure. Logging, request ids and responses belong to `service`.

use crate::access::{Access, Admission, Requirement};
use crate::body::RequestBody;
use crate::console;
use crate::docs::Docs;
use crate::failure::Failure;
use crate::http_response::HttpResponse;
use crate::log;
use crate::unbound_response::UnboundResponse;
use crate::upload;
use crate::web_response::ComponentResponse;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use wisp_protocol::call::{InferCall, ModelName, Target};
use wisp_protocol::load::LoadRequest;
use wisp_protocol::release::{self, ReleaseStart};
use wisp_protocol::route::{RestCall, RouteError, route, with_query};
use wisp_protocol::upload::{committed_document, deleted_document};
use wisp_protocol::{content_coding, predict, tfs, v2};
use wisp_serving::blocking::LONG_TEXT_BYTES;
use wisp_serving::{BodyError, InferError, Serving, infer, web};
use wisp_tensor::Reservation;

/// The largest body of a control request (index, unload or settings), in bytes.
const MAX_CONTROL_BYTES: usize = 16 * 1024;

/// Returns the response to the request with this head.
pub(crate) async fn dispatch(
    access: &Access,
    docs: &Docs,
    head: &Parts,
    body: &mut RequestBody<Incoming>,
) -> Result<UnboundResponse, Failure> {
    check_host(head)?;
    let path = head.uri.path();
    let call = route(&head.method, path, &head.headers);
    // Before anything is said about the route.
    let admission = access.admit(head, Requirement::of_call(&call))?;
    let Admission { serving, key } = admission;
    let serving = &*serving;
    body.charge_to(serving.memory());
    let call = match call {
        // The paths of the protocols come first, so that no model can take them.
        Err(unknown @ RouteError::UnknownRoute) => {
            let model = serving.web_model(path).ok_or(unknown)?;
            let mut shown = head.clone();
            access.hide_key(&mut shown.headers);
            let responded = Box::pin(call_component(serving, model, shown, body)).await?;
            return Ok(UnboundResponse::Component(match access.needs_keys() {
                true => responded.outside_origin(),
                false => responded,
            }));
        }
        call => call?,
    };
    let call = with_query(call, head.uri.query())?;
    body.set_coding(content_coding::of_body(&head.headers)?);
    let response = match call {
        RestCall::Infer(call) => {
            let routing = serving.routing().key(&head.headers, head.uri.query());
            let call = InferCall { routing, ..call };
            let slot = serving.admit();
            let reading = body.read(serving.max_body_bytes());
            // Boxed, since the futures that contain this one are moved several times.
            let inferred = Box::pin(infer(serving, slot, call, reading)).await?;
            let response = HttpResponse::from(inferred.response).with_timings(&inferred.timings);
            let response = response.with_usage(inferred.shown_usage.as_ref());
            let response = response.holding(inferred.memory);
            response
                .compress_for(&head.headers, serving.blocking())
                .await?
        }
        RestCall::ServerLive => HttpResponse::document(v2::live()),
        RestCall::ServerReady => match serving.is_ready() {
            true => HttpResponse::document(v2::ready(true)),
            false => HttpResponse::not_ready(v2::ready(false)),
        },
        RestCall::Health => match serving.is_ready() {
            true => HttpResponse::document(predict::health(true)),
            false => HttpResponse::not_ready(predict::health(false)),
        },
        RestCall::Console(view) => console::page(serving, view, key).await?,
        RestCall::OpenApi => docs.openapi(serving, key, &head.headers).await?,
        RestCall::Docs(file) => docs.file(file, serving, &head.headers).await?,
        RestCall::KserveLive => HttpResponse::document(tfs::alive()),
        RestCall::Limits => HttpResponse::document(serving.limits()),
        RestCall::TfsModelList => HttpResponse::document(tfs::model_list(&serving.models())),
        RestCall::TfsModelStatus(target) => {
            HttpResponse::document(tfs::model_status(&target.model, &serving.states(&target)?))
        }
        RestCall::TfsModelMetadata(target) => {
            let version = serving.version(&target).await?;
            HttpResponse::document(tfs::model_metadata(version.description()))
        }
        RestCall::ServerMetadata => {
            HttpResponse::document(v2::server_metadata(env!("CARGO_PKG_VERSION")))
        }
        RestCall::RepositoryIndex => index(serving, body).await?,
        RestCall::ModelReady(target) => match serving.is_model_ready(&target) {
            true => HttpResponse::document(v2::model_ready(&target.model, true)),
            false => HttpResponse::model_not_ready(v2::model_ready(&target.model, false)),
        },
        RestCall::ModelMetadata(target) => {
            let version = serving.version(&target).await?;
            let versions = serving.ready_versions(&target.model)?;
            HttpResponse::document(v2::model_metadata(version.description(), &versions))
        }
        RestCall::ModelConfig(target) => {
            let version = serving.version(&target).await?;
            HttpResponse::document(v2::model_config(version.description()))
        }
        RestCall::ModelStatistics(target) => {
            HttpResponse::document(v2::statistics(&serving.statistics(Some(&target))?))
        }
        RestCall::AllStatistics => {
            HttpResponse::document(v2::statistics(&serving.statistics(None)?))
        }
        RestCall::TraceSettings(target) => {
            check_target(serving, target.as_ref())?;
            HttpResponse::document(v2::trace_settings())
        }
        RestCall::SetTraceSettings(target) => {
            check_target(serving, target.as_ref())?;
            v2::check_trace_settings(&read_control(body).await?)?;
            HttpResponse::document(v2::trace_settings())
        }
        RestCall::LogSettings => HttpResponse::document(v2::log_settings(log::settings())),
        RestCall::SetLogSettings => {
            let current = log::settings();
            v2::check_log_settings(&read_control(body).await?, current)?;
            HttpResponse::document(v2::log_settings(current))
        }
        RestCall::SharedMemoryStatus => HttpResponse::document(v2::shared_memory_status()),
        RestCall::SharedMemoryUnregister => {
            HttpResponse::document(v2::shared_memory_unregistered())
        }
        RestCall::ModelList => HttpResponse::document(v2::model_list(&serving.models())),
        RestCall::RepositoryLoad(model) => {
            check_origin(head)?;
            // A client that may not load need not send its files first.
            serving.check_control()?;
            let (request, _memory) = load_request(serving, &model, body).await?;
            serving.load(model.clone(), request).await?;
            let entry = serving.registry().entry(&model).ok();
            let ignored = entry.map_or_else(Vec::new, |entry| entry.ignored_settings.clone());
            HttpResponse::document(v2::loaded(&model, &ignored))
        }
        RestCall::RepositoryUnload(model) => {
            check_origin(head)?;
            check_unload(body).await?;
            serving.unload(&model).await?;
            HttpResponse::document(v2::unloaded(&model))
        }
        RestCall::UploadFile(name, file) => {
            check_origin(head)?;
            upload::receive_file(serving, body, (&name, &file)).await?
        }
        RestCall::CommitVersion(name) => {
            check_origin(head)?;
            read_control(body).await?;
            let committed = serving.commit_version(&name).await?;
            HttpResponse::document(committed_document(&name, &committed))
        }
        RestCall::DeleteVersion(name) => {
            check_origin(head)?;
            read_control(body).await?;
            serving.delete_version(&name).await?;
            HttpResponse::document(deleted_document(&name))
        }
        RestCall::ReleaseStatus(model) => {
            HttpResponse::document(release::status_document(&serving.release(&model)?))
        }
        RestCall::ReleaseStart(model) => {
            check_origin(head)?;
            serving.check_control()?;
            let start = release_start(body).await?;
            let status = serving.start_release(model, start).await?;
            HttpResponse::document(release::status_document(&status))
        }
        RestCall::ReleaseChange(model, change) => {
            check_origin(head)?;
            // The body of a change has no meaning, as for an unload.
            check_unload(body).await?;
            let status = serving.change_release(model, change).await?;
            HttpResponse::document(release::status_document(&status))
        }
    };
    Ok(UnboundResponse::Document(
        response.reserve(serving.memory())?,
    ))
}

/// Returns the response of a web component. It gets the request as it was sent but for the key, and a compressed body
/// compressed.
async fn call_component(
    serving: &Serving,
    model: ModelName,
    head: Parts,
    body: &mut RequestBody<Incoming>,
) -> Result<ComponentResponse, Failure> {
    let slot = serving.admit();
    let reading = async {
        let content = body.read(serving.max_body_bytes()).await?;
        Ok(Request::from_parts(head, content))
    };
    let responded = web::respond(serving, slot, model, reading).await?;
    Ok(responded.into())
}

/// Refuses requests from pages of other origins. A browser sends such a POST without a preflight and only
/// keeps the response from the page, so any page could load and unload models on the computer of its
/// visitor. The `Origin` header identifies these requests.
pub(crate) fn check_origin(head: &Parts) -> Result<(), Failure> {
    let Some(origin) = head.headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let host = match head.uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => head.headers.get(header::HOST).map(HeaderValue::as_bytes),
    };
    let own = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| origin.as_bytes().strip_prefix(scheme));
    match own {
        Some(own) if Some(own) == host => Ok(()),
        _ => Err(Failure::ForeignOrigin),
    }
}

/// Checks that the model and the version of a request exist, if the request names them.
fn check_target(serving: &Serving, target: Option<&Target>) -> Result<(), Failure> {
    if let Some(target) = target {
        serving.states(target)?;
    }
    Ok(())
}

/// Reads the body of a control request.
async fn read_control(body: &mut RequestBody<Incoming>) -> Result<Bytes, Failure> {
    let message = body.read(MAX_CONTROL_BYTES).await;
    Ok(message.map_err(InferError::from)?)
}

/// Reads a request to load this model, which may contain its files. Returns it with the memory reserved for them.
async fn load_request(
    serving: &Serving,
    model: &ModelName,
    body: &mut RequestBody<Incoming>,
) -> Result<(LoadRequest, Reservation), Failure> {
    let message = body.read(serving.max_body_bytes()).await;
    let message = message.map_err(InferError::from)?;
    let mut memory = serving.memory().reservation();
    if !memory.grow(message.len()) {
        return Err(InferError::from(BodyError::NoRoom).into());
    }
    let request = match message.len() < LONG_TEXT_BYTES {
        true => v2::decode_load(model, &message),
        false => {
            let model = model.clone();
            let decode = move || v2::decode_load(&model, &message);
            let decoded = serving.blocking().run_soon(decode).await;
            decoded.map_err(InferError::from)?
        }
    };
    Ok((request.map_err(InferError::from)?, memory))
}

/// Reads a request to start a release.
async fn release_start(body: &mut RequestBody<Incoming>) -> Result<ReleaseStart, Failure> {
    let message = read_control(body).await?;
    Ok(release::decode_start(&message).map_err(InferError::from)?)
}

/// Checks the body of a request to unload a model.
async fn check_unload(body: &mut RequestBody<Incoming>) -> Result<(), Failure> {
    let message = read_control(body).await?;
    Ok(v2::check_unload(&message).map_err(InferError::from)?)
}

async fn index(
    serving: &Serving,
    body: &mut RequestBody<Incoming>,
) -> Result<HttpResponse, Failure> {
    let message = read_control(body).await?;
    let filter = v2::decode_index(&message).map_err(InferError::from)?;
    Ok(HttpResponse::document(v2::index(&serving.index(&filter))))
}

/// Checks that an HTTP/1.1 request has exactly one `Host` header, as the standard requires. A proxy may
/// route by this header, and must not read the request differently.
pub(crate) fn check_host(head: &Parts) -> Result<(), Failure> {
    if head.version != Version::HTTP_11 {
        return Ok(());
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        _ => Err(Failure::Host),
    }
}
