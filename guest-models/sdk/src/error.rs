//! Why a handler has no response, and whose fault that is.
//!
//! The client is told of both kinds, with different statuses, so a text is short, lower case and
//! names the input. Deliberately not `std::error::Error`: that is what lets `?` turn every error
//! there is into this one.

use std::fmt;

/// The result of everything in a handler that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to change something before the request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is wrong: the client is answered with an invalid-argument status.
    Client,
    /// The handler, its graph or the host is wrong: the client is answered with a bad-gateway status.
    Handler,
}

/// A failure with a text that reaches the client.
///
/// Errors of other types become one by `?`, at the handler's fault. Where the client is to blame,
/// say so: `text.parse::<f32>().map_err(Error::client)?`.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    fault: Fault,
    message: String,
}

impl Error {
    /// A failure that the request caused.
    pub fn client(message: impl fmt::Display) -> Self {
        Self {
            fault: Fault::Client,
            message: message.to_string(),
        }
    }

    /// A failure that no request should cause.
    pub fn handler(message: impl fmt::Display) -> Self {
        Self {
            fault: Fault::Handler,
            message: message.to_string(),
        }
    }

    pub(crate) fn of(fault: Fault, message: impl fmt::Display) -> Self {
        Self {
            fault,
            message: message.to_string(),
        }
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same failure, its text preceded by the place where it occurred: `place: text`.
    #[must_use]
    pub fn within(self, place: impl fmt::Display) -> Self {
        Self {
            fault: self.fault,
            message: format!("{place}: {}", self.message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let party = match self.fault {
            Fault::Client => "client",
            Fault::Handler => "handler",
        };
        write!(f, "{} ({party} fault)", self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::handler(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_error_is_the_handlers_fault_unless_said_otherwise() {
        let by_default = || -> Result<i32> { Ok("x".parse::<i32>()?) };
        let as_client = || -> Result<i32> { "x".parse::<i32>().map_err(Error::client) };
        assert_eq!(by_default().unwrap_err().fault(), Fault::Handler);
        assert_eq!(as_client().unwrap_err().fault(), Fault::Client);
    }
}
