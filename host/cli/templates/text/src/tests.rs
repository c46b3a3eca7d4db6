//! Native tests of the handler, with a closure in place of the graph. `wisp check` runs the cases in
//! `models/` with the real graph.

use super::*;
use preprocess::{COLUMNS, column};
use wisp_handler::Fault;

fn request<T: AsRef<[u8]>>(texts: &[T]) -> Result<Request> {
    Ok(Request::new().with_input(Tensor::bytes("text", &[texts.len()], texts)?))
}

#[test]
fn words_are_counted_regardless_of_case_and_punctuation() -> Result<()> {
    let inputs = Mood::preprocess(&request(&["Good, GOOD news!", ""])?)?;
    let counts = inputs[0].view::<f32>(&[2, 512])?;
    let mut rows = counts.rows();
    let first = rows.next().unwrap_or_default();
    assert_eq!(first[column("good")], 2.0);
    assert_eq!(first[column("news")], 1.0);
    assert_eq!(first.iter().sum::<f32>(), 3.0);
    assert_eq!(rows.next(), Some(&[0.0; COLUMNS][..]));
    Ok(())
}

#[test]
fn each_text_gets_its_label() -> Result<()> {
    let response = wisp_handler::testing::infer::<Mood>(&request(&["a", "b"])?, |_, _| {
        let logits = [[0.0_f32, 2.0], [2.0, 0.0]];
        Ok(vec![Tensor::from_rows("logits", &[2], logits)?])
    })?;
    assert_eq!(
        response.outputs()[0].strings(&[-1])?,
        ["positive", "negative"]
    );
    Ok(())
}

#[test]
fn a_text_that_is_invalid_or_too_long_is_a_client_error() -> Result<()> {
    for text in [b"\xff\xfe".to_vec(), vec![b'a'; 70_000]] {
        let error = Mood::preprocess(&request(&[text])?).unwrap_err();
        assert_eq!(error.fault(), Fault::Client);
        assert!(error.message().contains("element 0"), "{error}");
    }
    Ok(())
}
