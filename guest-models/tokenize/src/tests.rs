//! Native tests of the handler, with a closure as the graph.

use super::*;
use wisp_handler::Tensor;
use wisp_handler::testing::{self, Model};

/// A tokenizer of whole words.
const WORDS: &str = r#"{
    "version": "1.0",
    "truncation": null,
    "padding": {
        "strategy": { "Fixed": 5 }, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 9, "pad_type_id": 0, "pad_token": "[PAD]"
    },
    "added_tokens": [],
    "normalizer": { "type": "Lowercase" },
    "pre_tokenizer": { "type": "Whitespace" },
    "post_processor": null,
    "decoder": null,
    "model": {
        "type": "WordLevel",
        "vocab": { "[PAD]": 0, "[UNK]": 1, "hello": 2, "world": 3 },
        "unk_token": "[UNK]"
    }
}"#;

fn model() -> Model {
    Model::new().with_file(FILE, WORDS)
}

/// Returns the ids of the texts that are not padding.
fn ids(texts: &[&str]) -> Result<Vec<Vec<i64>>> {
    let texts = Tensor::bytes("text", &[texts.len()], texts)?;
    let request = Request::new().with_input(texts);
    let response = testing::infer::<Tokenize>(&request, |_, inputs| {
        let shape = [inputs[0].shape()[0], 2];
        let zeros = vec![0.0_f32; shape[0] * shape[1]];
        Ok(vec![Tensor::new("vector", &shape, &zeros)?])
    })?;
    let [vector, ids, mask] = response.outputs() else {
        panic!("the response has other outputs: {response:?}");
    };
    assert_eq!(vector.name(), "vector");
    let rows = ids.view::<i64>(&[-1, -1])?;
    let mask = mask.view::<i64>(&[-1, -1])?;
    let real = |(row, mask): (&[i64], &[i64])| {
        let both = row.iter().zip(mask);
        both.filter(|(_, mask)| **mask == 1)
            .map(|(id, _)| *id)
            .collect()
    };
    Ok(rows.rows().zip(mask.rows()).map(real).collect())
}

#[test]
fn texts_of_different_lengths_are_padded_and_the_mask_says_where() -> Result<()> {
    model().run(|| {
        assert_eq!(
            ids(&["Hello world", "", "world hello there"])?,
            [vec![2, 3], vec![], vec![3, 2, 1]]
        );
        Ok(())
    })
}

#[test]
fn a_text_is_cut_at_the_setting() -> Result<()> {
    let text = "hello ".repeat(1000);
    model().run(|| {
        assert_eq!(ids(&[&text])?[0].len(), MAX_TOKENS);
        Ok::<(), Error>(())
    })?;
    model().with_config("max_tokens", 3).run(|| {
        assert_eq!(ids(&[&text])?, [[2, 2, 2]]);
        Ok(())
    })
}

#[test]
fn a_text_that_init_encodes_changes_no_result() -> Result<()> {
    model().run(|| {
        let before = ids(&["Hello world", WARM_UP])?;
        Tokenize::init()?;
        assert_eq!(ids(&["Hello world", WARM_UP])?, before);
        Ok::<(), Error>(())
    })?;
    // Every word but one is refused, since there is no token for those that are unknown.
    let known_words = WORDS.replace("\"unk_token\": \"[UNK]\"", "\"unk_token\": \"none\"");
    Model::new().with_file(FILE, known_words).run(|| {
        Tokenize::init()?;
        assert_eq!(ids(&["Hello"])?, [[2]]);
        assert!(ids(&["there"]).is_err());
        Ok(())
    })
}

#[test]
fn a_file_that_is_no_tokenizer_is_named() {
    Model::new().with_file(FILE, "{}").run(|| {
        let error = Tokenize::init().unwrap_err();
        assert!(
            error
                .message()
                .starts_with("the model's file `tokenizer.json`: "),
            "{error}"
        );
    });
}

#[test]
fn a_batch_without_texts_is_a_client_error() {
    model().run(|| {
        let error = ids(&[]).unwrap_err();
        assert_eq!(error, Error::client("input `text` has no texts"));
    });
}
