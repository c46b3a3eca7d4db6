//! Tests of the server with gRPC clients, independent of any model.

use super::harness::{TestServer, options, within};
use super::http2::{Body, RequestMemory, connect};
use crate::ServerOptions;
use crate::authority::AllowedHosts;
use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use wisp_protocol::content_coding::{Coding, Inflater, Progress};
use wisp_protocol::grpc::message::inference::{ModelInferRequest, ServerLiveResponse};
use wisp_serving::ServingOptions;
use wisp_tensor::MemoryBudget;

pub(super) const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
pub(super) const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
const LIVE: &str = "/inference.GRPCInferenceService/ServerLive";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The compressions of messages.
const CODINGS: [Coding; 2] = [Coding::Gzip, Coding::Deflate];

pub(super) fn request(
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> anyhow::Result<Request<Body>> {
    let mut request = Request::post(format!("http://x{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.body(body)?)
}

/// Returns a body with one message.
pub(super) fn one(compressed: u8, message: &[u8]) -> anyhow::Result<Body> {
    let length = u32::try_from(message.len())?.to_be_bytes();
    let framed = [&[compressed], &length[..], message].concat();
    Ok(Full::new(Bytes::from(framed)).boxed_unsync())
}

/// Returns a request for a model that does not exist, of about `bytes` bytes.
fn infer(bytes: usize) -> Vec<u8> {
    let message = ModelInferRequest {
        model_name: "nope".to_owned(),
        raw_input_contents: vec![Bytes::from(vec![0; bytes])],
        ..ModelInferRequest::default()
    };
    message.encode_to_vec()
}

/// Returns the code and message of the status, from the headers or the trailers of the response.
pub(super) async fn status(
    client: &mut SendRequest<Body>,
    request: Request<Body>,
) -> anyhow::Result<(String, String)> {
    let response = within(client.send_request(request)).await??;
    let (head, body) = response.into_parts();
    let trailers = within(body.collect()).await??.trailers().cloned();
    of(&head.headers)
        .or(trailers.as_ref().and_then(of))
        .context("no status")
}

fn of(headers: &HeaderMap) -> Option<(String, String)> {
    let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
    Some((
        text("grpc-status")?,
        text("grpc-message").unwrap_or_default(),
    ))
}

#[tokio::test]
async fn messages_that_do_not_come_make_room_and_keep_nobody_out() -> anyhow::Result<()> {
    let serving = ServingOptions {
        max_requests: 1,
        max_readers: 1,
        ..ServingOptions::default()
    };
    let server = TestServer::serving(options(), serving).await?;
    let (client, _connection) = connect(&server).await?;
    for path in [
        INFER,
        LIVE,
        "/tensorflow.serving.PredictionService/Predict",
        "/prediction.PredictionService/Predict",
    ] {
        let (_release, held) = oneshot::channel();
        let (_also_release, also_held) = oneshot::channel();
        let never = request(path, &[], RequestMemory(held).boxed_unsync())?;
        let neither = request(path, &[], RequestMemory(also_held).boxed_unsync())?;
        let (mut first, mut second) = (client.clone(), client.clone());
        let (code, text) = tokio::select! {
            answer = status(&mut first, never) => answer?,
            answer = status(&mut second, neither) => answer?,
        };
        assert_eq!(code, "14", "{path}: {text}");
        assert!(text.contains("longest"), "{path}: {text}");
        // The other request is cancelled with its client. The loop waits until the server has detected
        // that.
        while server.serving.waiting_requests() > 0 {
            tokio::task::yield_now().await;
        }
        // A request that is complete does not wait for one that is not.
        let (_release, held) = oneshot::channel();
        let never = request(path, &[], RequestMemory(held).boxed_unsync())?;
        let mut waiting = JoinSet::new();
        waiting.spawn(async move { status(&mut first, never).await });
        while server.serving.waiting_requests() == 0 {
            tokio::task::yield_now().await;
        }
        let complete = request(INFER, &[], one(0, &infer(0))?)?;
        let (code, text) = status(&mut second, complete).await?;
        assert_eq!(code, "5", "{path}: {text}");
        drop(waiting);
        while server.serving.waiting_requests() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(server.serving.admitted_requests(), 0);
    Ok(())
}

#[tokio::test]
async fn only_allowed_hosts_are_answered_over_http2_too() -> anyhow::Result<()> {
    let options = ServerOptions {
        allowed_hosts: Some(AllowedHosts::default()),
        ..options()
    };
    let server = TestServer::start(options).await?;
    let (mut client, _connection) = connect(&server).await?;
    for (authority, allowed) in [("hostile.example:8001", false), ("localhost:8001", true)] {
        let mut call = request(LIVE, &[], one(0, &[])?)?;
        *call.uri_mut() = format!("http://{authority}{LIVE}").parse()?;
        let (code, text) = status(&mut client, call).await?;
        assert_eq!(code, if allowed { "0" } else { "7" }, "{text}");
        assert_eq!(text.contains("--allowed-host"), !allowed, "{text}");
        let get = Request::get(format!("http://{authority}/v2/health/live"));
        let get = get.body(http_body_util::Empty::new().boxed_unsync())?;
        let answer = within(client.send_request(get)).await??;
        let expected = if allowed { 200 } else { 403 };
        assert_eq!(answer.status().as_u16(), expected, "{authority}");
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_waits_no_longer_is_told_so() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    for path in [INFER, LIVE, STREAM, WATCH] {
        let (_release, held) = oneshot::channel();
        let body = match path {
            WATCH => one(0, &[])?,
            _ => RequestMemory(held).boxed_unsync(),
        };
        let late = request(path, &[("grpc-timeout", "50m")], body)?;
        let (code, text) = status(&mut client, late).await?;
        assert_eq!(code, "4", "{path}: {text}");
        assert!(text.contains("grpc-timeout"), "{path}: {text}");
    }
    assert_eq!(server.serving.admitted_requests(), 0);
    // An invalid timeout is ignored.
    let odd = request(LIVE, &[("grpc-timeout", "soon")], one(0, &[])?)?;
    assert_eq!(status(&mut client, odd).await?.0, "0");
    Ok(())
}

#[tokio::test]
async fn a_message_too_large_is_told_the_limit_and_who_sets_it() -> anyhow::Result<()> {
    let serving = ServingOptions {
        max_body_bytes: 100_000,
        ..ServingOptions::default()
    };
    let server = TestServer::serving(options(), serving).await?;
    let (mut client, _connection) = connect(&server).await?;
    for (bytes, coding) in [99_000, 101_000]
        .into_iter()
        .flat_map(|bytes| CODINGS.map(|coding| (bytes, coding)))
    {
        let message = infer(bytes);
        let packed = coding.compress(&[Bytes::from(message.clone())]);
        let compressed = [("grpc-encoding", coding.name())];
        for request in [
            request(INFER, &[], one(0, &message)?)?,
            request(INFER, &compressed, one(1, &packed)?)?,
            request(INFER, &compressed, one(0, &message)?)?,
        ] {
            let (code, text) = status(&mut client, request).await?;
            match bytes {
                99_000 => assert_eq!(code, "5", "{text}"),
                _ => {
                    assert_eq!(code, "8", "{text}");
                    let said = text.contains("100000") && text.contains("--max-body-bytes");
                    assert!(said, "{text}");
                }
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_response_is_compressed_as_its_request() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    // The headers that grpcio sends with every request.
    let accepted = ("grpc-accept-encoding", "identity, deflate, gzip");
    let live = ServerLiveResponse { live: true }.encode_to_vec();
    for coding in CODINGS {
        let packed = coding.compress(&[Bytes::new()]);
        let headers = [("grpc-encoding", coding.name()), accepted];
        let asked = request(LIVE, &headers, one(1, &packed)?)?;
        let (encoding, flag, message) = message(&mut client, asked).await?;
        assert_eq!(encoding.as_deref(), Some(coding.name()));
        assert_eq!(flag, 1, "{coding}");
        let mut inflater = Inflater::new(coding, message, 1000);
        while inflater.step()? == Progress::Started {}
        assert_eq!(inflater.into_inflated(), live, "{coding}");
    }
    let (encoding, flag, message) =
        message(&mut client, request(LIVE, &[accepted], one(0, &[])?)?).await?;
    assert_eq!((encoding, flag), (None, 0));
    assert_eq!(message, live);
    Ok(())
}

/// Returns the encoding of a response, the flag of its only message, and the message.
async fn message(
    client: &mut SendRequest<Body>,
    request: Request<Body>,
) -> anyhow::Result<(Option<String>, u8, Bytes)> {
    let response: Response<Incoming> = within(client.send_request(request)).await??;
    let (head, body) = response.into_parts();
    let encoding = head.headers.get("grpc-encoding");
    let encoding = encoding.map(|value| value.to_str().map(str::to_owned));
    let mut body = within(body.collect()).await??.to_bytes();
    let prefix = body.split_to(5.min(body.len()));
    let flag = prefix.first().copied().context("no message")?;
    Ok((encoding.transpose()?, flag, body))
}

#[tokio::test]
async fn the_inflated_sizes_of_messages_count_among_all_bodies() -> anyhow::Result<()> {
    let serving = ServingOptions {
        memory: Arc::new(MemoryBudget::new(100_000)),
        ..ServingOptions::default()
    };
    let server = TestServer::serving(options(), serving).await?;
    let (mut client, _connection) = connect(&server).await?;
    for coding in CODINGS {
        let headers = [("grpc-encoding", coding.name())];
        for (bytes, expected) in [(90_000, "5"), (110_000, "14"), (90_000, "5")] {
            let packed = coding.compress(&[Bytes::from(infer(bytes))]);
            assert!(packed.len() < 1000);
            let request = request(INFER, &headers, one(1, &packed)?)?;
            let (code, text) = status(&mut client, request).await?;
            assert_eq!(code, expected, "{text}");
        }
        let invalid = request(INFER, &headers, one(1, b"not compressed")?)?;
        let (code, text) = status(&mut client, invalid).await?;
        assert_eq!(code, "3", "{text}");
        assert!(text.ends_with(coding.name()), "{text}");
        let cut = Full::new(Bytes::from_static(&[1, 0, 0])).boxed_unsync();
        let (code, text) = status(&mut client, request(INFER, &headers, cut)?).await?;
        assert_eq!(code, "3", "{text}");
    }
    // An unsupported encoding is refused, as in HTTP/1.
    let zstd = request(INFER, &[("grpc-encoding", "zstd")], one(0, &infer(0))?)?;
    assert_eq!(status(&mut client, zstd).await?.0, "12");
    Ok(())
}

#[tokio::test]
async fn a_server_without_models_is_live_and_not_ready_in_every_protocol() -> anyhow::Result<()> {
    let server = TestServer::serving(options(), ServingOptions::default()).await?;
    for (path, status) in [
        ("/v2/health/live", 200),
        ("/v2/health/ready", 503),
        ("/health", 503),
    ] {
        let answer = server
            .ask(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await?;
        assert_eq!(answer.status, status, "{path}");
    }
    let (mut client, _connection) = connect(&server).await?;
    // Field 1: not ready, which is the default and is left out, or NOT_SERVING.
    for (path, expected) in [
        ("/inference.GRPCInferenceService/ServerReady", &[][..]),
        ("/grpc.health.v1.Health/Check", &[8_u8, 2]),
    ] {
        let call = request(path, &[], one(0, &[])?)?;
        let response = within(client.send_request(call)).await??;
        let message = within(response.into_body().collect()).await??.to_bytes();
        assert_eq!(message[5..], *expected, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_watching_client_is_notified_that_the_server_drains() -> anyhow::Result<()> {
    let mut server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    let watch = request(WATCH, &[], one(0, &[])?)?;
    let response: Response<Incoming> = within(client.send_request(watch)).await??;
    let mut body = response.into_body();
    // Field 1: SERVING, then NOT_SERVING, each in a separate frame.
    for expected in [1, 2] {
        let frame = within(body.frame()).await?.context("it ended")??;
        let message = frame.into_data().ok().context("no message")?;
        assert_eq!(message[..], [0, 0, 0, 0, 2, 8, expected]);
        server.stop();
    }
    let trailers = within(body.frame()).await?.context("it ended")??;
    let trailers = trailers.into_trailers().ok().context("another message")?;
    assert_eq!(of(&trailers).map(|(code, _)| code).as_deref(), Some("0"));
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn a_message_that_does_not_come_does_not_hold_up_the_end() -> anyhow::Result<()> {
    let options = ServerOptions {
        body_timeout: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    let (mut client, _connection) = connect(&server).await?;
    let serving = Arc::clone(&server.serving);
    let (_release, held) = oneshot::channel();
    let half = request(INFER, &[], RequestMemory(held).boxed_unsync())?;
    let stop = async {
        while serving.waiting_requests() == 0 {
            tokio::task::yield_now().await;
        }
        server.stop();
        anyhow::Ok(())
    };
    let (outcome, stopped) = tokio::join!(status(&mut client, half), within(stop));
    stopped??;
    let (code, text) = outcome?;
    assert_eq!(code, "14", "{text}");
    assert!(text.contains("shutting"), "{text}");
    drop(client);
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}
