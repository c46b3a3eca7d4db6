//! The composition of the parts of a bundle into one component.
//!
//! The adapter calls the handler, and the handler the provider: each import that the provider has an export for is
//! connected, and the others become the bundle's. Without a handler, the provider answers the adapter. There is
//! one instance of the provider, since its interfaces share their resources.

use anyhow::{Context, bail};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId, Processor};
use wisp_sandbox::component::MODEL_INTERFACE;

/// The interface that the bundle exports, without the number of its patch.
const INCOMING_HANDLER: &str = "wasi:http/incoming-handler@0.2.";

/// The components of a bundle.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) adapter: Vec<u8>,
    pub(super) provider: Vec<u8>,
    pub(super) handler: Option<Vec<u8>>,
}

/// Returns the component of all parts.
pub(super) fn compose(parts: Parts) -> anyhow::Result<Vec<u8>> {
    let Parts {
        adapter,
        provider,
        handler,
    } = parts;
    let mut composition = Composition::default();
    let provider = composition.add("wisp:nn-provider", provider)?;
    let model = match handler {
        Some(handler) => {
            let handler = composition.add("wisp:model-handler", handler)?;
            composition.connect_all(&handler, &provider)?;
            handler
        }
        None => provider,
    };
    let adapter = composition.add("wisp:http-adapter", adapter)?;
    composition.connect(&adapter, &model, MODEL_INTERFACE)?;
    composition.export(&adapter, INCOMING_HANDLER)?;
    composition.encode()
}

/// Returns the component of the handler and the provider, which exports the model.
pub(super) fn compose_model(parts: &Parts) -> anyhow::Result<Vec<u8>> {
    let Some(handler) = &parts.handler else {
        return Ok(parts.provider.clone());
    };
    let mut composition = Composition::default();
    let provider = composition.add("wisp:nn-provider", parts.provider.clone())?;
    let handler = composition.add("wisp:model-handler", handler.clone())?;
    composition.connect_all(&handler, &provider)?;
    composition.export(&handler, MODEL_INTERFACE)?;
    composition.encode()
}

/// A composition in progress.
#[derive(Default)]
struct Composition {
    graph: CompositionGraph,
}

/// A part of the composition, with its only instance.
struct Part {
    name: &'static str,
    package: PackageId,
    instance: NodeId,
}

impl Composition {
    /// Adds a component, and instantiates it.
    fn add(&mut self, name: &'static str, component: Vec<u8>) -> anyhow::Result<Part> {
        let types = self.graph.types_mut();
        let package = Package::from_bytes(name, None, component, types)
            .with_context(|| format!("`{name}` is not a valid component"))?;
        let package = self.graph.register_package(package)?;
        Ok(Part {
            name,
            package,
            instance: self.graph.instantiate(package),
        })
    }

    /// Connects every import of `user` with the export of `provider` of the same name, if there is one.
    fn connect_all(&mut self, user: &Part, provider: &Part) -> anyhow::Result<()> {
        let exports = self.exports(provider);
        let mut imports = self.imports(user);
        imports.retain(|import| exports.contains(import));
        imports
            .iter()
            .try_for_each(|import| self.connect(user, provider, import))
    }

    /// Connects an import of `user` with the export of `provider`. Fails if one of them lacks it, or if their types
    /// differ.
    fn connect(&mut self, user: &Part, provider: &Part, interface: &str) -> anyhow::Result<()> {
        self.try_connect(user, provider, interface)
            .with_context(|| {
                let (user, provider) = (user.name, provider.name);
                format!(
                    "`{interface}` of `{user}` cannot be connected with the one of `{provider}`"
                )
            })
    }

    fn try_connect(&mut self, user: &Part, provider: &Part, interface: &str) -> anyhow::Result<()> {
        let graph = &mut self.graph;
        let export = graph.alias_instance_export(provider.instance, interface)?;
        graph.set_instantiation_argument(user.instance, interface, export)?;
        Ok(())
    }

    /// Exports the interface of `part` whose name begins with `interface`.
    fn export(&mut self, part: &Part, interface: &str) -> anyhow::Result<()> {
        let exports = self.exports(part);
        let mut matching = exports.iter().filter(|name| name.starts_with(interface));
        let Some(name) = matching.next() else {
            bail!("`{}` does not export {interface}", part.name);
        };
        let export = self.graph.alias_instance_export(part.instance, name)?;
        Ok(self.graph.export(export, name)?)
    }

    fn encode(self) -> anyhow::Result<Vec<u8>> {
        let options = EncodeOptions {
            processor: Some(Processor {
                name: "wisp",
                version: env!("CARGO_PKG_VERSION"),
            }),
            ..EncodeOptions::default()
        };
        let composed = self.graph.encode(options);
        composed.context("the parts of the bundle cannot be composed")
    }

    fn imports(&self, part: &Part) -> Vec<String> {
        let world = &self.graph.types()[self.graph[part.package].ty()];
        world.imports.keys().cloned().collect()
    }

    fn exports(&self, part: &Part) -> Vec<String> {
        let world = &self.graph.types()[self.graph[part.package].ty()];
        world.exports.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
