//! The dispatch of HTTP requests: one match over all calls.
//!
//! It only returns success or failure. Logging, request ids and responses belong to `service`.

use crate::access::{Access, Admission};
use crate::body::RequestBody;
use crate::console;
use crate::control;
use crate::control_body::{read_control, read_index, read_load, read_release_start, read_unload};
use crate::docs::Docs;
use crate::failure::Failure;
use crate::http_response::HttpResponse;
use crate::log;
use crate::operation::{Operation, Requirement};
use crate::unbound_response::UnboundResponse;
use crate::upload;
use crate::web_response::ComponentResponse;
use http::request::Parts;
use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use wisp_protocol::call::{InferCall, ModelName};
use wisp_protocol::release;
use wisp_protocol::route::{RestCall, RouteError, route, with_query};
use wisp_protocol::upload::{committed_document, deleted_document};
use wisp_protocol::{content_coding, predict, tfs, v2};
use wisp_serving::{Serving, infer, web};

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
    if Operation::of_call(&call).changes_models() {
        check_origin(head)?;
    }
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
        RestCall::ServerReady => match control::is_ready(serving) {
            true => HttpResponse::document(v2::ready(true)),
            false => HttpResponse::not_ready(v2::ready(false)),
        },
        RestCall::Health => match control::is_ready(serving) {
            true => HttpResponse::document(predict::health(true)),
            false => HttpResponse::not_ready(predict::health(false)),
        },
        RestCall::Console(view) => console::page(serving, view, key).await?,
        RestCall::OpenApi => docs.openapi(serving, key, &head.headers).await?,
        RestCall::Docs(file) => docs.file(file, serving, &head.headers).await?,
        RestCall::KserveLive => HttpResponse::document(tfs::alive()),
        RestCall::Limits => HttpResponse::document(serving.limits()),
        RestCall::TfsModelList => {
            HttpResponse::document(tfs::model_list(&control::models(serving)))
        }
        RestCall::TfsModelStatus(target) => {
            let states = control::states(serving, &target)?;
            HttpResponse::document(tfs::model_status(&target.model, &states))
        }
        RestCall::TfsModelMetadata(target) => {
            let version = control::version(serving, &target).await?;
            HttpResponse::document(tfs::model_metadata(version.description()))
        }
        RestCall::ServerMetadata => {
            HttpResponse::document(v2::server_metadata(control::SERVER_VERSION))
        }
        RestCall::RepositoryIndex => {
            let filter = read_index(body).await?;
            HttpResponse::document(v2::index(&control::index(serving, filter)))
        }
        RestCall::ModelReady(target) => match control::is_model_ready(serving, &target) {
            true => HttpResponse::document(v2::model_ready(&target.model, true)),
            false => HttpResponse::model_not_ready(v2::model_ready(&target.model, false)),
        },
        RestCall::ModelMetadata(target) => {
            let found = control::metadata(serving, &target).await?;
            let description = found.version.description();
            HttpResponse::document(v2::model_metadata(description, &found.versions))
        }
        RestCall::ModelConfig(target) => {
            let version = control::version(serving, &target).await?;
            HttpResponse::document(v2::model_config(version.description()))
        }
        RestCall::ModelStatistics(target) => {
            let statistics = control::statistics(serving, Some(&target))?;
            HttpResponse::document(v2::statistics(&statistics))
        }
        RestCall::AllStatistics => {
            let statistics = control::statistics(serving, None)?;
            HttpResponse::document(v2::statistics(&statistics))
        }
        RestCall::TraceSettings(target) => {
            control::check_traced(serving, target.as_ref())?;
            HttpResponse::document(v2::trace_settings())
        }
        RestCall::SetTraceSettings(target) => {
            control::check_traced(serving, target.as_ref())?;
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
        RestCall::ModelList => HttpResponse::document(v2::model_list(&control::models(serving))),
        RestCall::RepositoryLoad(model) => {
            // Held until the model is loaded.
            let mut memory = serving.memory().reservation();
            let reading = read_load(serving, model, body, &mut memory);
            let loaded = control::load(serving, reading).await?;
            HttpResponse::document(v2::loaded(&loaded.model, &loaded.ignored_settings))
        }
        RestCall::RepositoryUnload(model) => {
            read_unload(body).await?;
            control::unload(serving, &model).await?;
            HttpResponse::document(v2::unloaded(&model))
        }
        RestCall::UploadFile(name, file) => {
            upload::receive_file(serving, body, (&name, &file)).await?
        }
        RestCall::CommitVersion(name) => {
            read_control(body).await?;
            let committed = serving.commit_version(&name).await?;
            HttpResponse::document(committed_document(&name, &committed))
        }
        RestCall::DeleteVersion(name) => {
            read_control(body).await?;
            serving.delete_version(&name).await?;
            HttpResponse::document(deleted_document(&name))
        }
        RestCall::ReleaseStatus(model) => {
            HttpResponse::document(release::status_document(&serving.release(&model)?))
        }
        RestCall::ReleaseStart(model) => {
            serving.check_control()?;
            let start = read_release_start(body).await?;
            let status = serving.start_release(model, start).await?;
            HttpResponse::document(release::status_document(&status))
        }
        RestCall::ReleaseChange(model, change) => {
            read_unload(body).await?;
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
