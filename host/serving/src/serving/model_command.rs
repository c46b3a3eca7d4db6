//! The commands that change the models of a tenant, from its clients or from the operator.
//!
//! [`ModelControl`] runs them on the registry of the tenant's own models. The public models belong to the tenant
//! `local`.

use super::Serving;
use crate::current_request::record_name;
use crate::error::InferError;
use crate::model_control::{ControlError, ControlMode, ModelControl};
use crate::registry::snapshot::Snapshot;
use crate::repository_poll::RepositoryPoll;
use crate::uploads::incoming_file::IncomingFile;
use std::sync::Arc;
use wisp_protocol::call::ModelName;
use wisp_protocol::load::LoadRequest;
use wisp_protocol::release::{ReleaseChange, ReleaseStart, ReleaseStatus};
use wisp_protocol::upload::{CommittedVersion, UploadFileName, VersionName};

impl Serving {
    /// Returns whether clients may load and unload models.
    pub fn is_controlled_by_clients(&self) -> bool {
        let mode = self.control.as_ref().map(|control| control.mode());
        mode == Some(ControlMode::Explicit)
    }

    /// Returns the control over the models, or an error if they cannot be changed.
    fn control(&self) -> Result<&Arc<ModelControl>, ControlError> {
        self.control.as_ref().ok_or(ControlError::Disabled)
    }

    /// Returns an error if clients may not load and unload models.
    pub fn check_control(&self) -> Result<(), InferError> {
        Ok(self.control()?.check()?)
    }

    /// Loads or reloads a model: from the repository, or with the files and settings of the request.
    pub async fn load(&self, model: ModelName, request: LoadRequest) -> Result<(), InferError> {
        record_name(&model);
        let control = self.control()?;
        self.pressure.check_load()?;
        let loading = control.load(&self.registry, (model, request), self.max_models());
        Ok(loading.await?)
    }

    /// Begins to receive a file of a version that is being uploaded.
    pub async fn begin_upload(
        &self,
        name: &VersionName,
        file: &UploadFileName,
    ) -> Result<IncomingFile, InferError> {
        record_name(&name.model);
        Ok(self.control()?.begin_upload(name, file).await?)
    }

    /// Adds an uploaded version to the repository, once it could be loaded, and loads its model again.
    pub async fn commit_version(&self, name: &VersionName) -> Result<CommittedVersion, InferError> {
        record_name(&name.model);
        let control = self.control()?;
        // It loads the version, for a trial and again.
        self.pressure.check_load()?;
        Ok(control.commit_version(&self.registry, name).await?)
    }

    /// Deletes a version of the repository, or the upload of one.
    pub async fn delete_version(&self, name: &VersionName) -> Result<(), InferError> {
        record_name(&name.model);
        Ok(self.control()?.delete_version(&self.registry, name).await?)
    }

    /// Loads a model of the repository again for the operator, whether or not clients may.
    pub async fn reload(&self, model: ModelName) -> Result<(), InferError> {
        Ok(self.control()?.reload(&self.registry, model).await?)
    }

    /// Stops serving a model.
    pub async fn unload(&self, model: &ModelName) -> Result<(), InferError> {
        record_name(model);
        Ok(self.control()?.unload(&self.registry, model).await?)
    }

    /// Loads these models of the repository and stops serving all others.
    pub async fn load_only(&self, models: Vec<ModelName>) -> Result<(), InferError> {
        Ok(self.control()?.load_only(&self.registry, models).await?)
    }

    /// Returns a poll that keeps the served models up to date with the repository, or `None` in every
    /// other mode. `taken` is a snapshot of the repository from before any model was loaded.
    pub fn poll(&self, taken: Snapshot) -> Option<RepositoryPoll> {
        let control = self.control.clone()?;
        let registry = Arc::clone(&self.registry);
        let polls = control.mode() == ControlMode::Poll;
        polls.then(|| RepositoryPoll::new(control, registry, taken))
    }

    /// Continues the releases that were open when the server stopped. Loads their versions, and so takes long; no
    /// request may be served before.
    pub fn restore_releases(&self) {
        if let Some(control) = &self.control {
            control.restore_releases(&self.registry);
        }
    }

    /// Starts a release of a model, or changes the settings of the running one.
    pub async fn start_release(
        &self,
        model: ModelName,
        start: ReleaseStart,
    ) -> Result<ReleaseStatus, InferError> {
        record_name(&model);
        let starting = self
            .control()?
            .start_release(&self.registry, (model, start));
        Ok(starting.await?)
    }

    /// Promotes, aborts or closes the release of a model.
    pub async fn change_release(
        &self,
        model: ModelName,
        change: ReleaseChange,
    ) -> Result<ReleaseStatus, InferError> {
        record_name(&model);
        let changing = self
            .control()?
            .change_release(&self.registry, (model, change));
        Ok(changing.await?)
    }
}
