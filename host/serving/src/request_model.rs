//! The model that the current request names, for the line that is logged when the request ends.
//!
//! Every call of every protocol looks up its model through [`crate::Serving`], which records it here. The
//! value is local to the task, because a failed call returns nothing but its error, whose line needs the model
//! most. Lookups outside of a request are not recorded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::futures::TaskLocalFuture;
use wisp_protocol::call::{ModelDescription, ModelName, Target, Version, VersionChoice};

tokio::task_local! {
    static CURRENT: RequestModel;
}

/// The model of one request, as far as it is known. Clones share the value. Lifetime: one request.
#[derive(Debug, Clone, Default)]
pub struct RequestModel(Arc<Mutex<Option<NamedModel>>>);

/// A model, and its version once that is known.
#[derive(Debug)]
struct NamedModel {
    name: ModelName,
    version: Option<Version>,
}

impl RequestModel {
    /// Returns a future that completes with `work` and records the models that `work` looks up.
    pub fn record_in<F: Future>(&self, work: F) -> TaskLocalFuture<RequestModel, F> {
        CURRENT.scope(self.clone(), work)
    }

    /// Returns the model that the request has named, which need not exist.
    pub fn name(&self) -> Option<ModelName> {
        self.lock().as_ref().map(|model| model.name.clone())
    }

    /// Returns the version that the request has named or was given.
    pub fn version(&self) -> Option<Version> {
        self.lock().as_ref()?.version
    }

    fn set(&self, name: &ModelName, version: Option<Version>) {
        match &mut *self.lock() {
            Some(model) if model.name == *name => model.version = version,
            model => {
                *model = Some(NamedModel {
                    name: name.clone(),
                    version,
                });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<NamedModel>> {
        // Every change is a single assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Records the version that serves a call.
pub(crate) fn record_version(description: &ModelDescription) {
    record(&description.model, Some(description.version));
}

fn record(model: &ModelName, version: Option<Version>) {
    // Fails outside of a request.
    let _ = CURRENT.try_with(|current| current.set(model, version));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    /// Runs `work`, which does not wait, as a request, and returns the model of its line.
    fn recorded(work: impl FnOnce()) -> (Option<String>, Option<String>) {
        let model = RequestModel::default();
        let request = std::pin::pin!(model.record_in(async { work() }));
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
    fn lookups_outside_of_a_request_are_not_recorded() -> anyhow::Result<()> {
        record_name(&ModelName::new("wine")?);
        assert_eq!(recorded(|| ()), (None, None));
        Ok(())
    }
}
