//! Tests of requests that are not HTTP, or that could be read as more than one request.

use super::harness::{LIVE, TestServer, options};

#[tokio::test]
async fn a_request_that_is_not_http_is_refused_and_its_connection_closed() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for request in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/3.7\r\nhost: x\r\n\r\n",
        "G\x01T / HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\na: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nspace : y\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 2\r\n\r\nxx",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n",
    ] {
        let mut client = server.connect().await?;
        client.send([request, LIVE].concat()).await?;
        let answer = client.answer().await?;
        answer.check_refusal(400)?;
        if request.contains("host: y") || !request.contains("host") && request.contains("/1.1") {
            // A complete request, after which another may follow.
            continue;
        }
        assert!(answer.closes(), "{request:?}: {answer:?}");
        client.check_closed().await?;
    }
    server.check_alive().await
}

#[tokio::test]
async fn after_two_lengths_there_is_no_second_request() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for headers in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let mut client = server.connect().await?;
        let request = format!("POST /v2/repository/index HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        client.send([&request, "0\r\n\r\n", LIVE].concat()).await?;
        let answer = client.answer().await?;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "[]"),
            "{headers:?}"
        );
        assert!(answer.closes(), "{answer:?}");
        client.check_closed().await?;
    }
    server.check_alive().await
}

#[tokio::test]
async fn a_body_with_bad_chunks_is_refused_and_the_connection_closed() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for chunks in [
        "x\r\n",
        "-1\r\n",
        "5\r\nab",
        "1\r\nab\r\n",
        "1\nx\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let mut client = server.connect().await?;
        let head = "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\n\
            transfer-encoding: chunked\r\n\r\n";
        client.send([head, chunks].concat()).await?;
        client.finish().await?;
        let answer = client.answer().await?;
        answer.check_refusal(400)?;
        assert!(answer.closes(), "{chunks:?}: {answer:?}");
        client.check_closed().await?;
    }
    server.check_alive().await
}

#[tokio::test]
async fn a_truncated_body_ends_its_connection_only() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    let head = "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    client.send(head).await?;
    client.finish().await?;
    client.answer().await?.check_refusal(400)?;
    client.check_closed().await?;
    server.check_alive().await
}

#[tokio::test]
async fn a_head_too_large_is_refused_while_it_is_still_coming() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let many = "a: b\r\n".repeat(100);
    let large = "x".repeat(400 * 1024);
    for request in [
        format!("GET / HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        format!("GET / HTTP/1.1\r\nhost: x\r\na: {large}\r\n\r\n"),
        format!("GET /{large} HTTP/1.1\r\nhost: x\r\n\r\n"),
    ] {
        let mut client = server.connect().await?;
        client.send(request).await?;
        let answer = client.answer().await?;
        answer.check_refusal(431)?;
        assert!(answer.closes(), "{answer:?}");
        client.finish().await?;
        client.check_closed().await?;
    }
    // The last header and the last KiB that are allowed.
    for headers in [
        "a: b\r\n".repeat(98),
        format!("a: {}\r\n", "x".repeat(63 * 1024)),
    ] {
        let request = format!("GET /v2/health/live HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        assert_eq!(server.ask(&request).await?.status, 200);
    }
    server.check_alive().await
}

#[tokio::test]
async fn an_old_client_is_answered_and_closed() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    client.send("GET /v2/health/live HTTP/1.0\r\n\r\n").await?;
    assert_eq!(client.answer().await?.body, r#"{"live":true}"#);
    client.check_closed().await
}

#[tokio::test]
async fn an_upgrade_is_ignored() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let request = "GET /v2/health/live HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\n\
        upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(server.ask(request).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn bodies_in_other_transfer_codings_are_refused() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for coding in ["gzip, chunked", "identity, chunked", "chunked, chunked"] {
        let mut client = server.connect().await?;
        let head = format!(
            "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ntransfer-encoding: {coding}\r\n\r\n"
        );
        client
            .send([&head, "2\r\n{}\r\n0\r\n\r\n"].concat())
            .await?;
        client.answer().await?.check_refusal(501)?;
    }
    server.check_alive().await
}
