//! The dispatch of HTTP requests: one match over all calls.
//!
//! It only returns success or failure. Logging, request ids and responses belong to `service`.

use crate::body::RequestBody;
use crate::docs::Docs;
use crate::failure::Failure;
use crate::reply::Reply;
use http::request::Parts;
use http::{HeaderValue, Version, header};
use hyper::body::Incoming;
use wisp_protocol::call::Target;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::route::{RestCall as Call, route};
use wisp_protocol::{content_coding, predict, tfs, v2};
use wisp_serving::{Body, Serving, infer};

/// The largest body of a repository request (index, load or unload), in bytes.
const MAX_QUESTION_BYTES: usize = 16 * 1024;

/// Returns the response to the request with this head.
pub(crate) async fn answer(
    serving: &Serving,
    docs: &Docs,
    head: &Parts,
    body: &mut RequestBody<Incoming>,
) -> Result<Reply, Failure> {
    check_host(head)?;
    let call = route(&head.method, head.uri.path(), &head.headers)?;
    body.set_coding(content_coding::of_body(&head.headers)?);
    let reply = match call {
        Call::Infer(call) => {
            let inferred = infer(serving, call, body).await?;
            let reply = Reply::from(inferred.reply).with_timings(&inferred.timings);
            let reply = reply.holding(inferred.memory);
            reply.compress_for(&head.headers, serving.offload()).await?
        }
        Call::ServerLive => Reply::document(v2::live()),
        Call::ServerReady => match serving.is_ready() {
            true => Reply::document(v2::ready(true)),
            false => Reply::not_ready(v2::ready(false)),
        },
        Call::Health => match serving.is_ready() {
            true => Reply::document(predict::health(true)),
            false => Reply::not_ready(predict::health(false)),
        },
        Call::OpenApi => docs.openapi(serving, &head.headers).await?,
        Call::Docs(file) => docs.file(file, serving, &head.headers).await?,
        Call::KserveLive => Reply::document(tfs::alive()),
        Call::TfsModelList => Reply::document(tfs::model_list(&serving.models())),
        Call::TfsModelStatus(target) => {
            Reply::document(tfs::model_status(&target.model, &serving.states(&target)?))
        }
        Call::TfsModelMetadata(target) => {
            let version = serving.version(&target)?;
            Reply::document(tfs::model_metadata(version.description()))
        }
        Call::ServerMetadata => Reply::document(v2::server_metadata(env!("CARGO_PKG_VERSION"))),
        Call::RepositoryIndex => index(serving, body).await?,
        Call::ModelReady(target) => model_ready(serving, &target)?,
        Call::ModelMetadata(target) => {
            let version = serving.version(&target)?;
            let versions = serving.ready_versions(&target.model)?;
            Reply::document(v2::model_metadata(version.description(), &versions))
        }
        Call::ModelConfig(target) => {
            let version = serving.version(&target)?;
            Reply::document(v2::model_config(version.description()))
        }
        Call::ModelStatistics(target) => {
            Reply::document(v2::statistics(&serving.statistics(&target)?))
        }
        Call::AllStatistics => Reply::document(v2::statistics(&serving.all_statistics())),
        Call::ModelList => Reply::document(v2::model_list(&serving.models())),
        Call::RepositoryLoad(model) => {
            check_origin(head)?;
            check_control(body).await?;
            serving.load(model.clone()).await?;
            Reply::document(v2::loaded(&model))
        }
        Call::RepositoryUnload(model) => {
            check_origin(head)?;
            check_control(body).await?;
            serving.unload(&model).await?;
            Reply::document(v2::unloaded(&model))
        }
    };
    reply.reserve(serving.memory())
}

/// Refuses requests from pages of other origins. A browser sends such a POST without a preflight and only
/// keeps the response from the page, so any page could load and unload models on the computer of its
/// visitor. The `Origin` header identifies these requests.
fn check_origin(head: &Parts) -> Result<(), Failure> {
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

/// Checks the body of a request to load or unload a model.
async fn check_control(body: &mut RequestBody<Incoming>) -> Result<(), Failure> {
    let question = body.read(MAX_QUESTION_BYTES).await;
    let question = question.map_err(wisp_serving::InferError::from)?;
    Ok(v2::check_control(&question).map_err(wisp_serving::InferError::from)?)
}

async fn index(serving: &Serving, body: &mut RequestBody<Incoming>) -> Result<Reply, Failure> {
    let question = body.read(MAX_QUESTION_BYTES).await;
    let question = question.map_err(wisp_serving::InferError::from)?;
    let filter = v2::decode_index(&question).map_err(wisp_serving::InferError::from)?;
    let mut entries = serving.index();
    entries.retain(|entry| filter.matches(entry));
    Ok(Reply::document(v2::index(&entries)))
}

fn model_ready(serving: &Serving, target: &Target) -> Result<Reply, Failure> {
    match serving.check_ready(target) {
        Ok(()) => Ok(Reply::document(v2::model_ready(&target.model, true))),
        Err(error) if error.kind() == ErrorKind::Unavailable => {
            Ok(Reply::not_ready(v2::model_ready(&target.model, false)))
        }
        Err(error) => Err(error.into()),
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
