//! The choice of the engine, and the graphs in the form in which it is given them.
//!
//! The same engines are part of this program, so they are asked here whether they can load a graph, and the reason of
//! one that cannot names the operator. An engine reads no files in a bundle: weights in other files become part of
//! what it is given.

use super::source::Source;
use crate::options::BackendChoice;
use anyhow::bail;
use std::collections::BTreeMap;
use std::path::Path;
use wisp_backend::tract::{Tract, self_contained};
use wisp_backend::{Backend, BackendError, Format, LoadOptions, ModelSource};
use wisp_serving::registry::repository::is_main_graph;
use wisp_tensor::Dimension;

/// The largest graphs, with their weights, for which the module of small networks is chosen, in bytes. Beside larger ones,
/// the bytes that it saves hardly count, and the time does that it takes longer.
const MAX_SMALL_BYTES: usize = 4 << 20;

/// An engine that a bundle can contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BundledEngine {
    Rten,
    Tract,
}

/// A graph in the form for its engine.
#[derive(Debug)]
pub(super) struct PreparedGraph {
    pub(super) name: String,
    /// The ONNX file.
    pub(super) model: Vec<u8>,
    /// The weights to which the file refers.
    pub(super) weights: Option<Vec<u8>>,
    /// Set if it has only operators of small networks.
    is_small: bool,
    /// The shapes of inputs in the model file.
    pub(super) shapes: BTreeMap<String, Vec<Dimension>>,
}

/// The engine and the graphs that it computes. Lifetime: the making of one bundle.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) engine: BundledEngine,
    /// Set if the graphs are small, and the module of the engine with the operators of small networks suffices.
    pub(super) is_small: bool,
    pub(super) graphs: Vec<PreparedGraph>,
}

impl PreparedGraph {
    /// Returns the size of the graph with its weights.
    fn bytes(&self) -> usize {
        let weights = self.weights.as_ref().map_or(0, Vec::len);
        self.model.len().saturating_add(weights)
    }
}

impl BundledEngine {
    /// Returns the name of the backend with this engine.
    pub(super) fn name(self) -> &'static str {
        match self {
            BundledEngine::Rten => "rten",
            BundledEngine::Tract => "tract",
        }
    }

    /// Returns the file of the module of this engine, or of its part for small networks.
    pub(super) fn module(self, is_small: bool) -> &'static str {
        match (self, is_small) {
            (BundledEngine::Rten, true) => "nn-rten-small.wasm",
            (BundledEngine::Rten, false) => "nn-rten.wasm",
            (BundledEngine::Tract, _) => "nn-tract.wasm",
        }
    }

    /// Returns the graph in the form for this engine.
    fn prepare(self, path: &Path, options: &LoadOptions) -> Result<PreparedGraph, BackendError> {
        let source = ModelSource::Path(path);
        let (model, weights, is_small) = match self {
            BundledEngine::Rten => {
                let split = wisp_backend::rten::split(source, options)?;
                let weights = Some(split.weights).filter(|weights| !weights.is_empty());
                (split.graph, weights, split.is_small)
            }
            BundledEngine::Tract => {
                Tract::new().load(source, options)?;
                (self_contained(source)?, None, false)
            }
        };
        Ok(PreparedGraph {
            name: String::new(),
            model,
            weights,
            is_small,
            shapes: options.shapes.clone(),
        })
    }
}

/// Returns the graphs of the version for the chosen backend. With [`BackendChoice::Auto`], that is the first that can
/// load all of them.
pub(super) fn prepare(choice: BackendChoice, source: &Source) -> anyhow::Result<Prepared> {
    refuse_other_formats(source)?;
    let engines: &[BundledEngine] = match choice {
        BackendChoice::Auto => &[BundledEngine::Rten, BundledEngine::Tract],
        BackendChoice::Rten => &[BundledEngine::Rten],
        BackendChoice::Tract => &[BundledEngine::Tract],
    };
    let mut reasons = Vec::new();
    for engine in engines {
        match prepare_all(*engine, source) {
            Ok(graphs) => {
                return Ok(Prepared {
                    engine: *engine,
                    is_small: are_small(&graphs),
                    graphs,
                });
            }
            Err(reason) => reasons.push(reason),
        }
    }
    bail!(
        "no backend of a bundle can compute the model:\n{}",
        reasons.join("\n")
    )
}

fn are_small(graphs: &[PreparedGraph]) -> bool {
    let sizes = graphs.iter().map(PreparedGraph::bytes);
    let bytes = sizes.fold(0, usize::saturating_add);
    bytes <= MAX_SMALL_BYTES && graphs.iter().all(|graph| graph.is_small)
}

fn prepare_all(engine: BundledEngine, source: &Source) -> Result<Vec<PreparedGraph>, String> {
    let graphs = &source.files.graphs;
    let defaults = LoadOptions::default();
    let prepared = graphs.iter().map(|(name, path)| {
        let options = match is_main_graph(name, graphs) {
            true => &source.options,
            false => &defaults,
        };
        match engine.prepare(path, options) {
            Ok(graph) => Ok(PreparedGraph {
                name: name.clone(),
                ..graph
            }),
            Err(error) => Err(format!("graph `{name}`: {}", with_cause(&error))),
        }
    });
    prepared.collect()
}

/// Returns the text of an error and its cause.
fn with_cause(error: &BackendError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn refuse_other_formats(source: &Source) -> anyhow::Result<()> {
    for (name, path) in &source.files.graphs {
        let format = Format::of(path).map_or(Format::Onnx, |(format, _)| format);
        if format != Format::Onnx {
            bail!("graph `{name}` is in the format NNEF; the backends of bundles read ONNX");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_graphs_and_rare_operators_get_the_module_compiled_for_speed() {
        let graph = |weights: usize, is_small: bool| PreparedGraph {
            name: "model".to_owned(),
            model: vec![0; 1 << 20],
            weights: Some(vec![0; weights]),
            is_small,
            shapes: BTreeMap::new(),
        };
        assert!(are_small(&[graph(3 << 20, true)]));
        assert!(!are_small(&[graph((3 << 20) + 1, true)]));
        assert!(!are_small(&[graph(0, false)]));
        let two = [graph(2 << 20, true), graph(2 << 20, true)];
        assert!(!are_small(&two));
    }
}
