//! The data that the modules of a bundle are given: blobs, and the manifests that refer to them.

use super::engine::{BundledEngine, Prepared, PreparedGraph};
use super::size_limit::check_size;
use super::source::Source;
use crate::options::BundleArgs;
use std::collections::BTreeMap;
use wisp_edge::adapter::{AdapterManifest, DescriptionEntry, Kind};
use wisp_edge::provider::{ConfigValue, FileEntry, GraphEntry, ProviderManifest};
use wisp_protocol::call::ModelDescription;
use wisp_sandbox::configuration::{ConfigValue as Setting, HandlerConfiguration};
use wisp_serving::registry::repository::MAIN_GRAPH;
use wisp_serving::registry::version_description::SELECTION;
use wisp_tensor::Dimension;

/// The data of a bundle. Lifetime: the making of one bundle.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) engine: BundledEngine,
    /// The blobs of the provider: graphs, weights and files.
    pub(super) blobs: Vec<Vec<u8>>,
    /// The manifest of the provider.
    pub(super) provider: Vec<u8>,
    /// The manifest of the HTTP adapter, which has no blobs.
    pub(super) adapter: Vec<u8>,
}

impl Contents {
    /// Collects the data. Fails if it is above the limit.
    pub(super) fn new(
        args: &BundleArgs,
        source: &Source,
        prepared: Prepared,
    ) -> anyhow::Result<Contents> {
        let Prepared { engine, graphs, .. } = prepared;
        let mut blobs = Blobs::default();
        let graphs = graphs.into_iter();
        let graphs = graphs.map(|graph| graph_entry(graph, source, &mut blobs));
        let graphs: Vec<GraphEntry> = graphs.collect();
        let configuration = source
            .handler
            .as_ref()
            .map(|handler| &*handler.configuration);
        let provider = ProviderManifest {
            graphs,
            config: configuration.map(settings).unwrap_or_default(),
            files: configuration
                .map_or_else(Vec::new, |configuration| files(configuration, &mut blobs)),
            model: source.handler.is_none().then(|| MAIN_GRAPH.to_owned()),
        };
        let Blobs(blobs) = blobs;
        let bytes = blobs.iter().map(Vec::len).fold(0, usize::saturating_add);
        check_size(bytes, args.max_model_bytes)?;
        let adapter = AdapterManifest {
            model: DescriptionEntry::from(&description(source, engine)),
            labels: source.labels.clone(),
            kind: match source.handler {
                Some(_) => Kind::Handler,
                None => Kind::Graph,
            },
            max_body_bytes: u64::try_from(args.max_body_bytes).unwrap_or(u64::MAX),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(Contents {
            engine,
            blobs,
            provider: provider.to_json()?,
            adapter: adapter.to_json()?,
        })
    }
}

/// Blobs by their positions.
#[derive(Default)]
struct Blobs(Vec<Vec<u8>>);

impl Blobs {
    /// Adds a blob. Returns its position.
    fn add(&mut self, blob: Vec<u8>) -> usize {
        self.0.push(blob);
        self.0.len() - 1
    }
}

fn graph_entry(graph: PreparedGraph, source: &Source, blobs: &mut Blobs) -> GraphEntry {
    let PreparedGraph {
        name,
        model,
        weights,
        shapes,
        ..
    } = graph;
    let mut names = vec![name];
    if names[0] == MAIN_GRAPH && source.files.model.as_str() != MAIN_GRAPH {
        names.push(source.files.model.to_string());
    }
    GraphEntry {
        names,
        model: blobs.add(model),
        weights: weights.map(|weights| blobs.add(weights)),
        shapes: sizes(shapes),
    }
}

/// Returns the shapes with -1 for a variable size.
fn sizes(shapes: BTreeMap<String, Vec<Dimension>>) -> BTreeMap<String, Vec<i64>> {
    let size = |dimension: &Dimension| dimension.to_wire();
    let shapes = shapes.into_iter();
    shapes
        .map(|(name, shape)| (name, shape.iter().map(size).collect()))
        .collect()
}

fn settings(configuration: &HandlerConfiguration) -> Vec<(String, ConfigValue)> {
    let settings = configuration.values();
    settings
        .map(|(key, value)| (key.to_owned(), config_value(value)))
        .collect()
}

fn config_value(setting: &Setting) -> ConfigValue {
    match setting {
        Setting::Bool(value) => ConfigValue::Bool(*value),
        Setting::Integer(value) => ConfigValue::Integer(*value),
        Setting::Float(value) => ConfigValue::Float(*value),
        Setting::String(value) => ConfigValue::String(value.clone()),
        Setting::Bools(values) => ConfigValue::Bools(values.clone()),
        Setting::Integers(values) => ConfigValue::Integers(values.clone()),
        Setting::Floats(values) => ConfigValue::Floats(values.clone()),
        Setting::Strings(values) => ConfigValue::Strings(values.clone()),
    }
}

fn files(configuration: &HandlerConfiguration, blobs: &mut Blobs) -> Vec<FileEntry> {
    let files = configuration.files();
    files
        .map(|(name, content)| FileEntry {
            name: name.to_owned(),
            blob: blobs.add(content.to_vec()),
        })
        .collect()
}

/// Returns the description of the model as it is in the bundle, where this engine computes it.
fn description(source: &Source, engine: BundledEngine) -> ModelDescription {
    let mut description = source.version.description().clone();
    description.platform = format!("{}_onnx", engine.name());
    description.properties.remove(SELECTION);
    // The hosts of bundles compute each request alone.
    description.configuration.dynamic_batching = None;
    description
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_size_is_minus_one() {
        let shape = vec![Dimension::Variable, Dimension::Fixed(3)];
        let sizes = sizes(BTreeMap::from([("x".to_owned(), shape)]));
        assert_eq!(sizes["x"], [-1, 3]);
    }

    #[test]
    fn every_kind_of_setting_has_its_value() {
        let strings = vec!["a".to_owned()];
        let values = [
            ("b", Setting::Strings(strings.clone())),
            ("a", Setting::Float(0.5)),
        ];
        let values = values.map(|(key, value)| (key.to_owned(), value));
        let configuration = HandlerConfiguration::new(values.into(), BTreeMap::new());
        let expected = [
            ("a".to_owned(), ConfigValue::Float(0.5)),
            ("b".to_owned(), ConfigValue::Strings(strings)),
        ];
        assert_eq!(settings(&configuration), expected);
    }
}
