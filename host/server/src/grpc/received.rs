//! The encoded message of a request, whose limits are checked before it is decoded.
//!
//! Every service receives its messages as [`Received`] (`build.rs` generates the services accordingly), so
//! no message can be decoded unchecked. [`read`] measures the message (`wisp_protocol::grpc::limits`),
//! reserves the memory that it takes decoded, and decodes it, on another thread if that takes long.

use super::admitted::AdmittedRequest;
use crate::failure::Failure;
use bytes::{Buf, Bytes};
use prost::{Message, Name};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic::{Request, Status};
use tonic_prost::{ProstCodec, ProstEncoder};
use wisp_protocol::error::ErrorKind;
use wisp_protocol::grpc::limits::{Measured, measure};
use wisp_serving::blocking::LONG_TEXT_BYTES;
use wisp_serving::{BodyError, InferError, Serving};

/// The largest decoded size of a message, as a multiple of the largest encoded size. A number that takes
/// one byte encoded takes eight decoded, in a vector that may have twice the capacity, and eight more in a
/// tensor.
const MAX_GROWTH: usize = 4;

/// An encoded message of type `M`. Lifetime: one request.
pub(crate) struct Received<M> {
    bytes: Bytes,
    message: PhantomData<fn() -> M>,
}

/// A codec that leaves requests encoded and encodes responses of type `A`.
pub(crate) struct MessageCodec<A, R>(PhantomData<fn() -> (A, R)>);

/// A decoder that takes the bytes of a message from tonic's buffer without a copy.
pub(crate) struct ReceivedDecoder<M>(PhantomData<fn() -> M>);

/// A decoded message, with the service of the tenant whose request it is. Lifetime: one request.
#[derive(Debug)]
pub(super) struct ReadRequest<M> {
    pub(super) message: M,
    pub(super) serving: Arc<Serving>,
    pub(super) admitted: AdmittedRequest,
}

/// Decodes the message of a request, and returns it with the request's admission.
pub(super) async fn read<M>(request: Request<Received<M>>) -> Result<ReadRequest<M>, Failure>
where
    M: Message + Name + Default + 'static,
{
    let admitted = AdmittedRequest::of(&request)?;
    let serving = admitted.serving()?;
    let message = read_message(&serving, &admitted, request.into_inner()).await?;
    Ok(ReadRequest {
        message,
        serving,
        admitted,
    })
}

/// Decodes one message of a request and reserves its decoded size.
pub(super) async fn read_message<M>(
    serving: &Serving,
    admitted: &AdmittedRequest,
    Received { bytes, .. }: Received<M>,
) -> Result<M, Failure>
where
    M: Message + Name + Default + 'static,
{
    let max_bytes = serving.max_body_bytes();
    // The limit of the server is checked before a message is read; a tenant's may be lower.
    if bytes.len() > max_bytes {
        return Err(InferError::from(BodyError::TooLarge { limit: max_bytes }).into());
    }
    let limit = max_bytes.saturating_mul(MAX_GROWTH);
    let reserve = {
        let admitted = admitted.clone();
        move |bytes| match admitted.grow(bytes) {
            true => Ok(()),
            false => Err(Failure::from(InferError::from(BodyError::NoRoom))),
        }
    };
    // A message that turns out to be short is decoded here.
    if let Measured::Whole(size) = measure::<M>(&bytes, limit, LONG_TEXT_BYTES)? {
        reserve(size)?;
        return decode(bytes);
    }
    let work = move || {
        if let Measured::Whole(size) = measure::<M>(&bytes, limit, usize::MAX)? {
            reserve(size)?;
        }
        decode(bytes)
    };
    let read = serving.blocking().run_soon(work).await;
    read.map_err(InferError::from)?
}

fn decode<M: Message + Default>(bytes: Bytes) -> Result<M, Failure> {
    M::decode(bytes).map_err(|error| Failure::Message {
        kind: ErrorKind::InvalidRequest,
        text: error.to_string(),
    })
}

// === impl MessageCodec ===

impl<A, R> Default for MessageCodec<A, R> {
    fn default() -> MessageCodec<A, R> {
        MessageCodec(PhantomData)
    }
}

impl<A, M> Codec for MessageCodec<A, Received<M>>
where
    A: Message + Send + 'static,
    M: Send + 'static,
{
    type Encode = A;
    type Decode = Received<M>;
    type Encoder = ProstEncoder<A>;
    type Decoder = ReceivedDecoder<M>;

    fn encoder(&mut self) -> ProstEncoder<A> {
        ProstCodec::<A, ()>::raw_encoder(Default::default())
    }

    fn decoder(&mut self) -> ReceivedDecoder<M> {
        ReceivedDecoder(PhantomData)
    }
}

// === impl ReceivedDecoder ===

impl<M: 'static> Decoder for ReceivedDecoder<M> {
    type Item = Received<M>;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Received<M>>, Status> {
        let bytes = message.copy_to_bytes(message.remaining());
        Ok(Some(Received {
            bytes,
            message: PhantomData,
        }))
    }
}

// === impl Received ===

impl<M> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl<A, R> fmt::Debug for MessageCodec<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageCodec")
    }
}

impl<M> fmt::Debug for ReceivedDecoder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceivedDecoder")
    }
}
