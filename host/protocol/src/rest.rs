//! The REST protocols combined: the decoder that a path selects, and the encoder for its response.

use crate::call::{InferRequest, InferResponse, ModelDescription};
use crate::codec::{CodecError, RequestDecoder, ResponseEncoder};
use crate::encoded_response::EncodedResponse;
use crate::error::ErrorKind;
use crate::predict::{PredictDecoder, PredictEncoder};
use crate::tfs::{TfsDecoder, TfsEncoder};
use crate::v2::{GenerateDecoder, GenerateEncoder, V2Decoder, V2Encoder};
use bytes::Bytes;
use http::StatusCode;

/// The protocol family that determines the format of errors. Lifetime: one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestProtocol {
    /// V2 and the predict API.
    V2,
    /// TF Serving and KServe V1.
    Tfs,
}

impl RestProtocol {
    /// Returns the protocol family of a path; unknown paths belong to V2.
    pub fn from_path(path: &str) -> RestProtocol {
        match path.starts_with("/v1/") {
            true => RestProtocol::Tfs,
            false => RestProtocol::V2,
        }
    }

    /// Returns the status of an error.
    pub fn status(self, kind: ErrorKind) -> StatusCode {
        match self {
            RestProtocol::V2 => kind.status(),
            RestProtocol::Tfs => kind.tfs_status(),
        }
    }
}

/// A decoder for the body of one inference request. Lifetime: one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestDecoder {
    V2(V2Decoder),
    Generate(GenerateDecoder),
    Tfs(TfsDecoder),
    Predict(PredictDecoder),
}

/// An encoder for the response to one inference request. Lifetime: one request.
#[derive(Debug, Clone)]
pub enum RestEncoder {
    V2(V2Encoder),
    Generate(GenerateEncoder),
    Tfs(TfsEncoder),
    Predict(PredictEncoder),
}

/// Evaluates an expression with the decoder or encoder of the protocol.
macro_rules! dispatch {
    ($protocols:ident, $value:expr, $inner:ident => $result:expr) => {
        match $value {
            $protocols::V2($inner) => $result,
            $protocols::Generate($inner) => $result,
            $protocols::Tfs($inner) => $result,
            $protocols::Predict($inner) => $result,
        }
    };
}

impl RequestDecoder for RestDecoder {
    type Source = Bytes;
    type Encoder = RestEncoder;

    fn text_bytes(&self, body: &Bytes) -> usize {
        dispatch!(RestDecoder, self, decoder => decoder.text_bytes(body))
    }

    fn decoded_bytes(&self, body: &Bytes) -> usize {
        dispatch!(RestDecoder, self, decoder => decoder.decoded_bytes(body))
    }

    fn decode(
        self,
        body: Bytes,
        model: &ModelDescription,
    ) -> Result<(InferRequest, RestEncoder), CodecError> {
        dispatch!(RestDecoder, self, decoder => {
            let (request, encoder) = decoder.decode(body, model)?;
            Ok((request, encoder.into()))
        })
    }
}

impl ResponseEncoder for RestEncoder {
    type Encoded = EncodedResponse;

    fn text_bytes(&self, response: &InferResponse) -> usize {
        dispatch!(RestEncoder, self, encoder => encoder.text_bytes(response))
    }

    fn encoded_bytes(&self, response: &InferResponse) -> usize {
        dispatch!(RestEncoder, self, encoder => encoder.encoded_bytes(response))
    }

    fn encode(
        self,
        response: InferResponse,
        model: &ModelDescription,
    ) -> Result<EncodedResponse, CodecError> {
        dispatch!(RestEncoder, self, encoder => encoder.encode(response, model))
    }
}

impl From<V2Encoder> for RestEncoder {
    fn from(encoder: V2Encoder) -> RestEncoder {
        RestEncoder::V2(encoder)
    }
}

impl From<GenerateEncoder> for RestEncoder {
    fn from(encoder: GenerateEncoder) -> RestEncoder {
        RestEncoder::Generate(encoder)
    }
}

impl From<TfsEncoder> for RestEncoder {
    fn from(encoder: TfsEncoder) -> RestEncoder {
        RestEncoder::Tfs(encoder)
    }
}

impl From<PredictEncoder> for RestEncoder {
    fn from(encoder: PredictEncoder) -> RestEncoder {
        RestEncoder::Predict(encoder)
    }
}
