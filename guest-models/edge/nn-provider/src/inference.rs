//! The computation of a graph with tensors of wasi:nn.

use crate::failure::Failure;
use bytes::Bytes;
use wisp_backend::Graph;
use wisp_tensor::shape::MAX_RANK;
use wisp_tensor::signature::{check_complete, check_tensors};
use wisp_tensor::tensor::byte_length;
use wisp_tensor::{ElementType, NamedTensor, Shape, ShapeError, Tensor};

/// Returns the tensor with these bytes, or the error that a computation with it returns.
pub fn tensor(
    element_type: ElementType,
    dimensions: &[u32],
    content: Vec<u8>,
) -> Result<Tensor, Failure> {
    let rank = dimensions.len();
    if rank > MAX_RANK {
        return Err(Failure::invalid(ShapeError::Rank { rank }));
    }
    let shape = Shape::new(dimensions.to_vec()).map_err(Failure::invalid)?;
    let length = content.len();
    let expected = element_type
        .size()
        .and_then(|size| byte_length(&shape, size).ok());
    if expected != Some(length) {
        return Err(Failure::invalid(format_args!(
            "shape {shape} of {element_type} does not take {length} bytes"
        )));
    }
    Tensor::new(element_type, shape, Bytes::from(content)).map_err(Failure::invalid)
}

/// Checks the inputs against the graph and computes it.
pub fn compute(graph: &dyn Graph, inputs: &[NamedTensor]) -> Result<Vec<NamedTensor>, Failure> {
    let specs = &graph.signature().inputs;
    check_tensors(specs, inputs)
        .and_then(|()| check_complete(specs, inputs))
        .map_err(Failure::invalid)?;
    Ok(graph.compute(inputs)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureCode;
    use crate::provider::tests::Identity;

    fn named(name: &str, tensor: Tensor) -> [NamedTensor; 1] {
        [NamedTensor {
            name: name.to_owned(),
            tensor,
        }]
    }

    #[test]
    fn inputs_that_fit_the_graph_are_computed_and_others_refused() {
        let graph = Identity::new(ElementType::Fp32);
        let zeros = tensor(ElementType::Fp32, &[1, 2], vec![0; 8]).unwrap();
        let outputs = compute(&graph, &named("x", zeros.clone())).unwrap();
        assert_eq!(outputs[0].tensor, zeros);
        let wide = tensor(ElementType::Fp32, &[1, 3], vec![0; 12]).unwrap();
        for inputs in [&named("x", wide)[..], &named("z", zeros), &[]] {
            let failure = compute(&graph, inputs).unwrap_err();
            assert_eq!(failure.code, FailureCode::InvalidArgument, "{failure:?}");
        }
    }

    #[test]
    fn a_tensor_that_does_not_fit_its_shape_is_refused() {
        for (dimensions, bytes) in [(&[2, 2][..], 15), (&[1; 65], 4), (&[u32::MAX; 4], 4)] {
            let failure = tensor(ElementType::Fp32, dimensions, vec![0; bytes]).unwrap_err();
            assert_eq!(failure.code, FailureCode::InvalidArgument, "{failure:?}");
        }
        let failure = tensor(ElementType::Fp32, &[2], vec![0; 7]).unwrap_err();
        assert_eq!(failure.text, "shape [2] of FP32 does not take 7 bytes");
    }
}
