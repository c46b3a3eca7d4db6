//! Sample inputs generated from a signature, for warming and measuring a graph before any client calls.
//!
//! Only types and shapes match real requests. The values are zeros and empty strings, which every element
//! type has and which are valid indices into any embedding, or ones for graphs that do not compute with them.

use bytes::Bytes;
use wisp_tensor::{
    Dimension, ElementType, NamedTensor, Shape, Signature, Tensor, TensorError, TensorSpec,
};

/// The maximum size of all sample inputs together, in bytes. A larger declaration is a damaged or hostile
/// file: a million rows of 64 f32 have this size.
const MAX_INPUT_BYTES: usize = 256 << 20;

/// Returns whether the state of a recurrent operator can have this shape: directions, batch and hidden size.
pub fn is_state(shape: &[Dimension]) -> bool {
    matches!(
        shape,
        [
            Dimension::Fixed(_),
            Dimension::Variable,
            Dimension::Fixed(_)
        ]
    )
}

/// The elements and the sizes of sample inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The sizes of the variable axes of required inputs, input by input; 1 for the axes beyond the end.
    pub(crate) sizes: Vec<u32>,
    pub(crate) element: Element,
}

/// The value of every element of sample inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Zero,
    /// One, for graphs that divide by an input. A string is `1`, for graphs that read numbers from strings.
    #[cfg_attr(
        not(feature = "onnx"),
        expect(
            dead_code,
            reason = "only backends search for inputs that a graph computes"
        )
    )]
    One,
}

/// Returns a tensor of zeros for each required input, with size 1 along every variable axis.
pub fn sample_inputs(signature: &Signature) -> Result<Vec<NamedTensor>, TensorError> {
    Sample::default().inputs(signature)
}

impl Default for Sample {
    fn default() -> Sample {
        Sample {
            sizes: Vec::new(),
            element: Element::Zero,
        }
    }
}

impl Sample {
    /// Returns a tensor for each required input.
    pub(crate) fn inputs(&self, signature: &Signature) -> Result<Vec<NamedTensor>, TensorError> {
        let mut left = MAX_INPUT_BYTES;
        let mut sizes = self.sizes.iter().copied();
        let input = |spec: &TensorSpec| {
            let dimensions = spec.shape.iter().map(|dimension| match *dimension {
                Dimension::Fixed(fixed) => fixed,
                Dimension::Variable => sizes.next().unwrap_or(1),
            });
            let shape = Shape::new(dimensions.collect())?;
            let tensor = filled(spec, shape, (self.element, left))?;
            left -= tensor.content().len();
            Ok(NamedTensor {
                name: spec.name.clone(),
                tensor,
            })
        };
        let required = signature.inputs.iter().filter(|spec| !spec.optional);
        required.map(input).collect()
    }
}

fn filled(
    spec: &TensorSpec,
    shape: Shape,
    (element, max_bytes): (Element, usize),
) -> Result<Tensor, TensorError> {
    let one = one(spec.element_type);
    let size = match element {
        // An empty BYTES element is only its length, four bytes of zero.
        Element::Zero => spec.element_type.size().unwrap_or(4),
        Element::One => one.len(),
    };
    let length = shape
        .elements()
        .checked_mul(size)
        .filter(|&length| length <= max_bytes)
        .ok_or(TensorError::Size)?;
    let content = match element {
        Element::Zero => vec![0; length],
        Element::One => one.iter().copied().cycle().take(length).collect(),
    };
    Tensor::new(spec.element_type, shape, Bytes::from(content))
}

/// Returns the bytes of an element that is one.
fn one(element_type: ElementType) -> &'static [u8] {
    match element_type {
        ElementType::Bool | ElementType::Uint8 | ElementType::Int8 => &[1],
        ElementType::Uint16 | ElementType::Int16 => &[1, 0],
        ElementType::Uint32 | ElementType::Int32 => &[1, 0, 0, 0],
        ElementType::Uint64 | ElementType::Int64 => &[1, 0, 0, 0, 0, 0, 0, 0],
        ElementType::Fp16 => &[0, 0x3c],
        ElementType::Bf16 => &[0x80, 0x3f],
        ElementType::Fp32 => &[0, 0, 0x80, 0x3f],
        ElementType::Fp64 => &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        ElementType::Bytes => &[1, 0, 0, 0, b'1'],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let inputs = Sample {
                sizes: vec![2, 7],
                ..Sample::default()
            }
            .inputs(&signature)
            .unwrap();
            assert_eq!(inputs[0].tensor.shape().dimensions(), [2, 3, 7]);
            let inputs = Sample {
                sizes: vec![1, 7],
                element: Element::One,
            }
            .inputs(&signature)
            .unwrap();
            assert_eq!(signature.inputs[0].check(&inputs[0].tensor), Ok(()));
        }
    }

    #[test]
    fn optional_inputs_are_left_out() {
        let mut signature = signature(ElementType::Fp32, &[-1]);
        signature.inputs[0].optional = true;
        assert_eq!(sample_inputs(&signature), Ok(vec![]));
    }

    #[test]
    fn an_absurd_declaration_allocates_nothing() {
        let absurd = signature(ElementType::Fp32, &[-1, 1 << 31]);
        assert_eq!(sample_inputs(&absurd), Err(TensorError::Size));
        let mut many = signature(ElementType::Uint8, &[1 << 27]);
        many.inputs = vec![many.inputs[0].clone(); 3];
        assert_eq!(sample_inputs(&many), Err(TensorError::Size));
    }
}
