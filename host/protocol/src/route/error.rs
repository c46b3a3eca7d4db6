//! Routing errors, common to all REST protocols.

use crate::error::{ErrorKind, HasErrorKind};
use crate::target::UnknownTarget;
use crate::upload::UploadNameError;
use crate::v2::{HeaderLengthError, UnknownRegion};
use http::Method;

/// The error for a head that matches no call. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("this server has no such route")]
    UnknownRoute,
    #[error(transparent)]
    UnknownTarget(#[from] UnknownTarget),
    #[error("this route supports only {allowed}")]
    Method { allowed: &'static str },
    #[error("{0} is not supported by this server")]
    NotImplemented(&'static str),
    #[error("the request selects a version more than once")]
    SeveralVersions,
    #[error(transparent)]
    UnknownRegion(#[from] UnknownRegion),
    #[error(transparent)]
    HeaderLength(#[from] HeaderLengthError),
    #[error(transparent)]
    UploadName(#[from] UploadNameError),
}

/// Checks that a request uses the method its route allows; `name` is that method's name. HEAD is allowed wherever
/// GET is.
pub(super) fn allow(
    method: &Method,
    allowed: Method,
    name: &'static str,
) -> Result<(), RouteError> {
    let is_read = allowed == Method::GET;
    match *method == allowed || (is_read && *method == Method::HEAD) {
        true => Ok(()),
        false if is_read => Err(RouteError::Method {
            allowed: "GET, HEAD",
        }),
        false => Err(RouteError::Method { allowed: name }),
    }
}

impl HasErrorKind for RouteError {
    fn kind(&self) -> ErrorKind {
        match self {
            RouteError::UnknownRoute
            | RouteError::UnknownTarget(_)
            | RouteError::UnknownRegion(_) => ErrorKind::NotFound,
            RouteError::Method { .. } => ErrorKind::MethodNotAllowed,
            RouteError::NotImplemented(_) => ErrorKind::NotImplemented,
            RouteError::SeveralVersions | RouteError::HeaderLength(_) => ErrorKind::InvalidRequest,
            RouteError::UploadName(error) => error.kind(),
        }
    }
}

impl RouteError {
    /// Returns the value of the `Allow` header that must accompany a 405 response.
    pub fn allow(&self) -> Option<&'static str> {
        match self {
            RouteError::Method { allowed } => Some(allowed),
            _ => None,
        }
    }
}
