//! The messages of every gRPC dialect as [`codec::Codec`]s.
//!
//! A codec here holds the message, which is read from the wire before: the body that `decode` is
//! handed is empty. What is left to do for a message is to make tensors of its lists, which takes
//! time in proportion to them; bytes of tensors cost nothing.

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

/// `ModelInfer`. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfer(pub ModelInferRequest);

/// What TensorFlow Serving's methods read: a message, and the bytes that its lists may be widened,
/// repeated or copied to. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Tfs<M> {
    pub message: M,
    pub limit: usize,
}

/// How the answer to TensorFlow Serving's `Predict` is written. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TfsPredictReply;

/// `Predict` of the simple dialect. Lifetime: one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Predict(pub PredictRequest);

/// `BatchPredict` of the simple dialect. Lifetime: one request.
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

    /// The limits of the message count the tensors, too.
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

    /// Lists that are filled to their tensor's shape are more than the message shows.
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

/// About how many bytes of lists a tensor has, besides those that are its content already.
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

/// The codec of a method that reads examples, and the reply that reads its answer from the outputs.
macro_rules! examples {
    ($request:ty, $decode:path, $reply:ty, $response:ty) => {
        impl codec::Codec for Tfs<$request> {
            type Reply = $reply;

            fn text_bytes(&self, _: &Bytes) -> usize {
                self.message.encoded_len()
            }

            /// A context that is repeated for each example is more than the message shows.
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

// === The simple dialect ===

impl codec::Codec for Predict {
    type Reply = predict::Reply;

    fn text_bytes(&self, _: &Bytes) -> usize {
        self.0.encoded_len()
    }

    /// The limits of the message count the tensors, too.
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

    /// The limits of the message count the tensors, too.
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

/// How many bytes an answer has that is read element by element.
fn content_bytes(response: &InferResponse) -> usize {
    let outputs = response.outputs.iter();
    outputs
        .map(|output| output.tensor.content().len())
        .fold(0, usize::saturating_add)
}

/// About the most bytes that the classes, numbers or rows read from an answer take: for a score of four
/// bytes there is a label.
fn message_bytes(response: &InferResponse) -> usize {
    content_bytes(response).saturating_mul(16)
}

/// The most bytes that the tensors of an answer take in its message and its frame, besides their content:
/// strings have handles of 32 bytes, each for four at the least.
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

/// The bytes that a message holds until it has been sent: itself, and the frame that it is copied to.
fn held_bytes(message: &impl Message) -> usize {
    message.encoded_len().saturating_mul(2)
}

codec::into_codec_error!(
    v2::DecodeError,
    tfs::DecodeError,
    predict::DecodeError,
    ClassesError
);
