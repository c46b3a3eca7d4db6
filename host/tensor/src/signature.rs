//! The declared inputs and outputs of a graph or handler, and checks of tensors against them.

use crate::element_type::ElementType;
use crate::named::NamedTensor;
use crate::shape::{Shape, ShapeError};
use crate::tensor::Tensor;
use std::fmt;

/// The size of one axis in a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    Fixed(u32),
    /// Any size; -1 on the wire.
    Variable,
}

/// The declaration of one input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub element_type: ElementType,
    /// The sizes per axis, batch axis included.
    pub shape: Vec<Dimension>,
    /// True if a request may omit this input; false for outputs.
    pub optional: bool,
}

/// The inputs and outputs of a graph or handler, in its own order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

/// The mismatch between tensors and their declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("unknown name `{name}`, expected one of: {}", expected.join(", "))]
    Unknown { name: String, expected: Vec<String> },
    #[error("`{name}` is given twice")]
    Duplicate { name: String },
    #[error("`{name}` is missing")]
    Missing { name: String },
    #[error("`{name}` is {actual}, expected {expected}")]
    ElementType {
        name: String,
        actual: ElementType,
        expected: ElementType,
    },
    #[error("`{name}` has shape {actual}, expected {expected}")]
    Shape {
        name: String,
        actual: String,
        expected: String,
    },
}

/// The error for a number of elements that a declared shape cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    #[error("{actual} elements do not fill a shape of {expected} elements")]
    Count { expected: usize, actual: usize },
    #[error("{actual} elements are not a multiple of {step}")]
    Multiple { step: usize, actual: usize },
    #[error("the number of elements cannot determine several variable axes")]
    Variable,
    #[error("the number of elements cannot determine a variable axis beside one of size 0")]
    Empty,
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

impl Shape {
    /// Returns the declared shape with its variable axis, if there is one, sized for a number of
    /// elements.
    pub fn fit(declared: &[Dimension], elements: usize) -> Result<Shape, FitError> {
        let actual = elements;
        let variable = (declared.iter()).filter(|&&dimension| dimension == Dimension::Variable);
        let size = match variable.count() {
            0 => 0,
            1 => {
                let step = Dimension::resolve(declared, 1)?.elements();
                match actual.checked_rem(step) {
                    Some(0) => u32::try_from(actual / step).map_err(|_| ShapeError::Product)?,
                    Some(_) => return Err(FitError::Multiple { step, actual }),
                    // A fixed axis is empty, and so is the shape with any size of the variable axis.
                    None if actual == 0 => return Err(FitError::Empty),
                    None => 0,
                }
            }
            _ => return Err(FitError::Variable),
        };
        let shape = Dimension::resolve(declared, size)?;
        match shape.elements() {
            expected if expected == actual => Ok(shape),
            expected => Err(FitError::Count { expected, actual }),
        }
    }
}

impl TensorSpec {
    /// Checks that `tensor` has the declared type and a shape that the declaration allows.
    pub fn check(&self, tensor: &Tensor) -> Result<(), SpecError> {
        self.check_type(tensor)?;
        let actual = tensor.shape().dimensions();
        let fits = actual.len() == self.shape.len()
            && actual
                .iter()
                .zip(&self.shape)
                .all(|(&size, declared)| match declared {
                    Dimension::Fixed(expected) => size == *expected,
                    Dimension::Variable => true,
                });
        if !fits {
            return Err(SpecError::Shape {
                name: self.name.clone(),
                actual: tensor.shape().to_string(),
                expected: DimensionList(&self.shape).to_string(),
            });
        }
        Ok(())
    }

    fn check_type(&self, tensor: &Tensor) -> Result<(), SpecError> {
        match tensor.element_type() == self.element_type {
            true => Ok(()),
            false => Err(SpecError::ElementType {
                name: self.name.clone(),
                actual: tensor.element_type(),
                expected: self.element_type,
            }),
        }
    }

    /// Returns whether an input of a model with a batch axis has no batch axis itself: it is optional, and
    /// its first axis is fixed or absent.
    pub fn is_parameter(&self) -> bool {
        self.optional && !self.has_variable_first_axis()
    }

    /// Returns whether the first axis is variable.
    pub fn has_variable_first_axis(&self) -> bool {
        self.shape.first() == Some(&Dimension::Variable)
    }
}

impl Signature {
    /// Returns whether the first axis of every required input and every output is variable: a batch axis,
    /// as exporters declare it. Optional inputs may be parameters, such as a threshold.
    pub fn has_batch_axis(&self) -> bool {
        let required = self.inputs.iter().filter(|spec| !spec.optional);
        required
            .chain(&self.outputs)
            .all(TensorSpec::has_variable_first_axis)
    }
}

/// Checks each tensor against the declaration of its name: known, given once, with the right type and
/// shape.
///
/// Absent tensors are not checked; see [`check_complete`].
pub fn check_tensors(specs: &[TensorSpec], tensors: &[NamedTensor]) -> Result<(), SpecError> {
    check_each(specs, tensors, TensorSpec::check)
}

/// Checks each tensor as [`check_tensors`] does, except for its shape.
pub fn check_types(specs: &[TensorSpec], tensors: &[NamedTensor]) -> Result<(), SpecError> {
    check_each(specs, tensors, TensorSpec::check_type)
}

fn check_each(
    specs: &[TensorSpec],
    tensors: &[NamedTensor],
    check: impl Fn(&TensorSpec, &Tensor) -> Result<(), SpecError>,
) -> Result<(), SpecError> {
    for (position, NamedTensor { name, tensor }) in tensors.iter().enumerate() {
        let spec = specs
            .iter()
            .find(|spec| spec.name == *name)
            .ok_or_else(|| SpecError::Unknown {
                name: name.clone(),
                expected: specs.iter().map(|spec| spec.name.clone()).collect(),
            })?;
        if tensors[..position].iter().any(|other| other.name == *name) {
            return Err(SpecError::Duplicate { name: name.clone() });
        }
        check(spec, tensor)?;
    }
    Ok(())
}

/// Checks that every required tensor is present.
pub fn check_complete(specs: &[TensorSpec], tensors: &[NamedTensor]) -> Result<(), SpecError> {
    let missing = specs
        .iter()
        .filter(|spec| !spec.optional)
        .find(|spec| !tensors.iter().any(|tensor| tensor.name == spec.name));
    match missing {
        Some(spec) => Err(SpecError::Missing {
            name: spec.name.clone(),
        }),
        None => Ok(()),
    }
}

/// A declared shape in V2's notation: sizes in brackets, -1 for a variable axis.
#[derive(Debug, Clone, Copy)]
pub struct DimensionList<'a>(pub &'a [Dimension]);

impl fmt::Display for DimensionList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|dimension| dimension.to_wire()))
            .finish()
    }
}

impl Dimension {
    /// Returns the declared shape with every variable axis of this size.
    pub fn resolve(declared: &[Dimension], size: u32) -> Result<Shape, ShapeError> {
        let sizes = declared.iter().map(|dimension| match *dimension {
            Dimension::Fixed(fixed) => fixed,
            Dimension::Variable => size,
        });
        Shape::new(sizes.collect())
    }

    /// Returns the size as V2 and the handler contract encode it: -1 for a variable axis.
    pub fn to_wire(self) -> i64 {
        match self {
            Dimension::Fixed(size) => i64::from(size),
            Dimension::Variable => -1,
        }
    }

    /// Parses a size as V2 and the handler contract encode it; returns `None` for other negative numbers
    /// and those that are too large.
    pub fn from_wire(size: i64) -> Option<Dimension> {
        match size {
            -1 => Some(Dimension::Variable),
            size => u32::try_from(size).ok().map(Dimension::Fixed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn spec(name: &str, shape: &[i64]) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            element_type: ElementType::Uint8,
            shape: shape
                .iter()
                .map(|&size| Dimension::from_wire(size).unwrap())
                .collect(),
            optional: false,
        }
    }

    fn tensor(name: &str, dimensions: &[u32]) -> NamedTensor {
        let shape = Shape::new(dimensions.to_vec()).unwrap();
        let content = Bytes::from(vec![0; shape.elements()]);
        NamedTensor {
            name: name.to_owned(),
            tensor: Tensor::new(ElementType::Uint8, shape, content).unwrap(),
        }
    }

    #[test]
    fn variable_axes_take_any_size_and_fixed_ones_only_theirs() {
        let specs = [spec("x", &[-1, 2])];
        assert_eq!(check_tensors(&specs, &[tensor("x", &[7, 2])]), Ok(()));
        let error = check_tensors(&specs, &[tensor("x", &[7, 3])]).unwrap_err();
        assert_eq!(error.to_string(), "`x` has shape [7, 3], expected [-1, 2]");
        assert!(check_tensors(&specs, &[tensor("x", &[2])]).is_err());
    }

    #[test]
    fn types_are_checked_without_shapes() {
        let specs = [spec("x", &[1])];
        assert_eq!(check_types(&specs, &[tensor("x", &[7, 2])]), Ok(()));
        let other = TensorSpec {
            element_type: ElementType::Int8,
            ..specs[0].clone()
        };
        assert!(matches!(
            check_types(&[other], &[tensor("x", &[1])]),
            Err(SpecError::ElementType { .. })
        ));
        assert!(matches!(
            check_types(&specs, &[tensor("y", &[1])]),
            Err(SpecError::Unknown { .. })
        ));
    }

    #[test]
    fn an_optional_input_needs_no_batch_axis() {
        let mut signature = Signature {
            inputs: vec![spec("x", &[-1, 2]), spec("k", &[1])],
            outputs: vec![spec("y", &[-1])],
        };
        assert!(!signature.has_batch_axis());
        signature.inputs[1].optional = true;
        assert!(signature.has_batch_axis());
        assert!(signature.inputs[1].is_parameter());
        assert!(!signature.inputs[0].is_parameter());
        signature.outputs[0].shape.clear();
        assert!(!signature.has_batch_axis());
    }

    #[test]
    fn a_number_of_elements_determines_one_variable_axis() {
        let fit = |shape: &[i64], elements| {
            let shape = Shape::fit(&spec("x", shape).shape, elements)?;
            Ok(shape.dimensions().to_vec())
        };
        assert_eq!(fit(&[], 1), Ok(vec![]));
        assert_eq!(fit(&[2, 3], 6), Ok(vec![2, 3]));
        assert_eq!(fit(&[2, -1, 3], 12), Ok(vec![2, 2, 3]));
        assert_eq!(fit(&[-1, 3], 0), Ok(vec![0, 3]));
        let (expected, actual) = (6, 5);
        assert_eq!(fit(&[2, 3], 5), Err(FitError::Count { expected, actual }));
        let step = 3;
        assert_eq!(fit(&[-1, 3], 5), Err(FitError::Multiple { step, actual }));
        assert_eq!(fit(&[-1, 0], 0), Err(FitError::Empty));
        let expected = 0;
        assert_eq!(fit(&[-1, 0], 5), Err(FitError::Count { expected, actual }));
        assert_eq!(fit(&[-1, -1], 4), Err(FitError::Variable));
        let too_large = Err(FitError::Shape(ShapeError::Product));
        assert_eq!(fit(&[-1], 1 << 32), too_large);
        assert_eq!(fit(&[i64::from(u32::MAX); 3], 1), too_large);
    }

    #[test]
    fn unknown_and_duplicate_names_are_refused() {
        let specs = [spec("x", &[-1]), spec("y", &[-1])];
        let twice = [tensor("x", &[1]), tensor("x", &[1])];
        assert!(matches!(
            check_tensors(&specs, &twice),
            Err(SpecError::Duplicate { .. })
        ));
        assert!(matches!(
            check_tensors(&specs, &[tensor("z", &[1])]),
            Err(SpecError::Unknown { .. })
        ));
        assert!(matches!(
            check_complete(&specs, &[tensor("x", &[1])]),
            Err(SpecError::Missing { name }) if name == "y"
        ));
    }
}
