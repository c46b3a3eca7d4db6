//! The failures of requests to a registry, told apart by whose they are.
//!
//! The messages of a registry are shown only in part: a server for tokens has received the credentials,
//! and the addresses of uploads contain keys.

use super::bounded_file::TooManyBytes;
use super::digest::ContentDigest;
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use serde::Deserialize;
use std::error::Error;
use std::io;
use wisp_tensor::OneLine;

/// The maximum number of characters of a registry's message that are shown.
const MAX_MESSAGE: usize = 300;

/// The failure of one request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("the registry `{registry}` cannot be reached{advice}")]
    Unreachable {
        registry: String,
        /// Begins with `; `, or is empty.
        advice: &'static str,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the connection to the registry `{registry}` failed; try again")]
    Connection {
        registry: String,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("the registry refuses access to `{reference}`, with {origin}")]
    Unauthorised { reference: String, origin: String },
    #[error("the registry has no {subject}")]
    NotFound { subject: String },
    #[error(
        "the content of {subject} is not what its digest says: expected {expected}, got {actual}; the registry \
         or the connection has changed it"
    )]
    Digest {
        subject: String,
        expected: String,
        actual: String,
    },
    #[error("{subject} has {actual} bytes, and the manifest states {expected}")]
    Size {
        subject: String,
        expected: u64,
        actual: u64,
    },
    #[error("{subject} has more bytes than the manifest states")]
    Larger { subject: String },
    #[error("the registry answered with status {status}: {}", OneLine(message))]
    Status { status: u16, message: String },
    #[error("the registry refused it: {}", OneLine(message))]
    Refused { message: String },
    #[error(
        "the registry does not follow the protocol of OCI: {}",
        OneLine(message)
    )]
    Protocol { message: String },
    #[error("the file cannot be written")]
    Write { source: io::Error },
}

/// The part of an artifact in messages about its manifest.
pub(super) const THE_MANIFEST: &str = "the manifest";

/// The names for messages about a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) registry: &'a str,
    /// The reference of the artifact.
    pub(super) reference: &'a str,
    /// The origin of the credentials.
    pub(super) origin: &'a str,
    /// The part of the artifact: its manifest, or a file.
    pub(super) part: &'a str,
}

/// The body of an error, as the protocol defines it.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Debug, Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl RegistryError {
    /// Returns the error for one of the client's.
    pub(super) fn of(error: OciDistributionError, subject: Subject<'_>) -> RegistryError {
        let Subject {
            registry,
            reference,
            origin,
            part,
        } = subject;
        let unauthorised = || RegistryError::Unauthorised {
            reference: reference.to_owned(),
            origin: origin.to_owned(),
        };
        let not_found = || RegistryError::NotFound {
            subject: match part {
                THE_MANIFEST => format!("`{reference}`"),
                part => format!("{part} of `{reference}`"),
            },
        };
        match error {
            OciDistributionError::RequestError(error) => {
                let registry = registry.to_owned();
                let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
                let source: Box<dyn Error + Send + Sync> = Box::new(error.without_url());
                match is_connect {
                    true => RegistryError::Unreachable {
                        registry,
                        advice: advice(&*source),
                        source,
                    },
                    false if is_timeout => RegistryError::Unreachable {
                        registry,
                        advice: "",
                        source,
                    },
                    false => RegistryError::Connection { registry, source },
                }
            }
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => unauthorised(),
            OciDistributionError::ServerError {
                code: 401 | 403, ..
            } => unauthorised(),
            OciDistributionError::ServerError { code: 404, .. } => not_found(),
            OciDistributionError::ServerError { code, message, .. } => RegistryError::Status {
                status: code,
                message: first_message(&message),
            },
            OciDistributionError::RegistryError { envelope, .. } => {
                let has = |codes: &[OciErrorCode]| {
                    (envelope.errors.iter()).any(|error| codes.contains(&error.code))
                };
                if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    return unauthorised();
                }
                if has(&[
                    OciErrorCode::ManifestUnknown,
                    OciErrorCode::NameUnknown,
                    OciErrorCode::NotFound,
                    OciErrorCode::BlobUnknown,
                ]) {
                    return not_found();
                }
                let messages = envelope.errors.iter().map(|error| error.message.as_str());
                let messages: Vec<&str> = messages.collect();
                RegistryError::Refused {
                    message: shortened(&messages.join("; ")),
                }
            }
            OciDistributionError::DigestError(DigestError::VerificationError {
                expected,
                actual,
            }) => RegistryError::Digest {
                subject: part.to_owned(),
                expected,
                actual,
            },
            OciDistributionError::IoError(source) => {
                let inner = source.get_ref();
                match inner.is_some_and(|inner| inner.is::<TooManyBytes>()) {
                    true => RegistryError::Larger {
                        subject: part.to_owned(),
                    },
                    false => RegistryError::Write { source },
                }
            }
            // The message may quote a token.
            OciDistributionError::RegistryTokenDecodeError(_) => RegistryError::Protocol {
                message: "its server for tokens sent no token".to_owned(),
            },
            other => RegistryError::Protocol {
                message: shortened(&other.to_string()),
            },
        }
    }

    /// Compares the digest of received bytes with the expected one.
    pub(super) fn check_digest(
        part: &str,
        expected: &str,
        actual: &ContentDigest,
    ) -> Result<(), RegistryError> {
        match actual.as_str() == expected {
            true => Ok(()),
            false => Err(RegistryError::Digest {
                subject: part.to_owned(),
                expected: expected.to_owned(),
                actual: actual.to_string(),
            }),
        }
    }
}

/// Returns the advice for a server that does not speak TLS.
fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let is_plain = causes.any(|cause| cause.to_string().contains("InvalidContentType"));
    match is_plain {
        true => "; if it serves HTTP without TLS, use --plain-http",
        false => "",
    }
}

/// Returns the messages in the body of an error, or a remark if it is no such body.
fn first_message(body: &str) -> String {
    let parsed: Result<ErrorBody, _> = serde_json::from_str(body);
    let entry = parsed.ok().and_then(|body| body.errors.into_iter().next());
    match entry {
        Some(entry) if entry.message.is_empty() => shortened(&entry.code),
        Some(entry) => shortened(&entry.message),
        None => "without a reason".to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject<'_> = Subject {
        registry: "ghcr.io",
        reference: "ghcr.io/acme/digits:1",
        origin: "no credentials",
        part: "`1/model.onnx`",
    };

    fn server_error(code: u16, message: &str) -> OciDistributionError {
        OciDistributionError::ServerError {
            code,
            url: "https://ghcr.io/upload?_state=key".to_owned(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn errors_name_the_cause_and_whose_it_is() {
        let envelope = |code: &str| {
            let text = format!(r#"{{"errors": [{{"code": "{code}", "message": "too many"}}]}}"#);
            OciDistributionError::RegistryError {
                envelope: serde_json::from_str(&text).expect("a valid body"),
                url: String::new(),
            }
        };
        for (error, expected) in [
            (server_error(403, ""), "refuses access"),
            (
                server_error(404, ""),
                "has no `1/model.onnx` of `ghcr.io/acme/digits:1`",
            ),
            (
                server_error(500, r#"{"errors":[{"code":"X","message":"disk full"}]}"#),
                "status 500: disk full",
            ),
            (server_error(502, "<html>"), "status 502: without a reason"),
            (envelope("DENIED"), "refuses access"),
            (envelope("MANIFEST_UNKNOWN"), "has no"),
            (envelope("TOOMANYREQUESTS"), "refused it: too many"),
            (
                OciDistributionError::RegistryNoLocationError,
                "does not follow the protocol",
            ),
        ] {
            let text = RegistryError::of(error, SUBJECT).to_string();
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn messages_of_a_token_server_and_addresses_of_uploads_are_not_shown() {
        let failure = OciDistributionError::AuthenticationFailure("bad password `secret`".into());
        for error in [failure, server_error(500, "secret"), server_error(401, "x")] {
            let text = format!("{:?}", RegistryError::of(error, SUBJECT));
            assert!(
                !text.contains("secret") && !text.contains("_state"),
                "{text}"
            );
        }
    }
}
