//! Native tests of the handler, with a closure as the graph.

use super::*;
use wisp_handler::{Error, Tensor, testing};

/// A model whose output for a token is its id in the first element and 1 in the second.
fn infer(request: &Request) -> Result<Response> {
    testing::infer::<Embed>(request, |_, inputs| {
        let ids = inputs[0].view::<i64>(&[-1, -1])?;
        let mask = inputs[1].view::<i64>(&[-1, -1])?;
        let filled = ids
            .iter()
            .zip(mask.iter())
            .all(|(id, mask)| (*id == 0) == (*mask == 0));
        assert!(
            filled
                && inputs[2]
                    .view::<i64>(&[-1, -1])?
                    .iter()
                    .all(|kind| *kind == 0)
        );
        let shape = [ids.shape()[0], ids.shape()[1], WIDTH];
        let token = |id: &i64| {
            let mut hidden = [0.0_f32; WIDTH];
            // The padding has large values, so that the test fails if it is not excluded.
            (hidden[0], hidden[1]) = if *id == 0 {
                (1e6, -1e6)
            } else {
                (*id as f32, 1.0)
            };
            hidden
        };
        Ok(vec![Tensor::collect(
            "last_hidden_state",
            &shape,
            ids.iter().flat_map(token),
        )?])
    })
}

#[test]
fn texts_of_different_lengths_in_a_batch_do_not_affect_each_other() -> Result<()> {
    let texts = ["hello world", "a rather longer text than the first", ""];
    let together = infer(&Request::new().with_input(Tensor::bytes("text", &[3], texts)?))?;
    let together = together.outputs()[0].view::<f32>(&[3, 384])?;
    for (text, row) in texts.iter().zip(together.rows()) {
        let alone = infer(&Request::new().with_input(Tensor::bytes("text", &[1], [text])?))?;
        assert_eq!(*alone.outputs()[0].view::<f32>(&[1, 384])?, *row, "{text}");
        assert!((row.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-6);
    }
    // [CLS] hello world [SEP], summed and scaled.
    let sum = (101 + 7592 + 2088 + 102) as f32;
    assert!((together[1] - 4.0 / sum.hypot(4.0)).abs() < 1e-9);
    Ok(())
}

#[test]
fn no_texts_give_no_embeddings_and_a_missing_input_is_a_client_error() -> Result<()> {
    let none = Request::new().with_input(Tensor::bytes::<&str>("text", &[0], [])?);
    assert_eq!(infer(&none)?.outputs()[0].shape(), [0, 384]);
    assert_eq!(
        infer(&Request::new()).unwrap_err(),
        Error::client("input `text` is missing")
    );
    let latin =
        Request::new().with_input(Tensor::bytes("text", &[2], [b"ok".as_slice(), b"caf\xe9"])?);
    assert_eq!(
        infer(&latin).unwrap_err(),
        Error::client("input `text` element 1 is not UTF-8")
    );
    Ok(())
}

#[test]
fn inputs_are_padded_to_few_lengths() -> Result<()> {
    // In addition to the words, the batch contains the tokens at the start and the end of a text.
    for (words, length) in [(0, 16), (14, 16), (15, 32), (254, 256), (1000, 256)] {
        let vocabulary = tokenizer::VOCABULARY.get()?;
        let batch = preprocess::tokens(vocabulary, &["word ".repeat(words).as_str(), "a"]);
        for input in batch.to_inputs()? {
            assert_eq!(input.shape(), [2, length], "{words}");
        }
    }
    Ok(())
}
