//! The dispatch of the control calls, which are about models rather than to them, for all protocols.
//!
//! REST (`dispatch`) and gRPC (`grpc`) decode a request into the arguments of one of these functions, and encode what it
//! returns. Which version is described, what is checked in which order and what is reported are decided here and in
//! [`Serving`], not in a protocol. `operation` lists the calls and methods for each.

use crate::failure::Failure;
use std::sync::Arc;
use wisp_protocol::call::{IndexEntry, ModelName, Target, Version};
use wisp_protocol::load::LoadRequest;
use wisp_protocol::statistics::VersionStatistics;
use wisp_protocol::v2::IndexFilter;
use wisp_serving::Serving;
use wisp_serving::version::ModelVersion;

/// The version of the server.
pub(crate) const SERVER_VERSION: &str = env!("CARGO_PKG_VERSION");

/// A version of a model for a response with its metadata. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct ModelMetadata {
    pub(crate) version: Arc<ModelVersion>,
    /// The versions of the model that a client may request.
    pub(crate) versions: Vec<Version>,
}

/// A model that was loaded by a request. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct LoadedModel {
    pub(crate) model: ModelName,
    /// The fields of its configuration without an effect, which gRPC has no field for.
    pub(crate) ignored_settings: Vec<String>,
}

/// Returns whether the server accepts inferences.
pub(crate) fn is_ready(serving: &Serving) -> bool {
    serving.is_ready()
}

/// Returns the names of all models.
pub(crate) fn models(serving: &Serving) -> Vec<ModelName> {
    serving.models()
}

/// Returns the models that match the filter, with the states of their versions.
pub(crate) fn index(serving: &Serving, filter: IndexFilter) -> Vec<IndexEntry> {
    serving.index(&filter)
}

/// Returns whether a version can be called. One that does not exist cannot.
pub(crate) fn is_model_ready(serving: &Serving, target: &Target) -> bool {
    serving.is_model_ready(target)
}

/// Returns the states of a version, or of all versions of a model.
pub(crate) fn states(serving: &Serving, target: &Target) -> Result<Vec<IndexEntry>, Failure> {
    Ok(serving.states(target)?)
}

/// Returns a version for a response with its configuration. It is loaded if its first request would load it.
pub(crate) async fn version(
    serving: &Serving,
    target: &Target,
) -> Result<Arc<ModelVersion>, Failure> {
    Ok(serving.version(target).await?)
}

/// Returns a version for a response with its metadata, loaded likewise.
pub(crate) async fn metadata(serving: &Serving, target: &Target) -> Result<ModelMetadata, Failure> {
    let version = version(serving, target).await?;
    // Read afterwards: a load can change which versions there are.
    let versions = serving.ready_versions(&target.model)?;
    Ok(ModelMetadata { version, versions })
}

/// Returns the statistics of a version or of all versions of a model, and without a target those of all models.
pub(crate) fn statistics(
    serving: &Serving,
    target: Option<&Target>,
) -> Result<Vec<VersionStatistics>, Failure> {
    Ok(serving.statistics(target)?)
}

/// Checks that the model exists whose settings of traces a client reads or sets. All models have those of the server.
pub(crate) fn check_traced(serving: &Serving, target: Option<&Target>) -> Result<(), Failure> {
    if let Some(target) = target {
        serving.states(target)?;
    }
    Ok(())
}

/// Loads the model that a request names, with its files and settings. `reading` reads them, and is not polled for a client
/// that may not load models.
pub(crate) async fn load(
    serving: &Serving,
    reading: impl Future<Output = Result<(ModelName, LoadRequest), Failure>>,
) -> Result<LoadedModel, Failure> {
    serving.check_control()?;
    let (model, request) = reading.await?;
    serving.load(model.clone(), request).await?;
    let entry = serving.registry().entry(&model).ok();
    let ignored_settings = entry.map_or_else(Vec::new, |entry| entry.ignored_settings.clone());
    Ok(LoadedModel {
        model,
        ignored_settings,
    })
}

/// Loads these models of the repository and unloads all others.
pub(crate) async fn load_only(serving: &Serving, models: Vec<ModelName>) -> Result<(), Failure> {
    Ok(serving.load_only(models).await?)
}

/// Unloads a model.
pub(crate) async fn unload(serving: &Serving, model: &ModelName) -> Result<(), Failure> {
    Ok(serving.unload(model).await?)
}
