//! The operators that a module of an edge bundle contains, since each takes some kilobytes of it.
//!
//! Only the operators in a set are linked. The operators that rten itself puts in the place of others while it optimises a
//! graph are in every module.

#[cfg(feature = "threads")]
use crate::onnx::node_parts::{inner_graphs, is_onnx};
#[cfg(feature = "threads")]
use crate::pb::{GraphProto, ModelProto};
use rten::{OpRegistry, op_registry};

/// A set of operators, for [`super::Rten::load_split`].
#[derive(Debug, Clone, Copy)]
pub struct OperatorSet {
    /// Returns the registry, which cannot be sent between threads.
    pub(super) registry: fn() -> OpRegistry,
}

/// Defines the small set once, for the registry and for the check of a model.
macro_rules! small_set {
    ($($operator:ident),* $(,)?) => {
        /// The names of the operators of [`OperatorSet::small`].
        #[cfg(feature = "threads")]
        const SMALL: &[&str] = &["Constant", $(stringify!($operator)),*];

        fn small_registry() -> OpRegistry {
            op_registry!($($operator),*)
        }
    };
}

// Those of convolutional networks and perceptrons, as exporters write them.
small_set!(
    Add,
    AveragePool,
    BatchNormalization,
    Cast,
    Clip,
    Concat,
    Conv,
    Div,
    Elu,
    Exp,
    Flatten,
    Gather,
    Gemm,
    GlobalAveragePool,
    HardSigmoid,
    HardSwish,
    Identity,
    LeakyRelu,
    LogSoftmax,
    MatMul,
    MaxPool,
    Mul,
    PRelu,
    ReduceMean,
    Relu,
    Reshape,
    Shape,
    Sigmoid,
    Slice,
    Softmax,
    Sqrt,
    Squeeze,
    Sub,
    Tanh,
    Transpose,
    Unsqueeze,
);

// === impl OperatorSet ===

impl OperatorSet {
    /// Returns all operators that rten has without its optional features.
    pub fn all() -> OperatorSet {
        OperatorSet {
            registry: OpRegistry::with_all_ops,
        }
    }

    /// Returns the operators of most convolutional networks and perceptrons.
    pub fn small() -> OperatorSet {
        OperatorSet {
            registry: small_registry,
        }
    }
}

/// Returns whether all operators of a model are in the small set.
#[cfg(feature = "threads")]
pub(super) fn is_small(model: &ModelProto) -> bool {
    model.graph.as_ref().is_some_and(is_small_graph)
}

#[cfg(feature = "threads")]
fn is_small_graph(graph: &GraphProto) -> bool {
    graph
        .node
        .iter()
        .all(|node| is_onnx(node, SMALL) && inner_graphs(node).all(is_small_graph))
}
