//! Triton's classification extension: in place of a numeric output, the greatest values of each row, as
//! strings `value:index`, or `value:index:label` if the model has class labels.
//!
//! Values have the format of C's `%f` and `%d`, since clients parse the strings of Triton. A row is one
//! element of the batch axis, whatever its shape; without a batch axis there is one row. Equal values
//! keep their order, and NaN comes last.
//!
//! Invariant: the strings take many times the bytes of the numbers, so their total is limited while they
//! are written.

use crate::call::{InferResponse, ModelDescription};
use crate::error::{ErrorKind, HasErrorKind};
use crate::json_size;
use std::cmp::Ordering;
use std::fmt::{Display, Write};
use std::num::NonZeroUsize;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor};

/// The maximum number of bytes that the classes of one output may take, about a million classes.
const MAX_BYTES: usize = 16 << 20;

/// The minimum number of bytes of a class: a length of four bytes, a digit, the colon and a digit.
const MIN_CLASS_BYTES: usize = 7;

/// The classes that a client requests in place of an output. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopClasses {
    output: String,
    count: NonZeroUsize,
}

/// The reason that an output cannot be requested as classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClassRequestError {
    #[error("the parameter `classification` must be the number of classes, an integer from 0")]
    Count,
    #[error("it is {0}, but `classification` needs numbers")]
    ElementType(ElementType),
}

/// The error for requested classes that take more than `MAX_BYTES`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the classes of output `{output}` take more than {MAX_BYTES} bytes: ask for fewer with the parameter `classification`"
)]
pub(crate) struct ClassesError {
    output: String,
}

// === impl TopClasses ===

impl TopClasses {
    /// Returns a request for `count` classes of an output. The caller checks that the model has the
    /// output.
    pub(crate) fn new(
        output: &str,
        count: Option<u64>,
        model: &ModelDescription,
    ) -> Result<TopClasses, ClassRequestError> {
        // A count above the number of classes means all of them.
        let count = count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let count = count
            .and_then(NonZeroUsize::new)
            .ok_or(ClassRequestError::Count)?;
        let mut outputs = model.signature.outputs.iter();
        match outputs.find(|spec| spec.name == output) {
            Some(spec) if !is_ranked(spec.element_type) => {
                Err(ClassRequestError::ElementType(spec.element_type))
            }
            _ => Ok(TopClasses {
                output: output.to_owned(),
                count,
            }),
        }
    }

    fn of(&self, output: &NamedTensor, model: &ModelDescription) -> Result<Tensor, ClassesError> {
        let sizes = output.tensor.shape().dimensions();
        let batch = sizes.first().filter(|_| model.max_batch_size > 0).copied();
        let rows = batch.map_or(1, |rows| rows as usize);
        let elements = output.tensor.shape().elements();
        let width = elements.checked_div(rows).unwrap_or(0);
        let count = width.min(self.count.get());
        let mut writer = ClassWriter {
            labels: model
                .class_labels
                .get(&output.name)
                .map_or(&[], Vec::as_slice),
            content: Vec::new(),
            text: String::new(),
        };
        let fits = count.saturating_mul(rows) <= MAX_BYTES / MIN_CLASS_BYTES
            && writer.write_all(&output.tensor, RowSelection { width, count });
        if !fits {
            let output = output.name.clone();
            return Err(ClassesError { output });
        }
        let count = u32::try_from(count).expect("there are fewer than MAX_BYTES");
        let shape = Shape::new(batch.into_iter().chain([count]).collect())
            .expect("it has at most two axes and no more elements than the output");
        let classes = Tensor::new(ElementType::Bytes, shape, writer.content.into());
        Ok(classes.expect("as many elements were written as the shape takes"))
    }
}

/// Replaces the outputs that classes are requested for by those classes.
pub(crate) fn classify(
    requested: &[TopClasses],
    response: InferResponse,
    model: &ModelDescription,
) -> Result<InferResponse, ClassesError> {
    let mut response = response;
    for output in &mut response.outputs {
        if let Some(classes) = requested
            .iter()
            .find(|requested| requested.output == output.name)
        {
            output.tensor = classes.of(output, model)?;
        }
    }
    Ok(response)
}

/// Returns an estimate of the bytes to rank and write for these outputs.
pub(crate) fn text_bytes(requested: &[TopClasses], response: &InferResponse) -> usize {
    let outputs = response.outputs.iter();
    let ranked = outputs.filter(|output| {
        requested
            .iter()
            .any(|requested| requested.output == output.name)
    });
    json_size::text_bytes(ranked)
}

impl HasErrorKind for ClassesError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidRequest
    }
}

/// Returns whether Triton ranks elements of this type.
pub(crate) fn is_ranked(element_type: ElementType) -> bool {
    match element_type {
        ElementType::Uint8
        | ElementType::Uint16
        | ElementType::Uint32
        | ElementType::Uint64
        | ElementType::Int8
        | ElementType::Int16
        | ElementType::Int32
        | ElementType::Int64
        | ElementType::Fp32
        | ElementType::Fp64 => true,
        ElementType::Bool | ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => false,
    }
}

/// The number of elements in a row, and the number of classes to write for it.
#[derive(Debug, Clone, Copy)]
struct RowSelection {
    width: usize,
    count: usize,
}

/// A writer of the elements of a BYTES tensor.
#[derive(Debug)]
struct ClassWriter<'a> {
    /// The labels of the first classes.
    labels: &'a [String],
    content: Vec<u8>,
    /// The string being written; its buffer is reused.
    text: String,
}

// === impl ClassWriter ===

impl ClassWriter<'_> {
    /// Writes the classes of all rows. Returns `false` if they exceed [`MAX_BYTES`], and for types
    /// that are not ranked.
    fn write_all(&mut self, tensor: &Tensor, selection: RowSelection) -> bool {
        /// Ranks numbers of this type and writes them with this function, both as the widest type of their
        /// kind: ranking is much code, of which every type would have a copy.
        macro_rules! rank {
            ($number:ty as $widest:ty, $show:expr) => {{
                let (numbers, _) = tensor.content().as_chunks();
                let read = |bytes: &_| <$widest>::from(<$number>::from_le_bytes(*bytes));
                let mut rows = numbers.chunks_exact(selection.width.max(1));
                rows.all(|row| {
                    let ranked = greatest(row.iter().map(read), selection.count);
                    ranked.into_iter().all(|class| self.write(class, $show))
                })
            }};
        }
        match tensor.element_type() {
            ElementType::Uint8 => rank!(u8 as u64, integer),
            ElementType::Uint16 => rank!(u16 as u64, integer),
            ElementType::Uint32 => rank!(u32 as u64, integer),
            ElementType::Uint64 => rank!(u64 as u64, integer),
            ElementType::Int8 => rank!(i8 as i64, integer),
            ElementType::Int16 => rank!(i16 as i64, integer),
            ElementType::Int32 => rank!(i32 as i64, integer),
            ElementType::Int64 => rank!(i64 as i64, integer),
            ElementType::Fp32 => rank!(f32 as f64, float),
            ElementType::Fp64 => rank!(f64 as f64, float),
            // `TopClasses::new` rejects these types, and outputs have the types of the signature.
            ElementType::Bool | ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => false,
        }
    }

    /// Writes one class. Returns `false` once the classes exceed [`MAX_BYTES`].
    fn write<T>(&mut self, (index, value): (usize, T), show: impl Fn(T, &mut String)) -> bool {
        self.text.clear();
        show(value, &mut self.text);
        write(&mut self.text, format_args!(":{index}"));
        if let Some(label) = self.labels.get(index) {
            self.text.push(':');
            self.text.push_str(label);
        }
        let length = u32::try_from(self.text.len()).expect(
            "a number has some hundred digits, and all labels together fit in a file of ours",
        );
        self.content.extend_from_slice(&length.to_le_bytes());
        self.content.extend_from_slice(self.text.as_bytes());
        self.content.len() <= MAX_BYTES
    }
}

/// Returns the `count` greatest values with their positions, in descending order.
///
/// Holds at most `2 * count + 1` values at a time.
fn greatest<T: Copy + PartialOrd>(
    values: impl Iterator<Item = T>,
    count: usize,
) -> Vec<(usize, T)> {
    let mut ranked = Vec::new();
    for candidate in values.enumerate() {
        ranked.push(candidate);
        if ranked.len() > count.saturating_mul(2) {
            ranked.select_nth_unstable_by(count, by_rank);
            ranked.truncate(count);
        }
    }
    ranked.sort_unstable_by(by_rank);
    ranked.truncate(count);
    ranked
}

/// Compares values with their positions: greater ones first, equal ones in the order of their positions.
fn by_rank<T: PartialOrd>(a: &(usize, T), b: &(usize, T)) -> Ordering {
    descending(&a.1, &b.1).then_with(|| a.0.cmp(&b.0))
}

/// Compares for descending order, with NaN last.
fn descending<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let is_nan = |value: &T| value.partial_cmp(value).is_none();
    b.partial_cmp(a)
        .unwrap_or_else(|| is_nan(a).cmp(&is_nan(b)))
}

fn integer<T: Display>(value: T, text: &mut String) {
    write(text, format_args!("{value}"));
}

/// Writes a number in the format of C's `%f`, which spells NaN differently from Rust.
fn float(value: f64, text: &mut String) {
    match value.is_nan() {
        true => text.push_str("nan"),
        false => write(text, format_args!("{value:.6}")),
    }
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("a string takes every text");
}

#[cfg(test)]
mod tests;
