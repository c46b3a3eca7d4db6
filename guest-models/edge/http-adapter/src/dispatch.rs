//! The dispatch of requests: one match over all calls, as the server has one.

use crate::adapter::Adapter;
use crate::failure::Failure;
use crate::inference::{infer, read};
use crate::model::Model;
use crate::request::{Body, Head};
use crate::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use wisp_protocol::call::Target;
use wisp_protocol::error::ErrorKind;
use wisp_protocol::request_id::{self, REQUEST_ID};
use wisp_protocol::route::{RestCall, RouteError, route, with_query};
use wisp_protocol::v2::LogSettings;
use wisp_protocol::{predict, tfs, v2};

/// The largest body of a control request (index or settings), in bytes.
const MAX_CONTROL_BYTES: usize = 16 * 1024;

/// The settings of the log: the host has one, and the bundle writes only the causes of failures to it.
const LOG_SETTINGS: LogSettings = LogSettings {
    error: true,
    warning: true,
    info: true,
    verbose_level: 0,
};

impl Adapter {
    /// Returns the response to one request, which `model` computes if it is an inference.
    pub fn respond(&self, head: &Head, body: &mut dyn Body, model: &mut dyn Model) -> Response {
        let response = self.dispatch(head, body, model);
        let mut response = response.unwrap_or_else(|failure| failure.into_response(&head.path));
        if let Some(id) = request_id::given(&head.headers) {
            response.headers.push((REQUEST_ID, id.clone()));
        }
        match head.method == Method::HEAD {
            true => response.without_body(),
            false => response,
        }
    }

    fn dispatch(
        &self,
        head: &Head,
        body: &mut dyn Body,
        model: &mut dyn Model,
    ) -> Result<Response, Failure> {
        let call = route(&head.method, &head.path, &head.headers)?;
        let call = with_query(call, head.query.as_deref())?;
        check_coding(&head.headers)?;
        let document = match call {
            RestCall::Infer(call) => return Ok(infer(self, call, body, model)?.into()),
            RestCall::ServerLive => v2::live(),
            RestCall::ServerReady => v2::ready(true),
            RestCall::Health => predict::health(true),
            RestCall::Console(_) | RestCall::OpenApi | RestCall::Docs(_) | RestCall::Limits => {
                return Err(RouteError::UnknownRoute.into());
            }
            RestCall::KserveLive => tfs::alive(),
            RestCall::TfsModelList => tfs::model_list(&[self.model().clone()]),
            RestCall::TfsModelStatus(target) => {
                self.resolve(&target)?;
                tfs::model_status(self.model(), &[self.state()])
            }
            RestCall::TfsModelMetadata(target) => {
                self.resolve(&target)?;
                tfs::model_metadata(&self.description)
            }
            RestCall::ServerMetadata => v2::server_metadata(&self.server_version),
            RestCall::RepositoryIndex => self.index(&read(body, MAX_CONTROL_BYTES)?)?,
            RestCall::ModelReady(target) => match self.resolve(&target) {
                Ok(()) => v2::model_ready(&target.model, true),
                Err(_) => {
                    let document = v2::model_ready(&target.model, false);
                    return Ok(Response::model_not_ready(document));
                }
            },
            RestCall::ModelMetadata(target) => {
                self.resolve(&target)?;
                v2::model_metadata(&self.description, &[self.description.version])
            }
            RestCall::ModelConfig(target) => {
                self.resolve(&target)?;
                v2::model_config(&self.description)
            }
            RestCall::ModelStatistics(target) => {
                self.resolve(&target)?;
                v2::statistics(&[self.statistics()])
            }
            RestCall::AllStatistics => v2::statistics(&[self.statistics()]),
            RestCall::TraceSettings(target) => {
                self.check_target(target.as_ref())?;
                v2::trace_settings()
            }
            RestCall::SetTraceSettings(target) => {
                self.check_target(target.as_ref())?;
                v2::check_trace_settings(&read(body, MAX_CONTROL_BYTES)?)?;
                v2::trace_settings()
            }
            RestCall::LogSettings => v2::log_settings(LOG_SETTINGS),
            RestCall::SetLogSettings => {
                v2::check_log_settings(&read(body, MAX_CONTROL_BYTES)?, LOG_SETTINGS)?;
                v2::log_settings(LOG_SETTINGS)
            }
            RestCall::SharedMemoryStatus => v2::shared_memory_status(),
            RestCall::SharedMemoryUnregister => v2::shared_memory_unregistered(),
            RestCall::ModelList => v2::model_list(&[self.model().clone()]),
            RestCall::RepositoryLoad(_)
            | RestCall::RepositoryUnload(_)
            | RestCall::UploadFile(..)
            | RestCall::CommitVersion(_)
            | RestCall::DeleteVersion(_)
            | RestCall::ReleaseStatus(_)
            | RestCall::ReleaseStart(_)
            | RestCall::ReleaseChange(..) => {
                let text = "loading and unloading is disabled: a bundle serves the model in it";
                return Err(Failure::new(ErrorKind::InvalidRequest, text));
            }
        };
        Ok(Response::document(document))
    }

    fn index(&self, body: &[u8]) -> Result<Bytes, Failure> {
        let filter = v2::decode_index(body)?;
        let mut entries = vec![self.state()];
        entries.retain(|entry| filter.matches(entry));
        Ok(v2::index(&entries))
    }

    /// Checks that the model and the version of a request exist, if the request names them.
    fn check_target(&self, target: Option<&Target>) -> Result<(), Failure> {
        target.map_or(Ok(()), |target| self.resolve(target))
    }
}

/// Refuses compressed bodies: decoders for them would be a large part of a small bundle.
fn check_coding(headers: &HeaderMap) -> Result<(), Failure> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let is_plain = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
    let mut codings = codings.map(|value| value.to_str().unwrap_or("?"));
    match codings.all(|list| list.split(',').all(|coding| is_plain(coding.trim()))) {
        true => Ok(()),
        false => Err(Failure::new(
            ErrorKind::UnsupportedEncoding,
            "this server does not read compressed bodies: send the body as it is",
        )),
    }
}
