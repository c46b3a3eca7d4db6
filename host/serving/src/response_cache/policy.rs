//! The caching of one version's responses: the digest of all that they depend on besides the request, and their age.

use std::time::Duration;

/// The settings of the cache for one version. Lifetime: a model version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachePolicy {
    /// The digest of the name and the number of the version, of its graphs, its handler and its settings.
    pub identity: [u8; 32],
    /// The time for which a response is kept.
    pub ttl: Duration,
}
