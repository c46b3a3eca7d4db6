//! Conversion of rows of features to one tensor.

use super::error::{DecodeError, RowError};
use super::response::{PredictBatchEncoder, PredictRowEncoder};
use super::selection::batch_version;
use crate::call::{InferRequest, ModelDescription, Scheduling};
use crate::codec::{CodecError, RequestDecoder};
use crate::grpc::element::numbers;
use crate::grpc::message::prediction::{BatchPredictRequest, PredictRequest};
use crate::grpc::row_shape;
use crate::predict::mapping::PredictionMapping;
use crate::quoted::Quoted;
use bytes::Bytes;
use prost::Message;
use wisp_tensor::{ElementType, NamedTensor, Shape, Tensor, TensorError, TensorSpec};

/// The maximum number of rows in a batch. An invalid row takes two bytes of the request and a hundred of
/// the response.
pub(in crate::grpc) const MAX_ROWS: usize = 65_536;

/// The decoder of `Predict`, with a single row. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PredictRowDecoder;

/// The decoder of `BatchPredict`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PredictBatchDecoder;

impl RequestDecoder for PredictRowDecoder {
    type Source = PredictRequest;
    type Encoder = PredictRowEncoder;

    fn text_bytes(&self, message: &PredictRequest) -> usize {
        message.encoded_len()
    }

    /// Returns 0: the limits on the message already include the tensors.
    fn decoded_bytes(&self, _: &PredictRequest) -> usize {
        0
    }

    fn decode(
        self,
        message: PredictRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, PredictRowEncoder), CodecError> {
        let (input, layout) = input(model)?;
        let mut rows = Rows::new(input, layout);
        rows.push(&message.features).map_err(DecodeError::from)?;
        let mapping = PredictionMapping::new(model);
        let request = rows.into_request(&mapping)?;
        let name_bytes = message.class_names.then(|| mapping.name_bytes(model));
        let encoder = PredictRowEncoder {
            mapping,
            name_bytes,
        };
        Ok((request, encoder))
    }
}

impl RequestDecoder for PredictBatchDecoder {
    type Source = BatchPredictRequest;
    type Encoder = PredictBatchEncoder;

    fn text_bytes(&self, message: &BatchPredictRequest) -> usize {
        message.encoded_len()
    }

    /// Returns 0: the limits on the message already include the tensors.
    fn decoded_bytes(&self, _: &BatchPredictRequest) -> usize {
        0
    }

    fn decode(
        self,
        message: BatchPredictRequest,
        model: &ModelDescription,
    ) -> Result<(InferRequest, PredictBatchEncoder), CodecError> {
        Ok(decode_batch(message, model)?)
    }
}

/// Decodes a batch into a request of its valid rows, of which there is at least one.
fn decode_batch(
    message: BatchPredictRequest,
    model: &ModelDescription,
) -> Result<(InferRequest, PredictBatchEncoder), DecodeError> {
    let (input, layout) = input(model)?;
    if layout == Layout::Whole {
        return Err(DecodeError::NoBatch);
    }
    let actual = message.requests.len();
    if actual > MAX_ROWS {
        let limit = MAX_ROWS;
        return Err(DecodeError::TooManyRows { limit, actual });
    }
    let class_names = message.class_names || message.requests.iter().any(|row| row.class_names);
    let (number, label) = batch_version(&message);
    let (number, label) = (number.to_owned(), label.to_owned());
    let mut rows = Rows::new(input, layout);
    let mut row_errors = Vec::with_capacity(message.requests.len());
    for row in message.requests {
        let is = |own: &str, of_batch: &str| own.is_empty() || own == of_batch;
        let is_model = is(&row.model_name, model.model.as_str());
        let is_version = is(&row.model_version, &number) && is(&row.version_label, &label);
        let pushed = match (is_model, is_version) {
            (true, true) => rows.push(&row.features),
            (false, _) => Err(RowError::OtherModel(Quoted::new(&row.model_name))),
            (true, false) => Err(RowError::OtherVersion),
        };
        row_errors.push(
            pushed
                .err()
                .map(|error| DecodeError::Row(error).to_string()),
        );
    }
    if rows.count == 0 {
        let first = row_errors.into_iter().flatten().next();
        return Err(match first {
            Some(first) => DecodeError::NoValidRow(first),
            None => DecodeError::Empty,
        });
    }
    let mapping = PredictionMapping::new(model);
    let encoder = PredictBatchEncoder {
        name_bytes: class_names.then(|| mapping.name_bytes(model)),
        mapping,
        row_errors,
        rows: rows.count,
    };
    Ok((rows.into_request(&encoder.mapping)?, encoder))
}

/// The layout of the input's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Each row is an entry along axis 0.
    Rows,
    /// A single row fills the whole input.
    Whole,
}

/// Returns the input that features fill, and its layout.
fn input(model: &ModelDescription) -> Result<(&TensorSpec, Layout), DecodeError> {
    let required = || model.signature.inputs.iter().filter(|spec| !spec.optional);
    let mut inputs = required();
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        return Err(DecodeError::Inputs {
            required: required().count(),
        });
    };
    let layout = match *input.shape {
        [_, ..] if model.max_batch_size > 0 => Layout::Rows,
        _ => Layout::Whole,
    };
    match input.element_type {
        ElementType::Bool | ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => {
            Err(DecodeError::Datatype(input.element_type))
        }
        _ => Ok((input, layout)),
    }
}

/// The rows decoded so far. Lifetime: one request.
struct Rows<'a> {
    input: &'a TensorSpec,
    layout: Layout,
    /// The sizes of every row; the first valid row determines them.
    sizes: Option<Vec<u32>>,
    content: Vec<u8>,
    count: u32,
}

impl<'a> Rows<'a> {
    fn new(input: &'a TensorSpec, layout: Layout) -> Rows<'a> {
        Rows {
            input,
            layout,
            sizes: None,
            content: Vec::new(),
            count: 0,
        }
    }

    fn push(&mut self, features: &[f32]) -> Result<(), RowError> {
        let declared = match self.layout {
            Layout::Rows => self.input.shape.get(1..).unwrap_or_default(),
            Layout::Whole => &self.input.shape,
        };
        let sizes = row_shape::fit(declared, features.len())?;
        if let Some(first) = &self.sizes
            && *first != sizes
        {
            return Err(RowError::OtherShape {
                expected: first.iter().map(|&size| size as usize).product(),
                actual: features.len(),
            });
        }
        let length = self.content.len();
        if let Err(position) = append(&mut self.content, features, self.input.element_type) {
            self.content.truncate(length);
            let element_type = self.input.element_type;
            return Err(RowError::Element {
                position,
                element_type,
            });
        }
        self.sizes = Some(sizes);
        self.count += 1;
        Ok(())
    }

    fn into_request(self, mapping: &PredictionMapping) -> Result<InferRequest, DecodeError> {
        let count = match self.layout {
            Layout::Rows => Some(self.count),
            Layout::Whole => None,
        };
        let sizes = count.into_iter().chain(self.sizes.unwrap_or_default());
        let shape = Shape::new(sizes.collect()).map_err(TensorError::from)?;
        let content = Bytes::from(self.content);
        let tensor = Tensor::new(self.input.element_type, shape, content)?;
        Ok(InferRequest {
            inputs: vec![NamedTensor {
                name: self.input.name.clone(),
                tensor,
            }],
            parameters: Vec::new(),
            outputs: mapping.outputs(),
            scheduling: Scheduling::default(),
        })
    }
}

/// Appends features as elements of this type; fails with the position of the first that does not fit.
fn append(content: &mut Vec<u8>, features: &[f32], element_type: ElementType) -> Result<(), usize> {
    /// Encodes features as integers of this type.
    macro_rules! integers {
        ($integer:ty) => {
            numbers(content, features, |feature| {
                Some(<$integer>::try_from(whole(feature)?).ok()?.to_le_bytes())
            })
        };
    }
    match element_type {
        ElementType::Fp32 => numbers(content, features, |feature| Some(feature.to_le_bytes())),
        ElementType::Fp64 => numbers(content, features, |feature| {
            Some(f64::from(feature).to_le_bytes())
        }),
        ElementType::Uint8 => integers!(u8),
        ElementType::Uint16 => integers!(u16),
        ElementType::Uint32 => integers!(u32),
        ElementType::Uint64 => integers!(u64),
        ElementType::Int8 => integers!(i8),
        ElementType::Int16 => integers!(i16),
        ElementType::Int32 => integers!(i32),
        ElementType::Int64 => integers!(i64),
        // `input` has refused these types.
        ElementType::Bool | ElementType::Fp16 | ElementType::Bf16 | ElementType::Bytes => Err(0),
    }
}

/// Returns the integer that a feature equals, if it has no fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "nothing is cut off: there is no fraction, and beyond 128 bits no narrower type fits"
)]
fn whole(feature: f32) -> Option<i128> {
    (feature.fract() == 0.0).then_some(feature as i128)
}
