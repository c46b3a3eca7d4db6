//! A gRPC client for single calls, whose messages the test encodes itself.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// The codes of gRPC, as they are sent.
pub(crate) const OK: &str = "0";
pub(crate) const RESOURCE_EXHAUSTED: &str = "8";
pub(crate) const UNAVAILABLE: &str = "14";

/// The bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The response to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrpcResponse {
    /// The code.
    pub(crate) status: String,
    /// The text of an error, in the encoding of the header.
    pub(crate) reason: String,
    /// All messages with their prefixes.
    pub(crate) messages: Bytes,
}

impl GrpcResponse {
    /// Returns the first message.
    pub(crate) fn message(&self) -> Result<Bytes> {
        let has_one = self.messages.len() >= PREFIX_BYTES;
        has_one
            .then(|| self.messages.slice(PREFIX_BYTES..))
            .with_context(|| format!("no message: {self:?}"))
    }
}

/// Returns a field of a message: its number and its bytes, which are fewer than 128.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[number << 3 | 2, length], bytes].concat()
}

/// Calls a method with a key, on a new connection.
pub(crate) fn call(
    address: SocketAddr,
    (method, key): (&str, &str),
    message: &[u8],
) -> Result<GrpcResponse> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let length = u32::try_from(message.len())?.to_be_bytes();
    let body = [&[0], &length[..], message].concat();
    let request = Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::new(Bytes::from(body)))?;
    runtime.block_on(exchange(address, request))
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<GrpcResponse> {
    let stream = TcpStream::connect(address).await?;
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let exchange = async {
        let response = client.send_request(request).await?;
        // A response without a message has its status in the head.
        let mut headers = response.headers().clone();
        let body = response.into_body().collect().await?;
        headers.extend(body.trailers().cloned().unwrap_or_default());
        let text = |name: &str| -> Result<Option<String>> {
            let value = headers.get(name).map(|value| value.to_str());
            Ok(value.transpose()?.map(str::to_owned))
        };
        Ok::<GrpcResponse, anyhow::Error>(GrpcResponse {
            status: text("grpc-status")?.context("no status")?,
            reason: text("grpc-message")?.unwrap_or_default(),
            messages: body.to_bytes(),
        })
    };
    tokio::select! {
        response = exchange => response,
        ended = connection => bail!("the connection has ended: {ended:?}"),
    }
}
