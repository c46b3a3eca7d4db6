//! The names in client certificates by which tenants are identified.
//!
//! A name has a kind, so that an authority that checks names of one kind only cannot be led to certify one of another:
//!
//! - `uri:` a URI among the alternative names of the certificate, such as a SPIFFE id,
//! - `dns:` a DNS name among them,
//! - `dn:` the whole distinguished name of the certificate's subject, as RFC 4514 writes it.
//!
//! Names are equal if their texts are, byte by byte: there are no patterns, no prefixes and no wildcards. A common name
//! alone is not a name here, since only the whole subject identifies its owner.

use std::fmt;
use std::str::FromStr;

/// The longest URI, as for a SPIFFE id.
const MAX_URI_BYTES: usize = 2048;

/// The longest DNS name.
const MAX_DNS_BYTES: usize = 253;

/// The longest distinguished name.
const MAX_DN_BYTES: usize = 1024;

/// A name in a client certificate, with its kind. Lifetime: a connection, or until the tenants change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(String);

/// The error for a text that is not a name of a client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a name in a client certificate: `uri:spiffe://example.org/client`, `dns:client.example.org` in lower \
     case, or `dn:CN=client,O=Example`; wildcards match nothing"
)]
pub struct SubjectError;

impl Subject {
    /// Returns the subject with a URI among its alternative names, if it is one.
    pub fn uri(text: &str) -> Option<Subject> {
        let (scheme, rest) = text.split_once(':')?;
        let is_scheme =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let is_valid = text.len() <= MAX_URI_BYTES
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(is_scheme)
            && !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then(|| Subject(format!("uri:{text}")))
    }

    /// Returns the subject with a DNS name among its alternative names, if it is one in lower case.
    pub fn dns(text: &str) -> Option<Subject> {
        let is_allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
        };
        let is_valid = text.len() <= MAX_DNS_BYTES
            && text.bytes().all(is_allowed)
            && text.split('.').all(|label| !label.is_empty());
        is_valid.then(|| Subject(format!("dns:{text}")))
    }

    /// Returns the subject with this distinguished name in the form of RFC 4514, if it can be one.
    pub fn distinguished_name(text: &str) -> Option<Subject> {
        let is_valid =
            text.len() <= MAX_DN_BYTES && text.contains('=') && !text.chars().any(char::is_control);
        is_valid.then(|| Subject(format!("dn:{text}")))
    }

    /// Returns the name with its kind.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Subject, SubjectError> {
        let (kind, name) = text.split_once(':').ok_or(SubjectError)?;
        let subject = match kind {
            "uri" => Subject::uri(name),
            "dns" => Subject::dns(name),
            "dn" => Subject::distinguished_name(name),
            _ => None,
        };
        subject.ok_or(SubjectError)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for text in [
            "uri:spiffe://example.org/ns/a/sa/client",
            "uri:urn:uuid:1",
            "dns:client.example.org",
            "dns:a_b-1",
            "dn:CN=client,O=Example",
            "dn:CN=a\\,b,O=\u{e9}",
            "dn:CN=",
        ] {
            let subject: Result<Subject, SubjectError> = text.parse();
            assert_eq!(
                subject.map(|subject| subject.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn a_text_without_a_kind_or_with_a_wildcard_is_no_name() {
        for text in [
            "",
            "client",
            "spiffe://example.org/client",
            "URI:spiffe://example.org/client",
            "uri:",
            "uri:client",
            "uri:1a:b",
            "uri:spiffe://example.org/a b",
            "uri:spiffe://example.org/\u{e9}",
            "dns:",
            "dns:*.example.org",
            "dns:Client.example.org",
            "dns:client.example.org.",
            "dns:a..b",
            "cn:client",
            "dn:",
            "dn:client",
            "dn:CN=a\nb",
        ] {
            assert_eq!(text.parse::<Subject>(), Err(SubjectError), "{text:?}");
        }
        for (valid, parts) in [(2041, "uri:spiffe:"), (253, "dns:"), (1021, "dn:CN=")] {
            let name = |length: usize| parts.to_owned() + &"a".repeat(length);
            assert!(name(valid).parse::<Subject>().is_ok(), "{parts}");
            assert!(name(valid + 1).parse::<Subject>().is_err(), "{parts}");
        }
    }
}
