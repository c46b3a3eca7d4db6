//! Tests of streams that are open when the keys of their clients change.

use super::{Tenants, add, new_tenant};
use crate::harness::Repository;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, channel};
use wisp_serving::tenants::role::Role;
use wisp_serving::tenants::tenant_id::TenantId;

/// A gRPC message with a request for the model `absent`, whose response is an error within the stream.
const MESSAGE: &[u8] = b"\0\0\0\0\x08\x0a\x06absent";

/// The gRPC code of a refused key.
const UNAUTHENTICATED: &str = "16";

/// Sends a message before the keys of `acme` are revoked and another one afterwards. Returns the status of the stream.
async fn revoke_between_messages(tenants: &Tenants, key: &str) -> Result<String> {
    let address = tenants.server.address();
    let stream = TcpStream::connect(address).await?;
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let (messages, receiver) = channel::<Bytes>(1);
    let body = unfold(receiver, |mut receiver: Receiver<Bytes>| async move {
        let message = receiver.recv().await?;
        Some((
            Ok::<Frame<Bytes>, Infallible>(Frame::data(message)),
            receiver,
        ))
    });
    let path = "/inference.GRPCInferenceService/ModelStreamInfer";
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {key}"))
        .body(StreamBody::new(Box::pin(body)))?;
    let exchange = async {
        messages.send(Bytes::from_static(MESSAGE)).await?;
        let mut response = client.send_request(request).await?.into_body();
        let first = response.frame().await.context("no response")??;
        ensure!(first.is_data(), "{first:?}");
        let acme: TenantId = "acme".parse()?;
        tenants.file.change(|records| records.revoke_all(&acme))?;
        tenants.refresh()?;
        messages.send(Bytes::from_static(MESSAGE)).await?;
        let last = response.frame().await.context("no end")??;
        let trailers = last.trailers_ref().context("another response")?;
        let status = trailers.get("grpc-status").context("no status")?;
        Ok::<String, anyhow::Error>(status.to_str()?.to_owned())
    };
    tokio::select! {
        status = exchange => status,
        ended = connection => bail!("the connection has ended: {ended:?}"),
    }
}

#[test]
fn a_stream_ends_with_the_first_message_after_its_key_was_revoked() -> Result<()> {
    let public = Repository::empty()?.with_model("shared", "progression", None)?;
    let mut key = String::new();
    let tenants = Tenants::start(public, Repository::empty()?, |file| {
        key = add(file, &new_tenant("acme", Role::Infer)?)?;
        Ok(())
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let status = runtime.block_on(revoke_between_messages(&tenants, &key))?;
    ensure!(status == UNAUTHENTICATED, "{status}");
    Ok(())
}
