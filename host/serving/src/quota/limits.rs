//! The limits of a tenant on its requests.

/// The name of [`Limits::requests_per_second`].
pub const REQUESTS_PER_SECOND: &str = "requests_per_second";
/// The name of [`Limits::concurrency`].
pub const CONCURRENCY: &str = "concurrency";
/// The name of [`Limits::body_bytes`].
pub const BODY_BYTES: &str = "body_bytes";
/// The name of [`Limits::guest_milliseconds_per_second`].
pub const GUEST_MILLISECONDS: &str = "guest_milliseconds_per_second";
/// The name of [`Limits::backend_milliseconds_per_second`].
pub const BACKEND_MILLISECONDS: &str = "backend_milliseconds_per_second";
/// The name of [`Limits::tensor_bytes`].
pub const TENSOR_BYTES: &str = "tensor_bytes";

/// The limits of a tenant; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The number of requests in a second, on average. Twice as many may come at once.
    pub requests_per_second: Option<u64>,
    /// The number of requests in progress.
    pub concurrency: Option<u64>,
    /// The number of requests that wait for their turn among those in progress. Without it, none waits.
    pub queue: Option<u64>,
    /// The size of a request body.
    pub body_bytes: Option<u64>,
    /// The processor time of guests in a second, on average. Twice as much may be used at once.
    pub guest_milliseconds_per_second: Option<u64>,
    /// The time of computations in a second, on average. Twice as much may be used at once.
    pub backend_milliseconds_per_second: Option<u64>,
    /// The bytes of tensors that all requests in progress hold together.
    pub tensor_bytes: Option<u64>,
}
