//! The values of a graph, as far as they are known: their sizes, and the axes of their rows.

use super::product::{Product, Symbols};
use std::rc::Rc;
use wisp_tensor::shape::MAX_RANK;

/// The maximum number of elements of [`Sizes`].
pub(super) const MAX_ELEMENTS: usize = 64;

/// The knowledge of a value.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Tensor(Tensor),
    Sizes(Sizes),
    /// The value is the same for every row and number of rows. Its rank is unknown.
    Constant,
    /// The value may depend on several rows, for this reason.
    Mixed(Rc<str>),
}

/// A tensor whose rank is known. Along one axis lie the rows, or none of its elements depend on a row.
///
/// An axis of rows may have several indices for each row. Those of a row are then neighbours: index `i` of
/// an axis of `rows * n` belongs to row `i / n`.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    sizes: Vec<Product>,
    rows: Option<usize>,
}

/// A vector or scalar of integers that are known as products. `None` is a number that depends on the number of
/// rows in another way.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    pub(super) elements: Vec<Option<Product>>,
    pub(super) is_scalar: bool,
}

// === impl Value ===

impl Value {
    /// Returns whether the value is the same for every row and number of rows.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Value::Tensor(tensor) => tensor.rows.is_none(),
            Value::Sizes(sizes) => sizes.is_constant(),
            Value::Constant => true,
            Value::Mixed(_) => false,
        }
    }

    /// Returns the value as a tensor, if its rank is known and it is one.
    pub(super) fn to_tensor(&self) -> Option<Tensor> {
        match self {
            Value::Tensor(tensor) => Some(tensor.clone()),
            Value::Sizes(sizes) if sizes.is_constant() => Tensor::new(sizes.shape()),
            Value::Sizes(_) | Value::Constant | Value::Mixed(_) => None,
        }
    }

    /// Returns the shape, if the rank is known.
    pub(super) fn shape(&self) -> Option<Vec<Product>> {
        match self {
            Value::Tensor(tensor) => Some(tensor.sizes.clone()),
            Value::Sizes(sizes) => Some(sizes.shape()),
            Value::Constant | Value::Mixed(_) => None,
        }
    }
}

// === impl Tensor ===

impl Tensor {
    /// Returns the tensor of these sizes, whose rows lie along the axis whose size depends on their number.
    ///
    /// Returns `None` if several sizes depend on it, or one in another way than as a multiple.
    pub(super) fn new(sizes: Vec<Product>) -> Option<Tensor> {
        if sizes.len() > MAX_RANK || !sizes.iter().all(Product::is_size) {
            return None;
        }
        let mut axes = (0..sizes.len()).filter(|&axis| sizes[axis].depends_on_rows());
        let rows = match (axes.next(), axes.next()) {
            (None, _) => None,
            (Some(axis), None) if sizes[axis].is_multiple_of_rows() => Some(axis),
            _ => return None,
        };
        Some(Tensor { sizes, rows })
    }

    pub(super) fn rank(&self) -> usize {
        self.sizes.len()
    }

    pub(super) fn sizes(&self) -> &[Product] {
        &self.sizes
    }

    /// Returns the axis of the rows; `None` if no element depends on a row.
    pub(super) fn rows(&self) -> Option<usize> {
        self.rows
    }

    /// Returns the size of the axis of the rows.
    pub(super) fn rows_size(&self) -> Option<&Product> {
        self.sizes.get(self.rows?)
    }

    /// Returns whether the tensor certainly has one element.
    pub(super) fn is_single(&self) -> bool {
        self.sizes.iter().all(|size| size.as_number() == Some(1))
    }

    /// Returns the tensor with another size of one axis, which must not be the axis of the rows.
    pub(super) fn with_size(&self, axis: usize, size: Product) -> Option<Tensor> {
        if self.rows == Some(axis) || size.depends_on_rows() {
            return None;
        }
        let mut sizes = self.sizes.clone();
        *sizes.get_mut(axis)? = size;
        Tensor::new(sizes)
    }

    /// Returns the tensor in another shape. One size may be `None`, for the rest of the elements.
    ///
    /// Elements keep their order. The rows are therefore at the axis before which there are as many
    /// elements as before the axis of the rows now, provided that the size of the axis is a multiple of their number.
    pub(super) fn reshaped(
        &self,
        sizes: &[Option<Product>],
        symbols: &mut Symbols,
    ) -> Option<Tensor> {
        let open = sizes.iter().filter(|size| size.is_none()).count();
        let given: Vec<Product> = sizes.iter().flatten().cloned().collect();
        let rest = match (Product::of_all(&self.sizes), Product::of_all(&given)) {
            (Some(all), Some(given)) if open == 1 => all.divided_by(&given),
            _ => None,
        };
        let size_of = |size: &Option<Product>| size.clone().or_else(|| rest.clone());
        if let Some(rows) = self.rows {
            let expected = Product::of_all(&self.sizes[..rows])?;
            let mut before = Product::of(1);
            for size in sizes {
                let size = size_of(size)?;
                if size.depends_on_rows() {
                    break;
                }
                before = before.times(&size)?;
            }
            // Without an axis of rows, the new tensor fails the last check.
            if before != expected {
                return None;
            }
        }
        let sizes = sizes
            .iter()
            .map(|size| size_of(size).unwrap_or_else(|| symbols.size()));
        let reshaped = Tensor::new(sizes.collect())?;
        (reshaped.rows.is_some() == self.rows.is_some()).then_some(reshaped)
    }

    /// Returns the tensor to which ONNX's rules broadcast these.
    pub(super) fn broadcast(tensors: &[Tensor], symbols: &mut Symbols) -> Option<Tensor> {
        let rank = tensors.iter().map(Tensor::rank).max()?;
        let sizes = (0..rank).map(|axis| {
            let aligned = tensors
                .iter()
                .filter_map(|tensor| tensor.sizes.get((axis + tensor.rank()).checked_sub(rank)?));
            broadcast_size(aligned, symbols)
        });
        let sizes: Option<Vec<Product>> = sizes.collect();
        Tensor::new(sizes?)
    }
}

/// Returns the common size of aligned axes. Rows are joined with the same rows and with axes of size 1 only.
fn broadcast_size<'a>(
    aligned: impl Iterator<Item = &'a Product>,
    symbols: &mut Symbols,
) -> Option<Product> {
    let mut common: Option<Product> = None;
    for size in aligned {
        if size.as_number() == Some(1) {
            continue;
        }
        common = Some(match common {
            None => size.clone(),
            Some(before) => common_size(before, size, symbols)?,
        });
    }
    Some(common.unwrap_or_else(|| Product::of(1)))
}

/// Returns the size of two aligned axes, neither of which is known to be 1.
fn common_size(before: Product, size: &Product, symbols: &mut Symbols) -> Option<Product> {
    if before == *size {
        return Some(before);
    }
    if before.depends_on_rows() || size.depends_on_rows() {
        return None;
    }
    match (before.as_number(), size.as_number()) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(before),
        (None, Some(_)) => Some(size.clone()),
        // Either may be 1.
        (None, None) => Some(symbols.size()),
    }
}

// === impl Sizes ===

impl Sizes {
    /// Returns the scalar or vector of these elements, or `None` if they are too many.
    pub(super) fn new(elements: Vec<Option<Product>>, is_scalar: bool) -> Option<Sizes> {
        let fits = match is_scalar {
            true => elements.len() == 1,
            false => elements.len() <= MAX_ELEMENTS,
        };
        fits.then_some(Sizes {
            elements,
            is_scalar,
        })
    }

    /// Returns these numbers.
    pub(super) fn of_numbers(numbers: &[i64], is_scalar: bool) -> Option<Sizes> {
        let elements = numbers.iter().map(|&number| Some(Product::of(number)));
        Sizes::new(elements.collect(), is_scalar)
    }

    pub(super) fn is_constant(&self) -> bool {
        let is_constant =
            |element: &Option<Product>| element.as_ref().is_some_and(|e| !e.depends_on_rows());
        self.elements.iter().all(is_constant)
    }

    /// Returns the elements as numbers, if they are known.
    pub(super) fn numbers(&self) -> Option<Vec<i64>> {
        let numbers = self.elements.iter().map(|e| e.as_ref()?.as_number());
        numbers.collect()
    }

    /// Returns the tensor that has these elements as its shape.
    pub(super) fn to_shape(&self, symbols: &mut Symbols) -> Option<Tensor> {
        let sizes = self.elements.iter().map(|element| {
            let element = element.as_ref()?;
            let is_negative = element.as_number().is_some_and(|number| number < 0);
            (!is_negative).then(|| symbols.as_size(element))
        });
        let sizes: Option<Vec<Product>> = sizes.collect();
        Tensor::new(sizes?)
    }

    /// Returns the sizes of the value itself.
    fn shape(&self) -> Vec<Product> {
        match self.is_scalar {
            true => Vec::new(),
            false => vec![Product::of(
                i64::try_from(self.elements.len()).unwrap_or(i64::MAX),
            )],
        }
    }
}
