//! Tests of the server with HTTP/2 clients.

use super::harness::{TestServer, options, within};
use crate::ServerOptions;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body that ends when its sender signals.
pub(super) struct RequestMemory(pub(super) oneshot::Receiver<()>);

impl http_body::Body for RequestMemory {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll(cx).map(|_| None)
    }
}

pub(super) type Connection = JoinHandle<hyper::Result<()>>;

pub(super) async fn connect(
    server: &TestServer,
) -> anyhow::Result<(SendRequest<Body>, Connection)> {
    speak(TcpStream::connect(server.address).await?).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "the connection ends with its client"
)]
async fn speak(stream: TcpStream) -> anyhow::Result<(SendRequest<Body>, Connection)> {
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    Ok((client, tokio::spawn(connection)))
}

fn live() -> anyhow::Result<Request<Body>> {
    Ok(Request::get("http://x/v2/health/live").body(Empty::new().boxed_unsync())?)
}

fn index(body: Body) -> anyhow::Result<Request<Body>> {
    Ok(Request::post("http://x/v2/repository/index").body(body)?)
}

async fn ask(
    client: &mut SendRequest<Body>,
    request: Request<Body>,
) -> anyhow::Result<(StatusCode, String)> {
    let response = within(client.send_request(request)).await??;
    let status = response.status();
    let body = within(response.into_body().collect()).await??.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

#[tokio::test]
async fn many_requests_share_a_connection() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    let (release, held) = oneshot::channel();
    let waiting = client.send_request(index(RequestMemory(held).boxed_unsync())?);
    for _ in 0..3 {
        let alive = (StatusCode::OK, r#"{"live":true}"#.to_owned());
        assert_eq!(ask(&mut client, live()?).await?, alive);
    }
    assert!(release.send(()).is_ok());
    assert_eq!(within(waiting).await??.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn the_response_to_head_has_the_length_of_that_to_get_and_no_body() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    for (path, status) in [("/v2/health/live", 200), ("/v2/nothing", 404)] {
        let mut lengths = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            let request = Request::builder()
                .method(&method)
                .uri(format!("http://x{path}"));
            let request = request.body(Empty::new().boxed_unsync())?;
            let response = within(client.send_request(request)).await??;
            assert_eq!(response.status(), status, "{method} {path}");
            lengths.push(response.headers().get(CONTENT_LENGTH).cloned());
            let body = within(response.into_body().collect()).await??.to_bytes();
            assert_eq!(body.is_empty(), method == Method::HEAD, "{method} {path}");
        }
        assert!(
            lengths[0].is_some() && lengths[0] == lengths[1],
            "{lengths:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn refusals_are_json_here_too() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    let large = Full::new(Bytes::from(vec![b' '; 1 << 20])).boxed_unsync();
    let nothing = Request::get("http://x/nothing").body(Empty::new().boxed_unsync())?;
    for (request, status) in [
        (index(large)?, StatusCode::PAYLOAD_TOO_LARGE),
        (nothing, StatusCode::NOT_FOUND),
    ] {
        let (refused, body) = ask(&mut client, request).await?;
        assert_eq!(refused, status);
        assert!(body.starts_with(r#"{"error":""#), "{body}");
    }
    assert_eq!(ask(&mut client, live()?).await?.0, StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn a_stream_in_flight_is_answered_before_the_server_ends() -> anyhow::Result<()> {
    let mut server = TestServer::start(options()).await?;
    let (mut client, connection) = connect(&server).await?;
    let (release, held) = oneshot::channel();
    let waiting = client.send_request(index(RequestMemory(held).boxed_unsync())?);
    // The head of the waiting request was sent before this request, which gets its response.
    ask(&mut client, live()?).await?;
    server.stop();
    within(async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    assert!(release.send(()).is_ok());
    let response = within(waiting).await??;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        within(response.into_body().collect()).await??.to_bytes(),
        "[]"
    );
    assert_eq!(server.ended().await?, Ok(()));
    within(connection).await???;
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_takes_its_streams_with_it() -> anyhow::Result<()> {
    let options = ServerOptions {
        body_timeout: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    let stream = std::net::TcpStream::connect(server.address)?;
    stream.set_nonblocking(true)?;
    let breaker = stream.try_clone()?;
    let (mut client, _connection) = speak(TcpStream::from_std(stream)?).await?;
    let (_release, held) = oneshot::channel();
    let _waiting = client.send_request(index(RequestMemory(held).boxed_unsync())?);
    ask(&mut client, live()?).await?;
    breaker.shutdown(Shutdown::Both)?;
    server.stop();
    assert_eq!(server.ended().await?, Ok(()));
    server.check_let_go().await
}

#[tokio::test]
async fn a_head_too_large_is_refused() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let (mut client, _connection) = connect(&server).await?;
    let large = "x".repeat(100 * 1024);
    let request = Request::get("http://x/v2").header("a", large);
    let request = request.body(Empty::new().boxed_unsync())?;
    let response = within(client.send_request(request)).await??;
    let too_large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    assert_eq!(response.status(), too_large);
    server.check_alive().await
}
