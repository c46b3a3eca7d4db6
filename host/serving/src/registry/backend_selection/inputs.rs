//! The inputs on which backends are compared, derived from inputs that a graph computes.

use wisp_backend::measure::Random;
use wisp_backend::sample::is_state;
use wisp_tensor::number::from_numbers;
use wisp_tensor::{Dimension, ElementType, NamedTensor, Shape, Signature, TensorSpec};

/// The maximum number of elements of all inputs together at further sizes.
const MAX_ELEMENTS: usize = 1 << 22;

/// The numbers of generated inputs. Integers and bools are always 0 and 1, and strings are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// From 0 to 1.
    Unit,
    /// From -2 to 2.
    Signed,
    /// From 0 to 1, and every third number is NaN.
    WithNan,
}

/// Returns whether an axis of an input grows.
type Grows<'a> = &'a dyn Fn(&TensorSpec, usize) -> bool;

/// Returns further inputs for a graph that computes `first`: a batch of twice the rows if axis 0 is
/// variable, and twice the sizes of the other variable axes. If no axis is variable, only the numbers
/// are others.
///
/// All axes of a set grow by the same factor, so that sizes which are sums of others stay so.
pub(super) fn further_inputs(
    first: &[NamedTensor],
    signature: &Signature,
) -> Vec<Vec<NamedTensor>> {
    let is_variable = |is_batch: bool| {
        let mut axes = signature
            .inputs
            .iter()
            .flat_map(|spec| spec.shape.iter().enumerate());
        axes.any(|(axis, size)| (axis == 0) == is_batch && *size == Dimension::Variable)
    };
    let mut growing: Vec<Option<bool>> = [true, false]
        .into_iter()
        .filter(|is_batch| is_variable(*is_batch))
        .map(Some)
        .collect();
    if growing.is_empty() {
        growing.push(None);
    }
    let numbers = [Numbers::Signed, Numbers::Unit];
    let sets = growing.into_iter().zip(numbers).zip(2..);
    sets.filter_map(|((is_batch, numbers), seed)| {
        let grows =
            |_: &TensorSpec, axis: usize| is_batch.is_some_and(|is_batch| (axis == 0) == is_batch);
        let shapes = grown_shapes(first, signature, (&grows, 2))?;
        filled(first, &shapes, (numbers, seed))
    })
    .collect()
}

/// Returns the inputs of [`further_inputs`] in one: twice the rows and twice the sizes of the other variable axes. Returns
/// `None` unless there are both kinds of axes.
pub(super) fn inputs_together(
    first: &[NamedTensor],
    signature: &Signature,
) -> Option<Vec<NamedTensor>> {
    let mut inputs = signature.inputs.iter();
    let has_rows = inputs.any(TensorSpec::has_variable_first_axis);
    let mut axes = signature
        .inputs
        .iter()
        .flat_map(|spec| spec.shape.iter().skip(1));
    let has_sizes = axes.any(|size| *size == Dimension::Variable);
    if !has_rows || !has_sizes {
        return None;
    }
    let grows = |_: &TensorSpec, _: usize| true;
    let shapes = grown_shapes(first, signature, (&grows, 2))?;
    filled(first, &shapes, (Numbers::Signed, 2))
}

/// Returns inputs with this value of the input `name`, if that is a single integer, and the sizes of the variable axes
/// besides the batch `growth` times as large.
pub(super) fn with_value(
    first: &[NamedTensor],
    signature: &Signature,
    ((name, value), growth): ((&str, i64), u32),
) -> Option<Vec<NamedTensor>> {
    let position = first.iter().position(|input| input.name == name)?;
    let element_type = first[position].tensor.element_type();
    let shape = first[position].tensor.shape().clone();
    if is_real(element_type) || shape.elements() != 1 {
        return None;
    }
    let grows = |spec: &TensorSpec, axis: usize| axis > 0 && !is_state(&spec.shape);
    let shapes = grown_shapes(first, signature, (&grows, growth))?;
    let mut inputs = filled(first, &shapes, (Numbers::Signed, 3))?;
    // Exact for the numbers that models are compared with.
    inputs[position].tensor = from_numbers(element_type, shape, || value as f64).ok()?;
    Some(inputs)
}

/// Returns inputs of the same sizes with NaN among their numbers, if they have real numbers.
pub(super) fn with_nan(first: &[NamedTensor]) -> Option<Vec<NamedTensor>> {
    let mut tensors = first.iter().map(|input| &input.tensor);
    if !tensors.any(|tensor| is_real(tensor.element_type())) {
        return None;
    }
    let shapes: Vec<Shape> = first.iter().map(|i| i.tensor.shape().clone()).collect();
    filled(first, &shapes, (Numbers::WithNan, 1))
}

/// Returns the shapes of `first` with `growth` times the size of the variable axes that `grows` selects. Returns
/// `None` if they have too many elements.
fn grown_shapes(
    first: &[NamedTensor],
    signature: &Signature,
    (grows, growth): (Grows<'_>, u32),
) -> Option<Vec<Shape>> {
    let mut shapes = Vec::with_capacity(first.len());
    let mut elements = 0_usize;
    for NamedTensor { name, tensor } in first {
        let spec = signature.inputs.iter().find(|spec| spec.name == *name)?;
        let mut dimensions = tensor.shape().dimensions().to_vec();
        for (axis, size) in dimensions.iter_mut().enumerate() {
            if grows(spec, axis) && spec.shape.get(axis) == Some(&Dimension::Variable) {
                *size = size.checked_mul(growth)?;
            }
        }
        let shape = Shape::new(dimensions).ok()?;
        elements = elements.checked_add(shape.elements())?;
        shapes.push(shape);
    }
    (elements <= MAX_ELEMENTS).then_some(shapes)
}

fn filled(
    first: &[NamedTensor],
    shapes: &[Shape],
    (numbers, seed): (Numbers, u64),
) -> Option<Vec<NamedTensor>> {
    let mut random = Random::new(seed);
    let fill = |(input, shape): (&NamedTensor, &Shape)| {
        let element_type = input.tensor.element_type();
        let mut position = 0_usize;
        let next = || {
            let number = random.number();
            position += 1;
            match numbers {
                _ if !is_real(element_type) => number.round(),
                Numbers::Unit => number,
                Numbers::Signed => 4.0 * number - 2.0,
                Numbers::WithNan if position.is_multiple_of(3) => f64::NAN,
                Numbers::WithNan => number,
            }
        };
        let tensor = from_numbers(element_type, shape.clone(), next).ok()?;
        Some(NamedTensor {
            name: input.name.clone(),
            tensor,
        })
    };
    first.iter().zip(shapes).map(fill).collect()
}

/// Returns whether the type is one of real numbers.
pub(super) fn is_real(element_type: ElementType) -> bool {
    matches!(
        element_type,
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_tensor::number::numbers;

    fn spec(name: &str, element_type: ElementType, sizes: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            element_type,
            shape: sizes
                .iter()
                .filter_map(|&size| Dimension::from_wire(size))
                .collect(),
            optional: false,
        }
    }

    fn first(specs: &[TensorSpec]) -> anyhow::Result<(Vec<NamedTensor>, Signature)> {
        let signature = Signature {
            inputs: specs.to_vec(),
            outputs: Vec::new(),
        };
        Ok((wisp_backend::sample_inputs(&signature)?, signature))
    }

    fn sizes(inputs: &[NamedTensor]) -> Vec<&[u32]> {
        let shapes = inputs.iter().map(|input| input.tensor.shape());
        shapes.map(|shape| shape.dimensions()).collect()
    }

    #[test]
    fn the_batch_grows_first_and_then_the_other_variable_axes() -> anyhow::Result<()> {
        let (inputs, signature) = first(&[
            spec("x", ElementType::Fp32, &[-1, 3, -1]),
            spec("ids", ElementType::Int64, &[-1, 2]),
        ])?;
        let sets = further_inputs(&inputs, &signature);
        assert_eq!(sets.len(), 2);
        assert_eq!(sizes(&sets[0]), [&[2, 3, 1][..], &[2, 2]]);
        assert_eq!(sizes(&sets[1]), [&[1, 3, 2][..], &[1, 2]]);
        assert!(numbers(&sets[0][0].tensor).any(|number| number < 0.0));
        assert!(numbers(&sets[0][1].tensor).all(|number| number == 0.0 || number == 1.0));
        assert_eq!(sets, further_inputs(&inputs, &signature));
        let together = inputs_together(&inputs, &signature).unwrap_or_default();
        assert_eq!(sizes(&together), [&[2, 3, 2][..], &[2, 2]]);
        let (inputs, signature) = first(&[spec("x", ElementType::Fp32, &[-1, 3])])?;
        assert_eq!(inputs_together(&inputs, &signature), None);
        Ok(())
    }

    #[test]
    fn one_integer_gets_a_value_and_the_axes_besides_the_batch_grow() -> anyhow::Result<()> {
        let (inputs, signature) = first(&[
            spec("x", ElementType::Fp32, &[-1, -1]),
            spec("rate", ElementType::Int64, &[]),
            spec("ids", ElementType::Int64, &[2]),
            spec("state", ElementType::Fp32, &[2, -1, 4]),
        ])?;
        let with = |name, growth| with_value(&inputs, &signature, ((name, 16_000), growth));
        let set = with("rate", 8).unwrap_or_default();
        // The second axis of a state is the batch.
        assert_eq!(sizes(&set), [&[1, 8][..], &[], &[2], &[2, 1, 4]]);
        assert!(numbers(&set[1].tensor).eq([16_000.0]));
        for name in ["x", "ids", "other"] {
            assert_eq!(with(name, 1), None, "{name}");
        }
        Ok(())
    }

    #[test]
    fn a_graph_of_fixed_sizes_gets_other_numbers() -> anyhow::Result<()> {
        let (inputs, signature) = first(&[spec("x", ElementType::Fp32, &[4, 3])])?;
        let sets = further_inputs(&inputs, &signature);
        assert_eq!(sets.len(), 1);
        assert_eq!(sizes(&sets[0]), [&[4, 3][..]]);
        assert_ne!(sets[0], inputs);
        Ok(())
    }

    #[test]
    fn only_inputs_of_real_numbers_can_have_a_nan() -> anyhow::Result<()> {
        let (inputs, _) = first(&[spec("x", ElementType::Fp32, &[6])])?;
        let looked = with_nan(&inputs).unwrap_or_default();
        assert_eq!(numbers(&looked[0].tensor).filter(|n| n.is_nan()).count(), 2);
        let (inputs, _) = first(&[spec("x", ElementType::Int32, &[6])])?;
        assert_eq!(with_nan(&inputs), None);
        Ok(())
    }
}
