//! Converts a panic in the work for a request to a failure of that request.

use crate::failure::Failure;
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The beginning of tokio's panic message if it cannot create a thread.
const NO_THREAD: &str = "OS can't spawn worker thread";

/// Returns the outcome of `work`. A panic becomes a failure of its request and affects no other request.
pub(crate) async fn catch_panic<T>(
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // State that the panic left incomplete belongs to this request and is dropped with it.
        let poll = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        poll.unwrap_or_else(|panic| Poll::Ready(Err(failure(&*panic))))
    })
    .await
}

/// Converts a panic to a failure. One panic is not a bug: the runtime has no error for a system that cannot
/// create a thread.
fn failure(panic: &(dyn Any + Send)) -> Failure {
    match text(panic) {
        text if text.starts_with(NO_THREAD) => Failure::NoThread,
        text => Failure::Panic(text),
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wisp_protocol::error::ErrorKind;

    #[tokio::test]
    async fn a_panic_is_a_failure_of_its_request() {
        for (panics, said) in [
            ((|| panic!("at once")) as fn(), "a panic: at once"),
            (|| panic!("with {}", 7), "a panic: with 7"),
        ] {
            let work = async {
                tokio::task::yield_now().await;
                panics();
                Ok(())
            };
            let failure = catch_panic(work).await.expect_err("it panicked");
            assert_eq!(failure.to_string(), said);
            assert_eq!(failure.kind(), ErrorKind::Internal);
            assert_eq!(failure.client_message(), "the server failed");
        }
    }

    #[tokio::test]
    async fn no_thread_is_no_capacity() {
        let panics: fn() = || panic!("{NO_THREAD}: Resource temporarily unavailable");
        let work = async {
            panics();
            Ok(())
        };
        let failure = catch_panic(work).await.expect_err("it panicked");
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
    }
}
