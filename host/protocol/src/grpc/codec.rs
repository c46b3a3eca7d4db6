//! Implementations of [`codec::Codec`] for the messages of every gRPC protocol.
//!
//! A codec holds the message, which has already been parsed from the wire; `decode` is called with an
//! empty body. The remaining work is to convert repeated fields to tensors, which takes time proportional
//! to their size; bytes of tensors are not copied.

use super::message::inference::{ModelInferRequest, ModelInferResponse};
use super::message::prediction::{
    BatchPredictRequest, BatchPredictResponse, PredictRequest, PredictResponse,
};
use super::message::tensorflow::TensorProto;
use super::message::tensorflow::serving as tf;
use super::{predict, tfs, v2};
use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::classification::ClassesError;
use crate::codec::{self, CodecError};
use bytes::Bytes;
use prost::Message;
use wisp_tensor::ElementType;

/// The codec of `ModelInfer`. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfer(pub ModelInferRequest);

/// The codec of TensorFlow Serving's methods: a message, and the number of bytes that its repeated fields
/// may be widened, repeated or copied to. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Tfs<M> {
    pub message: M,
    pub limit: usize,
}

/// The encoder for the response to TensorFlow Serving's `Predict`. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TfsPredictReply;

/// The codec of `Predict` in the predict API. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Predict(pub PredictRequest);

/// The codec of `BatchPredict` in the predict API. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPredict(pub BatchPredictRequest);

// === V2 ===

impl codec::Codec for ModelInfer {
    type Reply = v2::Reply;

    fn text_bytes(&self, _: &Bytes) -> usize {
        match self.0.raw_input_contents.is_empty() {
            true => self.0.encoded_len(),
            false => 0,
        }
    }

    /// Returns 0: the limits on the message already include the tensors.
    fn decoded_bytes(&self, _: &Bytes) -> usize {
        0
    }

    fn decode(
        self,
        _: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, v2::Reply), CodecError> {
        Ok(v2::decode(self.0, model)?)
    }
}

impl codec::Reply for v2::Reply {
    type Encoded = ModelInferResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        v2::Reply::text_bytes(self, response)
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        content_bytes(response)
    }

    fn held_bytes(encoded: &ModelInferResponse) -> usize {
        held_bytes(encoded)
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<ModelInferResponse, CodecError> {
        Ok(v2::Reply::encode(&self, response, model)?)
    }
}

// === TensorFlow Serving ===

impl codec::Codec for Tfs<tf::PredictRequest> {
    type Reply = TfsPredictReply;

    fn text_bytes(&self, _: &Bytes) -> usize {
        let inputs = self.message.inputs.values();
        inputs.map(list_bytes).fold(0, usize::saturating_add)
    }

    /// Counts lists that are filled up to their tensor's shape, which the size of the message does not
    /// include.
    fn decoded_bytes(&self, _: &Bytes) -> usize {
        tfs::filled_bytes(&self.message, self.limit)
    }

    fn decode(
        self,
        _: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, TfsPredictReply), CodecError> {
        let request = tfs::decode_predict(self.message, model, self.limit)?;
        Ok((request, TfsPredictReply))
    }
}

/// Returns the approximate number of bytes in a tensor's repeated fields, not counting `tensor_content`.
fn list_bytes(tensor: &TensorProto) -> usize {
    let bytes = tensor.encoded_len();
    bytes.saturating_sub(tensor.tensor_content.len())
}

impl codec::Reply for TfsPredictReply {
    type Encoded = tf::PredictResponse;

    fn text_bytes(&self, _: &InferResponse) -> usize {
        0
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        tensors_bytes(response)
    }

    fn held_bytes(encoded: &tf::PredictResponse) -> usize {
        held_bytes(encoded)
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<tf::PredictResponse, CodecError> {
        Ok(tfs::encode_predict(response, model))
    }
}

/// Implements the codec of a method that reads examples, and the reply that reads its result from the
/// outputs.
macro_rules! examples {
    ($request:ty, $decode:path, $reply:ty, $response:ty) => {
        impl codec::Codec for Tfs<$request> {
            type Reply = $reply;

            fn text_bytes(&self, _: &Bytes) -> usize {
                self.message.encoded_len()
            }

            /// Counts a context that is repeated for each example, which the size of the message does not
            /// include.
            fn decoded_bytes(&self, _: &Bytes) -> usize {
                tfs::repeated_bytes(self.message.input.as_ref(), self.limit)
            }

            fn decode(
                self,
                _: Bytes,
                model: &ModelDescription,
            ) -> Result<(InferRequest, $reply), CodecError> {
                Ok($decode(self.message, model, self.limit)?)
            }
        }

        impl codec::Reply for $reply {
            type Encoded = $response;

            fn text_bytes(&self, response: &InferResponse) -> usize {
                content_bytes(response)
            }

            fn encoded_bytes(&self, response: &InferResponse) -> usize {
                message_bytes(response)
            }

            fn held_bytes(encoded: &$response) -> usize {
                held_bytes(encoded)
            }

            fn encode(
                self,
                response: InferResponse,
                model: &ModelDescription,
            ) -> Result<$response, CodecError> {
                Ok(<$reply>::encode(&self, &response, model)?)
            }
        }
    };
}

examples!(
    tf::ClassificationRequest,
    tfs::decode_classify,
    tfs::ClassifyReply,
    tf::ClassificationResponse
);
examples!(
    tf::RegressionRequest,
    tfs::decode_regress,
    tfs::RegressReply,
    tf::RegressionResponse
);
examples!(
    tf::MultiInferenceRequest,
    tfs::decode_multi,
    tfs::MultiReply,
    tf::MultiInferenceResponse
);

// === Predict API ===

impl codec::Codec for Predict {
    type Reply = predict::Reply;

    fn text_bytes(&self, _: &Bytes) -> usize {
        self.0.encoded_len()
    }

    /// Returns 0: the limits on the message already include the tensors.
    fn decoded_bytes(&self, _: &Bytes) -> usize {
        0
    }

    fn decode(
        self,
        _: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, predict::Reply), CodecError> {
        Ok(predict::decode(self.0, model)?)
    }
}

impl codec::Reply for predict::Reply {
    type Encoded = PredictResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        content_bytes(response)
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        message_bytes(response)
    }

    fn held_bytes(encoded: &PredictResponse) -> usize {
        held_bytes(encoded)
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<PredictResponse, CodecError> {
        Ok(predict::Reply::encode(&self, &response, model)?)
    }
}

impl codec::Codec for BatchPredict {
    type Reply = predict::BatchReply;

    fn text_bytes(&self, _: &Bytes) -> usize {
        self.0.encoded_len()
    }

    /// Returns 0: the limits on the message already include the tensors.
    fn decoded_bytes(&self, _: &Bytes) -> usize {
        0
    }

    fn decode(
        self,
        _: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, predict::BatchReply), CodecError> {
        Ok(predict::decode_batch(self.0, model)?)
    }
}

impl codec::Reply for predict::BatchReply {
    type Encoded = BatchPredictResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        content_bytes(response)
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        message_bytes(response)
    }

    fn held_bytes(encoded: &BatchPredictResponse) -> usize {
        held_bytes(encoded)
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<BatchPredictResponse, CodecError> {
        Ok(predict::BatchReply::encode(&self, &response, model)?)
    }
}

/// Returns the content size of all outputs, for responses that are read element by element.
fn content_bytes(response: &InferResponse) -> usize {
    let outputs = response.outputs.iter();
    outputs
        .map(|output| output.tensor.content().len())
        .fold(0, usize::saturating_add)
}

/// Returns the approximate maximum size of the classes, numbers or rows read from a response. The factor
/// of 16 covers a label for every four-byte score.
fn message_bytes(response: &InferResponse) -> usize {
    content_bytes(response).saturating_mul(16)
}

/// Returns the maximum number of bytes that the tensors of a response take in its message and frame,
/// besides their content. Each string has a handle of 32 bytes for at least four bytes of content.
fn tensors_bytes(response: &InferResponse) -> usize {
    let sizes = response.outputs.iter().map(|output| {
        let content = output.tensor.content().len();
        match output.tensor.element_type() {
            ElementType::Bytes => content.saturating_mul(9),
            _ => content,
        }
    });
    sizes.fold(0, usize::saturating_add)
}

/// Returns the number of bytes that a message occupies until it has been sent: the message and the frame
/// it is copied to.
fn held_bytes(message: &impl Message) -> usize {
    message.encoded_len().saturating_mul(2)
}

codec::into_codec_error!(
    v2::DecodeError,
    tfs::DecodeError,
    predict::DecodeError,
    ClassesError
);
