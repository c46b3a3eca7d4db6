//! The id of a request, used in logs and returned to the client.
//!
//! The client's own id is used if it is safe to log. Otherwise, an id is made from the start time of the
//! server and a counter, and only if the request is logged or its id is returned.

use http::{HeaderMap, HeaderValue};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use wisp_protocol::request_id::{REQUEST_ID, given};

/// A generator of ids that are practically unique among the servers of a site. Lifetime: the process.
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// The start time in nanoseconds since 1970, which two servers are unlikely to share.
    started: u128,
    next: AtomicU64,
}

/// The id of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestId {
    Given(HeaderValue),
    Made { started: u128, number: u64 },
}

/// The id of one request, which is made when it is first needed. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct LazyRequestId {
    ids: Arc<RequestIds>,
    id: OnceLock<RequestId>,
}

impl RequestIds {
    pub(crate) fn new() -> RequestIds {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        RequestIds {
            // If the clock is before 1970, the ids are less unique, but the server still starts.
            started: since_epoch.unwrap_or_default().as_nanos(),
            next: AtomicU64::new(1),
        }
    }

    /// Returns the id of a request with these headers: the one in the headers, or a new one.
    pub(crate) fn id(self: &Arc<Self>, headers: &HeaderMap) -> LazyRequestId {
        let given = given(headers).map(|id| RequestId::Given(id.clone()));
        LazyRequestId {
            ids: Arc::clone(self),
            id: given.map_or_else(OnceLock::new, OnceLock::from),
        }
    }

    fn make(&self) -> RequestId {
        RequestId::Made {
            started: self.started,
            number: self.next.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl LazyRequestId {
    /// Returns the id, always the same.
    pub(crate) fn id(&self) -> &RequestId {
        self.id.get_or_init(|| self.ids.make())
    }
}

impl fmt::Display for LazyRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.id(), f)
    }
}

impl RequestId {
    pub(crate) fn to_header(&self) -> HeaderValue {
        match self {
            RequestId::Given(id) => id.clone(),
            RequestId::Made { .. } => HeaderValue::try_from(self.to_string())
                .expect("hexadecimal digits and a dash stand in any header"),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestId::Given(id) => f.write_str(id.to_str().unwrap_or_default()),
            RequestId::Made { started, number } => write!(f, "{started:x}-{number:x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::request_id::MAX_ID_BYTES;

    fn id_for(value: &[u8]) -> anyhow::Result<RequestId> {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(value)?);
        Ok(Arc::new(RequestIds::new()).id(&headers).id().clone())
    }

    #[test]
    fn a_fit_id_is_kept() -> anyhow::Result<()> {
        let longest = "x".repeat(MAX_ID_BYTES);
        for id in ["7", "0f8c-22.a_B", &longest] {
            assert_eq!(id_for(id.as_bytes())?.to_string(), id);
            assert_eq!(id_for(id.as_bytes())?.to_header(), id);
        }
        Ok(())
    }

    #[test]
    fn an_unfit_id_is_replaced() -> anyhow::Result<()> {
        let too_long = "x".repeat(MAX_ID_BYTES + 1);
        for id in ["", "a b", "a\tb", "{x}", "é", "a\"b", &too_long] {
            let made = id_for(id.as_bytes())?;
            assert!(matches!(made, RequestId::Made { number: 1, .. }), "{id}");
        }
        Ok(())
    }

    #[test]
    fn made_ids_differ() {
        let ids = Arc::new(RequestIds::new());
        let headers = HeaderMap::new();
        assert_ne!(ids.id(&headers).id(), ids.id(&headers).id());
        assert_ne!(RequestIds::new().started, ids.started);
    }

    #[test]
    fn an_id_is_made_once_and_only_if_it_is_needed() {
        let ids = Arc::new(RequestIds::new());
        let headers = HeaderMap::new();
        let (unused, used) = (ids.id(&headers), ids.id(&headers));
        assert!(matches!(used.id(), RequestId::Made { number: 1, .. }));
        assert_eq!(used.to_string(), used.id().to_string());
        assert!(matches!(unused.id(), RequestId::Made { number: 2, .. }));
    }
}
