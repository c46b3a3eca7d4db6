//! The requests of a version without a handler, which its graph computes as they are.
//!
//! The HTTP adapter has checked a request against the description of the model, which is the graph's signature
//! with the settings of the model. Here, only the requirements of the graph itself are checked.

use crate::failure::{Failure, FailureCode};
use crate::inference;
use wisp_backend::Graph;
use wisp_tensor::NamedTensor;

/// The failure of a request, as `wisp:handler/model` distinguishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFailure {
    /// The request is at fault.
    Client(String),
    /// The model is at fault. The cause is for the log.
    Model {
        /// One sentence for the client.
        text: String,
        /// The cause.
        cause: String,
    },
}

/// Computes the selected outputs for these inputs, in the order of the selection, or all of them.
pub fn infer(
    graph: &dyn Graph,
    inputs: &[NamedTensor],
    selected: &[String],
) -> Result<Vec<NamedTensor>, ModelFailure> {
    let specs = &graph.signature().outputs;
    let unknown = selected
        .iter()
        .find(|name| !specs.iter().any(|spec| spec.name == **name));
    if let Some(name) = unknown {
        let expected: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        return Err(ModelFailure::Client(format!(
            "unknown output `{name}`, expected one of: {}",
            expected.join(", ")
        )));
    }
    let outputs = inference::compute(graph, inputs).map_err(|failure| failed(failure, inputs))?;
    if selected.is_empty() {
        return Ok(outputs);
    }
    let chosen = selected
        .iter()
        .filter_map(|name| outputs.iter().find(|output| output.name == *name));
    Ok(chosen.cloned().collect())
}

fn failed(failure: Failure, inputs: &[NamedTensor]) -> ModelFailure {
    let Failure { code, text, cause } = failure;
    let is_empty = |input: &NamedTensor| input.tensor.shape().elements() == 0;
    match code {
        FailureCode::InvalidArgument => ModelFailure::Client(text),
        // Not every backend computes a batch without rows, which clients may send.
        _ if inputs.iter().any(is_empty) => ModelFailure::Client(
            "the graph cannot compute these inputs: an input has no elements".to_owned(),
        ),
        _ => ModelFailure::Model {
            cause: cause.unwrap_or_else(|| text.clone()),
            text: "the model failed".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::Identity;
    use bytes::Bytes;
    use wisp_tensor::{ElementType, Shape, Tensor};

    fn infer(
        dimensions: &[u32],
        content: &[u8],
        selected: &[&str],
    ) -> Result<Vec<NamedTensor>, ModelFailure> {
        let shape = Shape::new(dimensions.to_vec()).unwrap();
        let content = Bytes::copy_from_slice(content);
        let inputs = [NamedTensor {
            name: "x".to_owned(),
            tensor: Tensor::new(ElementType::Int8, shape, content).unwrap(),
        }];
        let selected: Vec<String> = selected.iter().map(ToString::to_string).collect();
        super::infer(&Identity::new(ElementType::Int8), &inputs, &selected)
    }

    #[test]
    fn types_outside_wasi_nn_are_computed_and_outputs_selected() {
        for selected in [&[][..], &["y"]] {
            let outputs = infer(&[1, 2], &[0, 7], selected).unwrap();
            assert_eq!(outputs[0].name, "y");
            assert_eq!(outputs[0].tensor.content()[..], [0, 7]);
        }
    }

    #[test]
    fn wrong_inputs_are_the_clients_fault() {
        for (dimensions, content, selected, expected) in [
            (&[1, 3][..], &[0, 0, 0][..], &[][..], "has shape [1, 3]"),
            (&[1, 2], &[1, 0], &[], "the first byte is not 0"),
            (&[1, 2], &[0, 0], &["z"], "unknown output `z`"),
            (&[0, 2], &[], &[], "an input has no elements"),
        ] {
            match infer(dimensions, content, selected) {
                Err(ModelFailure::Client(text)) => assert!(text.contains(expected), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
