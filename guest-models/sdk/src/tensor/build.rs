//! Constructors of tensors: for the inputs of graphs, for responses, and for requests in tests.

use super::{Origin, Tensor, element_count};
use crate::error::{Error, Result};
use crate::{Datatype, Element};

impl Tensor {
    /// Creates a tensor of `values` in row-major order.
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if the number of values is not that of the
    /// shape's elements.
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let pair = Tensor::new("pair", &[1, 2], &[0.5_f32, 1.5])?;
    /// assert_eq!(pair.view::<f32>(&[-1, 2])?[1], 1.5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<T: Element>(name: impl Into<String>, shape: &[usize], values: &[T]) -> Result<Self> {
        Self::from_raw(
            name,
            T::DATATYPE,
            shape,
            bytemuck::cast_slice(values).to_vec(),
        )
    }

    /// Creates a tensor of computed values in row-major order, which are written directly into its
    /// buffer.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let celsius = [-4.0_f32, 21.0];
    /// let kelvin = celsius.iter().map(|value| value + 273.15);
    /// let kelvin = Tensor::collect("kelvin", &[2, 1], kelvin)?;
    /// assert_eq!(kelvin.shape(), [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn collect<T: Element>(
        name: impl Into<String>,
        shape: &[usize],
        values: impl IntoIterator<Item = T>,
    ) -> Result<Self> {
        let capacity = element_count(shape).and_then(|count| count.checked_mul(size_of::<T>()));
        let mut data =
            Vec::with_capacity(capacity.ok_or_else(|| Error::handler("tensor too large"))?);
        for value in values {
            data.extend_from_slice(bytemuck::bytes_of(&value));
        }
        Self::from_raw(name, T::DATATYPE, shape, data)
    }

    /// Creates a tensor of rows stacked along a new first axis, each of shape `row_shape`.
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if a row has another length.
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let batch = Tensor::from_rows("points", &[2], [[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]])?;
    /// assert_eq!(batch.shape(), [3, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_rows<T: Element, R: AsRef<[T]>>(
        name: impl Into<String>,
        row_shape: &[usize],
        rows: impl IntoIterator<Item = R>,
    ) -> Result<Self> {
        let name = name.into();
        let mut count = 0;
        let mut data = Vec::new();
        for row in rows {
            let row = row.as_ref();
            if element_count(row_shape) != Some(row.len()) {
                let length = row.len();
                return Err(Error::handler(format_args!(
                    "tensor `{name}`: row of {length} values for row shape {row_shape:?}"
                )));
            }
            data.extend_from_slice(bytemuck::cast_slice(row));
            count += 1;
        }
        let shape = [&[count], row_shape].concat();
        Self::from_raw(name, T::DATATYPE, &shape, data)
    }

    /// Creates a BYTES tensor of strings or byte strings in row-major order.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let label = Tensor::bytes("label", &[2], ["cat", "dog"])?;
    /// assert_eq!(label.strings(&[-1])?, ["cat", "dog"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bytes<S: AsRef<[u8]>>(
        name: impl Into<String>,
        shape: &[usize],
        values: impl IntoIterator<Item = S>,
    ) -> Result<Self> {
        let mut data = Vec::new();
        for value in values {
            let value = value.as_ref();
            data.extend_from_slice(&u32::try_from(value.len())?.to_le_bytes());
            data.extend_from_slice(value);
        }
        Self::from_raw(name, Datatype::Bytes, shape, data)
    }

    /// Creates a tensor of bytes that are already in the layout of V2's binary tensor extension.
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if the bytes do not fit the shape.
    ///
    /// ```
    /// # use wisp_handler::{Datatype, Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let one = Tensor::from_raw("one", Datatype::Int32, &[1], vec![1, 0, 0, 0])?;
    /// assert_eq!(*one.view::<i32>(&[1])?, [1]);
    /// assert!(Tensor::from_raw("two", Datatype::Int32, &[2], vec![1, 0, 0, 0]).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_raw(
        name: impl Into<String>,
        datatype: Datatype,
        shape: &[usize],
        data: Vec<u8>,
    ) -> Result<Self> {
        let tensor = Self {
            name: name.into(),
            datatype,
            shape: shape.to_vec(),
            data,
            origin: Origin::Handler,
        };
        let fits = match datatype.size() {
            Some(size) => {
                element_count(shape).and_then(|count| count.checked_mul(size))
                    == Some(tensor.data.len())
            }
            None => has_elements(&tensor.data, element_count(shape)),
        };
        if fits {
            Ok(tensor)
        } else {
            Err(tensor.error(format_args!(
                "does not have the elements of shape {shape:?}"
            )))
        }
    }
}

/// Returns whether `data` is exactly `count` length-prefixed elements.
fn has_elements(mut data: &[u8], count: Option<usize>) -> bool {
    let mut found = 0;
    while let Some((length, tail)) = data.split_first_chunk::<4>() {
        let Ok(length) = usize::try_from(u32::from_le_bytes(*length)) else {
            return false;
        };
        let Some((_, tail)) = tail.split_at_checked(length) else {
            return false;
        };
        found += 1;
        data = tail;
    }
    data.is_empty() && count == Some(found)
}
