//! Why a head makes no call, in every dialect of REST.

use crate::error::ErrorKind;
use crate::target::UnknownTarget;
use crate::v2;
use http::Method;

/// Why a head makes no call. Lifetime: one request.
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

/// Whether a route that takes one method is asked with it; `name` is that method's.
pub(crate) fn allow(method: &Method, allowed: Method, name: &'static str) -> Result<(), Reason> {
    match *method == allowed {
        true => Ok(()),
        false => Err(Reason::Method { allowed: name }),
    }
}

impl RouteError {
    /// What the dialect's error table is asked with.
    pub fn kind(&self) -> ErrorKind {
        match &self.0 {
            Reason::UnknownRoute | Reason::UnknownTarget(_) => ErrorKind::NotFound,
            Reason::Method { .. } => ErrorKind::MethodNotAllowed,
            Reason::NotImplemented(_) => ErrorKind::NotImplemented,
            Reason::HeaderLength(_) => ErrorKind::InvalidRequest,
        }
    }

    /// The value of the `Allow` header that has to go with a refused method.
    pub fn allow(&self) -> Option<&'static str> {
        match &self.0 {
            Reason::Method { allowed } => Some(allowed),
            _ => None,
        }
    }
}
