//! The signature that a handler declares, and its validation.
//!
//! It is read once, when a version is loaded. Its names and shapes are part of every metadata response
//! and every check of a request, so declarations that no request could ever satisfy are refused here, by
//! name.

use super::wire::Datatype;
use crate::text::{MAX_NAME_BYTES, shown};
use std::collections::HashSet;
use wasmtime::component::{ComponentType, Lift, TypedFunc};
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::{Dimension, TensorSpec};

pub(super) type ReadSignature = TypedFunc<(), (Signature,)>;

/// The maximum number of inputs, and of outputs, of a model or graph.
const MAX_TENSORS: usize = 1024;

/// The maximum number of graphs that a handler may load.
const MAX_GRAPHS: usize = 16;

/// The inputs, outputs and graphs that a handler declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HandlerSignature {
    /// The inputs and outputs for clients; shapes as on the wire, batch axis included.
    pub model: wisp_tensor::Signature,
    /// The graphs that the handler loads, by name, with the signatures it expects.
    pub graphs: Vec<(String, wisp_tensor::Signature)>,
}

/// The error in a signature and the part that it concerns. Names are shortened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature's {subject} {error}")]
pub(super) struct SignatureError {
    subject: String,
    error: DeclarationError,
}

/// The error in the declaration of a tensor or graph.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum DeclarationError {
    #[error("are {count}, the limit is {limit}")]
    TooMany { count: usize, limit: usize },
    #[error("is declared twice")]
    Duplicate,
    #[error("has a name of {bytes} bytes, the limit is {MAX_NAME_BYTES}")]
    LongName { bytes: usize },
    #[error("has {rank} dimensions, the limit is {MAX_RANK}")]
    Rank { rank: usize },
    #[error(
        "has a dimension of {size}, expected -1 or a size of at most {}",
        u32::MAX
    )]
    Dimension { size: i64 },
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct Spec {
    name: String,
    datatype: Datatype,
    shape: Vec<i64>,
    optional: bool,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct GraphSpec {
    name: String,
    inputs: Vec<Spec>,
    outputs: Vec<Spec>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(super) struct Signature {
    inputs: Vec<Spec>,
    outputs: Vec<Spec>,
    graphs: Vec<GraphSpec>,
}

/// The inputs or outputs of the model or of one graph, for error messages.
struct Place<'a> {
    kind: &'static str,
    graph: Option<&'a str>,
}

impl TryFrom<Signature> for HandlerSignature {
    type Error = SignatureError;

    fn try_from(signature: Signature) -> Result<HandlerSignature, SignatureError> {
        let Signature {
            inputs,
            outputs,
            graphs,
        } = signature;
        let mut names = HashSet::new();
        for graph in &graphs {
            check_name(&graph.name, &mut names)
                .map_err(|error| error.of(format!("graph `{}`", shown(&graph.name))))?;
        }
        if graphs.len() > MAX_GRAPHS {
            let (count, limit) = (graphs.len(), MAX_GRAPHS);
            return Err(DeclarationError::TooMany { count, limit }.of("graphs"));
        }
        let graphs = graphs.into_iter().map(|graph| {
            let signature = tensors(graph.inputs, graph.outputs, Some(&graph.name))?;
            Ok((graph.name, signature))
        });
        Ok(HandlerSignature {
            graphs: graphs.collect::<Result<_, SignatureError>>()?,
            model: tensors(inputs, outputs, None)?,
        })
    }
}

fn tensors(
    inputs: Vec<Spec>,
    outputs: Vec<Spec>,
    graph: Option<&str>,
) -> Result<wisp_tensor::Signature, SignatureError> {
    let place = |kind| Place { kind, graph };
    Ok(wisp_tensor::Signature {
        inputs: place("input").check_all(inputs)?,
        outputs: place("output").check_all(outputs)?,
    })
}

fn check_name<'a>(name: &'a str, others: &mut HashSet<&'a str>) -> Result<(), DeclarationError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(DeclarationError::LongName { bytes: name.len() });
    }
    if !others.insert(name) {
        return Err(DeclarationError::Duplicate);
    }
    Ok(())
}

impl DeclarationError {
    fn of(self, subject: impl Into<String>) -> SignatureError {
        SignatureError {
            subject: subject.into(),
            error: self,
        }
    }
}

impl Place<'_> {
    fn check_all(&self, specs: Vec<Spec>) -> Result<Vec<TensorSpec>, SignatureError> {
        if specs.len() > MAX_TENSORS {
            let (count, limit) = (specs.len(), MAX_TENSORS);
            let subject = format!("{}s{}", self.kind, self.of_graph());
            return Err(DeclarationError::TooMany { count, limit }.of(subject));
        }
        let mut names = HashSet::new();
        for spec in &specs {
            check_name(&spec.name, &mut names).map_err(|error| self.at(spec, error))?;
        }
        specs.into_iter().map(|spec| self.check(spec)).collect()
    }

    fn check(&self, spec: Spec) -> Result<TensorSpec, SignatureError> {
        let rank = spec.shape.len();
        if rank > MAX_RANK {
            return Err(self.at(&spec, DeclarationError::Rank { rank }));
        }
        let dimension = |&size: &i64| {
            let dimension = Dimension::from_wire(size);
            dimension.ok_or_else(|| self.at(&spec, DeclarationError::Dimension { size }))
        };
        Ok(TensorSpec {
            shape: spec.shape.iter().map(dimension).collect::<Result<_, _>>()?,
            element_type: spec.datatype.into(),
            optional: spec.optional,
            name: spec.name,
        })
    }

    fn at(&self, spec: &Spec, error: DeclarationError) -> SignatureError {
        let (kind, name) = (self.kind, shown(&spec.name));
        error.of(format!("{kind} `{name}`{}", self.of_graph()))
    }

    fn of_graph(&self) -> String {
        let of = |graph| format!(" of graph `{}`", shown(graph));
        self.graph.map(of).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, shape: &[i64]) -> Spec {
        Spec {
            name: name.to_owned(),
            datatype: Datatype::Fp32,
            shape: shape.to_owned(),
            optional: false,
        }
    }

    fn graph(name: &str) -> GraphSpec {
        GraphSpec {
            name: name.to_owned(),
            inputs: vec![spec("x", &[-1, 3])],
            outputs: vec![spec("x", &[-1])],
        }
    }

    fn signature(inputs: Vec<Spec>, graphs: Vec<GraphSpec>) -> Signature {
        Signature {
            inputs,
            outputs: vec![spec("y", &[-1])],
            graphs,
        }
    }

    fn refusal(inputs: Vec<Spec>, graphs: Vec<GraphSpec>) -> String {
        match HandlerSignature::try_from(signature(inputs, graphs)) {
            Ok(signature) => panic!("{signature:?} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_input_and_an_output_may_have_one_name() -> anyhow::Result<()> {
        let told = signature(vec![spec("y", &[0, -1])], vec![graph("a"), graph("b")]);
        let read = HandlerSignature::try_from(told)?;
        assert_eq!(read.graphs.len(), 2);
        let shape = [Dimension::Fixed(0), Dimension::Variable];
        assert_eq!(read.model.inputs[0].shape, shape);
        Ok(())
    }

    #[test]
    fn a_tensor_or_graph_that_is_declared_twice_is_named() {
        let twice = || vec![spec("x", &[1]), spec("x", &[2])];
        assert_eq!(
            refusal(twice(), vec![]),
            "the signature's input `x` is declared twice"
        );
        let model = GraphSpec {
            outputs: twice(),
            ..graph("model")
        };
        assert_eq!(
            refusal(vec![], vec![model]),
            "the signature's output `x` of graph `model` is declared twice"
        );
        assert_eq!(
            refusal(vec![], vec![graph("model"), graph("model")]),
            "the signature's graph `model` is declared twice"
        );
    }

    #[test]
    fn a_name_longer_than_1024_bytes_is_shown_cut() {
        assert!(
            HandlerSignature::try_from(signature(vec![spec(&"n".repeat(1024), &[])], vec![]))
                .is_ok()
        );
        let text = refusal(vec![spec(&"n".repeat(1025), &[])], vec![]);
        assert!(
            text.ends_with("n…` has a name of 1025 bytes, the limit is 1024"),
            "{text}"
        );
        assert!(text.len() < 200, "{text}");
        let text = refusal(vec![], vec![graph(&"g".repeat(1025))]);
        assert!(text.contains("graph `ggg"), "{text}");
    }

    #[test]
    fn a_shape_that_no_tensor_can_have_is_named() {
        assert_eq!(
            refusal(vec![spec("x", &[1; 17])], vec![]),
            "the signature's input `x` has 17 dimensions, the limit is 16"
        );
        for size in [-2, i64::MIN, 1 << 32] {
            let text = refusal(vec![spec("x", &[size])], vec![]);
            let expected = format!("the signature's input `x` has a dimension of {size}, expected");
            assert!(text.starts_with(&expected), "{text}");
        }
    }

    #[test]
    fn too_many_tensors_or_graphs_are_refused_with_their_count() {
        let many = (0..1025).map(|i| spec(&i.to_string(), &[])).collect();
        assert_eq!(
            refusal(many, vec![]),
            "the signature's inputs are 1025, the limit is 1024"
        );
        let many = (0..17).map(|i| graph(&i.to_string())).collect();
        assert_eq!(
            refusal(vec![], many),
            "the signature's graphs are 17, the limit is 16"
        );
    }
}
