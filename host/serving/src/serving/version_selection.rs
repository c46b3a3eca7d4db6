//! The version that a request calls, which is loaded first if it is dormant.
//!
//! A load costs more than most requests, so no tenant causes one beyond its limits on requests: whoever asks for a version
//! shows the charge of its request, or is charged before the load. How many loads a tenant may cause at the same time is
//! bounded where they take their places (`crate::load_locks`).

use super::Serving;
use crate::account::Charge;
use crate::current_request::{record_target, record_version};
use crate::error::InferError;
use crate::model_control::ControlError;
use crate::version::ModelVersion;
use std::sync::Arc;
use tokio::time::Instant;
use wisp_protocol::call::{Selection, Target};
use wisp_protocol::routing::RoutingKey;

impl Serving {
    /// Returns the version that `target` names. A model that is not loaded yet is loaded now, which counts as an inference
    /// within the limits of the tenant.
    pub async fn version(&self, target: &Target) -> Result<Arc<ModelVersion>, InferError> {
        record_target(target);
        self.loaded(target, None, None).await
    }

    /// Returns the version that `target` names, for a request that has been charged. A model that is not loaded yet is
    /// loaded now.
    pub(crate) async fn charged_version(
        &self,
        target: &Target,
        charge: &Charge,
    ) -> Result<Arc<ModelVersion>, InferError> {
        record_target(target);
        self.loaded(target, None, Some(charge)).await
    }

    /// Returns the version that an inference selects, which has been charged. Without a version, an open release decides by
    /// the key. A model that is not loaded yet is loaded now.
    pub(crate) async fn select(
        &self,
        selection: &Selection,
        key: RoutingKey,
        charge: &Charge,
    ) -> Result<Arc<ModelVersion>, InferError> {
        match selection {
            Selection::Named(target) => {
                record_target(target);
                self.loaded(target, Some(key), Some(charge)).await
            }
            Selection::OnlyModel(_) => {
                let target = self.target(selection)?;
                self.loaded(&target, Some(key), Some(charge)).await
            }
        }
    }

    /// Returns the version that `target` names, once it is loaded. The wait has the time limit of a request; a load that
    /// takes longer goes on without it. No tenant makes the server load a model beyond its limits: a request without a
    /// charge is charged before its load.
    async fn loaded(
        &self,
        target: &Target,
        key: Option<RoutingKey>,
        charge: Option<&Charge>,
    ) -> Result<Arc<ModelVersion>, InferError> {
        let space = self.space(&target.model);
        let mut deadline = None;
        let mut own_charge = None;
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
            if charge.is_none() && own_charge.is_none() {
                own_charge = Some(Charge::begin(self.account.as_ref())?);
            }
            tracing::trace!(%error, "loading the model for a request");
            let limit = self.options.request_timeout;
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
            let loading = control.load_on_demand(&space.registry, &target.model, self.owner());
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
