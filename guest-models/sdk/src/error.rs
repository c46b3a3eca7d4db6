//! The errors of handlers, with a message and the party at fault.
//!
//! The client receives errors of both kinds, with different statuses, so a message should be short and
//! lower case and should name the input. [`Error`] deliberately does not implement
//! `std::error::Error`: this allows `?` to convert every error type that does.

use std::fmt;

/// The result of a fallible operation in a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The party that must change something before the request can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is wrong. The client receives an invalid-argument status.
    Client,
    /// The handler, its graph or the host is wrong. The client receives a bad-gateway status.
    Handler,
}

/// A failure with a message for the client.
///
/// The operator `?` converts errors of other types to this one, with the handler at fault. If the
/// client is at fault, convert the error explicitly:
///
/// ```
/// use wisp_handler::{Error, Fault, Result};
///
/// fn price(text: &str) -> Result<f32> {
///     let price: f32 = text.parse().map_err(|error| Error::client(error).within("input `price`"))?;
///     if price < 0.0 {
///         return Err(Error::client("input `price` is negative"));
///     }
///     Ok(price)
/// }
///
/// let error = price("cheap").unwrap_err();
/// assert_eq!(error.fault(), Fault::Client);
/// assert_eq!(error.message(), "input `price`: invalid float literal");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    fault: Fault,
    message: String,
}

impl Error {
    /// Creates an error that the request caused.
    pub fn client(message: impl fmt::Display) -> Self {
        Self {
            fault: Fault::Client,
            message: message.to_string(),
        }
    }

    /// Creates an error that no request should cause.
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

    /// Returns the party at fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// Returns the message for the client.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the same error with its message preceded by a place: `place: message`.
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
