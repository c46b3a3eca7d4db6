//! `wisp build`: compiles handler crates to components and installs them next to their models.
//!
//! The modules in the order of a build: `plan` decides which crates to build and where the components
//! go, `freshness` skips what is up to date, `cargo` compiles (one call for crates that agree in their
//! settings), `component` converts modules to components and checks their world, and `install` writes
//! them. `built_handler` is the result. `serve --build` uses the same steps; only `wisp build` itself always calls
//! cargo, which makes the final decision about the components that are up to date. The modules of edge bundles take the same way,
//! except that they stay core modules (`edge_module`) and that one that is up to date is not built. With `--watch`,
//! `watch` repeats the steps for sources that change.

mod built_handler;
mod cargo;
mod component;
mod edge_module;
mod freshness;
mod install;
mod manifest;
mod plan;
pub(crate) mod watch;

pub(crate) use built_handler::{BuiltHandler, Change};
pub(crate) use freshness::EDGE_MODULES;

use crate::display;
use crate::options::BuildArgs;
use anyhow::Context;
use built_handler::{installed, table};
use cargo::{Flags, Toolchain, Workspace};
use component::ForeignImport;
use manifest::CrateManifest;
use plan::{Destination, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// The handlers that cargo is called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebuild {
    All,
    /// Handlers with a source newer than their component. Starts no process if there are none.
    Changed,
}

/// Runs the subcommand and prints a line for each handler.
pub(crate) fn run(args: &BuildArgs) -> anyhow::Result<ExitCode> {
    let built = build(plan::plan(&args.path)?, Rebuild::All)?;
    std::io::stdout().write_all(table(&built).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Builds the handlers of the models below `path`, a repository or one model's directory. Does nothing
/// for a model file, which has no handler.
pub(crate) fn build_repository(path: &Path, rebuild: Rebuild) -> anyhow::Result<Vec<BuiltHandler>> {
    build(plan::plan_models(path)?, rebuild)
}

/// Builds those modules of edge bundles below `path` whose sources have changed.
pub(crate) fn build_edge_modules(path: &Path) -> anyhow::Result<Vec<BuiltHandler>> {
    build(plan::plan(path)?, Rebuild::Changed)
}

/// The properties in which the crates agree that one call of cargo compiles.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CargoCall {
    /// The index of the workspace.
    workspace: usize,
    flags: Flags,
    /// Cargo enables a feature of the SDK for all crates of a call. With this one, they all import random numbers.
    imports_random: bool,
}

fn build(plans: Vec<Plan>, rebuild: Rebuild) -> anyhow::Result<Vec<BuiltHandler>> {
    let mut built = Vec::new();
    let mut stale = Vec::new();
    for plan in plans {
        match plan {
            Plan::Keep { name, component } => built.push(installed(name, component, Change::Kept)?),
            Plan::Build(order) => match &order.destination {
                Destination::Model { component, .. }
                    if rebuild == Rebuild::Changed && freshness::is_fresh(&order) =>
                {
                    let component = component.clone();
                    built.push(installed(order.name, component, Change::UpToDate)?);
                }
                // Compiling an engine takes minutes.
                Destination::EdgeModules if freshness::is_fresh(&order) => {
                    let target_directory = freshness::target_directory(&order.source);
                    let module = freshness::edge_module(&target_directory, &order.name);
                    built.push(installed(order.name, module, Change::UpToDate)?);
                }
                _ => stale.push(order),
            },
        }
    }
    if !stale.is_empty() {
        built.extend(compile(stale)?);
    }
    built.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(built)
}

/// Compiles the crates, converts the modules to components and installs them, with one call of cargo for
/// those that agree in workspace, flags and use of random numbers.
fn compile(orders: Vec<plan::Order>) -> anyhow::Result<Vec<BuiltHandler>> {
    let toolchain = Toolchain::find()?;
    let started = SystemTime::now();
    let crates: BTreeSet<&Path> = orders.iter().map(|order| &*order.source).collect();
    let mut workspaces: Vec<Workspace> = Vec::new();
    let mut calls: BTreeMap<CargoCall, Vec<&Path>> = BTreeMap::new();
    for source in crates {
        let workspace = match workspaces
            .iter()
            .position(|workspace| workspace.has(source))
        {
            Some(known) => known,
            None => {
                workspaces.push(toolchain.workspace(source)?);
                workspaces.len() - 1
            }
        };
        let call = CargoCall {
            workspace,
            flags: Flags::of(&CrateManifest::load(source)?, &workspaces[workspace]),
            imports_random: workspaces[workspace].imports_random(source),
        };
        calls.entry(call).or_default().push(source);
    }
    let mut components = BTreeMap::new();
    for (call, sources) in calls {
        let workspace = &workspaces[call.workspace];
        let flags = call.flags;
        toolchain.ensure_target(&workspace.root)?;
        for (source, module) in toolchain.build(workspace, &sources, &flags)? {
            let name = workspace.package_name(source);
            if flags.is_edge_module {
                let module = edge_module::stripped(&module)
                    .with_context(|| format!("crate `{name}` is no module of edge bundles"))?;
                components.insert(source, (module, workspace));
                continue;
            }
            let tree = |dependency: &str| toolchain.dependents(workspace, source, dependency);
            let component = component::from_module(&module)
                .map_err(|error| with_dependents(error, tree))
                .with_context(|| format!("failed to create a component from crate `{name}`"))?;
            components.insert(source, (component, workspace));
        }
    }
    let mut built = Vec::new();
    for order in &orders {
        let (component, workspace) = components.get(&*order.source).with_context(|| {
            let source = display::path(&order.source);
            format!("cargo built no WebAssembly module from `{source}`")
        })?;
        let path = match &order.destination {
            Destination::Model { component, .. } => component.clone(),
            Destination::TargetDirectory => {
                let directory = workspace.target_directory.join("wisp");
                directory.join(format!("{}.wasm", order.name))
            }
            Destination::EdgeModules => {
                freshness::edge_module(&workspace.target_directory, &order.name)
            }
        };
        let change = install::install(component, &path, started)?;
        built.push(installed(order.name.clone(), path, change)?);
    }
    Ok(built)
}

/// Adds to the error for a foreign import the crates that lead to it.
fn with_dependents(
    error: anyhow::Error,
    tree: impl FnOnce(&str) -> Option<String>,
) -> anyhow::Error {
    let import = error.downcast_ref::<ForeignImport>();
    let dependency = import.and_then(ForeignImport::dependency);
    match dependency.and_then(tree) {
        Some(tree) => anyhow::Error::msg(format!("{error}:\n{tree}")),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_from_javascript_is_shown_with_the_crates_that_lead_to_it() -> anyhow::Result<()> {
        let wat = r#"(module (@custom "component-type" "")
            (import "__wbindgen_placeholder__" "__wbg_now_0" (func)))"#;
        let error = component::from_module(&wat::parse_str(wat)?).err();
        let error = error.context("accepted")?;
        let with_tree = with_dependents(error, |dependency| {
            Some(format!("{dependency} v0.2.0\n`-- chrono v0.4.0"))
        });
        let text = with_tree.to_string();
        assert!(
            text.contains("shows the dependency:\nwasm-bindgen v0.2.0\n`-- chrono"),
            "{text}"
        );
        let other = with_dependents(anyhow::Error::msg("other"), |_| Some("no".to_owned()));
        assert_eq!(other.to_string(), "other");
        Ok(())
    }
}
