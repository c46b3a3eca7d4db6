//! Inputs from examples: a feature of each example becomes a row of the input with its name.
//!
//! The first axis of every input counts the examples, as in a model with a `max_batch_size`. A feature
//! has as many elements as a row, which determines one variable axis; its length must be the same in
//! every example. FP32 and FP64 are read from a `float_list`, integers and BOOL (0 or 1) from an
//! `int64_list`, BYTES from a `bytes_list`. A feature of the context applies to each example that does
//! not have it. Features without an input are ignored, as in TensorFlow's example parser.

use super::budget::Budget;
use super::error::{DecodeError, InputError};
use crate::call::ModelDescription;
use crate::grpc::element::{narrow, numbers, strings, strings_size};
use crate::grpc::message::tensorflow::feature::Kind;
use crate::grpc::message::tensorflow::serving::Input;
use crate::grpc::message::tensorflow::serving::input;
use crate::grpc::message::tensorflow::{Example, Feature};
use crate::grpc::row_shape;
use crate::quoted::Quoted;
use bytes::Bytes;
use prost::Message;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor, TensorError, TensorSpec};

/// The examples of one request.
struct Examples {
    examples: Vec<Example>,
    context: Option<Example>,
}

/// Decodes the examples into the model's inputs; returns them with the number of examples.
pub(super) fn decode(
    input: Option<Input>,
    model: &ModelDescription,
    limit: usize,
) -> Result<(Vec<NamedTensor>, u32), DecodeError> {
    if model.max_batch_size == 0 {
        return Err(DecodeError::NoBatchAxis);
    }
    let examples = match input.and_then(|input| input.kind) {
        Some(input::Kind::ExampleList(list)) => Examples {
            examples: list.examples,
            context: None,
        },
        Some(input::Kind::ExampleListWithContext(list)) => Examples {
            examples: list.examples,
            context: list.context,
        },
        None => return Err(DecodeError::NoExamples),
    };
    if examples.examples.is_empty() {
        return Err(DecodeError::NoExamples);
    }
    let mut budget = Budget::new(limit);
    let mut tensors = Vec::with_capacity(model.signature.inputs.len());
    for spec in &model.signature.inputs {
        if spec.optional && !examples.mention(&spec.name) {
            continue;
        }
        let name = spec.name.clone();
        let tensor = examples.decode(spec, &mut budget)?;
        tensors.push(NamedTensor { name, tensor });
    }
    // `Rows::push` has checked that the count fits. Without inputs there are no rows, so it may saturate.
    let count = u32::try_from(examples.examples.len()).unwrap_or(u32::MAX);
    Ok((tensors, count))
}

/// Returns the number of bytes that the features of the context take once each example has them. The
/// result is at most `limit`, beyond which decoding refuses the request.
pub(super) fn repeated_bytes(input: Option<&Input>, limit: usize) -> usize {
    let Some(input::Kind::ExampleListWithContext(list)) =
        input.and_then(|input| input.kind.as_ref())
    else {
        return 0;
    };
    // A one-byte number becomes eight bytes.
    let context = list.context.as_ref().map_or(0, Message::encoded_len);
    let row = context.saturating_mul(8);
    row.saturating_mul(list.examples.len()).min(limit)
}

impl Examples {
    /// Returns whether any example, or the context, has this feature.
    fn mention(&self, name: &str) -> bool {
        let all = self.examples.iter().chain(&self.context);
        all.into_iter()
            .any(|example| feature(example, name).is_some())
    }

    /// Decodes an input, with one row per example.
    fn decode(&self, spec: &TensorSpec, budget: &mut Budget) -> Result<Tensor, DecodeError> {
        let shared = self
            .context
            .as_ref()
            .and_then(|context| feature(context, &spec.name));
        let mut rows = Rows::new(spec);
        for (position, example) in self.examples.iter().enumerate() {
            let kind = feature(example, &spec.name).or(shared);
            let kind = kind.ok_or_else(|| DecodeError::NoFeature {
                example: position,
                name: Quoted::new(&spec.name),
            })?;
            rows.push(kind, budget)
                .map_err(|error| DecodeError::Feature {
                    example: position,
                    name: Quoted::new(&spec.name),
                    error,
                })?;
        }
        rows.into_tensor().map_err(|error| DecodeError::Input {
            name: Quoted::new(&spec.name),
            error: error.into(),
        })
    }
}

/// Returns an example's feature of this name; a feature without a list counts as absent.
fn feature<'a>(example: &'a Example, name: &str) -> Option<&'a Kind> {
    let features = example.features.as_ref()?;
    let Feature { kind } = features.feature.get(name)?;
    kind.as_ref()
}

/// The rows of one input decoded so far. Lifetime: one request.
struct Rows<'a> {
    spec: &'a TensorSpec,
    /// The sizes of every row, which the first row determines, and the number of elements per row.
    sizes: Option<(Vec<u32>, usize)>,
    content: Vec<u8>,
    count: u32,
}

impl<'a> Rows<'a> {
    fn new(spec: &'a TensorSpec) -> Rows<'a> {
        Rows {
            spec,
            sizes: None,
            content: Vec::new(),
            count: 0,
        }
    }

    fn push(&mut self, kind: &Kind, budget: &mut Budget) -> Result<(), InputError> {
        let actual = match kind {
            Kind::BytesList(list) => list.value.len(),
            Kind::FloatList(list) => list.value.len(),
            Kind::Int64List(list) => list.value.len(),
        };
        match self.sizes {
            Some((_, expected)) if expected == actual => {}
            Some((_, expected)) => return Err(InputError::Ragged { expected, actual }),
            None => {
                let declared = self.spec.shape.get(1..).ok_or(InputError::NoAxis)?;
                self.sizes = Some((row_shape::fit(declared, actual)?, actual));
            }
        }
        append(&mut self.content, kind, self.spec.element_type, budget)?;
        self.count = self.count.checked_add(1).ok_or(TensorError::Size)?;
        Ok(())
    }

    fn into_tensor(self) -> Result<Tensor, TensorError> {
        let sizes = self.sizes.map(|(sizes, _)| sizes).unwrap_or_default();
        let shape = Shape::new(std::iter::once(self.count).chain(sizes).collect())?;
        Tensor::new(self.spec.element_type, shape, Bytes::from(self.content))
    }
}

/// Appends a feature's elements as this type.
fn append(
    content: &mut Vec<u8>,
    kind: &Kind,
    element_type: ElementType,
    budget: &mut Budget,
) -> Result<(), InputError> {
    let (size, expected) = match (element_type, element_type.size()) {
        (ElementType::Fp16 | ElementType::Bf16, _) => {
            return Err(InputError::NoExampleForm(element_type));
        }
        (ElementType::Fp32 | ElementType::Fp64, Some(size)) => (size, "float_list"),
        (_, Some(size)) => (size, "int64_list"),
        (_, None) => (0, "bytes_list"),
    };
    let bytes = match kind {
        Kind::BytesList(list) => Some(strings_size(&list.value)),
        Kind::FloatList(list) => list.value.len().checked_mul(size),
        Kind::Int64List(list) => list.value.len().checked_mul(size),
    };
    budget.take(bytes)?;
    let read = match (element_type, kind) {
        (ElementType::Bytes, Kind::BytesList(list)) => strings(content, &list.value),
        (ElementType::Fp32, Kind::FloatList(list)) => {
            numbers(content, &list.value, |value| Some(value.to_le_bytes()))
        }
        (ElementType::Fp64, Kind::FloatList(list)) => numbers(content, &list.value, |value| {
            Some(f64::from(value).to_le_bytes())
        }),
        (ElementType::Bool, Kind::Int64List(list)) => numbers(content, &list.value, |value| {
            u8::try_from(value)
                .ok()
                .filter(|&value| value < 2)
                .map(|value| [value])
        }),
        (ElementType::Uint8, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(u8)),
        (ElementType::Uint16, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(u16)),
        (ElementType::Uint32, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(u32)),
        (ElementType::Uint64, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(u64)),
        (ElementType::Int8, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(i8)),
        (ElementType::Int16, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(i16)),
        (ElementType::Int32, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(i32)),
        (ElementType::Int64, Kind::Int64List(list)) => numbers(content, &list.value, narrow!(i64)),
        _ => {
            return Err(InputError::FeatureKind {
                element_type,
                expected,
            });
        }
    };
    read.map_err(|position| InputError::Element {
        position,
        element_type,
    })
}
