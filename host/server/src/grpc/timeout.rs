//! The timeout that a client sets with the `grpc-timeout` header, as defined in the gRPC specification.
//!
//! It starts when the head arrives and covers everything, including reading the message; for a stream, it
//! covers the whole stream. The server's own limits apply as well, so the shorter one decides. An invalid
//! value is ignored, as in gRPC's own libraries.

use crate::failure::Failure;
use http::HeaderMap;
use std::time::Duration;
use tokio::time::Instant;

/// The largest number of digits in a value.
const MAX_DIGITS: usize = 8;

/// Returns the deadline of the client that has just sent these headers, if it has set one.
pub(crate) fn client_deadline(headers: &HeaderMap) -> Option<Instant> {
    let timeout = headers.get("grpc-timeout")?;
    Instant::now().checked_add(parse(timeout.to_str().ok()?)?)
}

/// Returns the outcome of `work`, which is dropped at the client's deadline.
pub(crate) async fn with_deadline<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let Some(deadline) = deadline else {
        return work.await;
    };
    let outcome = tokio::time::timeout_at(deadline, work).await;
    outcome.unwrap_or(Err(Failure::ClientDeadline))
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::error::ErrorKind;

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        for (text, seconds) in [
            ("2H", 7200.0),
            ("3M", 180.0),
            ("00000004S", 4.0),
            ("250m", 0.25),
            ("99999999u", 99.999_999),
            ("0n", 0.0),
        ] {
            let parsed = parse(text).map(|timeout| timeout.as_secs_f64());
            assert_eq!(parsed, Some(seconds), "{text}");
        }
        for text in [
            "",
            "S",
            "1",
            "1s",
            "123456789S",
            "+1S",
            "-1S",
            "1.5S",
            "1 S",
            "1é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_when_its_client_waits_no_longer() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", "1S".parse().expect("a header's value"));
        let deadline = client_deadline(&headers);
        let never = std::future::pending::<Result<(), Failure>>();
        let failure = with_deadline(deadline, never)
            .await
            .expect_err("it never ends");
        assert_eq!(failure.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(Some(Instant::now()), deadline);
    }
}
