//! Tests of gRPC through worker processes: trailers, and streams that are open when something changes.

use super::{Tenants, signal};
use crate::harness::wait_until;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use tokio::sync::mpsc::channel;
use wisp_serving::tenants::isolation::Isolation;
use wisp_serving::tenants::settings_change::SettingsChange;
use wisp_serving::tenants::tenant_file::TenantFile;
use wisp_serving::tenants::tenant_grant::TenantGrant;
use wisp_serving::tenants::tenant_id::TenantId;

/// The method with a stream of requests.
const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// The status of gRPC for success.
const OK: &str = "0";

/// The status of gRPC for a missing capacity.
const UNAVAILABLE: &str = "14";

/// The status of gRPC for a refused key.
const UNAUTHENTICATED: &str = "16";

/// Sends a gRPC request of this key, does something once it has the head of the response, and returns the message and the
/// status.
fn grpc(
    tenants: &Tenants,
    (path, body): (&str, BoxBody<Bytes, Infallible>),
    then: impl FnOnce() -> Result<()>,
) -> Result<(Bytes, String)> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(tenants.server.address()).await?;
        let (mut client, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let request = Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {}", tenants.acme))
            .body(body)?;
        let exchange = async {
            let response = client.send_request(request).await?;
            then()?;
            let status = response.headers().get("grpc-status").cloned();
            let body = response.into_body().collect().await?;
            let trailers = body.trailers().cloned().unwrap_or_default();
            let status = status.or_else(|| trailers.get("grpc-status").cloned());
            let status = status.context("no status")?.to_str()?.to_owned();
            Ok::<(Bytes, String), anyhow::Error>((body.to_bytes(), status))
        };
        tokio::select! {
            outcome = exchange => outcome,
            ended = connection => bail!("the connection has ended: {ended:?}"),
        }
    })
}

/// Opens a stream, changes something, and then sends a request for the model `absent`, whose response would be an error
/// within the stream. Returns the status of the stream.
fn status_after(tenants: &Tenants, change: impl FnOnce() -> Result<()>) -> Result<String> {
    let (messages, mut receiver) = channel::<Bytes>(1);
    let body = stream::poll_fn(move |cx| {
        let received = receiver.poll_recv(cx);
        received.map(|message| Some(Ok::<Frame<Bytes>, Infallible>(Frame::data(message?))))
    });
    let change_and_send = move || -> Result<()> {
        change()?;
        // The stream has no other message.
        messages.try_send(Bytes::from_static(b"\0\0\0\0\x08\x0a\x06absent"))?;
        Ok(())
    };
    let body = StreamBody::new(body).boxed();
    let (_, status) = grpc(tenants, (STREAM, body), change_and_send)?;
    Ok(status)
}

#[test]
fn a_worker_serves_grpc_with_its_trailers() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    // The name of the model, in a message of ten bytes with its prefix.
    let message = Bytes::from_static(b"\0\0\0\0\x05\x0a\x03own");
    tenants.infer("own", &tenants.acme)?.ok()?;
    let path = "/inference.GRPCInferenceService/ModelReady";
    let (ready, status) = grpc(&tenants, (path, Full::new(message).boxed()), || Ok(()))?;
    ensure!(
        status == "0" && ready.ends_with(&[8, 1]),
        "{status}: {ready:?}"
    );
    ensure!(tenants.workers().len() == 1);
    Ok(())
}

#[test]
fn a_stream_that_is_open_when_its_worker_ends_gets_a_status() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let never = stream::pending::<Result<Frame<Bytes>, Infallible>>();
    let kill = || signal(tenants.worker()?, "-KILL");
    let (_, status) = grpc(&tenants, (STREAM, StreamBody::new(never).boxed()), kill)?;
    ensure!(status == UNAVAILABLE, "{status}");
    tenants.infer("own", &tenants.acme)?.ok()?;
    Ok(())
}

#[test]
fn a_stream_through_a_worker_goes_on_while_nothing_changes() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let status = status_after(&tenants, || Ok(()))?;
    ensure!(status == OK, "{status}");
    Ok(())
}

#[test]
fn a_stream_through_a_worker_ends_with_the_first_message_after_its_key_was_revoked() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let status = status_after(&tenants, || {
        let acme: TenantId = "acme".parse()?;
        let file = TenantFile::new(tenants.directory.path());
        file.change(|records| records.revoke_all(&acme))?;
        wait_until("the key is refused", || {
            let refused = tenants.infer("own", &tenants.acme);
            refused.is_ok_and(|refused| refused.status == 401)
        })
    })?;
    ensure!(status == UNAUTHENTICATED, "{status}");
    Ok(())
}

#[test]
fn a_stream_through_a_worker_ends_with_the_first_message_after_the_grants_changed() -> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let status = status_after(&tenants, || {
        let acme: TenantId = "acme".parse()?;
        let change = SettingsChange {
            grants: Some([TenantGrant::Clock].into()),
            ..SettingsChange::default()
        };
        let file = TenantFile::new(tenants.directory.path());
        file.change(|records| records.set(&acme, &change))?;
        // The first one still has the stream.
        wait_until("another worker has the grants", || {
            tenants.infer("own", &tenants.acme).is_ok() && tenants.workers().len() == 2
        })
    })?;
    ensure!(status == UNAVAILABLE, "{status}");
    Ok(())
}

#[test]
fn a_stream_through_a_worker_ends_with_the_first_message_after_the_rules_for_signatures_changed()
-> Result<()> {
    let tenants = Tenants::start(Isolation::Worker, &[])?;
    tenants.infer("own", &tenants.acme)?.ok()?;
    let worker = tenants.worker()?;
    let status = status_after(&tenants, || {
        let acme: TenantId = "acme".parse()?;
        let file = TenantFile::new(tenants.directory.path());
        file.change(|records| records.require_signature(&acme, true))?;
        wait_until("another worker has the new rules", || {
            let refused = tenants.infer("own", &tenants.acme);
            let refused = refused.and_then(|refused| refused.error(503));
            refused.is_ok_and(|error| error.contains("is not signed"))
        })
    })?;
    // The client opens another stream, to the other worker.
    ensure!(status == UNAVAILABLE, "{status}");
    wait_until("the first worker has ended", || {
        tenants.worker().is_ok_and(|current| current != worker)
    })
}
