//! The commands of clients that load or unload models.
//!
//! A client that loads a model whose files are unchanged keeps its versions, with their statistics. A command that has
//! begun is completed even if its client has disconnected.

use super::load_source::{Asked, LoadSource};
use super::{ControlError, ModelControl, run};
use crate::registry::omissions::enter_skipped_versions;
use crate::registry::snapshot::{ModelFiles, reasons_for_skipping};
use crate::registry::uploaded_model::UploadedModel;
use crate::registry::{ModelEntry, Registry, repository};
use crate::uploads::content_check;
use crate::uploads::upload_error::UploadError;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use wisp_protocol::call::{ModelName, Version};
use wisp_protocol::load::{LoadRequest, UploadedFile};
use wisp_protocol::release::Phase;
use wisp_protocol::upload::{FilePlace, UploadFileName};

/// The result of a load.
enum Outcome {
    Loaded,
    /// The files belong to the served versions, which stay.
    Unchanged,
}

impl ModelControl {
    /// Loads the model for a client and replaces the served one: as it is in the repository now, or with the files and
    /// the configuration of the request. A model that is loaded from the repository and unchanged stays as it is.
    /// The files of a request are no further model if there are `max_models`.
    pub async fn load(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        (model, request): (ModelName, LoadRequest),
        max_models: Option<usize>,
    ) -> Result<(), ControlError> {
        self.check()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let lock = self.locks.load(&model, self.owner).await;
        run(move || {
            let _lock = lock;
            // Checked here, so that requests which wait for their turn do not pass together.
            if !request.files.is_empty() {
                check_count(&registry, &model, max_models)?;
            }
            match request.is_plain() {
                true => control.load_changed(&registry, &model),
                false => control.load_request(&registry, &model, request),
            }
        })
        .await?
    }

    /// Loads these models for a client and stops serving all others. If one of them does not exist or
    /// cannot be loaded, no model is unloaded; nor if another one has a running release.
    pub async fn load_only(
        self: &Arc<ModelControl>,
        registry: &Arc<Registry>,
        models: Vec<ModelName>,
    ) -> Result<(), ControlError> {
        self.check()?;
        let (control, registry) = (Arc::clone(self), Arc::clone(registry));
        let all = self.locks.replace_all().await;
        run(move || {
            let _all = all;
            control.load_only_locked(&registry, &models)
        })
        .await?
    }

    /// Stops serving the model. Its running requests are completed. A model that is not served stays unchanged. One with a
    /// running release stays served.
    pub async fn unload(
        &self,
        registry: &Arc<Registry>,
        model: &ModelName,
    ) -> Result<(), ControlError> {
        self.check()?;
        let started = Instant::now();
        let (registry, model) = (Arc::clone(registry), model.clone());
        let residency = Arc::clone(&self.residency);
        let lock = self.locks.unload(&model).await;
        self.check_unload(&model)?;
        // Returning the memory of a large model takes time.
        run(move || {
            let _lock = lock;
            unload_locked(&registry, &model, started);
            residency.leave(&model);
        })
        .await
    }

    /// Returns an error if the model has a running release, whose requests would find no model.
    fn check_unload(&self, model: &ModelName) -> Result<(), ControlError> {
        let release = self.releases.find(model);
        match release.filter(|release| release.phase() == Phase::Running) {
            Some(release) => Err(ControlError::Releasing {
                model: model.clone(),
                candidate: release.candidate(),
            }),
            None => Ok(()),
        }
    }

    /// Loads a model of the repository for a client, unless it is unchanged. The lock of the model is held.
    fn load_changed(&self, registry: &Registry, model: &ModelName) -> Result<(), ControlError> {
        let started = Instant::now();
        let before = registry.entry(model).ok();
        let before = before.filter(|entry| entry.is_complete());
        let files = before.as_ref().and_then(|entry| entry.files.as_ref());
        if let Some(files) = files
            && let Ok(Some(path)) = repository::model_path(&self.path, model)
            && ModelFiles::take(&path).is_unchanged_since(files)
        {
            enter_skipped_versions(registry, model, &reasons_for_skipping(&path));
            log_load(registry, model, (Outcome::Unchanged, started));
            return Ok(());
        }
        self.load_from_repository(registry, model, Asked::by_client())?;
        log_load(registry, model, (Outcome::Loaded, started));
        Ok(())
    }

    /// Loads the model with the files and settings of a client. The lock of the model is held.
    fn load_request(
        &self,
        registry: &Registry,
        model: &ModelName,
        LoadRequest { config, files }: LoadRequest,
    ) -> Result<(), ControlError> {
        let started = Instant::now();
        let uploaded = match files.is_empty() {
            true => None,
            false => {
                check_sent_files(&files)?;
                let uploaded = UploadedModel::store(model, &files);
                let uploaded = uploaded.map_err(ControlError::Storage)?;
                for version in uploaded.version_directories() {
                    content_check::check_graphs(&version)?;
                }
                Some(uploaded)
            }
        };
        // The files are stored by now, and need not be in memory twice while the model is loaded.
        drop(files);
        let config = config.map(Arc::new);
        let path = match &uploaded {
            Some(uploaded) => Some(uploaded.directory().to_owned()),
            None => self.model_path(registry, model)?,
        };
        let path = path.ok_or_else(|| ControlError::UnknownModel {
            model: model.clone(),
        })?;
        let source = LoadSource {
            path: &path,
            config: config.as_ref(),
            files: None,
            asked: Asked::by_client(),
        };
        self.load_from(registry, model, source)?;
        log_load(registry, model, (Outcome::Loaded, started));
        Ok(())
    }

    /// Loads these models and unloads all others. No other task does the same at this time.
    fn load_only_locked(
        &self,
        registry: &Registry,
        models: &[ModelName],
    ) -> Result<(), ControlError> {
        let runtime = Handle::current();
        // An unknown name is reported before anything changes.
        for model in models {
            if let Ok(None) = repository::model_path(&self.path, model) {
                let model = model.clone();
                return Err(ControlError::UnknownModel { model });
            }
        }
        let others = registry.entries();
        for (model, _) in others.iter().filter(|(model, _)| !models.contains(model)) {
            self.check_unload(model)?;
        }
        for model in models {
            let _lock = runtime.block_on(self.locks.load(model, self.owner));
            self.load_changed(registry, model)?;
        }
        for (model, _) in registry.entries() {
            if !models.contains(&model) {
                let started = Instant::now();
                let _lock = runtime.block_on(self.locks.unload(&model));
                // Its entry is read again, since it may have been loaded or removed in the meantime.
                unload_locked(registry, &model, started);
                self.residency.leave(&model);
            }
        }
        Ok(())
    }
}

/// Refuses files of a request that may not be uploaded. Their names have no other directory in them.
fn check_sent_files(files: &[UploadedFile]) -> Result<(), ControlError> {
    for file in files {
        let parsed = UploadFileName::parse(&file.name);
        let parsed = parsed.map_err(|error| UploadError::Refused(error.to_string()))?;
        if parsed.place() != FilePlace::Version {
            return Err(UploadError::Refused(format!(
                "`{parsed}` is not a file of a version; the parameter `config` has the settings of the model"
            ))
            .into());
        }
    }
    Ok(())
}

/// Returns an error if the model would be one more than `limit`. Those that are not loaded count too: they are in lists and
/// metrics.
fn check_count(
    registry: &Registry,
    model: &ModelName,
    limit: Option<usize>,
) -> Result<(), ControlError> {
    match limit {
        Some(limit) if registry.entry(model).is_err() && registry.entries().len() >= limit => {
            Err(ControlError::TooManyModels { limit })
        }
        _ => Ok(()),
    }
}

/// Stops serving the model for a client. Its lock is held. As in Triton, unloading a model that does not exist
/// succeeds.
fn unload_locked(registry: &Registry, model: &ModelName, started: Instant) {
    let Ok(entry) = registry.entry(model) else {
        return;
    };
    registry.replace(model.clone(), entry.unloaded());
    if entry.is_ready() {
        let (versions, seconds) = (ready_versions(&entry), started.elapsed().as_secs_f64());
        tracing::info!(%model, versions, seconds, "unloaded");
    }
}

/// Logs that a client has loaded the model.
fn log_load(registry: &Registry, model: &ModelName, (outcome, started): (Outcome, Instant)) {
    let entry = registry.entry(model);
    let versions = entry.map_or_else(|_| String::new(), |entry| ready_versions(&entry));
    let seconds = started.elapsed().as_secs_f64();
    match outcome {
        Outcome::Loaded => tracing::info!(%model, versions, seconds, "loaded"),
        Outcome::Unchanged => {
            tracing::info!(%model, versions, seconds, "unchanged, not loaded again");
        }
    }
}

/// Returns the numbers of the versions that can be called.
fn ready_versions(entry: &ModelEntry) -> String {
    let versions = entry.ready().map(|version| version.description().version);
    let versions: Vec<String> = versions
        .map(|version: Version| version.to_string())
        .collect();
    versions.join(", ")
}
