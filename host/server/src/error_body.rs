//! Bodies for the responses that hyper makes itself.
//!
//! A head that is not valid HTTP, or is too large, never becomes a request. hyper responds with a status
//! and an empty body, while clients of every protocol expect an error document. The document is added here,
//! to the bytes of the response on their way to the socket, because hyper has no other hook for it.

use wisp_protocol::v2::encode_error;

/// The statuses of hyper's responses to invalid heads, with their error messages.
const REASONS: [(&str, &str); 2] = [
    ("400", "the head of the request is not valid HTTP"),
    (
        "431",
        "the head of the request is larger than the server's limit",
    ),
];

const NO_BODY: &str = "content-length: 0\r\n";

/// Returns `head` with a body, if it is a complete response that hyper made itself. All other responses
/// already have bodies.
pub(crate) fn for_bare_response(head: &[u8]) -> Option<Vec<u8>> {
    let status = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let (_, reason) = REASONS
        .iter()
        .find(|(refused, _)| refused.as_bytes() == status)?;
    let text = str::from_utf8(head).ok()?;
    let lines = text.strip_suffix("\r\n")?;
    let (before, after) = lines.split_once(NO_BODY)?;
    let body = encode_error(reason);
    let length = body.len();
    let mut response = format!(
        "{before}content-type: application/json\r\ncontent-length: {length}\r\n{after}\r\n"
    )
    .into_bytes();
    response.extend_from_slice(&body);
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_refusal_gets_the_error_document_and_keeps_its_headers() -> anyhow::Result<()> {
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
            content-length: 0\r\ndate: now\r\n\r\n";
        let whole = for_bare_response(bare.as_bytes()).expect("it is one of hyper's");
        assert_eq!(
            String::from_utf8(whole)?,
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 69\r\ndate: now\r\n\r\n\
             {\"error\":\"the head of the request is larger than the server's limit\"}"
        );
        Ok(())
    }

    #[test]
    fn other_bytes_are_left_alone() {
        for bytes in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 13\r\n\r\n{\"error\":\"x\"}",
            "HTTP/1.1 400",
            "{\"outputs\":[]}",
            "",
        ] {
            assert_eq!(for_bare_response(bytes.as_bytes()), None, "{bytes:?}");
        }
    }
}
