//! The error type for requests that are refused or fail.
//!
//! It combines the errors of the lower crates with the refusals of this one. Each error has a message for
//! the client, and a text with its causes for the log.

use crate::worker_error::WorkerError;
use wisp_protocol::codec::CodecError;
use wisp_protocol::content_coding::ContentCodingError;
use wisp_protocol::error::{ErrorKind, HasErrorKind};
use wisp_protocol::grpc::TargetError;
use wisp_protocol::grpc::limits::LimitError;
use wisp_protocol::route::RouteError;
use wisp_protocol::target::UnknownTarget;
use wisp_protocol::v2::{self, V2Operation};
use wisp_serving::namespaces::TenantsChangeError;
use wisp_serving::tenants::document::DocumentError;
use wisp_serving::tenants::records::ChangeError;
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_file::TenantError;
use wisp_serving::tenants::tenant_id::TenantId;
use wisp_serving::tenants::tenant_set::NotAuthenticated;

/// The most bytes of a path that are repeated to a client. The paths of existing methods are shorter.
const MAX_PATH_BYTES: usize = 200;

/// The longest time that a client is asked to wait: a day.
const MAX_RETRY_AFTER_SECONDS: u64 = 86_400;

/// A refused or failed request. Lifetime: one request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("an HTTP/1.1 request must name its host exactly once")]
    Host,
    #[error(
        "on loopback, only requests to localhost and IP addresses are accepted; allow other hosts \
         with --allowed-host"
    )]
    ForeignHost,
    #[error("the only supported transfer coding is `chunked`")]
    TransferCoding,
    #[error("the system has no thread left for the request")]
    NoThread,
    #[error("pages of other origins may not change models or tenants")]
    ForeignOrigin,
    #[error(transparent)]
    Identity(#[from] NotAuthenticated),
    #[error("this requires a key with the role `{0}`")]
    Role(Role),
    #[error(
        "the server has no tenants yet: add the first one with `wisp tenant add`, with a key of the role `admin`"
    )]
    NoTenants,
    #[error(transparent)]
    TenantDocument(#[from] DocumentError),
    #[error(transparent)]
    Tenants(#[from] TenantsChangeError),
    #[error("there is no tenant `{0}`")]
    UnknownTenant(TenantId),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    ContentCoding(#[from] ContentCodingError),
    #[error(transparent)]
    Serving(#[from] wisp_serving::InferError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A gRPC message that cannot be read, with the error text of tonic or prost.
    #[error("{text}")]
    Message { kind: ErrorKind, text: String },
    #[error("unknown method: {0}")]
    UnknownMethod(String),
    /// An unsupported feature, as the subject and verb of a sentence.
    #[error("{0} not supported by this server")]
    Unsupported(&'static str),
    #[error("no service of the server and no model has this name")]
    UnknownHealth,
    #[error("the server is shutting down; send the request to another one")]
    Draining,
    #[error("the client's deadline (`grpc-timeout`) has passed")]
    ClientDeadline,
    /// A gRPC request reached its service without its admission, or used it twice. A defect of the server.
    #[error("the request was not admitted")]
    NotAdmitted,
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A panic, with its message.
    #[error("a panic: {0}")]
    Panic(String),
}

impl Failure {
    /// Returns the failure for a path that names no method. Only the beginning of the path is repeated.
    pub(crate) fn unknown_method(path: &str) -> Failure {
        let shown = &path[..path.floor_char_boundary(MAX_PATH_BYTES)];
        Failure::UnknownMethod(shown.to_owned())
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Failure::Host => ErrorKind::InvalidRequest,
            Failure::TransferCoding => ErrorKind::NotImplemented,
            Failure::NoThread => ErrorKind::Unavailable,
            Failure::ForeignHost | Failure::ForeignOrigin => ErrorKind::Forbidden,
            Failure::Identity(_) => ErrorKind::Unauthenticated,
            Failure::Role(_) | Failure::NoTenants => ErrorKind::Forbidden,
            Failure::TenantDocument(_) => ErrorKind::InvalidRequest,
            Failure::Tenants(error) => tenants_kind(error),
            Failure::UnknownTenant(_) => ErrorKind::NotFound,
            Failure::Route(error) => error.kind(),
            Failure::ContentCoding(error) => error.kind(),
            Failure::Serving(error) => error.kind(),
            Failure::Target(error) => error.kind(),
            Failure::Codec(error) => error.kind(),
            Failure::Limit(error) => error.kind(),
            Failure::Message { kind, .. } => *kind,
            Failure::UnknownMethod(_) | Failure::Unsupported(_) => ErrorKind::NotImplemented,
            Failure::UnknownHealth => ErrorKind::NotFound,
            Failure::Draining | Failure::Worker(_) => ErrorKind::Unavailable,
            Failure::ClientDeadline => ErrorKind::DeadlineExceeded,
            Failure::NotAdmitted | Failure::Panic(_) => ErrorKind::Internal,
        }
    }

    /// Returns the message for the client.
    pub(crate) fn client_message(&self) -> String {
        match self {
            Failure::Serving(error) => error.client_message().to_owned(),
            Failure::NotAdmitted | Failure::Panic(_) => "the server failed".to_owned(),
            // The paths of files are for the log.
            Failure::Tenants(error) if tenants_kind(error) == ErrorKind::Internal => {
                "the server failed to change its tenants".to_owned()
            }
            _ => self.to_string(),
        }
    }

    /// Returns the message for a client of V2, in Triton's words for a model that does not exist.
    pub(crate) fn v2_message(&self, operation: V2Operation) -> String {
        match self.unknown_target() {
            Some(target) => v2::unknown_target(target, operation),
            None => self.client_message(),
        }
    }

    /// Returns the model or version that the client named and that does not exist, if that is the failure.
    pub(crate) fn unknown_target(&self) -> Option<&UnknownTarget> {
        match self {
            Failure::Route(RouteError::UnknownTarget(target)) => Some(target),
            Failure::Target(TargetError::Unknown(target)) => Some(target),
            Failure::Serving(error) => error.unknown_target(),
            _ => None,
        }
    }

    /// Returns the number of seconds after which the request may succeed, if it is known.
    pub(crate) fn retry_after_seconds(&self) -> Option<u64> {
        let wait = match self {
            Failure::Serving(error) => error.retry_after()?,
            Failure::Worker(error) => error.retry_after()?,
            _ => return None,
        };
        // Rounded up: a client that comes too early is refused again.
        let rest = u64::from(wait.subsec_nanos() > 0);
        Some(
            wait.as_secs()
                .saturating_add(rest)
                .clamp(1, MAX_RETRY_AFTER_SECONDS),
        )
    }

    /// Returns the methods that the route allows, if the method of the request was not one of them.
    pub(crate) fn allow(&self) -> Option<&'static str> {
        match self {
            Failure::Route(error) => error.allow(),
            _ => None,
        }
    }
}

/// Returns the kind of an error that a change of the tenants has.
fn tenants_kind(error: &TenantsChangeError) -> ErrorKind {
    let TenantsChangeError::Change(TenantError::Change(error)) = error else {
        return ErrorKind::Internal;
    };
    match error {
        ChangeError::Exists(_)
        | ChangeError::SecondAnonymous(_)
        | ChangeError::Weight
        | ChangeError::SubjectExists { .. }
        | ChangeError::SigningKeyExists(_)
        | ChangeError::TooManySigningKeys { .. }
        | ChangeError::LocalSignatures
        | ChangeError::LocalGrants
        | ChangeError::Limit(_)
        | ChangeError::LocalIsolation => ErrorKind::InvalidRequest,
        ChangeError::Unknown(_)
        | ChangeError::UnknownKey { .. }
        | ChangeError::UnknownSubject { .. }
        | ChangeError::UnknownSigningKey(_) => ErrorKind::NotFound,
        ChangeError::Random(_) => ErrorKind::Internal,
    }
}
