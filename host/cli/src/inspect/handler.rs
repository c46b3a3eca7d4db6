//! Reads a handler's signature by calling it in the sandbox that also serves it.
//!
//! The server's deadline and limits apply, and there are no graphs. A handler that fails is reported
//! with the reason. The sandbox is started for the first handler only, since most files are not
//! handlers.

use crate::display;
use crate::loading::{LoadingOptions, loader};
use crate::options::BackendArgs;
use serde::Serialize;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use wisp_sandbox::component::CheckedComponent;
use wisp_sandbox::compute::Graphs;
use wisp_sandbox::grants::Grant;
use wisp_sandbox::handler::{Handler, HandlerSignature};
use wisp_sandbox::limits::Limits;
use wisp_serving::registry::loader::Loader;
use wisp_serving::registry::version_signature::SignaturePolicy;
use wisp_tensor::{Signature, TensorSpec};

/// Calls handlers for their signatures, in a sandbox that is started for the first one.
pub(super) struct HandlerInspection<'a> {
    cache_dir: Option<&'a Path>,
    loader: Option<Loader>,
}

/// A handler's signature, or the reason why it could not be read.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum SignatureOutcome {
    Signature(SignatureReport),
    Failure { error: String },
}

#[derive(Debug, Serialize)]
pub(super) struct SignatureReport {
    #[serde(flatten)]
    model: TensorsReport,
    graphs: Vec<GraphReport>,
}

#[derive(Debug, Serialize)]
struct GraphReport {
    name: String,
    #[serde(flatten)]
    tensors: TensorsReport,
}

/// The input and output tensors.
#[derive(Debug, Serialize)]
struct TensorsReport {
    inputs: Vec<TensorReport>,
    outputs: Vec<TensorReport>,
}

#[derive(Debug, Serialize)]
struct TensorReport {
    name: String,
    datatype: &'static str,
    /// -1 for a variable axis.
    shape: Vec<i64>,
    optional: bool,
    /// The human-readable form.
    #[serde(skip)]
    text: String,
}

// === impl HandlerInspection ===

impl<'a> HandlerInspection<'a> {
    pub(super) fn new(cache_dir: Option<&'a Path>) -> HandlerInspection<'a> {
        HandlerInspection {
            cache_dir,
            loader: None,
        }
    }

    /// Calls the handler `wasm` for its signature. An `Err` is a failure of the sandbox itself.
    pub(super) fn signature(&mut self, wasm: &[u8]) -> anyhow::Result<SignatureOutcome> {
        let loader = match self.loader.take() {
            Some(loader) => loader,
            None => loader(&LoadingOptions {
                cache_dir: self.cache_dir,
                threads: Some(NonZeroUsize::MIN),
                direct_calls: false,
                max_instances: 1,
                memory: None,
                limits: Limits::default(),
                model_load: None,
                signatures: SignaturePolicy::default(),
                spawner: None,
                // No graphs are loaded, so the default backend is enough.
                backend: &BackendArgs::default(),
            })?,
        };
        let outcome = match read_signature(&loader, wasm) {
            Ok(signature) => SignatureOutcome::Signature(signature.into()),
            Err(error) => SignatureOutcome::Failure {
                error: format!("{error:#}"),
            },
        };
        self.loader = Some(loader);
        Ok(outcome)
    }
}

fn read_signature(loader: &Loader, wasm: &[u8]) -> anyhow::Result<HandlerSignature> {
    // The model that would grant something is not known, and a signature can do no harm with it.
    let grants = Grant::ALL.into();
    let component = CheckedComponent::load(&loader.engine, &loader.aot, wasm, &grants)?;
    let limits = loader.limits.clone();
    let handler = Handler::load(
        &loader.engine,
        &component,
        Arc::new(Graphs::default()),
        limits,
    )?;
    Ok(handler.signature().clone())
}

// === Reports of signatures ===

impl SignatureReport {
    pub(super) fn has_output(&self, name: &str) -> bool {
        let mut outputs = self.model.outputs.iter();
        outputs.any(|output| output.name == name)
    }
}

impl From<HandlerSignature> for SignatureReport {
    fn from(signature: HandlerSignature) -> SignatureReport {
        let HandlerSignature { model, graphs } = signature;
        let graph = |(name, signature): (String, Signature)| GraphReport {
            name,
            tensors: signature.into(),
        };
        SignatureReport {
            model: model.into(),
            graphs: graphs.into_iter().map(graph).collect(),
        }
    }
}

impl From<Signature> for TensorsReport {
    fn from(signature: Signature) -> TensorsReport {
        let reports = |specs: &[TensorSpec]| specs.iter().map(TensorReport::from).collect();
        TensorsReport {
            inputs: reports(&signature.inputs),
            outputs: reports(&signature.outputs),
        }
    }
}

impl From<&TensorSpec> for TensorReport {
    fn from(spec: &TensorSpec) -> TensorReport {
        let axes = spec.shape.iter();
        TensorReport {
            name: spec.name.clone(),
            datatype: spec.element_type.name(),
            shape: axes.map(|dimension| dimension.to_wire()).collect(),
            optional: spec.optional,
            text: display::tensor(spec),
        }
    }
}

impl fmt::Display for SignatureOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignatureOutcome::Signature(signature) => signature.fmt(f),
            SignatureOutcome::Failure { error } => {
                writeln!(f, "  signature    could not be read: {error}")
            }
        }
    }
}

impl fmt::Display for SignatureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.model.inputs {
            writeln!(f, "  input        {}", input.text)?;
        }
        for output in &self.model.outputs {
            writeln!(f, "  output       {}", output.text)?;
        }
        for GraphReport { name, tensors } in &self.graphs {
            writeln!(f, "  graph        {name}")?;
            for input in &tensors.inputs {
                writeln!(f, "    input      {}", input.text)?;
            }
            for output in &tensors.outputs {
                writeln!(f, "    output     {}", output.text)?;
            }
        }
        Ok(())
    }
}
