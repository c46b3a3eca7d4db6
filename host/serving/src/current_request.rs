//! The request that a task works on: its id, for the lines that its handler logs, the model that it names, its tenant,
//! and its timings, for the line that is logged and the span that is exported when it ends, and its owner, for work that
//! leaves the thread.
//!
//! The server makes ids, and only where something is logged; the sandbox does not see requests. Every call of
//! every protocol looks up its model through [`crate::Serving`], which records it here; a failed call returns
//! nothing but its error. In between, both belong to the task rather than to the parameters of every function.
//! Lookups outside of a request are not recorded.

mod request_model;

use crate::owner::Owner;
use crate::tenants::tenant_id::TenantId;
use crate::timings::RecordedTimings;
use std::fmt;
use std::sync::Arc;
use wisp_protocol::call::{ModelDescription, ModelName, Target, Version, VersionChoice};

pub use self::request_model::RequestModel;

tokio::task_local! {
    static CURRENT: CurrentRequest;
}

/// A request, which is displayed as its id. Lifetime: one request.
#[derive(Clone)]
pub struct CurrentRequest {
    /// May be made only when it is displayed.
    id: Arc<dyn fmt::Display + Send + Sync>,
    model: RequestModel,
    /// The place for its timings, if somebody reads them.
    timings: Option<RecordedTimings>,
}

impl CurrentRequest {
    /// Returns the request with this id, whose model is recorded in `model`.
    pub fn new(
        id: Arc<impl fmt::Display + Send + Sync + 'static>,
        model: RequestModel,
    ) -> CurrentRequest {
        CurrentRequest {
            id,
            model,
            timings: None,
        }
    }

    /// Returns the request with a place for its timings.
    pub fn with_timings(mut self, timings: Option<RecordedTimings>) -> CurrentRequest {
        self.timings = timings;
        self
    }

    /// Runs `work` as work for this request.
    pub fn scope<W: Future>(self, work: W) -> impl Future<Output = W::Output> {
        CURRENT.scope(self, work)
    }

    /// Returns the tenant whose request it is, on a server with tenants.
    pub(crate) fn tenant(&self) -> Option<TenantId> {
        self.model.tenant()
    }

    /// Returns the request that the current task works on, if it is known. A later part of its work, such as the further
    /// messages of a stream, continues it with [`CurrentRequest::scope`].
    pub fn of_task() -> Option<CurrentRequest> {
        CURRENT.try_with(CurrentRequest::clone).ok()
    }
}

impl fmt::Display for CurrentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.id, f)
    }
}

impl fmt::Debug for CurrentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentRequest").finish_non_exhaustive()
    }
}

/// Returns the owner of the request that the current task works on, or the local one.
pub(crate) fn owner_of_task() -> Owner {
    let owner = CURRENT.try_with(|current| current.model.owner());
    owner.unwrap_or_default()
}

/// Records the model and version that a call names.
pub(crate) fn record_target(target: &Target) {
    let version = match target.version {
        VersionChoice::Number(version) => Some(version),
        VersionChoice::Default | VersionChoice::Label(_) => None,
    };
    record(&target.model, version);
}

/// Records the model that a call names.
pub(crate) fn record_name(model: &ModelName) {
    record(model, None);
}

/// Records the tenant whose request it is, and the owner of the work for it.
pub(crate) fn record_tenant(tenant: &TenantId, owner: Owner) {
    // Fails outside of a request.
    let _ = CURRENT.try_with(|current| current.model.set_tenant(tenant, owner));
}

/// Records the version that serves a call.
pub(crate) fn record_version(description: &ModelDescription) {
    record(&description.model, Some(description.version));
}

/// Returns the place for the timings of the request that the current task works on, if somebody reads them.
pub(crate) fn recorded_timings() -> Option<RecordedTimings> {
    let timings = CURRENT.try_with(|current| current.timings.clone());
    timings.ok().flatten()
}

fn record(model: &ModelName, version: Option<Version>) {
    // Fails outside of a request.
    let _ = CURRENT.try_with(|current| current.model.set(model, version));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::{Serving, ServingOptions};
    use std::task::{Context, Poll, Waker};

    /// Runs `work`, which does not wait, as a request, and returns the model of its line.
    fn recorded(work: impl FnOnce()) -> (Option<String>, Option<String>) {
        let model = RequestModel::default();
        let current = CurrentRequest::new(Arc::new("1"), model.clone());
        let request = std::pin::pin!(current.scope(async { work() }));
        let poll = request.poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(poll, Poll::Ready(()));
        let (name, version) = (model.name(), model.version());
        let version = version.map(|version| version.to_string());
        (name.map(|name| name.to_string()), version)
    }

    fn target(model: &str, version: VersionChoice) -> anyhow::Result<Target> {
        let model = ModelName::new(model)?;
        Ok(Target { model, version })
    }

    #[test]
    fn a_request_has_the_model_that_it_named_last() -> anyhow::Result<()> {
        let wine = target("wine", VersionChoice::Default)?;
        let digits = target("digits", VersionChoice::Number(Version::FIRST))?;
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(recorded(|| ()), (None, None));
        assert_eq!(recorded(|| record_target(&wine)), (name("wine"), None));
        let both = recorded(|| {
            record_target(&wine);
            record_target(&digits);
        });
        assert_eq!(both, (name("digits"), name("1")));
        Ok(())
    }

    #[test]
    fn a_version_is_added_to_the_model_that_was_named() -> anyhow::Result<()> {
        let wine = target("wine", VersionChoice::Default)?;
        let found = recorded(|| {
            record_target(&wine);
            record(&wine.model, Some(Version::FIRST));
        });
        assert_eq!(found, (Some("wine".to_owned()), Some("1".to_owned())));
        Ok(())
    }

    #[test]
    fn a_readiness_request_has_the_model_whether_or_not_it_is_ready() -> anyhow::Result<()> {
        let serving = Serving::new(Registry::default(), None, ServingOptions::default());
        let digits = target("digits", VersionChoice::Number(Version::FIRST))?;
        let asked = recorded(|| assert!(!serving.is_model_ready(&digits)));
        assert_eq!(asked, (Some("digits".to_owned()), Some("1".to_owned())));
        Ok(())
    }

    #[test]
    fn lookups_outside_of_a_request_are_not_recorded() -> anyhow::Result<()> {
        record_name(&ModelName::new("wine")?);
        assert_eq!(recorded(|| ()), (None, None));
        Ok(())
    }
}
