//! Where a codec runs: at once when its text is short, on a blocking thread when it would hold up
//! connections.
//!
//! Knows nothing of what it runs. Tensors that travel as bytes cost a codec nothing; JSON does.

use crate::error::InferError;

/// Bytes of JSON from which a codec runs elsewhere: about a millisecond of numbers. Handing over
/// costs some microseconds.
const LONG_TEXT_BYTES: usize = 256 << 10;

/// The result of `codec`, which reads or writes about `text_bytes` of text.
pub(crate) async fn run<T, E>(
    text_bytes: usize,
    codec: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, InferError>
where
    T: Send + 'static,
    E: Into<InferError> + Send + 'static,
{
    if text_bytes < LONG_TEXT_BYTES {
        return codec().map_err(Into::into);
    }
    match tokio::task::spawn_blocking(codec).await {
        Ok(result) => result.map_err(Into::into),
        Err(lost) => Err(InferError::host(lost)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::current;

    #[tokio::test]
    async fn short_texts_stay_on_the_thread_and_long_ones_leave_it() -> anyhow::Result<()> {
        let here = current().id();
        for (bytes, stays) in [(0, true), (LONG_TEXT_BYTES, false)] {
            let ran = run(bytes, || Ok::<_, InferError>(current().id())).await?;
            assert_eq!(ran == here, stays, "{bytes}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_panic_on_the_other_thread_is_the_hosts_failure() {
        let lost = run::<(), InferError>(LONG_TEXT_BYTES, || panic!("a codec's panic")).await;
        let kind = lost.map_err(|error| error.kind());
        assert_eq!(kind, Err(wisp_protocol::error::ErrorKind::Internal));
    }
}
