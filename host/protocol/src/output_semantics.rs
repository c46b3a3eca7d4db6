//! The roles of a model's outputs in the protocols that return labels, scores and a number.
//!
//! Signatures do not declare roles, so the type and shape of one row determine them, ignoring the batch
//! axis and axes of size 1. Floats that vary along one axis are class scores, a single float is a number,
//! and single strings and integers are labels.

use crate::call::ModelDescription;
use crate::relaxed_json::{EncodeError, number};
use wisp_tensor::{Dimension, ElementType, NamedTensor, TensorSpec};

/// The number of values in a row of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowCardinality {
    One,
    /// One value per class, along a single axis.
    Classes,
    /// More than one axis, which a flat array cannot represent.
    Other,
}

/// Returns the cardinality of an output's rows as the signature declares it.
pub(crate) fn row_cardinality(output: &TensorSpec, model: &ModelDescription) -> RowCardinality {
    let row = match (model.max_batch_size, output.shape.as_slice()) {
        (0, shape) => shape,
        (_, [_, row @ ..]) => row,
        (_, []) => return RowCardinality::Other,
    };
    let mut sizes = row.iter().filter(|&&size| size != Dimension::Fixed(1));
    match (sizes.next(), sizes.next()) {
        (None, _) => RowCardinality::One,
        (Some(_), None) => RowCardinality::Classes,
        (Some(_), Some(_)) => RowCardinality::Other,
    }
}

pub(crate) fn is_float(output: &TensorSpec) -> bool {
    matches!(
        output.element_type,
        ElementType::Fp16 | ElementType::Bf16 | ElementType::Fp32 | ElementType::Fp64
    )
}

pub(crate) fn is_string(output: &TensorSpec) -> bool {
    output.element_type == ElementType::Bytes
}

/// The elements of an output, row by row. Lifetime: one request.
#[derive(Debug)]
pub(crate) struct RowView<'a> {
    pub(crate) output: &'a NamedTensor,
    elements: Vec<&'a [u8]>,
    /// The number of elements per row.
    pub(crate) width: usize,
}

impl<'a> RowView<'a> {
    /// Finds the output `name` and splits it into `rows` rows. Without a batch axis, there is one row.
    pub(crate) fn new(
        outputs: &'a [NamedTensor],
        name: &str,
        rows: Option<u32>,
    ) -> Result<RowView<'a>, EncodeError> {
        let output = find(outputs, name)?;
        check_rows(output, rows)?;
        let tensor = &output.tensor;
        let elements: Vec<&[u8]> = match tensor.element_type().size() {
            Some(size) => tensor.content().chunks_exact(size).collect(),
            None => tensor.elements().collect(),
        };
        let rows = rows.map_or(1, |rows| rows as usize);
        Ok(RowView {
            output,
            width: elements.len().checked_div(rows).unwrap_or(0),
            elements,
        })
    }

    pub(crate) fn element_type(&self) -> ElementType {
        self.output.tensor.element_type()
    }

    pub(crate) fn row(&self, row: usize) -> &[&'a [u8]] {
        let start = row * self.width;
        self.elements.get(start..start + self.width).unwrap_or(&[])
    }

    /// Returns the position of the greatest number in a row, the first one if several are equal; `None`
    /// if the row has no number.
    pub(crate) fn greatest(&self, row: usize) -> Option<usize> {
        let mut greatest: Option<(usize, f64)> = None;
        for (position, element) in self.row(row).iter().enumerate() {
            if let Some(number) = number(self.element_type(), element)
                && !number.is_nan()
                && greatest.is_none_or(|(_, other)| number > other)
            {
                greatest = Some((position, number));
            }
        }
        greatest.map(|(position, _)| position)
    }

    /// Checks that a row has `expected` elements.
    pub(crate) fn check_width(&self, expected: usize) -> Result<(), EncodeError> {
        match self.width == expected {
            true => Ok(()),
            false => Err(EncodeError::Entries {
                output: self.output.name.clone(),
                actual: self.width,
                expected,
            }),
        }
    }

    /// Checks that a row of labels has one label per class, or a single label.
    pub(crate) fn check_labels(&self, classes: usize) -> Result<(), EncodeError> {
        match self.width {
            1 => Ok(()),
            _ => self.check_width(classes),
        }
    }
}

pub(crate) fn find<'a>(
    outputs: &'a [NamedTensor],
    name: &str,
) -> Result<&'a NamedTensor, EncodeError> {
    let output = outputs.iter().find(|output| output.name == name);
    output.ok_or_else(|| EncodeError::Missing {
        output: name.to_owned(),
    })
}

/// Checks that axis 0 of an output is a batch of `rows` rows. `None` skips the check.
pub(crate) fn check_rows(output: &NamedTensor, rows: Option<u32>) -> Result<(), EncodeError> {
    let shape = output.tensor.shape();
    match rows {
        Some(rows) if shape.dimensions().first() != Some(&rows) => Err(EncodeError::Rows {
            output: output.name.clone(),
            shape: shape.to_string(),
            rows,
        }),
        _ => Ok(()),
    }
}
