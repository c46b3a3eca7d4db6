//! The version that a request calls, which is loaded first if it is dormant.

use super::Serving;
use crate::current_request::{record_target, record_version};
use crate::error::InferError;
use crate::model_control::ControlError;
use crate::version::ModelVersion;
use std::sync::Arc;
use tokio::time::Instant;
use wisp_protocol::call::{Selection, Target};
use wisp_protocol::routing::RoutingKey;

impl Serving {
    /// Returns the version that `target` names. A model that is not loaded yet is loaded now.
    pub async fn version(&self, target: &Target) -> Result<Arc<ModelVersion>, InferError> {
        record_target(target);
        self.loaded(target, None).await
    }

    /// Returns the version that an inference selects. Without a version, an open release decides by the key. A model that
    /// is not loaded yet is loaded now.
    pub(crate) async fn select(
        &self,
        selection: &Selection,
        key: RoutingKey,
    ) -> Result<Arc<ModelVersion>, InferError> {
        match selection {
            Selection::Named(target) => {
                record_target(target);
                self.loaded(target, Some(key)).await
            }
            Selection::OnlyModel(_) => {
                let target = self.target(selection)?;
                self.loaded(&target, Some(key)).await
            }
        }
    }

    /// Returns the version that `target` names, once it is loaded. The wait has the time limit of a request; a load that
    /// takes longer goes on without it.
    async fn loaded(
        &self,
        target: &Target,
        key: Option<RoutingKey>,
    ) -> Result<Arc<ModelVersion>, InferError> {
        let space = self.space(&target.model);
        let mut deadline = None;
        loop {
            let resolved = match key {
                Some(key) => space.registry.route(target, key),
                None => space.registry.resolve(target),
            };
            let (error, control) = match (resolved, &space.control) {
                (Ok(version), control) => {
                    if let Some(control) = control {
                        control.residency().touch(&version);
                    }
                    record_version(version.description());
                    return Ok(version);
                }
                (Err(error), Some(control)) if control.may_load_after(&error) => (error, control),
                (Err(error), _) => return Err(error.into()),
            };
            self.pressure.check_load()?;
            tracing::trace!(%error, "loading the model for a request");
            let limit = self.options.request_timeout;
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
            let loading = control.load_on_demand(&space.registry, &target.model);
            match tokio::time::timeout_at(deadline, loading).await {
                Ok(loaded) => loaded?,
                Err(_) => {
                    let model = target.model.clone();
                    return Err(ControlError::StillLoading { model }.into());
                }
            }
        }
    }
}
