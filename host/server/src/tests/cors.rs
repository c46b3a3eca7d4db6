//! Tests of CORS headers over real sockets.

use super::harness::{LIVE, ReceivedResponse, TestServer, options};
use crate::ServerOptions;

const PREFLIGHT: &str = "OPTIONS /v2/models/x/infer HTTP/1.1\r\nhost: x\r\norigin: http://a\r\n\
    access-control-request-method: POST\r\n\
    access-control-request-headers: inference-header-content-length\r\n\r\n";

const REFUSED: &str = "GET /nothing HTTP/1.1\r\nhost: x\r\norigin: http://a\r\n\r\n";

fn allowing(origin: &str) -> anyhow::Result<ServerOptions> {
    Ok(ServerOptions {
        cors_origins: vec![origin.parse()?],
        ..options()
    })
}

fn allowed(answer: &ReceivedResponse) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn without_allowed_origins_there_is_no_word_of_them() -> anyhow::Result<()> {
    let server = TestServer::start(options()).await?;
    for request in [PREFLIGHT, REFUSED, LIVE] {
        let answer = server.ask(request).await?;
        assert!(!answer.head.contains("access-control"), "{answer:?}");
        assert!(!answer.head.contains("vary"), "{answer:?}");
    }
    assert_eq!(server.ask(PREFLIGHT).await?.status, 405);
    Ok(())
}

#[tokio::test]
async fn a_preflight_is_answered_on_every_route_without_a_body() -> anyhow::Result<()> {
    let server = TestServer::start(allowing("http://a")?).await?;
    let mut client = server.connect().await?;
    for path in ["/v2/models/x/infer", "/predict/x", "/nothing"] {
        client
            .send(PREFLIGHT.replace("/v2/models/x/infer", path))
            .await?;
        let answer = client.answer().await?;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(allowed(&answer), Some("http://a"));
        assert_eq!(answer.header("content-type"), None);
        assert_eq!(answer.header("vary"), Some("origin"));
        let methods = answer.header("access-control-allow-methods");
        assert_eq!(methods, Some("get, post"));
    }
    // A preflight is checked like any other request.
    let twice = PREFLIGHT.replace("host: x", "host: x\r\nhost: y");
    assert_eq!(server.ask(&twice).await?.status, 400);
    Ok(())
}

#[tokio::test]
async fn pages_read_answers_and_errors_of_their_origin_only() -> anyhow::Result<()> {
    let server = TestServer::start(allowing("http://a")?).await?;
    let answer = server.ask(REFUSED).await?;
    assert_eq!((answer.status, allowed(&answer)), (404, Some("http://a")));
    let exposed = answer.header("access-control-expose-headers");
    assert!(exposed.is_some_and(|names| names.contains("x-request-id")));
    let other = PREFLIGHT.replace("http://a", "http://b");
    let answer = server.ask(&other).await?;
    assert_eq!((answer.status, allowed(&answer)), (405, None));
    assert_eq!(answer.header("vary"), Some("origin"));
    Ok(())
}
