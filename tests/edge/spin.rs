//! Tests of the manifests for Spin and SpinKube in the repository and of those that `wisp bundle` writes, against the
//! rules of Spin, which is not part of the tests itself.

use super::bundle;
use crate::cli;
use crate::harness::root;
use crate::python::{self, DEPLOY};
use anyhow::{Context, Result, ensure};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use toml::{Table, Value};
use wisp_sandbox::component::ComponentSummary;

/// The keys that Spin accepts in the tables of a manifest. It refuses all others.
const MANIFEST: [&str; 5] = [
    "application",
    "component",
    "spin_manifest_version",
    "trigger",
    "variables",
];
const APPLICATION: [&str; 7] = [
    "authors",
    "description",
    "name",
    "targets",
    "tool",
    "trigger",
    "version",
];
const COMPONENT: [&str; 16] = [
    "ai_models",
    "allowed_http_hosts",
    "allowed_outbound_hosts",
    "build",
    "dependencies",
    "dependencies_inherit_configuration",
    "description",
    "environment",
    "exclude_files",
    "files",
    "key_value_stores",
    "source",
    "sqlite_databases",
    "targets",
    "tool",
    "variables",
];
const BUILD: [&str; 3] = ["command", "watch", "workdir"];
const TRIGGER: [&str; 4] = ["component", "executor", "id", "route"];
const DEPENDENCY: [&str; 2] = ["export", "path"];

/// The keys of the specification of a SpinApp that its definition has.
const SPIN_APP: [&str; 13] = [
    "checks",
    "components",
    "deploymentAnnotations",
    "enableAutoscaling",
    "executor",
    "image",
    "imagePullSecrets",
    "invocationLimits",
    "podAnnotations",
    "podLabels",
    "replicas",
    "resources",
    "runtimeConfig",
];

/// A manifest that has been checked.
struct Manifest {
    directory: PathBuf,
    table: Table,
}

impl Manifest {
    /// Reads a manifest, and checks it against the rules of Spin.
    fn read(path: &Path) -> Result<Manifest> {
        let table: Table = std::fs::read_to_string(path)?.parse()?;
        let manifest = Manifest {
            directory: path.parent().context("no directory")?.to_owned(),
            table,
        };
        manifest
            .check()
            .with_context(|| path.display().to_string())?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        has_only(&self.table, &MANIFEST)?;
        let version = self.table.get("spin_manifest_version");
        ensure!(
            version.and_then(Value::as_integer) == Some(2),
            "{version:?}"
        );
        let application = table(&self.table, "application")?;
        has_only(application, &APPLICATION)?;
        text(application, "name")?;
        text(application, "version")?;
        let components = table(&self.table, "component")?;
        for (id, component) in components {
            ensure!(is_id(id), "`{id}` is not an identifier of Spin");
            let component = component.as_table().context("no table")?;
            has_only(component, &COMPONENT)?;
            text(component, "source")?;
            let build = table(component, "build")?;
            has_only(build, &BUILD)?;
            for dependency in dependencies(component)? {
                has_only(dependency, &DEPENDENCY)?;
            }
        }
        let mut routes = BTreeSet::new();
        for (route, component) in self.routes()? {
            ensure!(route.starts_with('/'), "{route}");
            ensure!(components.contains_key(component), "no `{component}`");
            ensure!(routes.insert(route), "`{route}` is there twice");
        }
        Ok(())
    }

    fn components(&self) -> Result<impl Iterator<Item = (&String, &Table)>> {
        let components = table(&self.table, "component")?;
        Ok(components
            .iter()
            .filter_map(|(id, value)| Some((id, value.as_table()?))))
    }

    /// Returns the routes and their components.
    fn routes(&self) -> Result<Vec<(&str, &str)>> {
        let triggers = table(&self.table, "trigger")?.get("http");
        let triggers = triggers.and_then(Value::as_array).context("no triggers")?;
        triggers
            .iter()
            .map(|trigger| {
                let trigger = trigger.as_table().context("no table")?;
                has_only(trigger, &TRIGGER)?;
                Ok((text(trigger, "route")?, text(trigger, "component")?))
            })
            .collect()
    }

    /// Returns the component that Spin chooses for a path: an exact route, or the longest prefix.
    fn component_for(&self, path: &str) -> Result<&str> {
        let routes = self.routes()?;
        let exact = routes.iter().find(|(route, _)| *route == path);
        let prefix = |route: &str| {
            let prefix = route.strip_suffix("/...")?;
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
        };
        let longest = routes
            .iter()
            .filter(|(route, _)| prefix(route).is_some())
            .max_by_key(|(route, _)| prefix(route));
        let (_, component) = exact.or(longest).context("no route")?;
        Ok(component)
    }

    /// Checks that each component is made from a model by `wisp bundle`, and that the files are where the manifest
    /// expects them.
    fn check_commands(&self) -> Result<()> {
        for (id, component) in self.components()? {
            let build = table(component, "build")?;
            let workdir = build.get("workdir").and_then(Value::as_str).unwrap_or(".");
            let workdir = self.directory.join(workdir).canonicalize()?;
            let command = text(build, "command")?;
            let (_, words) = command
                .split_once("wisp bundle ")
                .context("no `wisp bundle`")?;
            let words: Vec<&str> = words.split(' ').collect();
            let model = words
                .iter()
                .find(|word| workdir.join(word).join("model.toml").is_file());
            ensure!(model.is_some(), "{id}: `{command}` names no model");
            let output = words.iter().position(|word| *word == "-o");
            let output = words.get(output.context("no output")? + 1);
            let output = workdir.join(output.context("no output")?);
            let mut files = vec![text(component, "source")?];
            for dependency in dependencies(component)? {
                files.push(text(dependency, "path")?);
            }
            for file in files {
                let file = normalized(&self.directory.join(file));
                let made = file == output || file.parent() == Some(&*output);
                ensure!(made, "{id}: `{command}` does not write {}", file.display());
            }
        }
        Ok(())
    }
}

/// Returns the dependencies of a component, which may have none.
fn dependencies(component: &Table) -> Result<Vec<&Table>> {
    let Some(dependencies) = component.get("dependencies") else {
        return Ok(Vec::new());
    };
    let dependencies = dependencies.as_table().context("no table")?.values();
    dependencies
        .map(|dependency| dependency.as_table().context("no table"))
        .collect()
}

/// Returns the path without `..`, whether or not it exists.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                normalized.pop();
            }
            component => normalized.push(component),
        }
    }
    normalized
}

fn has_only(table: &Table, keys: &[&str]) -> Result<()> {
    let unknown = table.keys().find(|key| !keys.contains(&key.as_str()));
    ensure!(unknown.is_none(), "Spin has no key {unknown:?} there");
    Ok(())
}

fn table<'a>(parent: &'a Table, key: &str) -> Result<&'a Table> {
    let table = parent.get(key).and_then(Value::as_table);
    table.with_context(|| format!("no table `{key}`"))
}

fn text<'a>(parent: &'a Table, key: &str) -> Result<&'a str> {
    let text = parent.get(key).and_then(Value::as_str);
    text.with_context(|| format!("no string `{key}`"))
}

/// Returns whether all versions of Spin accept the ID of a component: words of a letter, and then letters and digits.
fn is_id(id: &str) -> bool {
    id.split('-').all(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

#[test]
fn the_examples_are_an_application_of_spin_in_which_the_path_chooses_the_model() -> Result<()> {
    let manifest = Manifest::read(&root().join("spin.toml"))?;
    manifest.check_commands()?;
    for (id, _) in manifest.components()? {
        for path in [
            format!("/v2/models/{id}"),
            format!("/v2/models/{id}/infer"),
            format!("/v1/models/{id}/metadata"),
            format!("/v1/models/{id}:predict"),
            format!("/predict/{id}"),
        ] {
            ensure!(manifest.component_for(&path)? == id, "{path}");
        }
    }
    for path in ["/", "/v2/health/ready", "/v2/models/other"] {
        manifest.component_for(path)?;
    }
    Ok(())
}

/// Without `--build`, the handlers and the modules would have to be built before, by other commands.
#[test]
fn spin_build_needs_no_other_command_before_it() -> Result<()> {
    for path in ["spin.toml", "examples/edge/dependencies/spin.toml"] {
        let manifest = Manifest::read(&root().join(path))?;
        for (id, component) in manifest.components()? {
            let command = text(table(component, "build")?, "command")?;
            ensure!(command.contains("wisp bundle --build "), "{id}: {command}");
        }
    }
    Ok(())
}

#[test]
fn the_model_is_a_dependency_in_the_variant_with_dependencies() -> Result<()> {
    let path = root().join("examples/edge/dependencies/spin.toml");
    let manifest = Manifest::read(&path)?;
    manifest.check_commands()?;
    for (_, component) in manifest.components()? {
        let dependencies = table(component, "dependencies")?;
        ensure!(
            dependencies.contains_key("wisp:handler/model@0.1.0"),
            "{dependencies}"
        );
    }
    Ok(())
}

#[test]
fn the_application_of_any_model_is_valid_and_its_parts_fit_together() -> Result<()> {
    let repository = cli::example("digits")?;
    let output = repository.path().join("app");
    let mut command = bundle(&repository.path().join("digits"), &output);
    command.args(["--target", "spin", "--split"]);
    cli::stdout(&cli::run(&mut command)?)?;
    Manifest::read(&output.join("spin.toml"))?;
    let summary = |file: &str| -> Result<ComponentSummary> {
        Ok(ComponentSummary::read(&std::fs::read(output.join(file))?)?)
    };
    let (adapter, model) = (summary("digits.wasm")?, summary("digits-model.wasm")?);
    let interface = "wisp:handler/model@0.1.0".to_owned();
    ensure!(
        adapter.imports.contains(&interface),
        "{:?}",
        adapter.imports
    );
    ensure!(model.exports.contains(&interface), "{:?}", model.exports);
    let mut imports = model.imports.iter();
    let foreign =
        imports.find(|import| import.starts_with("wasi:nn") || import.starts_with("wisp:"));
    ensure!(foreign.is_none(), "{foreign:?}");
    Ok(())
}

#[test]
fn the_application_runs_on_spinkube_with_probes_that_it_answers() -> Result<()> {
    let path = root().join("examples/edge/spinapp.yaml");
    let path = path.to_str().context("a path that is not Unicode")?;
    let documents = python::run_in(&DEPLOY, "deploy_files.py", &["yaml", path])?;
    let documents: Json = serde_json::from_str(&documents)?;
    let [app] = documents.as_array().context("no documents")?.as_slice() else {
        anyhow::bail!("not one document");
    };
    ensure!(app["apiVersion"] == "core.spinkube.dev/v1alpha1", "{app}");
    ensure!(app["kind"] == "SpinApp", "{app}");
    let spec = app["spec"].as_object().context("no specification")?;
    let unknown = spec.keys().find(|key| !SPIN_APP.contains(&key.as_str()));
    ensure!(unknown.is_none(), "a SpinApp has no {unknown:?}");
    let manifest = Manifest::read(&root().join("spin.toml"))?;
    let application = table(&manifest.table, "application")?;
    let (name, version) = (text(application, "name")?, text(application, "version")?);
    ensure!(app["metadata"]["name"] == name, "{app}");
    let image = spec["image"].as_str().context("no image")?;
    ensure!(image.ends_with(&format!("/{name}:{version}")), "{image}");
    for check in ["liveness", "readiness"] {
        let path = spec["checks"][check]["httpGet"]["path"]
            .as_str()
            .context(check)?;
        manifest.component_for(path)?;
        ensure!(path.starts_with("/v2/health/"), "{path}");
    }
    Ok(())
}
