//! The graphs and the settings of the version, which are loaded before the snapshot.

use crate::configuration::Configuration;
use crate::log_line::one_line;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use wisp_backend::{BackendError, Graph};
use wisp_edge::provider::{GraphEntry, ProviderManifest};
use wisp_edge_preload::Blob;
use wisp_tensor::Dimension;

static PROVIDER: OnceLock<Provider> = OnceLock::new();

/// The graphs and settings that all requests share. Lifetime: the module.
#[derive(Debug)]
pub struct Provider {
    graphs: Vec<LoadedGraph>,
    /// The position of the graph of a version without a handler.
    model: Option<usize>,
    configuration: Configuration,
}

/// The parts of a graph before it is loaded.
#[derive(Debug, Clone)]
pub struct GraphSource {
    /// The ONNX file, or the graph of a split model.
    pub model: Blob,
    /// The weights of a split model, or nothing.
    pub weights: Blob,
    /// The shapes that the settings of the model fix.
    pub shapes: BTreeMap<String, Vec<Dimension>>,
}

/// A graph and its names.
#[derive(Debug)]
struct LoadedGraph {
    names: Vec<String>,
    graph: Arc<dyn Graph>,
}

type LoadGraph = fn(&GraphSource) -> Result<Arc<dyn Graph>, BackendError>;

/// Loads the graphs that the manifest describes, for all later calls of [`provider`]. Errors contain the name of the graph.
pub fn load(manifest: &[u8], blobs: &[Blob], load_graph: LoadGraph) -> Result<(), String> {
    let provider = Provider::load(manifest, blobs, load_graph)?;
    PROVIDER
        .set(provider)
        .map_err(|_| "the module has been loaded before".to_owned())
}

/// Returns the provider, if it has been loaded.
pub fn provider() -> Option<&'static Provider> {
    PROVIDER.get()
}

impl Provider {
    fn load(manifest: &[u8], blobs: &[Blob], load_graph: LoadGraph) -> Result<Provider, String> {
        let manifest = ProviderManifest::from_json(manifest)
            .map_err(|error| format!("the manifest is not valid: {error}"))?;
        let ProviderManifest {
            graphs,
            config,
            files,
            model,
        } = manifest;
        let loaded = graphs.into_iter().map(|entry| {
            let name = entry.names.first().cloned().unwrap_or_default();
            let source =
                source(&entry, blobs).map_err(|reason| format!("graph `{name}`: {reason}"))?;
            let graph = load_graph(&source)
                .map_err(|error| format!("graph `{name}`: {}", one_line(error.into_reason())))?;
            Ok(LoadedGraph {
                names: entry.names,
                graph,
            })
        });
        let graphs = loaded.collect::<Result<Vec<LoadedGraph>, String>>()?;
        let position = model.map(|name| {
            let position = graphs.iter().position(|graph| graph.is_named(&name));
            position.ok_or_else(|| format!("there is no graph `{name}`, which the model is to be"))
        });
        let files = files.into_iter().map(|file| {
            let content = blob(blobs, file.blob)?;
            Ok((file.name, content))
        });
        let files = files.collect::<Result<Vec<(String, Blob)>, String>>()?;
        Ok(Provider {
            model: position.transpose()?,
            graphs,
            configuration: Configuration::new(config, files),
        })
    }

    /// Returns the graph of this name.
    pub fn graph(&self, name: &str) -> Option<&Arc<dyn Graph>> {
        // A version has one or two graphs, so comparing is faster than hashing.
        let mut graphs = self.graphs.iter();
        let found = graphs.find(|graph| graph.is_named(name))?;
        Some(&found.graph)
    }

    /// Returns the graph of a version without a handler.
    pub fn model(&self) -> Option<&Arc<dyn Graph>> {
        let loaded = self.graphs.get(self.model?)?;
        Some(&loaded.graph)
    }

    /// Returns the settings and files of the handler.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }
}

impl LoadedGraph {
    fn is_named(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }
}

fn source(entry: &GraphEntry, blobs: &[Blob]) -> Result<GraphSource, String> {
    Ok(GraphSource {
        model: blob(blobs, entry.model)?,
        weights: match entry.weights {
            Some(number) => blob(blobs, number)?,
            None => &[],
        },
        shapes: entry.input_shapes()?,
    })
}

fn blob(blobs: &[Blob], number: usize) -> Result<Blob, String> {
    let found = blobs.get(number).copied();
    found.ok_or_else(|| format!("blob {number} is missing, there are {}", blobs.len()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use wisp_backend::Rows;
    use wisp_edge::provider::FileEntry;
    use wisp_tensor::{ElementType, NamedTensor, Signature, TensorSpec};

    /// A graph that returns its input, and refuses one whose first byte is not 0.
    #[derive(Debug)]
    pub(crate) struct Identity(Signature);

    impl Identity {
        pub(crate) fn new(element_type: ElementType) -> Identity {
            let spec = |name: &str| TensorSpec {
                name: name.to_owned(),
                element_type,
                shape: vec![Dimension::Variable, Dimension::Fixed(2)],
                optional: false,
            };
            Identity(Signature {
                inputs: vec![spec("x")],
                outputs: vec![spec("y")],
            })
        }
    }

    impl Graph for Identity {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn rows(&self) -> Rows {
            Rows::Independent
        }

        fn compute(&self, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, BackendError> {
            let tensor = inputs[0].tensor.clone();
            match tensor.content().first() {
                Some(0) => Ok(vec![NamedTensor {
                    name: "y".to_owned(),
                    tensor,
                }]),
                Some(_) => Err(BackendError::Inputs {
                    backend: "identity",
                    reason: "internals".to_owned(),
                    explanation: "the first byte is not 0".to_owned(),
                }),
                None => Err(BackendError::Compute {
                    backend: "identity",
                    reason: "there is no first byte".to_owned(),
                }),
            }
        }
    }

    fn load_identity(source: &GraphSource) -> Result<Arc<dyn Graph>, BackendError> {
        match source.model {
            b"good" => Ok(Arc::new(Identity::new(ElementType::Fp32))),
            _ => Err(BackendError::Load {
                backend: "identity",
                reason: "bad\nfile".to_owned(),
            }),
        }
    }

    fn load(manifest: &ProviderManifest, blobs: &[Blob]) -> Result<Provider, String> {
        Provider::load(&manifest.to_json().unwrap(), blobs, load_identity)
    }

    fn manifest() -> ProviderManifest {
        ProviderManifest {
            graphs: vec![GraphEntry {
                names: vec!["model".to_owned(), "digits".to_owned()],
                ..GraphEntry::default()
            }],
            files: vec![FileEntry {
                name: "words".to_owned(),
                blob: 1,
            }],
            model: Some("digits".to_owned()),
            ..ProviderManifest::default()
        }
    }

    #[test]
    fn a_graph_is_found_by_each_of_its_names() {
        let provider = load(&manifest(), &[b"good", b"a b"]).unwrap();
        for name in ["model", "digits"] {
            assert!(provider.graph(name).is_some(), "{name}");
        }
        assert!(provider.graph("other").is_none());
        assert!(provider.model().is_some());
        assert_eq!(provider.configuration().file_size("words"), Some(3));
    }

    #[test]
    fn an_error_names_the_graph_and_is_one_line() {
        let error = |manifest: &ProviderManifest, blobs: &[Blob]| {
            load(manifest, blobs).err().unwrap_or_default()
        };
        let bad = error(&manifest(), &[b"bad", b""]);
        assert!(
            bad.starts_with("graph `model`: bad") && !bad.contains('\n'),
            "{bad}"
        );
        assert!(error(&manifest(), &[b"good"]).contains("blob 1 is missing, there are 1"));
        let unknown = ProviderManifest {
            model: Some("other".to_owned()),
            ..manifest()
        };
        assert!(error(&unknown, &[b"good", b""]).contains("no graph `other`"));
        let error = Provider::load(b"{", &[], load_identity)
            .err()
            .unwrap_or_default();
        assert!(error.contains("manifest"), "{error}");
    }
}
