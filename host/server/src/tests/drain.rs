//! Tests of the server's shutdown.

use super::harness::{Client, HELD, LIVE, TestServer, options, within};
use crate::{ServeError, ServerOptions};
use std::time::Duration;
use tokio::net::TcpStream;

/// Returns a client whose request is in flight until it sends two bytes.
pub(super) async fn held(server: &TestServer) -> anyhow::Result<Client> {
    let mut client = server.connect().await?;
    client.send(HELD).await?;
    assert_eq!(client.answer().await?.status, 100);
    Ok(client)
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_then_the_server_ends() -> anyhow::Result<()> {
    let mut server = TestServer::start(options()).await?;
    let mut busy = held(&server).await?;
    let mut idle = server.connect().await?;
    idle.send(LIVE).await?;
    idle.answer().await?;

    server.stop();
    idle.check_closed().await?;
    assert!(TcpStream::connect(server.address).await.is_err());
    busy.send("{}").await?;
    let answer = busy.answer().await?;
    assert_eq!((answer.status, answer.body.as_str()), (200, "[]"));
    assert!(answer.closes());
    busy.check_closed().await?;
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn a_client_that_has_just_connected_is_answered() -> anyhow::Result<()> {
    let mut server = TestServer::start(options()).await?;
    let mut idle = server.connect().await?;
    idle.send(LIVE).await?;
    idle.answer().await?;
    let (mut first, mut second) = (server.connect().await?, server.connect().await?);
    server.stop();
    // All connections have received the drain signal by now.
    idle.check_closed().await?;
    for client in [&mut first, &mut second] {
        client.send(LIVE).await?;
        let answer = client.answer().await?;
        assert_eq!((answer.status, answer.closes()), (200, true));
        client.check_closed().await?;
    }
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

/// An HTTP/2 client that is gone: it does not respond to PING and closes nothing.
#[tokio::test]
async fn a_silent_peer_of_http2_does_not_hold_the_end() -> anyhow::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // GET http://x/v2/health/live, as literals without indexing.
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", "/v2/health/live"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len())?);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let length = u8::try_from(block.len())?;
    // HEADERS that end the header block and stream 1.
    let request = [&[0, 0, length, 1, 5, 0, 0, 0, 1], &block[..]].concat();
    let options = ServerOptions {
        drain_timeout: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    let mut unused = server.connect().await?;
    unused.send(PREFACE).await?;
    let mut used = server.connect().await?;
    used.send([PREFACE, &request].concat()).await?;
    // The response, or the settings before it.
    let mut some = [0; 1];
    for client in [&mut unused, &mut used] {
        within(tokio::io::AsyncReadExt::read_exact(
            &mut client.stream,
            &mut some,
        ))
        .await??;
    }
    server.check_alive().await?;
    server.stop();
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn the_drain_delay_serves_requests_and_closes_connections() -> anyhow::Result<()> {
    let options = ServerOptions {
        drain_delay: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    let mut before = server.connect().await?;
    before.send(LIVE).await?;
    before.answer().await?;
    server.stop();
    // The server's task observes the signal when it runs next, which is before its next response.
    within(async {
        while !server.ask(LIVE).await?.closes() {}
        anyhow::Ok(())
    })
    .await??;

    before.send(LIVE).await?;
    let answer = before.answer().await?;
    assert_eq!((answer.status, answer.closes()), (200, true));
    before.check_closed().await?;
    let answer = server
        .ask("GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, r#"{"ready":false,"error":"the server is not ready"}"#)
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    Ok(())
}

#[tokio::test]
async fn a_connection_that_does_not_end_in_time_is_cut() -> anyhow::Result<()> {
    let drain_timeout = Duration::from_millis(50);
    let options = ServerOptions {
        drain_timeout,
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    let mut busy = held(&server).await?;
    server.stop();
    let cut = ServeError::DrainTimeout {
        connections: 1,
        drain_timeout,
    };
    assert_eq!(server.ended().await?, Err(cut));
    busy.check_closed().await
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_with_it() -> anyhow::Result<()> {
    let options = ServerOptions {
        body_timeout: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    drop(held(&server).await?);
    server.stop();
    assert_eq!(server.ended().await?, Ok(()));
    server.check_let_go().await
}

#[tokio::test]
async fn a_half_sent_body_is_refused_and_does_not_hold_up_the_end() -> anyhow::Result<()> {
    let options = ServerOptions {
        body_timeout: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(3600),
        ..options()
    };
    let mut server = TestServer::start(options).await?;
    let mut half = held(&server).await?;
    half.send("{").await?;
    server.stop();
    let answer = half.answer().await?;
    answer.check_refusal(503)?;
    assert!(answer.body.contains("shutting down"), "{answer:?}");
    assert!(answer.closes());
    drop(half);
    assert_eq!(server.ended().await?, Ok(()));
    Ok(())
}

#[tokio::test]
async fn dropping_the_server_cuts_everything_at_once() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut busy = held(&server).await?;
    let address = server.address;
    drop(server);
    busy.check_closed().await?;
    assert!(TcpStream::connect(address).await.is_err());
    Ok(())
}
