//! The repository index: the models and versions, with their states.

use super::request::object;
use crate::call::{IndexEntry, VersionState};
use crate::codec::CodecError;
use crate::encoded_response::document;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The index entries that a client requests. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexFilter {
    All,
    /// Only versions that are ready for requests.
    Ready,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Decodes the filter in the body of a request. An empty body, as tritonclient sends, means all entries.
pub fn decode_index(body: &[u8]) -> Result<IndexFilter, CodecError> {
    if body.is_empty() {
        return Ok(IndexFilter::All);
    }
    let Request { ready } = object(body)?;
    Ok(match ready {
        Some(true) => IndexFilter::Ready,
        Some(false) | None => IndexFilter::All,
    })
}

/// Returns the index, a JSON array that no object encloses.
pub fn index(entries: &[IndexEntry]) -> Bytes {
    let entries = entries.iter().map(|entry| Entry {
        name: &entry.name,
        version: entry.version.map(|version| version.to_string()),
        state: state(&entry.state),
        reason: reason(&entry.state),
    });
    document(&entries.collect::<Vec<_>>())
}

/// Returns the protocol's name of a state, for HTTP and gRPC.
pub(crate) fn state(state: &VersionState) -> &'static str {
    match state {
        VersionState::Loading => "LOADING",
        VersionState::Ready | VersionState::Dormant => "READY",
        VersionState::Unloading => "UNLOADING",
        VersionState::Unloaded | VersionState::Failed(_) => "UNAVAILABLE",
    }
}

/// Returns the reason that a version is unavailable or not loaded; `None` for every other state.
pub(crate) fn reason(state: &VersionState) -> Option<&str> {
    match state {
        VersionState::Failed(reason) => Some(reason),
        VersionState::Unloaded => Some("unloaded"),
        VersionState::Dormant => Some("not loaded yet"),
        VersionState::Loading | VersionState::Ready | VersionState::Unloading => None,
    }
}

impl IndexFilter {
    /// Returns whether the filter includes this entry.
    pub fn matches(self, entry: &IndexEntry) -> bool {
        match self {
            IndexFilter::All => true,
            IndexFilter::Ready => {
                matches!(entry.state, VersionState::Ready | VersionState::Dormant)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Version;
    use crate::error::ErrorKind;

    #[test]
    fn the_filter_is_optional_in_the_body() -> anyhow::Result<()> {
        for (body, filter) in [
            ("", IndexFilter::All),
            ("{}", IndexFilter::All),
            (r#"{"ready":null}"#, IndexFilter::All),
            (r#"{"ready":false}"#, IndexFilter::All),
            (r#"{"other":[],"ready":true}"#, IndexFilter::Ready),
        ] {
            assert_eq!(decode_index(body.as_bytes())?, filter, "{body}");
        }
        for body in [
            "x",
            "[]",
            "[true]",
            " ",
            r#"{"ready":1}"#,
            r#"{"ready":true,"ready":true}"#,
        ] {
            let kind = decode_index(body.as_bytes()).map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::InvalidRequest), "{body}");
        }
        Ok(())
    }

    #[test]
    fn only_a_version_that_is_not_loaded_has_a_reason() {
        let name = "m".to_owned();
        let entries = [
            IndexEntry {
                name: name.clone(),
                version: Version::from_decimal("1"),
                state: VersionState::Ready,
            },
            IndexEntry {
                name: name.clone(),
                version: Version::from_decimal("2"),
                state: VersionState::Dormant,
            },
            IndexEntry {
                name,
                version: None,
                state: VersionState::Failed("no version".to_owned()),
            },
        ];
        let expected = concat!(
            r#"[{"name":"m","version":"1","state":"READY"},"#,
            r#"{"name":"m","version":"2","state":"READY","reason":"not loaded yet"},"#,
            r#"{"name":"m","state":"UNAVAILABLE","reason":"no version"}]"#,
        );
        assert_eq!(index(&entries), expected);
        assert_eq!(
            entries.map(|entry| IndexFilter::Ready.matches(&entry)),
            [true, true, false]
        );
        assert_eq!(index(&[]), "[]");
    }
}
