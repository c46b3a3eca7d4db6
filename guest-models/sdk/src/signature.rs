//! The declarations of a handler: inputs and outputs for clients, and the graphs that it needs.
//!
//! The host reads the signature when a version is loaded, compares it with the real graphs, and then
//! checks every request and response against it.

use crate::error::Result;
use crate::{Datatype, Tensor};

/// The inputs and outputs for clients, and the graphs behind them.
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
    /// The inputs of a request.
    pub inputs: Vec<TensorSpec>,
    /// The outputs of a response.
    pub outputs: Vec<TensorSpec>,
    /// Every graph that the handler computes.
    pub graphs: Vec<GraphSpec>,
}

/// A graph and the inputs and outputs that the handler expects of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSpec {
    /// The name of the graph: `model` for `model.onnx`.
    pub name: String,
    /// The inputs that the handler provides.
    pub inputs: Vec<TensorSpec>,
    /// The outputs that the handler uses.
    pub outputs: Vec<TensorSpec>,
}

/// The declaration of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name for clients or in the graph.
    pub name: String,
    /// The type of the elements.
    pub datatype: Datatype,
    /// The size of each axis, including the batch axis; -1 if the size may vary.
    pub shape: Vec<i64>,
    /// True if a request may omit the tensor; false for outputs.
    pub optional: bool,
}

// === impl Signature ===

impl Signature {
    /// Creates an empty signature.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an input that a request needs, unless optional inputs replace it.
    #[must_use]
    pub fn input(mut self, name: &str, datatype: Datatype, shape: &[i64]) -> Self {
        self.inputs.push(TensorSpec::new(name, datatype, shape));
        self
    }

    /// Declares an input that a request may omit.
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
    /// Creates a graph without inputs and outputs.
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
