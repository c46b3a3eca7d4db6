//! Named tensors: the inputs of a request, the inputs and outputs of a graph, and the outputs of a
//! response.
//!
//! Bytes are stored as in the contract (little-endian, row-major, BYTES length-prefixed). [`View`]
//! reinterprets them in place if they are aligned, which allocations by the host always are in
//! practice, and copies them otherwise.
//!
//! Invariant: a tensor created here has bytes that fit its shape and datatype. A tensor from outside
//! is checked on every access, so that an invalid one results in an error, never in a trap.

use crate::error::{Error, Fault, Result};
use crate::{Datatype, Element};
use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

mod build;

/// A named array of elements of one type, with a shape.
///
/// | to read | use |
/// |---|---|
/// | numbers and bools | [`view`](Self::view) |
/// | text | [`strings`](Self::strings) |
/// | files, such as images | [`byte_strings`](Self::byte_strings) |
///
/// | to create from | use |
/// |---|---|
/// | a slice | [`new`](Self::new) |
/// | an iterator | [`collect`](Self::collect) |
/// | rows of a batch | [`from_rows`](Self::from_rows) |
/// | strings | [`bytes`](Self::bytes) |
#[derive(Clone, PartialEq)]
pub struct Tensor {
    pub(crate) name: String,
    pub(crate) datatype: Datatype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
    pub(crate) origin: Origin,
}

/// The origin of a tensor, which determines the party at fault if the tensor is not as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Request,
    Graph,
    Handler,
}

/// A tensor's elements as a slice (by `Deref`), with its shape.
///
/// ```
/// # use wisp_handler::{Result, Tensor};
/// # fn main() -> Result<()> {
/// let tensor = Tensor::new("points", &[2, 3], &[1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let points = tensor.view::<f32>(&[-1, 3])?;
/// assert_eq!(points.len(), 6);
/// let sums: Vec<f32> = points.rows().map(|row| row.iter().sum()).collect();
/// assert_eq!(sums, [6.0, 15.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct View<'a, T: Element> {
    shape: &'a [usize],
    values: Cow<'a, [T]>,
}

// === impl Tensor ===

impl Tensor {
    /// Returns the name of the input or output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the type of the elements.
    pub fn datatype(&self) -> Datatype {
        self.datatype
    }

    /// Returns the size of each axis, the batch axis first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements in the layout of V2's binary tensor extension.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the same tensor with another name, for example to pass an input to a graph unchanged:
    ///
    /// ```
    /// # use wisp_handler::{Request, Result, Tensor};
    /// fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
    ///     Ok(vec![request.input("features")?.clone().renamed("float_input")])
    /// }
    /// ```
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            origin: Origin::Handler,
            ..self
        }
    }

    /// Returns the elements as `T`, in a shape that matches `shape` (-1 stands for any size).
    ///
    /// # Errors
    /// Fails if the datatype or the shape is different, or if a BOOL is neither 0 nor 1. The client is
    /// at fault for an input of the request, otherwise the handler.
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let pixels = Tensor::new("pixels", &[1, 2, 2], &[0_u8, 64, 128, 255])?;
    /// assert_eq!(pixels.view::<u8>(&[-1, 2, 2])?.iter().max(), Some(&255));
    /// let error = pixels.view::<f32>(&[-1, 2, 2]).unwrap_err();
    /// assert_eq!(error.message(), "tensor `pixels` is UINT8, expected FP32");
    /// # Ok(())
    /// # }
    /// ```
    pub fn view<T: Element>(&self, shape: &[i64]) -> Result<View<'_, T>> {
        self.expect_datatype(T::DATATYPE)?;
        self.expect_shape(shape)?;
        let size = size_of::<T>();
        if self
            .element_count()
            .and_then(|count| count.checked_mul(size))
            != Some(self.data.len())
        {
            return Err(self.error("does not have the bytes of its shape"));
        }
        match cast::<T>(&self.data) {
            Some(values) => Ok(View {
                shape: &self.shape,
                values,
            }),
            None => Err(self.error("has a BOOL that is neither 0 nor 1")),
        }
    }

    /// Returns the elements of a BYTES tensor in a shape that matches `shape` (-1 stands for any
    /// size).
    ///
    /// # Errors
    /// As for [`view`](Self::view).
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let files = Tensor::bytes("image", &[1], [b"\x89PNG"])?;
    /// assert_eq!(files.byte_strings(&[1])?, [b"\x89PNG"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn byte_strings(&self, shape: &[i64]) -> Result<Vec<&[u8]>> {
        self.expect_datatype(Datatype::Bytes)?;
        self.expect_shape(shape)?;
        let malformed = || self.error("does not have the bytes of its shape");
        // Each element takes at least four bytes, which bounds the reservation.
        let count = self
            .element_count()
            .filter(|count| *count <= self.data.len() / 4);
        let count = count.ok_or_else(malformed)?;
        let mut elements = Vec::with_capacity(count);
        let mut rest = self.data.as_slice();
        for _ in 0..count {
            let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
            let length = usize::try_from(u32::from_le_bytes(*length))?;
            let (element, tail) = tail.split_at_checked(length).ok_or_else(malformed)?;
            elements.push(element);
            rest = tail;
        }
        if rest.is_empty() {
            Ok(elements)
        } else {
            Err(malformed())
        }
    }

    /// Returns the elements of a BYTES tensor as strings, in a shape that matches `shape` (-1 stands
    /// for any size).
    ///
    /// # Errors
    /// As for [`view`](Self::view). Also fails if an element is not UTF-8, and names its index.
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let text = Tensor::bytes("text", &[2], ["yes".as_bytes(), b"\xff"])?;
    /// let error = text.strings(&[-1]).unwrap_err();
    /// assert_eq!(error.message(), "tensor `text` element 1 is not UTF-8");
    /// # Ok(())
    /// # }
    /// ```
    pub fn strings(&self, shape: &[i64]) -> Result<Vec<&str>> {
        let elements = self.byte_strings(shape)?;
        let text = |(index, bytes)| {
            str::from_utf8(bytes)
                .map_err(|_| self.error(format_args!("element {index} is not UTF-8")))
        };
        elements.into_iter().enumerate().map(text).collect()
    }

    /// Returns an error about this tensor: its kind, its name and the problem. The client is at fault for an
    /// input of the request, otherwise the handler.
    ///
    /// ```
    /// # use wisp_handler::{Fault, Request, Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let request = Request::new().with_input(Tensor::new("age", &[1], &[-1_i64])?);
    /// let error = request.input("age")?.error("is negative");
    /// assert_eq!(error.message(), "input `age` is negative");
    /// assert_eq!(error.fault(), Fault::Client);
    /// # Ok(())
    /// # }
    /// ```
    pub fn error(&self, problem: impl fmt::Display) -> Error {
        let (fault, kind) = match self.origin {
            Origin::Request => (Fault::Client, "input"),
            Origin::Graph => (Fault::Handler, "graph output"),
            Origin::Handler => (Fault::Handler, "tensor"),
        };
        Error::of(fault, format_args!("{kind} `{}` {problem}", self.name))
    }

    pub(crate) fn expect_datatype(&self, expected: Datatype) -> Result<()> {
        if self.datatype == expected {
            return Ok(());
        }
        Err(self.error(format_args!("is {}, expected {expected}", self.datatype)))
    }

    pub(crate) fn expect_shape(&self, expected: &[i64]) -> Result<()> {
        let fits = |(size, expected): (&usize, &i64)| {
            *expected < 0 || usize::try_from(*expected).is_ok_and(|expected| expected == *size)
        };
        if self.shape.len() == expected.len() && self.shape.iter().zip(expected).all(fits) {
            return Ok(());
        }
        Err(self.error(format_args!(
            "has shape {:?}, expected {expected:?}",
            self.shape
        )))
    }

    fn element_count(&self) -> Option<usize> {
        element_count(&self.shape)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}{:?}, {} bytes",
            self.name,
            self.datatype,
            self.shape,
            self.data.len()
        )
    }
}

// === impl View ===

impl<T: Element> View<'_, T> {
    /// Returns the size of each axis, the batch axis first.
    pub fn shape(&self) -> &[usize] {
        self.shape
    }

    /// Returns the size of the batch axis, or 1 for a scalar.
    pub fn row_count(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Returns an iterator over the rows of the batch. A row contains the elements of all axes after
    /// the first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        let count = self.row_count();
        let length = self.values.len().checked_div(count).unwrap_or(0);
        (0..count).map(move |row| &self.values[row * length..(row + 1) * length])
    }
}

impl<T: Element> Deref for View<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values
    }
}

/// Returns the number of elements in a shape, or `None` on overflow.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |count, size| count.checked_mul(*size))
}

/// Returns `bytes` as elements, in place if they are aligned. Returns `None` if an element is not a
/// valid `T`.
fn cast<T: Element>(bytes: &[u8]) -> Option<Cow<'_, [T]>> {
    use bytemuck::checked::{CheckedCastError, try_cast_slice, try_pod_read_unaligned};
    match try_cast_slice(bytes) {
        Ok(values) => Some(Cow::Borrowed(values)),
        Err(CheckedCastError::InvalidBitPattern) => None,
        Err(CheckedCastError::PodCastError(_)) => {
            let elements = bytes.chunks_exact(size_of::<T>());
            elements
                .map(|element| try_pod_read_unaligned(element).ok())
                .collect::<Option<Vec<T>>>()
                .map(Cow::Owned)
        }
    }
}

#[cfg(test)]
mod tests;
