//! Tests of logged and omitted payloads.

use super::*;
use wisp_tensor::Tensor;

fn log(max_payload_bytes: usize, max_waiting_bytes: usize) -> Arc<PayloadLog> {
    Arc::new(PayloadLog::new(PayloadLogOptions {
        sample: SampleRatio::ALL,
        max_payload_bytes,
        max_waiting_bytes,
    }))
}

/// Returns a text of one element of this length, and four bytes more.
fn text(length: usize) -> anyhow::Result<Vec<NamedTensor>> {
    let element = vec![b'x'; length];
    let tensor = Tensor::from_elements([element.as_slice()].into_iter())?;
    Ok(vec![NamedTensor {
        name: "text".to_owned(),
        tensor,
    }])
}

fn call(log: &Arc<PayloadLog>) -> anyhow::Result<LoggedCall> {
    Ok(LoggedCall {
        log: Arc::clone(log),
        id: "1-1".to_owned(),
        model: ModelName::new("wine")?,
        version: Version::FIRST,
        request_id: None,
    })
}

#[test]
fn an_event_shares_the_bytes_of_its_tensors() -> anyhow::Result<()> {
    let log = log(100, 1000);
    let response = InferResponse {
        outputs: text(10)?,
        parameters: Vec::new(),
    };
    LoggedCall::end(Some(call(&log)?), &response);
    log.queue.close();
    let events = log.queue.next_batch().unwrap_or_default();
    let [event] = &events[..] else {
        anyhow::bail!("one event, not {events:?}");
    };
    assert_eq!(event.half, PayloadHalf::Response);
    assert_eq!(event.tensors, response.outputs);
    let [logged, sent] =
        [&event.tensors, &response.outputs].map(|tensors| tensors[0].tensor.content().as_ptr());
    assert_eq!(logged, sent);
    Ok(())
}

#[test]
fn a_payload_above_the_limit_is_its_names_types_and_shapes() -> anyhow::Result<()> {
    let log = log(13, 1000);
    let event = call(&log)?.event(PayloadHalf::Request, &text(9)?);
    assert!(!event.is_left_out && event.outlines.is_empty());
    let event = call(&log)?.event(PayloadHalf::Request, &text(10)?);
    assert!(event.is_left_out && event.tensors.is_empty());
    let expected = TensorOutline {
        name: "text".to_owned(),
        datatype: "BYTES",
        shape: vec![1],
    };
    assert_eq!(event.outlines, [expected]);
    Ok(())
}

#[test]
fn without_a_writer_events_are_dropped_and_counted() -> anyhow::Result<()> {
    let log = log(100, 30);
    let response = InferResponse {
        outputs: text(10)?,
        parameters: Vec::new(),
    };
    for _ in 0..5 {
        LoggedCall::end(Some(call(&log)?), &response);
    }
    // Two of 14 bytes each have room.
    assert_eq!(log.counts().dropped, 3);
    Ok(())
}

#[test]
fn a_call_without_a_log_is_not_logged() {
    let response = InferResponse {
        outputs: Vec::new(),
        parameters: Vec::new(),
    };
    LoggedCall::end(None, &response);
}
