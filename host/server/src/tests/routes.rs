//! Tests of the routes of a server without models.

use super::harness::{LIVE, TestServer, options};
use std::collections::BTreeSet;

#[tokio::test]
async fn the_server_tells_what_it_is_and_how_it_is() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for (request, body) in [
        ("GET /v2/health/live", r#"{"live":true}"#),
        ("GET /v2/health/ready", r#"{"ready":true}"#),
        ("GET /v2", r#"{"name":"wisp","version":"#),
        ("POST /v2/repository/index", "[]"),
    ] {
        let answer = server
            .ask(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await?;
        assert_eq!(answer.status, 200, "{request}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.body.starts_with(body), "{request}: {answer:?}");
        assert_eq!(answer.header("server"), None);
        assert!(answer.header("date").is_some());
    }
    Ok(())
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused_in_json() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for (request, status) in [
        ("GET /nothing", 404),
        ("GET /v2/nothing", 404),
        ("GET /v2/models/x", 404),
        ("POST /v2/models/x/infer", 404),
        ("GET /v2/models/x/versions/abc", 404),
        ("GET /v2/models/%2e%2e%2fx", 404),
        ("GET *", 404),
        ("CONNECT x:80", 404),
        ("POST /v2/health/live", 405),
        ("GET /v2/models/x/infer", 405),
        ("GET /v2/models/x/stats", 404),
        ("GET /v2/models/x/trace/setting", 404),
        ("POST /v2/systemsharedmemory/region/r/register", 501),
    ] {
        let answer = server
            .ask(&format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n"))
            .await?;
        answer.check_refusal(status)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_not_ready() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let answer = server
        .ask("GET /v2/models/x/ready HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    assert_eq!(answer.status, 400, "{answer:?}");
    let document = r#"{"name":"x","ready":false,"error":"Model version not ready"}"#;
    assert_eq!(answer.body, document);
    Ok(())
}

#[tokio::test]
async fn the_response_to_head_is_that_to_get_without_its_body() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for path in [
        "/v2",
        "/health",
        "/v1/models",
        "/openapi.json",
        "/docs",
        "/nothing",
    ] {
        let got = server
            .ask(&format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: 1\r\n\r\n"
            ))
            .await?;
        let mut client = server.connect().await?;
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nx-request-id: 1\r\n\r\n");
        // The next response on the connection begins right after the head.
        client.send(head + LIVE).await?;
        let headers = client.head().await?;
        let sorted = |head: &str| {
            let lines = head.lines().filter(|line| !line.starts_with("date:"));
            lines.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        assert_eq!(sorted(&headers), sorted(&got.head), "{path}");
        assert_eq!(client.answer().await?.body, r#"{"live":true}"#, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_one() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let answer = server
        .ask("DELETE /v2/repository/index HTTP/1.1\r\nhost: x\r\n\r\n")
        .await?;
    answer.check_refusal(405)?;
    assert_eq!(answer.header("allow"), Some("post"));
    Ok(())
}

#[tokio::test]
async fn a_compressed_body_is_told_what_to_send() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let request = "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\n\
        content-encoding: br\r\ncontent-length: 0\r\n\r\n";
    let answer = server.ask(request).await?;
    answer.check_refusal(415)?;
    assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));
    Ok(())
}

#[tokio::test]
async fn a_body_that_is_no_question_is_refused() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let request = "POST /v2/repository/index HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n[1,2";
    server.ask(request).await?.check_refusal(400)
}

#[tokio::test]
async fn a_clients_id_comes_back_and_a_refusal_always_has_one() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let ask = async |path: &str, id: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\n\r\n");
        let answer = server.ask(&request).await?;
        anyhow::Ok(answer.header("x-request-id").map(str::to_owned))
    };
    assert_eq!(ask("/v2/health/live", "a-1").await?.as_deref(), Some("a-1"));
    assert_eq!(ask("/nothing", "a-1").await?.as_deref(), Some("a-1"));
    assert_eq!(ask("/v2/health/live", "{hostile}").await?, None);
    let first = ask("/nothing", "{hostile}").await?;
    assert!(first.is_some());
    assert_ne!(first, ask("/nothing", "{hostile}").await?);
    Ok(())
}

#[tokio::test]
async fn a_connection_takes_one_request_after_the_other() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    let mut client = server.connect().await?;
    for _ in 0..3 {
        client.send(LIVE).await?;
        let answer = client.answer().await?;
        assert_eq!((answer.status, answer.closes()), (200, false));
    }
    client
        .send([LIVE, "GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n", LIVE].concat())
        .await?;
    for status in [200, 404, 200] {
        assert_eq!(client.answer().await?.status, status);
    }
    Ok(())
}
