//! The reasons that no backend was selected for a graph, with the remedy.
//!
//! The messages are for clients too and contain no path.

use crate::registry::graph_file::GraphFileError;
use std::fmt;
use wisp_backend::measure::REFERENCE;
use wisp_backend::model_outline::ModelOutline;
use wisp_backend::{Backend, Backends, MISSING_OPERATORS};
use wisp_tensor::sanitize::shorten;

/// The maximum length of the reason of one backend.
const MAX_REASON_CHARS: usize = 400;

/// The reason that no backend was selected.
#[derive(Debug, thiserror::Error)]
pub enum BackendSelectionError {
    #[error("no backend can serve it: {}{advice}", list(refusals))]
    NoBackend {
        /// The reasons of all available backends.
        refusals: Vec<Refusal>,
        advice: Advice,
    },
    #[error(
        "{} and {} compute different outputs for it, which differ by {difference:.1e}, and nothing \
         decides which are right{advice}",
        backends[0], backends[1]
    )]
    Disagreement {
        backends: [&'static str; 2],
        difference: f64,
        advice: Advice,
    },
}

/// The reason that one backend does not load a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub backend: &'static str,
    pub reason: String,
    /// Set if the backend or device is missing on this machine.
    pub is_unavailable: bool,
}

/// The answer to whether installing ONNX Runtime helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// ONNX Runtime is not installed, and has all operators of the file.
    InstallOnnxRuntime,
    /// ONNX Runtime is not installed, and has no operators of this domain.
    ForeignOperators { domain: String },
    /// ONNX Runtime is not installed, and does not have this operator.
    UnknownOperator { operator: String },
    /// ONNX Runtime has been tried, or the file is no ONNX file, or it has inputs or outputs that no backend serves.
    Nothing,
}

// === impl BackendSelectionError ===

impl BackendSelectionError {
    /// Returns whether the only reasons are backends or devices that this machine does not have.
    pub fn is_unavailable(&self) -> bool {
        match self {
            BackendSelectionError::NoBackend { refusals, .. } => {
                !refusals.is_empty() && refusals.iter().all(|refusal| refusal.is_unavailable)
            }
            BackendSelectionError::Disagreement { .. } => false,
        }
    }
}

fn list(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "there is no backend to choose from".to_owned();
    }
    if let Some(reason) = shared_reason(refusals) {
        let backends: Vec<&str> = refusals.iter().map(|refusal| refusal.backend).collect();
        return format!("{} refuse: {reason}", backends.join(" and "));
    }
    let refusals = refusals.iter().map(Refusal::to_string);
    refusals.collect::<Vec<_>>().join("; ")
}

/// Returns the reason of several backends, if all have the same.
fn shared_reason(refusals: &[Refusal]) -> Option<&str> {
    let (first, others) = refusals.split_first()?;
    let is_shared = !others.is_empty() && others.iter().all(|other| other.reason == first.reason);
    is_shared.then_some(first.reason.as_str())
}

/// Returns whether the file itself or its settings are at fault, so that another backend would refuse it too: backends
/// share the code that checks these, and have operators of their own.
pub(super) fn is_fault_of_file(refusals: &[Refusal]) -> bool {
    shared_reason(refusals).is_some_and(|reason| !reason.starts_with(MISSING_OPERATORS))
}

// === impl Refusal ===

impl Refusal {
    pub(super) fn new(backend: &dyn Backend, error: GraphFileError) -> Refusal {
        Refusal {
            backend: backend.name(),
            is_unavailable: error.is_unavailable(),
            reason: shorten(&error.into_reason(), MAX_REASON_CHARS),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refuses: {}", self.backend, self.reason)
    }
}

// === impl Advice ===

impl Advice {
    /// Returns the advice for a file with this outline, if it has one.
    pub(super) fn new(backends: &Backends, outline: Option<&ModelOutline>) -> Advice {
        let is_missing = backends
            .find(REFERENCE)
            .is_ok_and(|reference| reference.available().is_err());
        let Some(outline) = outline.filter(|found| {
            // These are refused before any operator is looked up.
            is_missing && found.nodes > 0 && !found.has_other_values
        }) else {
            return Advice::Nothing;
        };
        if let Some(domain) = outline.foreign_domain() {
            return Advice::ForeignOperators {
                domain: shorten(domain, MAX_REASON_CHARS),
            };
        }
        match outline.unknown_operator() {
            None => Advice::InstallOnnxRuntime,
            Some(operator) => Advice::UnknownOperator {
                operator: shorten(operator, MAX_REASON_CHARS),
            },
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advice::InstallOnnxRuntime => f.write_str(
                "; ONNX Runtime has these operators, install it with \
                 `wisp backend install onnxruntime`",
            ),
            Advice::ForeignOperators { domain } => {
                write!(
                    f,
                    "; ONNX Runtime has no operators of `{domain}` and would refuse it too"
                )
            }
            Advice::UnknownOperator { operator } => {
                write!(
                    f,
                    "; ONNX Runtime has no operator `{operator}` and would refuse it too"
                )
            }
            Advice::Nothing => Ok(()),
        }
    }
}
