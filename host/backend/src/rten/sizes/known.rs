//! A value as far as it is known before a computation: its sizes, and the elements of a small one.
//!
//! Graphs compute sizes with ordinary operators on small tensors, so their elements must be followed.
//! Elements may be symbols for integers with known bounds, see [`super::symbols`].

use rten_shape_inference::{SymExpr, SymTensor};

/// The maximum number of elements that are followed. Longer tensors contain data, not sizes.
pub(super) const MAX_ELEMENTS: usize = 1024;

/// The sizes of a value and its elements, if they are known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// The sizes, and the elements of integers of up to one axis.
    tensor: SymTensor,
    /// The elements of all others, row by row. The sizes are numbers then.
    numbers: Option<Numbers>,
}

/// The elements of a tensor, in the precision of rten.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Numbers {
    Integers(Vec<i32>),
    Floats(Vec<f32>),
}

// === impl Known ===

impl Known {
    /// Returns a value of which only the sizes are known.
    pub(super) fn of_sizes(sizes: Vec<SymExpr>) -> Known {
        Known {
            tensor: SymTensor::from_shape(sizes),
            numbers: None,
        }
    }

    /// Returns a value with these elements. `sizes` must be numbers that match them.
    pub(super) fn of_numbers(sizes: Vec<SymExpr>, numbers: Numbers) -> Known {
        if let (Numbers::Integers(integers), true) = (&numbers, sizes.len() <= 1) {
            let elements = integers.iter().copied().map(SymExpr::Value).collect();
            return Known::of_elements(sizes, elements);
        }
        Known {
            tensor: SymTensor::from_shape(sizes),
            numbers: Some(numbers),
        }
    }

    /// Returns a value of integers; their elements are kept if there is at most one axis.
    pub(super) fn of_elements(sizes: Vec<SymExpr>, mut elements: Vec<SymExpr>) -> Known {
        let tensor = match (sizes.len(), elements.len()) {
            (0, 1) => elements.pop().map(SymTensor::from_scalar),
            (1, _) => Some(SymTensor::from_vec(elements)),
            _ => None,
        };
        Known {
            tensor: tensor.unwrap_or_else(|| SymTensor::from_shape(sizes)),
            numbers: None,
        }
    }

    /// Returns a single integer without axes.
    pub(super) fn of_integer(integer: i32) -> Known {
        Known::of_numbers(Vec::new(), Numbers::Integers(vec![integer]))
    }

    /// Returns the value as rules of the crate `rten-shape-inference` take it.
    pub(super) fn tensor(&self) -> &SymTensor {
        &self.tensor
    }

    pub(super) fn sizes(&self) -> Vec<SymExpr> {
        let sizes = self.tensor.shape();
        sizes
            .map(|sizes| sizes.collect::<Vec<SymExpr>>())
            .unwrap_or_default()
    }

    pub(super) fn rank(&self) -> usize {
        self.tensor.ndim().unwrap_or(0)
    }

    /// Returns the sizes if all are numbers.
    pub(super) fn fixed_sizes(&self) -> Option<Vec<usize>> {
        fixed(&self.sizes())
    }

    /// Returns the elements of integers of up to one axis, which may be symbols.
    pub(super) fn elements(&self) -> Option<&[SymExpr]> {
        self.tensor.values()
    }

    /// Returns the elements if all are numbers.
    pub(super) fn numbers(&self) -> Option<Numbers> {
        match &self.numbers {
            Some(numbers) => Some(numbers.clone()),
            None => Some(Numbers::Integers(self.tensor.to_constant()?.into_vec())),
        }
    }

    /// Returns the elements if all are integers.
    pub(super) fn integers(&self) -> Option<Vec<i32>> {
        match self.numbers()? {
            Numbers::Integers(integers) => Some(integers),
            Numbers::Floats(_) => None,
        }
    }

    /// Returns the integer of a value with one element.
    pub(super) fn single(&self) -> Option<i32> {
        match self.integers()?.as_slice() {
            [integer] => Some(*integer),
            _ => None,
        }
    }
}

// === impl Numbers ===

impl Numbers {
    pub(super) fn len(&self) -> usize {
        match self {
            Numbers::Integers(integers) => integers.len(),
            Numbers::Floats(floats) => floats.len(),
        }
    }

    /// Returns the elements at `indices`, or `None` if there are fewer.
    pub(super) fn pick(&self, indices: &[usize]) -> Option<Numbers> {
        fn picked<T: Copy>(list: &[T], indices: &[usize]) -> Option<Vec<T>> {
            let elements = indices.iter().map(|&index| list.get(index).copied());
            elements.collect()
        }
        Some(match self {
            Numbers::Integers(integers) => Numbers::Integers(picked(integers, indices)?),
            Numbers::Floats(floats) => Numbers::Floats(picked(floats, indices)?),
        })
    }
}

/// Returns the sizes if all are numbers.
pub(super) fn fixed(sizes: &[SymExpr]) -> Option<Vec<usize>> {
    let sizes = sizes.iter().map(|size| match size {
        SymExpr::Value(size) => usize::try_from(*size).ok(),
        _ => None,
    });
    sizes.collect()
}

/// Returns the number of elements if all sizes are numbers.
pub(super) fn count(sizes: &[SymExpr]) -> Option<usize> {
    let sizes = fixed(sizes)?;
    sizes
        .iter()
        .try_fold(1usize, |count, &size| count.checked_mul(size))
}

/// Returns the sizes if all are numbers, and small enough for the elements to be followed. An empty axis does
/// not make the others small.
pub(super) fn small(sizes: &[SymExpr]) -> Option<Vec<usize>> {
    let sizes = fixed(sizes)?;
    let product = sizes
        .iter()
        .fold(1usize, |product, &size| product.saturating_mul(size.max(1)));
    (product <= MAX_ELEMENTS).then_some(sizes)
}

/// Returns an expression for a count; a count beyond 32 bits is an error, as in rten.
pub(super) fn size_of(count: usize) -> Option<SymExpr> {
    i32::try_from(count).ok().map(SymExpr::Value)
}
