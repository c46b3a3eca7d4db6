//! Tests of the limits on size, number and time.

use super::harness::{Client, HELD, LIVE, TestServer, options};
use crate::ServerOptions;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

/// Sends a request for the index with these headers. The test sends the body.
async fn ask_with(client: &mut Client, headers: &str) -> anyhow::Result<()> {
    let head = format!("POST /v2/repository/index HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n");
    client.send(head).await
}

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_comes() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for length in [1_u64 << 20, 100 << 30] {
        let mut client = server.connect().await?;
        ask_with(&mut client, &format!("content-length: {length}")).await?;
        let answer = client.answer().await?;
        answer.check_refusal(413)?;
        assert!(answer.closes());
        client.finish().await?;
        client.check_closed().await?;
    }
    server.check_alive().await
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_refused_while_it_comes() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    ask_with(&mut client, "transfer-encoding: chunked").await?;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..5 {
        client.send(&chunk).await?;
    }
    client.answer().await?.check_refusal(413)?;
    server.check_alive().await
}

#[tokio::test]
async fn a_client_that_sends_on_can_still_read_the_refusal() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    ask_with(&mut client, "content-length: 50000000").await?;
    // All of the body: if the socket were closed at once, sending would fail and the response would be
    // lost.
    client.send(vec![b' '; 50_000_000]).await?;
    client.answer().await?.check_refusal(413)
}

#[tokio::test]
async fn a_body_in_tiny_chunks_is_read() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    ask_with(&mut client, "transfer-encoding: chunked").await?;
    let body = format!("{}{}", "1\r\n \r\n".repeat(10_000), "2\r\n{}\r\n0\r\n\r\n");
    client.send(body).await?;
    assert_eq!(client.answer().await?.body, "[]");
    client.send(LIVE).await?;
    assert_eq!(client.answer().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_client_that_asks_before_sending_is_told() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    client.send(HELD).await?;
    assert_eq!(client.answer().await?.status, 100);
    client.send("{}").await?;
    assert_eq!(client.answer().await?.body, "[]");
    ask_with(
        &mut client,
        "content-length: 1000000\r\nexpect: 100-continue",
    )
    .await?;
    let answer = client.answer().await?;
    answer.check_refusal(413)?;
    assert!(answer.closes());
    client.check_closed().await
}

#[tokio::test]
async fn a_refusal_keeps_the_connection_when_its_body_was_there() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    let head = "POST /v2/models/x/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n";
    client.send([head, "{}", LIVE].concat()).await?;
    let answer = client.answer().await?;
    answer.check_refusal(404)?;
    assert!(!answer.closes());
    assert_eq!(client.answer().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_refusal_closes_the_connection_when_its_body_was_not() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    client
        .send("POST /v2/models/x/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n")
        .await?;
    let answer = client.answer().await?;
    answer.check_refusal(404)?;
    assert!(answer.closes());
    // If the unread body were read as the next request, this would get a response.
    client.send(LIVE).await?;
    client.finish().await?;
    client.check_closed().await
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_has_room_later() -> anyhow::Result<()> {
    let options = ServerOptions {
        max_connections: 2,
        ..options()
    };
    let server = TestServer::start(options).await?;
    let (mut first, mut second) = (server.connect().await?, server.connect().await?);
    for client in [&mut first, &mut second] {
        client.send(HELD).await?;
        assert_eq!(client.answer().await?.status, 100);
    }
    let mut third = server.connect().await?;
    let answer = third.answer().await?;
    answer.check_refusal(503)?;
    assert_eq!(answer.header("retry-after"), Some("1"));
    third.finish().await?;
    third.check_closed().await?;
    drop(first);
    loop {
        // The server may not have detected the end of the first connection yet.
        match server.check_alive().await {
            Ok(()) => break,
            Err(error) if error.to_string().contains("no free connection") => {}
            Err(error) => return Err(error),
        }
    }
    second.send("{}").await?;
    assert_eq!(second.answer().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn for_a_connection_too_many_the_one_that_is_idle_longest_is_closed() -> anyhow::Result<()> {
    let options = ServerOptions {
        max_connections: 3,
        ..options()
    };
    let server = TestServer::start(options).await?;
    let mut busy = server.connect().await?;
    busy.send(HELD).await?;
    assert_eq!(busy.answer().await?.status, 100);
    // Connections that have never sent a request are closed as well.
    let mut silent = server.connect().await?;
    let mut used = server.connect().await?;
    used.send(LIVE).await?;
    assert_eq!(used.answer().await?.status, 200);

    let mut fourth = server.connect().await?;
    fourth.send(LIVE).await?;
    assert_eq!(fourth.answer().await?.status, 200);
    silent.check_closed().await?;
    let mut fifth = server.connect().await?;
    fifth.send(LIVE).await?;
    assert_eq!(fifth.answer().await?.status, 200);
    used.check_closed().await?;

    busy.send("{}").await?;
    assert_eq!(busy.answer().await?.body, "[]");
    fourth.send(LIVE).await?;
    assert_eq!(fourth.answer().await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut() -> anyhow::Result<()> {
    let options = ServerOptions {
        header_timeout: SOON,
        ..options()
    };
    let server = TestServer::start(options).await?;
    for beginning in ["", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\na"] {
        let mut client = server.connect().await?;
        client.send(beginning).await?;
        client.check_closed().await?;
    }
    let mut client = server.connect().await?;
    client.send([LIVE, "GET"].concat()).await?;
    assert_eq!(client.answer().await?.status, 200);
    client.send(" /").await?;
    client.check_closed().await?;
    server.check_alive().await
}

#[tokio::test]
async fn an_idle_connection_is_closed() -> anyhow::Result<()> {
    let options = ServerOptions {
        idle_timeout: SOON,
        ..options()
    };
    let server = TestServer::start(options).await?;
    let mut client = server.connect().await?;
    client.send(LIVE).await?;
    assert_eq!(client.answer().await?.status, 200);
    client.check_closed().await
}

#[tokio::test]
async fn a_body_that_does_not_come_is_late() -> anyhow::Result<()> {
    let options = ServerOptions {
        body_timeout: SOON,
        ..options()
    };
    let server = TestServer::start(options).await?;
    let mut client = server.connect().await?;
    client.send(HELD).await?;
    assert_eq!(client.answer().await?.status, 100);
    let answer = client.answer().await?;
    answer.check_refusal(408)?;
    assert!(answer.closes());
    client.finish().await?;
    client.check_closed().await
}
