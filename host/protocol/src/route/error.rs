//! Routing errors, common to all REST protocols.

use crate::error::ErrorKind;
use crate::target::UnknownTarget;
use crate::v2;
use http::Method;

/// The error for a head that matches no call. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct RouteError(#[from] Reason);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("this server has no such route")]
    UnknownRoute,
    #[error(transparent)]
    UnknownTarget(#[from] UnknownTarget),
    #[error("this route takes {allowed} only")]
    Method { allowed: &'static str },
    #[error("{0} is not supported by this server")]
    NotImplemented(&'static str),
    #[error(transparent)]
    HeaderLength(#[from] v2::HeaderLengthError),
}

/// Checks that a request uses the only method its route allows; `name` is that method's name.
pub(crate) fn allow(method: &Method, allowed: Method, name: &'static str) -> Result<(), Reason> {
    match *method == allowed {
        true => Ok(()),
        false => Err(Reason::Method { allowed: name }),
    }
}

impl RouteError {
    /// Returns the kind, the key into the protocol's error table.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Reason::UnknownRoute | Reason::UnknownTarget(_) => ErrorKind::NotFound,
            Reason::Method { .. } => ErrorKind::MethodNotAllowed,
            Reason::NotImplemented(_) => ErrorKind::NotImplemented,
            Reason::HeaderLength(_) => ErrorKind::InvalidRequest,
        }
    }

    /// Returns the value of the `Allow` header that must accompany a 405 response.
    pub fn allow(&self) -> Option<&'static str> {
        match &self.0 {
            Reason::Method { allowed } => Some(allowed),
            _ => None,
        }
    }
}
