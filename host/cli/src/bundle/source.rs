//! The version to bundle, loaded as the server would load it.
//!
//! The native version gives the description of the model, and the answers that the bundle must give.

use super::imports::check_handler;
use super::size_limit::check_size;
use crate::failure::bad_configuration;
use crate::loading::{LoadingOptions, loader};
use crate::options::BundleArgs;
use anyhow::Context;
use std::path::PathBuf;
use std::sync::Arc;
use wisp_backend::LoadOptions;
use wisp_backend::bounded_file::read_regular;
use wisp_serving::registry::initialized_handler::InitializedHandler;
use wisp_serving::registry::loader::Loader;
use wisp_serving::registry::model_file::ModelFile;
use wisp_serving::registry::repository::{VersionFiles, files_of_version, model_files};
use wisp_serving::version::ModelVersion;

/// A loaded version, and the parts of it that its bundle contains. Lifetime: the making of one bundle.
#[derive(Debug)]
pub(super) struct Source {
    /// The path of the model as it was given.
    pub(super) path: PathBuf,
    pub(super) files: VersionFiles,
    pub(super) version: Arc<ModelVersion>,
    /// The handler, if the version has one.
    pub(super) handler: Option<InitializedHandler>,
    /// The settings of the main graph.
    pub(super) options: LoadOptions,
    /// The labels of the version in the model file.
    pub(super) labels: Vec<String>,
    /// The engine and the threads of the version.
    _loader: Loader,
}

impl Source {
    /// Loads the version that the arguments name.
    pub(super) fn load(args: &BundleArgs) -> anyhow::Result<Source> {
        let files = version_files(args)?;
        check_file_sizes(args, &files)?;
        if let Some(handler) = &files.handler {
            let limit = u64::try_from(args.handler_limits.max_component_bytes).unwrap_or(u64::MAX);
            let wasm = read_regular(handler, limit).context("handler.wasm cannot be read")?;
            check_handler(&wasm)?;
        }
        let loader = loader(&LoadingOptions::of_one_call(
            &args.cache,
            &args.backend,
            &args.handler_limits,
        ))?;
        let version = loader.load_version(&files)?;
        let handler = loader.initialized_handler(&files)?;
        let model_file = match &files.model_directory {
            Some(directory) => ModelFile::load(directory)?,
            None => ModelFile::default(),
        };
        let number = files.version.to_string();
        let labels = model_file.labels.iter();
        let labels = labels.filter(|(_, labelled)| labelled.to_string() == number);
        Ok(Source {
            path: args.model.clone(),
            version,
            handler,
            options: LoadOptions {
                shapes: model_file.load_options().shapes,
                ..LoadOptions::default()
            },
            labels: labels.map(|(label, _)| label.clone()).collect(),
            files,
            _loader: loader,
        })
    }
}

/// Refuses graphs above the limit before they are loaded. Weights in other files are counted later.
fn check_file_sizes(args: &BundleArgs, files: &VersionFiles) -> anyhow::Result<()> {
    let sizes = files.graphs.values().filter_map(|path| {
        let length = std::fs::metadata(path).ok()?.len();
        usize::try_from(length).ok()
    });
    check_size(sizes.fold(0, usize::saturating_add), args.max_model_bytes)
}

/// Returns the files of the version that the arguments name.
fn version_files(args: &BundleArgs) -> anyhow::Result<VersionFiles> {
    let Some(version) = args.version else {
        return Ok(model_files(&args.model)?);
    };
    if args.model.is_file() {
        return Err(bad_configuration(
            "--version is for a model's directory: a model file has no versions",
        ));
    }
    files_of_version(&args.model, version)?.ok_or_else(|| {
        let model = crate::display::path(&args.model);
        bad_configuration(format!("`{model}` has no version {version}"))
    })
}
