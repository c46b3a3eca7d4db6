//! The id of the request that a task works on, for the lines that its handler logs.
//!
//! The server makes ids, and only where something is logged; the sandbox does not see requests. In between,
//! the id belongs to the task rather than to the parameters of every function.

use std::fmt;
use std::sync::Arc;

tokio::task_local! {
    static CURRENT: CurrentRequest;
}

/// The id of a request, which may be made only when it is displayed. Lifetime: one request.
#[derive(Clone)]
pub struct CurrentRequest(Arc<dyn fmt::Display + Send + Sync>);

impl CurrentRequest {
    pub fn new(id: Arc<impl fmt::Display + Send + Sync + 'static>) -> CurrentRequest {
        CurrentRequest(id)
    }

    /// Runs `work` as work for this request.
    pub fn scope<W: Future>(self, work: W) -> impl Future<Output = W::Output> {
        CURRENT.scope(self, work)
    }

    /// Returns the request that the current task works on, if it is known.
    pub(crate) fn of_task() -> Option<CurrentRequest> {
        CURRENT.try_with(CurrentRequest::clone).ok()
    }
}

impl fmt::Display for CurrentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl fmt::Debug for CurrentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentRequest").finish_non_exhaustive()
    }
}
