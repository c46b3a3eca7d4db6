//! What a handler declares: what clients send and get, and the graphs that takes.
//!
//! The host reads it when a version is loaded, compares it with the real graphs, and from then on
//! checks every request and response against it.

use crate::error::Result;
use crate::{Datatype, Tensor};

/// The inputs and outputs that clients see, and the graphs behind them.
///
/// ```
/// use wisp_handler::{Datatype, GraphSpec, Signature};
///
/// let signature = Signature::new()
///     .input("image", Datatype::Bytes, &[-1])
///     .optional_input("pixels", Datatype::Uint8, &[-1, -1, -1])
///     .output("label", Datatype::Bytes, &[-1])
///     .graph(
///         GraphSpec::new("model")
///             .input("pixels", Datatype::Fp32, &[-1, 1, 8, 8])
///             .output("logits", Datatype::Fp32, &[-1, 10]),
///     );
/// assert_eq!(signature.inputs.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// What a request may carry.
    pub inputs: Vec<TensorSpec>,
    /// What a response carries.
    pub outputs: Vec<TensorSpec>,
    /// Every graph that the handler computes.
    pub graphs: Vec<GraphSpec>,
}

/// A graph by name, as the handler expects it to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSpec {
    /// `model` for `model.onnx`.
    pub name: String,
    /// What the handler computes it with.
    pub inputs: Vec<TensorSpec>,
    /// What the handler takes from it.
    pub outputs: Vec<TensorSpec>,
}

/// What is declared of a tensor before there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// As clients or the graph spell it.
    pub name: String,
    /// The type of the elements.
    pub datatype: Datatype,
    /// Sizes per axis, batch axis included; -1 where the size may vary.
    pub shape: Vec<i64>,
    /// Whether a request is complete without it; false for outputs.
    pub optional: bool,
}

// === impl Signature ===

impl Signature {
    /// A signature with nothing declared yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an input that a request needs, or that an optional one stands in for.
    #[must_use]
    pub fn input(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.inputs.push(TensorSpec::new(name, datatype, shape));
        self
    }

    /// Declares an input that a request may leave out.
    #[must_use]
    pub fn optional_input(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.inputs.push(TensorSpec {
            optional: true,
            ..TensorSpec::new(name, datatype, shape)
        });
        self
    }

    /// Declares an output.
    #[must_use]
    pub fn output(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.outputs.push(TensorSpec::new(name, datatype, shape));
        self
    }

    /// Declares a graph that the handler computes.
    #[must_use]
    pub fn graph(mut self, graph: GraphSpec) -> Self {
        self.graphs.push(graph);
        self
    }
}

// === impl GraphSpec ===

impl GraphSpec {
    /// A graph with nothing declared yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Declares an input of the graph.
    #[must_use]
    pub fn input(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.inputs.push(TensorSpec::new(name, datatype, shape));
        self
    }

    /// Declares an output of the graph.
    #[must_use]
    pub fn output(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.outputs.push(TensorSpec::new(name, datatype, shape));
        self
    }
}

// === impl TensorSpec ===

impl TensorSpec {
    fn new(name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        Self {
            name: name.into(),
            datatype,
            shape: shape.to_vec(),
            optional: false,
        }
    }

    pub(crate) fn check(&self, tensor: &Tensor) -> Result<()> {
        tensor.expect_datatype(self.datatype)?;
        tensor.expect_shape(&self.shape)
    }
}
