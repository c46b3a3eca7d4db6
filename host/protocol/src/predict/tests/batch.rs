//! Tests of `/batch_predict`.

use super::*;
use crate::fixture::damaged;
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn each_of_the_three_batch_forms_is_one_request() -> anyhow::Result<()> {
    for body in [
        r#"{"features":[[1,2,3,4],[5,6,7,8]]}"#,
        r#"{"features":[{"x":[1,2,3,4]},[5,6,7,8]]}"#,
        r#"[{"features":[1,2,3,4]},{"features":[5,6,7,8]}]"#,
        r#"{"instances":[{"features":[1,2,3,4]},{"features":{"x":[5,6,7,8]}}]}"#,
    ] {
        let (request, encoder) = decode(Verb::BatchPredict, body, &iris())?;
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        assert_eq!(request.inputs, [floats("x", &[2, 4], &numbers)], "{body}");
        let outputs = vec![
            integers("label", &[2], &[0, 2]),
            floats("probabilities", &[2, 3], &[1.0, 0.0, 0.0, 0.0, 0.25, 0.75]),
        ];
        let expected = concat!(
            r#"{"predictions":[{"prediction":0,"probabilities":[1.0,0.0,0.0]},"#,
            r#"{"prediction":2,"probabilities":[0.0,0.25,0.75]}],"model_version":"7"}"#,
        );
        assert_eq!(encode(&encoder, outputs, &iris())?, expected);
    }
    Ok(())
}

#[test]
fn an_invalid_row_fails_alone_at_its_position() -> anyhow::Result<()> {
    let model = model(four_numbers(), vec![spec("y", ElementType::Fp32, &[-1])]);
    let body = r#"[{"features":[1]},{"features":[1,2,3,4]},7,{},{"features":[5,6,7,8]},{"features":[1,2,3,"a"]}]"#;
    let (request, encoder) = decode(Verb::BatchPredict, body, &model)?;
    assert_eq!(request.inputs[0].tensor.shape().dimensions(), [2, 4]);
    let text = encode(&encoder, vec![floats("y", &[2], &[0.5, 1.5])], &model)?;
    let expected = concat!(
        r#"{"predictions":[{"error":"`features`: input `x`: a flat array of 1 does not fill shape [4]: nest it like the shape"},"#,
        r#"{"prediction":0.5},"#,
        r#"{"error":"the row is not an object like {\"features\": [...]}"},"#,
        r#"{"error":"`features` is missing"},"#,
        r#"{"prediction":1.5},"#,
        r#"{"error":"`features`: input `x`: element 3 is not a number within the range of FP32, NaN, Infinity or null"}],"#,
        r#""model_version":"7"}"#,
    );
    assert_eq!(text, expected);
    let wrong = encode(&encoder, vec![floats("y", &[6], &[0.0; 6])], &model);
    let error = wrong.unwrap_err().to_string();
    assert!(error.contains("not an entry for each of 2 rows"), "{error}");
    Ok(())
}

#[test]
fn a_batch_without_a_valid_row_is_an_invalid_request() {
    let batch = r#"the body is not a batch: send {"features": [row, ...]}"#;
    let none = "no row of the batch is valid; row 0: ";
    let cases = [
        (r#"{"features":[]}"#, "the batch is empty"),
        ("[]", "the batch is empty"),
        (r#"{"features":[[1],[2]]}"#, none),
        (r#"[[1,2,3,4]]"#, none),
        (r#"{"features":[1,2,3,4]}"#, none),
        (r#"{"features":7}"#, batch),
        (r#"{"instances":{}}"#, batch),
        ("{}", batch),
        ("7", batch),
        (
            r#"{"features":[[1,2,3,4]],"instances":[]}"#,
            "the batch has both",
        ),
        (
            r#"{"features":[[1,2,3,4]],"features":[]}"#,
            "`features` is given twice",
        ),
        (
            r#"[{"features":[1,2,3,4]}] x"#,
            "the body is not valid JSON",
        ),
        (
            r#"[{"features":[1,2,3,4]},{"features":[1,2,3,]}]"#,
            "the body is not valid JSON",
        ),
    ];
    for (body, expected) in cases {
        let text = error_text(Verb::BatchPredict, body, &iris());
        assert!(text.starts_with(expected), "{body}: {text}");
    }
    let many = format!(r#"{{"features":[[1,2,3,4]{}]}}"#, ",0".repeat(1025));
    let text = error_text(Verb::BatchPredict, &many, &iris());
    let expected = "more than 1024 rows of the batch are invalid; the last: ";
    assert!(text.starts_with(expected), "{text}");
}

proptest! {
    #![proptest_config(crate::fixture::cases())]

    #[test]
    fn every_row_has_its_result_at_its_position(valid in vec(any::<bool>(), 1..20)) {
        let model = model(four_numbers(), vec![spec("y", ElementType::Int64, &[-1])]);
        let row = |&is_valid: &bool| if is_valid { "[1,2,3,4]" } else { "[1]" };
        let rows: Vec<&str> = valid.iter().map(row).collect();
        let body = format!(r#"{{"features":[{}]}}"#, rows.join(","));
        let places: Vec<i64> = (0i64..).zip(&valid).filter(|(_, is_valid)| **is_valid).map(|(place, _)| place).collect();
        let decoded = decode(Verb::BatchPredict, &body, &model);
        prop_assert_eq!(decoded.is_ok(), !places.is_empty());
        if let Ok((_, encoder)) = decoded {
            let count = u32::try_from(places.len()).unwrap();
            let text = encode(&encoder, vec![integers("y", &[count], &places)], &model).unwrap();
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            let answers = document["predictions"].as_array().unwrap();
            prop_assert_eq!(answers.len(), valid.len());
            for (place, (answer, is_valid)) in answers.iter().zip(&valid).enumerate() {
                prop_assert_eq!(answer["prediction"].as_u64(), is_valid.then_some(place as u64));
                prop_assert_eq!(answer["error"].is_string(), !is_valid);
            }
        }
    }

    #[test]
    fn arbitrary_bodies_never_panic(body in any::<Vec<u8>>()) {
        for verb in [Verb::Predict, Verb::BatchPredict] {
            let _ = PredictDecoder::new(verb).decode(Bytes::from(body.clone()), &iris());
        }
    }

    #[test]
    fn damaged_bodies_never_panic(
        position: prop::sample::Index,
        damage in vec(any::<u8>(), 0..4),
        cut in 0usize..8,
    ) {
        for (verb, body) in [
            (Verb::Predict, r#"{"features":{"x":[1.5,-2e3,NaN,4]}}"#),
            (Verb::BatchPredict, r#"{"features":[[1,2,3,4],{"x":[[5],6]}]}"#),
            (Verb::BatchPredict, r#"[{"features":[1,2,3,4]},{"features":[5]}]"#),
        ] {
            let body = damaged(body.as_bytes(), position.index(body.len()), cut, damage.clone());
            let _ = PredictDecoder::new(verb).decode(body, &iris());
        }
    }

    #[test]
    fn arbitrary_rows_never_panic(value in "[\\[\\]{}0-9,.eE\":NIa-z -]{0,60}") {
        for verb in [Verb::Predict, Verb::BatchPredict] {
            for body in [
                value.clone(),
                format!(r#"{{"features":{value}}}"#),
                format!(r#"[{{"features":{{"x":{value}}}}}]"#),
                format!(r#"{{"instances":[{value}]}}"#),
            ] {
                let _ = decode(verb, &body, &iris());
            }
        }
    }
}
