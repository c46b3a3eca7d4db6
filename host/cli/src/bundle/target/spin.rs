//! The target `spin`: a directory with an application of Spin, which `spin up` serves.
//!
//! The application has one component, and a command by which `spin build` makes it again. With `--split` the model
//! is a component of its own, which Spin composes with the HTTP adapter when it loads the application.

use super::directory::{TargetDirectory, TargetFile, relative};
use super::identifier::{kebab_case, literal};
use crate::bundle::finished::{Bundle, BundleParts};
use crate::display;
use anyhow::Context;
use std::path::Path;
use toml::Value;
use wisp_sandbox::component::MODEL_INTERFACE;

const MANIFEST: &str = "spin.toml";

/// The setting without which Spin denies a dependency all interfaces of the host, and so its log.
const INHERITS: &str = "dependencies_inherit_configuration = true\n";

/// Writes the application to the directory `output`.
pub(super) fn write(bundle: &Bundle<'_>, output: &Path) -> anyhow::Result<()> {
    let directory = directory(bundle, output)?;
    let source = component_file(bundle);
    let fits = |manifest: &toml::Table| names_source(manifest, &source);
    directory.write(output, fits, |_| false)
}

fn directory(bundle: &Bundle<'_>, output: &Path) -> anyhow::Result<TargetDirectory> {
    let files = match bundle.parts {
        Some(BundleParts { adapter, model }) => vec![
            TargetFile::new(&component_file(bundle), adapter.as_slice()),
            TargetFile::new(&dependency_file(bundle), model.as_slice()),
        ],
        None => vec![TargetFile::new(&component_file(bundle), bundle.bytes)],
    };
    let manifest = manifest(bundle, &build_command(bundle, output)?);
    Ok(TargetDirectory {
        manifest: TargetFile::new(MANIFEST, manifest),
        files,
    })
}

fn component_file(bundle: &Bundle<'_>) -> String {
    format!("{}.wasm", bundle.model.model)
}

fn dependency_file(bundle: &Bundle<'_>) -> String {
    format!("{}-model.wasm", bundle.model.model)
}

/// Returns the command that makes the components again, in the directory of the manifest.
fn build_command(bundle: &Bundle<'_>, output: &Path) -> anyhow::Result<String> {
    let source = relative(output, bundle.source)?;
    let source = source
        .to_str()
        .context("the path of the model is not Unicode, which spin.toml has to be")?;
    let mut words = vec!["wisp".to_owned(), "bundle".to_owned(), source.to_owned()];
    words.extend_from_slice(bundle.arguments);
    match bundle.parts {
        Some(_) => words.extend(["--target", "spin", "--split", "-o", "."].map(str::to_owned)),
        None => words.extend(["-o".to_owned(), component_file(bundle)]),
    }
    let words: Vec<_> = words.iter().map(|word| display::shell_word(word)).collect();
    Ok(words.join(" "))
}

/// Returns the text of the manifest.
fn manifest(bundle: &Bundle<'_>, command: &str) -> String {
    let (model, version) = (&bundle.model.model, bundle.model.version);
    let id = kebab_case(model.as_str());
    let source = literal(&component_file(bundle));
    let (inherits, dependencies) = match bundle.parts {
        Some(_) => (INHERITS, dependencies(bundle, &id)),
        None => ("", String::new()),
    };
    format!(
        "\
# Written by `wisp bundle --target spin`. In this directory, `spin up` serves the model, and `spin build` makes
# its component again.
spin_manifest_version = 2

[application]
name = {name}
version = \"{version}.0.0\"
description = {description}

[[trigger.http]]
route = \"/...\"
component = {name}

[component.{id}]
source = {source}
{inherits}
[component.{id}.build]
command = {command}
{dependencies}",
        name = literal(&id),
        description = literal(&format!("The model `{model}`, version {version}")),
        command = literal(command),
    )
}

/// Returns the table of the component that Spin connects with the adapter.
fn dependencies(bundle: &Bundle<'_>, id: &str) -> String {
    format!(
        "
[component.{id}.dependencies]
{} = {{ path = {} }}
",
        literal(MODEL_INTERFACE),
        literal(&dependency_file(bundle)),
    )
}

/// Returns whether a component of the manifest has this source.
fn names_source(manifest: &toml::Table, source: &str) -> bool {
    let components = manifest.get("component").and_then(Value::as_table);
    components.is_some_and(|components| {
        let mut sources = components.values().map(|component| component.get("source"));
        sources.any(|file| file.and_then(Value::as_str) == Some(source))
    })
}

#[cfg(test)]
mod tests;
