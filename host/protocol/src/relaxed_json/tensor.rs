//! Decoding of nested arrays into the bytes of a tensor, with the datatype and shape of a signature.

use super::element::{float, half, integer, read_bool, read_bytes};
use super::error::ValueError;
use super::reader::{Reader, ValueKind};
use wisp_tensor::half_precision::{nearest_bf16, nearest_f16};
use wisp_tensor::signature::DimensionList;
use wisp_tensor::{Dimension, ElementType, Shape};

/// The strictness of the nesting of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArrayForm {
    /// An array per axis.
    Nested,
    /// As `Nested`, or all elements in one flat array, or a single bare element, if that determines
    /// the shape.
    Any,
}

/// Appends the elements of the value ahead to `content`, and returns the size of each axis, which
/// matches `shape`. After an error, a part of the value may have been read and appended.
pub(crate) fn read(
    reader: &mut Reader,
    (element_type, shape): (ElementType, &[Dimension]),
    form: ArrayForm,
    content: &mut Vec<u8>,
) -> Result<Vec<u32>, ValueError> {
    let tensor = TensorReader {
        element_type,
        shape,
        sizes: vec![None; shape.len()],
        position: 0,
        content,
    };
    match element_type {
        ElementType::Bool => tensor.read(reader, form, read_bool),
        ElementType::Uint8 => tensor.read(reader, form, integer!(u8)),
        ElementType::Uint16 => tensor.read(reader, form, integer!(u16)),
        ElementType::Uint32 => tensor.read(reader, form, integer!(u32)),
        ElementType::Uint64 => tensor.read(reader, form, integer!(u64)),
        ElementType::Int8 => tensor.read(reader, form, integer!(i8)),
        ElementType::Int16 => tensor.read(reader, form, integer!(i16)),
        ElementType::Int32 => tensor.read(reader, form, integer!(i32)),
        ElementType::Int64 => tensor.read(reader, form, integer!(i64)),
        ElementType::Fp32 => tensor.read(reader, form, float!(f32)),
        ElementType::Fp64 => tensor.read(reader, form, float!(f64)),
        ElementType::Fp16 => tensor.read(reader, form, half!(nearest_f16)),
        ElementType::Bf16 => tensor.read(reader, form, half!(nearest_bf16)),
        ElementType::Bytes => tensor.read(reader, form, read_bytes),
    }
}

/// The state of decoding one value.
struct TensorReader<'a> {
    element_type: ElementType,
    shape: &'a [Dimension],
    /// The length of the first array at each depth, once it has ended.
    sizes: Vec<Option<u32>>,
    /// The number of elements so far.
    position: usize,
    content: &'a mut Vec<u8>,
}

impl TensorReader<'_> {
    fn read(
        mut self,
        reader: &mut Reader,
        form: ArrayForm,
        element: impl Fn(&mut Reader, &mut Vec<u8>) -> Option<()>,
    ) -> Result<Vec<u32>, ValueError> {
        let is_list = reader.kind()? == ValueKind::Array;
        let is_nested = is_list && reader.kind_of_first() == Some(ValueKind::Array);
        if form == ArrayForm::Nested || is_nested {
            self.nested(reader, 0, &element)?;
            return self.sizes();
        }
        match is_list {
            true => self.elements(reader, &element)?,
            false => self.element(reader, &element)?,
        }
        match Shape::fit(self.shape, self.position) {
            Ok(shape) => Ok(shape.into_dimensions()),
            Err(_) => Err(ValueError::Flat {
                actual: self.position,
                expected: self.expected(),
            }),
        }
    }

    /// Reads a value at this depth: an element at the innermost depth, an array of values at others.
    fn nested(
        &mut self,
        reader: &mut Reader,
        depth: usize,
        element: &impl Fn(&mut Reader, &mut Vec<u8>) -> Option<()>,
    ) -> Result<(), ValueError> {
        if depth == self.shape.len() {
            return self.element(reader, element);
        }
        if reader.kind()? != ValueKind::Array {
            return Err(self.nesting());
        }
        let mut length = 0usize;
        if depth + 1 == self.shape.len() {
            let before = self.position;
            self.elements(reader, element)?;
            length = self.position - before;
        } else {
            reader.array(|reader| {
                length += 1;
                self.nested(reader, depth + 1, element)
            })?;
        }
        let length = u32::try_from(length).map_err(|_| wisp_tensor::TensorError::Size)?;
        match *self.sizes[depth].get_or_insert(length) == length {
            true => Ok(()),
            false => Err(ValueError::Ragged),
        }
    }

    /// Reads an array of elements, in one pass if they are plain numbers, otherwise one by one.
    fn elements(
        &mut self,
        reader: &mut Reader,
        element: &impl Fn(&mut Reader, &mut Vec<u8>) -> Option<()>,
    ) -> Result<(), ValueError> {
        if let Some(count) = reader.numbers(self.element_type, self.content) {
            self.position += count;
            return Ok(());
        }
        reader.array(|reader| self.element(reader, element))
    }

    fn element(
        &mut self,
        reader: &mut Reader,
        element: &impl Fn(&mut Reader, &mut Vec<u8>) -> Option<()>,
    ) -> Result<(), ValueError> {
        if element(reader, self.content).is_none() {
            return Err(match reader.kind() {
                Ok(ValueKind::Array) => self.nesting(),
                Ok(ValueKind::Null) => ValueError::Missing {
                    position: self.position,
                    element_type: self.element_type,
                },
                _ => ValueError::Element {
                    position: self.position,
                    element_type: self.element_type,
                },
            });
        }
        self.position += 1;
        Ok(())
    }

    /// Returns the size of each axis. An axis within an empty array has its declared size, 0 if
    /// variable.
    fn sizes(&self) -> Result<Vec<u32>, ValueError> {
        let known = self.sizes.iter().zip(self.shape);
        let sizes: Vec<u32> = known
            .clone()
            .map(|(size, declared)| match (size, declared) {
                (&Some(size), _) | (None, &Dimension::Fixed(size)) => size,
                (None, Dimension::Variable) => 0,
            })
            .collect();
        let fits = |(size, declared): (&u32, &Dimension)| {
            *declared == Dimension::Variable || *declared == Dimension::Fixed(*size)
        };
        match sizes.iter().zip(self.shape).all(fits) {
            true => Ok(sizes),
            false => Err(ValueError::Shape {
                actual: format!("{sizes:?}").into(),
                expected: self.expected(),
            }),
        }
    }

    fn nesting(&self) -> ValueError {
        ValueError::Nesting {
            expected: self.expected(),
            depth: self.shape.len(),
        }
    }

    fn expected(&self) -> Box<str> {
        DimensionList(self.shape).to_string().into()
    }
}

#[cfg(test)]
mod tests;
