//! Products of matrices.

use super::operator::{Operator, Outputs, alone};
use super::product::Product;
use super::value::Tensor;
use std::collections::HashMap;

/// Infers `MatMul`.
pub(super) fn matmul(operator: &mut Operator<'_>) -> Outputs {
    let (a, b) = (operator.tensor(0)?, operator.tensor(1)?);
    alone(multiplied(operator, &a, &b))
}

/// Infers `MatMulInteger`, whose zero points follow the matrices.
pub(super) fn matmul_integer(operator: &mut Operator<'_>) -> Outputs {
    operator.constant_from(2)?;
    let (a, b) = (operator.tensor(0)?, operator.tensor(1)?);
    let is_single = |position: usize| match operator.input(position) {
        None => true,
        Some(point) => point.to_tensor().is_some_and(|point| point.is_single()),
    };
    // A zero point for each row of a matrix, or for each of its columns, does not fit other rows.
    let fits_a = is_single(2) || a.rows().is_none();
    let fits_b = is_single(3) || b.rows().is_none();
    if !fits_a || !fits_b {
        return None;
    }
    alone(multiplied(operator, &a, &b))
}

/// Infers `QLinearMatMul`: each matrix and the product have a scale and a zero point.
pub(super) fn matmul_quantized(operator: &mut Operator<'_>) -> Outputs {
    let (a, b) = (operator.tensor(0)?, operator.tensor(3)?);
    for position in [1, 2, 4, 5, 6, 7] {
        let parameter = operator.tensor(position)?;
        let may_differ = (position == 4 || position == 5) && b.rows().is_none();
        if parameter.rows().is_some() || !(parameter.is_single() || may_differ) {
            return None;
        }
    }
    alone(multiplied(operator, &a, &b))
}

/// Infers `Gemm`, the product of two matrices that may be transposed, plus a tensor.
pub(super) fn gemm(operator: &mut Operator<'_>) -> Outputs {
    let matrix = |position: usize, name: &str| {
        let tensor = operator.tensor(position)?;
        let [rows, columns] = tensor.sizes() else {
            return None;
        };
        match operator.integer(name, 0) {
            0 => Some(tensor),
            _ => Tensor::new(vec![columns.clone(), rows.clone()]),
        }
    };
    let (a, b) = (matrix(0, "transA")?, matrix(1, "transB")?);
    let product = multiplied(operator, &a, &b)?;
    if operator.input(2).is_none() {
        return alone(Some(product));
    }
    let added = operator.tensor(2)?;
    let sum = Tensor::broadcast(&[product.clone(), added], operator.symbols)?;
    let keeps_shape = sum.rank() == product.rank() && sum.rows() == product.rows();
    alone(Some(sum).filter(|_| keeps_shape))
}

/// Returns the product of matrices, of which the other axes are broadcast.
fn multiplied(operator: &mut Operator<'_>, a: &Tensor, b: &Tensor) -> Option<Tensor> {
    let (mut a_sizes, mut b_sizes) = (a.sizes().to_vec(), b.sizes().to_vec());
    // A vector is a matrix of one row on the left, and of one column on the right.
    if a.rank() == 1 {
        a_sizes.insert(0, Product::of(1));
    }
    if b.rank() == 1 {
        b_sizes.push(Product::of(1));
    }
    let (a_inner, a_rows) = (a_sizes.pop()?, a_sizes.pop()?);
    let (b_columns, b_inner) = (b_sizes.pop()?, b_sizes.pop()?);
    if a_inner.depends_on_rows() || b_inner.depends_on_rows() {
        return None;
    }
    let outer = [Tensor::new(a_sizes)?, Tensor::new(b_sizes)?];
    let mut sizes = Tensor::broadcast(&outer, operator.symbols)?
        .sizes()
        .to_vec();
    if a.rank() > 1 {
        sizes.push(a_rows);
    }
    if b.rank() > 1 {
        sizes.push(b_columns);
    }
    Tensor::new(sizes)
}

/// Infers `Einsum`, whose equation names the axes. Each row is computed alone if all tensors with rows, and the
/// result, have the same name for their axis.
pub(super) fn einsum(operator: &Operator<'_>) -> Outputs {
    let equation: String = operator.text("equation")?.split_whitespace().collect();
    let (terms, result) = equation.split_once("->")?;
    let terms: Vec<&str> = terms.split(',').collect();
    let tensors = operator.tensors()?;
    if terms.len() != tensors.len() {
        return None;
    }
    let mut sizes: HashMap<char, Product> = HashMap::new();
    for (term, tensor) in terms.into_iter().zip(&tensors) {
        if !is_plain(term) || term.len() != tensor.rank() {
            return None;
        }
        for (name, size) in term.chars().zip(tensor.sizes()) {
            let known = sizes.entry(name).or_insert_with(|| size.clone());
            let mixes = known.depends_on_rows() || size.depends_on_rows();
            if mixes && *known != *size {
                return None;
            }
        }
    }
    let mut named = sizes.iter();
    let loses_rows = named.any(|(name, size)| size.depends_on_rows() && !result.contains(*name));
    if loses_rows || !is_plain(result) {
        return None;
    }
    let result = result.chars().map(|name| sizes.get(&name).cloned());
    alone(Tensor::new(result.collect::<Option<_>>()?))
}

/// Returns whether the axes of a tensor have different names of one letter.
fn is_plain(term: &str) -> bool {
    let mut names = term.char_indices();
    names.all(|(at, name)| name.is_ascii_alphabetic() && !term[..at].contains(name))
}
