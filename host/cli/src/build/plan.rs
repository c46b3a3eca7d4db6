//! Decides which handlers to build, and the destination of each component.
//!
//! Reads directories, model.toml and Cargo.toml, and does not call cargo. A model with a handler.wasm
//! and without its source is not an error: repositories are shipped without sources.

use super::manifest::{self, CrateManifest};
use crate::display;
use crate::failure::{BadConfiguration, bad_configuration};
use anyhow::Context;
use std::path::{Path, PathBuf};
use wisp_protocol::call::Version;
use wisp_serving::registry::model_file::{self, ModelFile};
use wisp_serving::registry::repository::{HANDLER_FILE, is_model_directory, versions};

/// The action for one handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Build(Order),
    /// The component exists, and its source does not.
    Keep {
        name: String,
        component: PathBuf,
    },
}

/// A crate to compile, and the destination of its component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) name: String,
    /// The crate's directory, as a canonical path.
    pub(super) source: PathBuf,
    pub(super) destination: Destination,
}

/// The destination of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Model {
        /// The path of the handler.wasm to write.
        component: PathBuf,
        /// The file that names the crate.
        model_file: PathBuf,
    },
    /// A path in the workspace's target directory, which cargo reports.
    TargetDirectory,
    /// The directory of the modules of edge bundles, in the workspace's target directory.
    EdgeModules,
}

/// Returns the plans for `path`: a repository, a model's directory, a handler's crate, or a module of edge bundles or
/// the directory of several.
pub(super) fn plan(path: &Path) -> anyhow::Result<Vec<Plan>> {
    let directory = canonical(path)?;
    if !directory.is_dir() {
        return Err(bad_configuration(format!(
            "`{}` is a file; `wisp build` takes a repository, a model's directory, a handler's crate or the \
             directory of the modules of edge bundles",
            display::path(&directory)
        )));
    }
    if directory.join(manifest::FILE_NAME).is_file() && !is_model_directory(&directory)? {
        return plan_crate(&directory);
    }
    let mut plans = plan_models(&directory)?;
    if plans.is_empty() {
        plans = plan_edge_modules(&directory)?;
    }
    if plans.is_empty() {
        let path = display::path(&directory);
        return Err(bad_configuration(format!(
            "there is nothing to build in `{path}`: it is not a handler's crate (no {}), no model \
             in it has the path of a handler's source ([handler] source in {}), and no crate in it is a module \
             of edge bundles (package.metadata.wisp.edge-module)",
            manifest::FILE_NAME,
            model_file::FILE_NAME
        )));
    }
    Ok(plans)
}

/// Returns the plans for the models below `path`: a repository or a model's directory.
pub(super) fn plan_models(path: &Path) -> anyhow::Result<Vec<Plan>> {
    let directory = canonical(path)?;
    if directory.is_file() {
        return Ok(Vec::new());
    }
    let models = if is_model_directory(&directory)? {
        vec![directory]
    } else {
        models_below(&directory)?
    };
    let plans = models.iter().map(|model| plan_model(model));
    plans.filter_map(Result::transpose).collect()
}

/// Returns the plans for a crate. Its component is installed for the models of the repository that its
/// manifest names, or else below the target directory.
fn plan_crate(directory: &Path) -> anyhow::Result<Vec<Plan>> {
    let manifest = CrateManifest::load(directory)?;
    if manifest.wisp.edge_module {
        return Ok(vec![Plan::Build(edge_module(directory))]);
    }
    let Some(repository) = &manifest.wisp.models else {
        return Ok(vec![Plan::Build(Order {
            name: manifest.name,
            source: directory.to_owned(),
            destination: Destination::TargetDirectory,
        })]);
    };
    let is_ours = |plan: &Plan| matches!(plan, Plan::Build(order) if order.source == directory);
    let key = || {
        let file = display::path(&directory.join(manifest::FILE_NAME));
        let value = repository.display();
        format!("{file}: package.metadata.wisp.models is `{value}`")
    };
    let mut plans = plan_models(&directory.join(repository)).with_context(key)?;
    plans.retain(is_ours);
    if plans.is_empty() {
        return Err(bad_configuration(format!(
            "{}, but no model there names this crate; a model does so by [handler] source in its {}",
            key(),
            model_file::FILE_NAME
        )));
    }
    Ok(plans)
}

/// Returns the plans for the crates in `directory` that are modules of edge bundles.
fn plan_edge_modules(directory: &Path) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for path in directories_in(directory)? {
        if path.join(manifest::FILE_NAME).is_file() && CrateManifest::load(&path)?.wisp.edge_module
        {
            plans.push(Plan::Build(edge_module(&path)));
        }
    }
    Ok(plans)
}

/// Returns the order for a module of edge bundles, whose file has the name of the crate's directory.
fn edge_module(crate_directory: &Path) -> Order {
    let name = crate_directory.file_name().unwrap_or_default();
    Order {
        name: name.to_string_lossy().into_owned(),
        source: crate_directory.to_owned(),
        destination: Destination::EdgeModules,
    }
}

/// Returns the plan for the model in `directory`, or `None` if its model file names no source.
fn plan_model(directory: &Path) -> anyhow::Result<Option<Plan>> {
    let name = directory.file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let model = ModelFile::load(directory)
        .with_context(|| BadConfiguration::new(format!("the model `{name}` cannot be built")))?;
    let Some(source) = model.handler.source else {
        return Ok(None);
    };
    let component = version_directory(directory)?.join(HANDLER_FILE);
    let model_file = directory.join(model_file::FILE_NAME);
    let key = || {
        let file = display::path(&model_file);
        format!("{file}: handler.source is `{}`", source.display())
    };
    match directory.join(&source).canonicalize() {
        Ok(crate_directory) if crate_directory.join(manifest::FILE_NAME).is_file() => {
            Ok(Some(Plan::Build(Order {
                name,
                source: crate_directory,
                destination: Destination::Model {
                    component,
                    model_file,
                },
            })))
        }
        Ok(_) => Err(bad_configuration(format!(
            "{}, which is not a crate: it has no {}",
            key(),
            manifest::FILE_NAME
        ))),
        Err(_) if component.is_file() => Ok(Some(Plan::Keep { name, component })),
        Err(_) => Err(bad_configuration(format!(
            "{}, which does not exist, and there is no `{}` either; correct the path (it is \
             relative to the model's directory) or put the component there",
            key(),
            display::path(&component)
        ))),
    }
}

/// Returns the directory of the highest version of the model in `directory`, or of the first version if
/// there is none yet: a model whose only file is created by an export script has no version directory in
/// a fresh checkout.
fn version_directory(directory: &Path) -> anyhow::Result<PathBuf> {
    let highest = versions(directory)?.pop_last();
    let first = || directory.join(Version::FIRST.to_string());
    Ok(highest.map_or_else(first, |(_, path)| path))
}

/// Returns the directories of a repository's models. Unreadable directories are skipped; the server
/// reports them when it loads the repository.
fn models_below(repository: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut models = directories_in(repository)?;
    models.retain(|path| is_model_directory(path).unwrap_or(false));
    Ok(models)
}

/// Returns the directories in a directory, in the order of their names.
fn directories_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || {
        format!(
            "failed to read the directory `{}`",
            display::path(directory)
        )
    };
    let mut directories = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(read)? {
        let path = entry.with_context(read)?.path();
        if path.is_dir() {
            directories.push(path);
        }
    }
    directories.sort();
    Ok(directories)
}

fn canonical(path: &Path) -> anyhow::Result<PathBuf> {
    path.canonicalize()
        .map_err(|error| bad_configuration(format!("cannot open `{}`: {error}", path.display())))
}

#[cfg(test)]
mod tests;
