//! The key by which the requests of one client get the same version of a model while a release splits them.
//!
//! The key comes from the head of a request, because the version decodes the body: the value of one header, or of one
//! parameter in the query of the URL. Only its hash is kept.

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The header whose value is the key, unless another one is configured.
pub const DEFAULT_KEY_HEADER: &str = "x-wisp-release-key";

/// The hash of a request's key, if it has one. Lifetime: one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoutingKey(Option<u64>);

/// The places of the key in the head of a request. Lifetime: the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingSource {
    header: Option<HeaderName>,
    parameter: Option<String>,
}

/// The error for a name that no header can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a header, such as `x-user-id`")]
pub struct HeaderNameError;

// === impl RoutingKey ===

impl RoutingKey {
    /// Returns the key with this value. An empty value is not a key.
    pub fn of(value: &[u8]) -> RoutingKey {
        RoutingKey((!value.is_empty()).then(|| hash(value)))
    }

    /// Returns the hash of the key.
    pub fn hash(self) -> Option<u64> {
        self.0
    }
}

// === impl RoutingSource ===

impl RoutingSource {
    /// Returns the source that reads this header, and then this parameter of the query.
    pub fn new(
        header: Option<&str>,
        parameter: Option<&str>,
    ) -> Result<RoutingSource, HeaderNameError> {
        let header = header.map(|name| name.parse::<HeaderName>());
        Ok(RoutingSource {
            header: header.transpose().map_err(|_| HeaderNameError)?,
            parameter: parameter.map(str::to_owned),
        })
    }

    /// Returns the key of a request with these headers and this query. The header comes first.
    pub fn key(&self, headers: &HeaderMap, query: Option<&str>) -> RoutingKey {
        let header = self.header.as_ref().and_then(|name| headers.get(name));
        if let Some(value) = header {
            return RoutingKey::of(value.as_bytes());
        }
        let (Some(parameter), Some(query)) = (&self.parameter, query) else {
            return RoutingKey::default();
        };
        let mut members = query.split('&').filter_map(|member| member.split_once('='));
        let value = members.find_map(|(name, value)| (name == parameter).then_some(value));
        let value: Cow<'_, [u8]> = value.map_or(Cow::Borrowed(b"".as_slice()), |value| {
            percent_decode_str(value).into()
        });
        RoutingKey::of(&value)
    }
}

impl Default for RoutingSource {
    /// Returns the source that reads [`DEFAULT_KEY_HEADER`].
    fn default() -> RoutingSource {
        RoutingSource {
            header: Some(HeaderName::from_static(DEFAULT_KEY_HEADER)),
            parameter: None,
        }
    }
}

/// Returns a hash that is the same in every process (FNV-1a), since a client must get the same version after a restart.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_header_comes_before_the_query() -> anyhow::Result<()> {
        let source = RoutingSource::new(Some("x-user"), Some("user"))?;
        let mut headers = HeaderMap::new();
        let key = |text: &str| RoutingKey::of(text.as_bytes());
        assert_eq!(source.key(&headers, None), RoutingKey::default());
        assert_eq!(source.key(&headers, Some("a=1&user=ann%20b")), key("ann b"));
        assert_eq!(source.key(&headers, Some("user=")), RoutingKey::default());
        headers.insert("x-user", HeaderValue::from_static("bob"));
        assert_eq!(source.key(&headers, Some("user=ann")), key("bob"));
        assert_eq!(
            RoutingSource::default().key(&headers, Some("user=ann")),
            RoutingKey::default()
        );
        Ok(())
    }

    #[test]
    fn the_hash_is_the_same_in_every_process() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn only_names_of_headers_are_accepted() {
        assert_eq!(RoutingSource::new(Some("a b"), None), Err(HeaderNameError));
    }
}
