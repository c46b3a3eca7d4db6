//! Inputs made up from a signature: what a graph is warmed and measured with before any client calls.
//!
//! Only types and shapes are right. The values are zeros and empty strings, which every element
//! type has and which index the first entry of any embedding.

use bytes::Bytes;
use wisp_tensor::{Dimension, NamedTensor, Shape, Signature, Tensor, TensorError, TensorSpec};

/// The most bytes one made-up input may take. A declaration beyond it is a damaged or hostile file:
/// a million rows of 64 floats are as much.
const MAX_INPUT_BYTES: usize = 256 << 20;

/// One tensor of zeros for each input, with size 1 along every variable axis.
pub fn sample_inputs(signature: &Signature) -> Result<Vec<NamedTensor>, TensorError> {
    sample_inputs_sized(signature, 1)
}

/// One tensor of zeros for each input, with size 1 along a variable first axis and `size` along the
/// other variable ones.
pub(crate) fn sample_inputs_sized(
    signature: &Signature,
    size: u32,
) -> Result<Vec<NamedTensor>, TensorError> {
    signature
        .inputs
        .iter()
        .map(|spec| {
            Ok(NamedTensor {
                name: spec.name.clone(),
                tensor: zeros(spec, size)?,
            })
        })
        .collect()
}

fn zeros(spec: &TensorSpec, size: u32) -> Result<Tensor, TensorError> {
    let dimensions = spec
        .shape
        .iter()
        .enumerate()
        .map(|(axis, dimension)| match dimension {
            Dimension::Fixed(fixed) => *fixed,
            Dimension::Variable if axis == 0 => 1,
            Dimension::Variable => size,
        })
        .collect();
    let shape = Shape::new(dimensions)?;
    // An empty BYTES element is its length alone, four bytes of zero.
    let length = shape
        .elements()
        .checked_mul(spec.element_type.size().unwrap_or(4))
        .filter(|&length| length <= MAX_INPUT_BYTES)
        .ok_or(TensorError::Size)?;
    Tensor::new(spec.element_type, shape, Bytes::from(vec![0; length]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::ElementType;

    fn signature(element_type: ElementType, shape: &[i64]) -> Signature {
        Signature {
            inputs: vec![TensorSpec {
                name: "x".to_owned(),
                element_type,
                shape: shape
                    .iter()
                    .map(|&size| Dimension::from_wire(size).unwrap())
                    .collect(),
                optional: false,
            }],
            outputs: vec![],
        }
    }

    #[test]
    fn every_element_type_has_a_sample() {
        for element_type in ElementType::ALL {
            let signature = signature(element_type, &[-1, 3, -1]);
            let inputs = sample_inputs(&signature).unwrap();
            assert_eq!(inputs[0].tensor.shape().dimensions(), [1, 3, 1]);
            assert_eq!(signature.inputs[0].check(&inputs[0].tensor), Ok(()));
            let inputs = sample_inputs_sized(&signature, 7).unwrap();
            assert_eq!(inputs[0].tensor.shape().dimensions(), [1, 3, 7]);
        }
    }

    #[test]
    fn an_absurd_declaration_allocates_nothing() {
        let absurd = signature(ElementType::Fp32, &[-1, 1 << 31]);
        assert_eq!(sample_inputs(&absurd), Err(TensorError::Size));
    }
}
