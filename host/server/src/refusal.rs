//! The body that hyper's own refusals lack.
//!
//! A head that is not HTTP, or too large, never becomes a request: hyper answers it with a status
//! and nothing else, where clients of every dialect read an error document. The document is added here, to
//! the bytes on their way out, since hyper leaves no other place for it.

use wisp_protocol::v2::encode_error;

/// The statuses that hyper answers heads with, and what was wrong with them.
const REASONS: [(&str, &str); 2] = [
    (
        "400",
        "the head of the request is not HTTP as this server reads it",
    ),
    (
        "431",
        "the head of the request is larger than this server reads",
    ),
];

const NO_BODY: &str = "content-length: 0\r\n";

/// `head` with a body, if it is all of a response that hyper made by itself. Ours have bodies already.
pub(crate) fn with_body(head: &[u8]) -> Option<Vec<u8>> {
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
        let whole = with_body(bare.as_bytes()).expect("it is one of hyper's");
        assert_eq!(
            String::from_utf8(whole)?,
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: 68\r\ndate: now\r\n\r\n\
             {\"error\":\"the head of the request is larger than this server reads\"}"
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
            assert_eq!(with_body(bytes.as_bytes()), None, "{bytes:?}");
        }
    }
}
