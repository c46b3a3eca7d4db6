//! Tests of `/predict`.

use super::*;

#[test]
fn features_fill_the_only_input_in_every_form() -> anyhow::Result<()> {
    for body in [
        r#"{"features":[5.1,3.5,1.4,0.2]}"#,
        r#"{"id":"ignored","features":{"x":[5.1,3.5,1.4,0.2]}}"#,
    ] {
        let (request, encoder) = decode(Verb::Predict, body, &iris())?;
        assert_eq!(
            request.inputs,
            [floats("x", &[1, 4], &[5.1, 3.5, 1.4, 0.2])],
            "{body}"
        );
        assert_eq!(request.outputs, ["probabilities", "label"]);
        let outputs = vec![
            floats("probabilities", &[1, 3], &[0.25, 0.5, 0.25]),
            integers("label", &[1], &[2]),
        ];
        let expected = r#"{"prediction":2,"probabilities":[0.25,0.5,0.25],"model_version":"7"}"#;
        assert_eq!(encode(&encoder, outputs, &iris())?, expected);
    }
    Ok(())
}

#[test]
fn features_fill_the_only_numeric_input_or_inputs_by_name() -> anyhow::Result<()> {
    let mut text = spec("t", ElementType::Bytes, &[-1]);
    text.optional = true;
    let outputs = vec![spec("y", ElementType::Fp32, &[-1])];
    let two = model([four_numbers(), vec![text]].concat(), outputs.clone());
    let (request, _) = decode(Verb::Predict, r#"{"features":[1,2,3,4]}"#, &two)?;
    assert_eq!(request.inputs.len(), 1);
    let body = r#"{"features":{"t":"a","x":[1,2,3,4]}}"#;
    let (request, _) = decode(Verb::Predict, body, &two)?;
    assert_eq!(request.inputs[1], strings("t", &[1], &["a"]));

    let image = model(
        vec![spec("i", ElementType::Uint8, &[-1, 2, 2])],
        outputs.clone(),
    );
    let expected = tensor("i", ElementType::Uint8, &[1, 2, 2], &[1, 2, 3, 4]);
    for body in [r#"{"features":[1,2,3,4]}"#, r#"{"features":[[1,2],[3,4]]}"#] {
        let (request, _) = decode(Verb::Predict, body, &image)?;
        assert_eq!(request.inputs, std::slice::from_ref(&expected), "{body}");
    }
    let text_only = model(vec![spec("t", ElementType::Bytes, &[-1])], outputs);
    for body in [
        r#"{"features":["a"]}"#,
        r#"{"features":"a"}"#,
        r#"{"features":{"b64":"YQ=="}}"#,
    ] {
        let (request, _) = decode(Verb::Predict, body, &text_only)?;
        assert_eq!(request.inputs, [strings("t", &[1], &["a"])], "{body}");
    }
    Ok(())
}

#[test]
fn the_outputs_determine_the_prediction() -> anyhow::Result<()> {
    let scores = || spec("p", ElementType::Fp32, &[-1, 2]);
    let scored = |numbers: [f32; 2]| floats("p", &[1, 2], &numbers);
    let text = |shape| spec("t", ElementType::Bytes, shape);
    let cases = [
        // The greatest probability; of equal ones the first, and never NaN.
        (
            vec![scores()],
            vec![scored([0.5, 0.5])],
            r#""prediction":0,"probabilities":[0.5,0.5]"#,
        ),
        (
            vec![scores()],
            vec![scored([f32::NAN, 0.5])],
            r#""prediction":1,"probabilities":[NaN,0.5]"#,
        ),
        (
            vec![scores()],
            vec![scored([f32::NAN; 2])],
            r#""prediction":null,"probabilities":[NaN,NaN]"#,
        ),
        // A label, which takes precedence over the probabilities; strings precede integers.
        (
            vec![
                scores(),
                spec("n", ElementType::Int64, &[-1, 1]),
                text(&[-1]),
            ],
            vec![scored([0.0, 1.0]), strings("t", &[1], &["cat"])],
            r#""prediction":"cat","probabilities":[0.0,1.0]"#,
        ),
        // A label for each class.
        (
            vec![scores(), text(&[-1, 2])],
            vec![scored([0.0, 1.0]), strings("t", &[1, 2], &["cat", "dog"])],
            r#""prediction":"dog","probabilities":[0.0,1.0]"#,
        ),
        // A number.
        (
            vec![spec("y", ElementType::Fp32, &[-1, 1])],
            vec![floats("y", &[1, 1], &[2.5])],
            r#""prediction":2.5"#,
        ),
        // A number followed by a remark on it, and a single label.
        (
            vec![
                spec("y", ElementType::Fp32, &[-1]),
                spec("corrected", ElementType::Bool, &[-1]),
            ],
            vec![floats("y", &[1], &[2.5])],
            r#""prediction":2.5"#,
        ),
        (
            vec![spec("n", ElementType::Int64, &[-1])],
            vec![integers("n", &[1], &[7])],
            r#""prediction":7"#,
        ),
        // A variable axis of size 1.
        (
            vec![spec("y", ElementType::Fp32, &[-1, -1])],
            vec![floats("y", &[1, 1], &[2.5])],
            r#""prediction":2.5"#,
        ),
        // Anything else is written unchanged.
        (
            vec![spec("y", ElementType::Fp32, &[-1, 2, 2])],
            vec![floats("y", &[1, 2, 2], &[1.0, 2.0, 3.0, 4.0])],
            r#""prediction":[[1.0,2.0],[3.0,4.0]]"#,
        ),
        (
            vec![spec("n", ElementType::Int64, &[-1, 2])],
            vec![integers("n", &[1, 2], &[1, 2])],
            r#""prediction":[1,2]"#,
        ),
    ];
    for (specs, outputs, expected) in cases {
        let model = model(four_numbers(), specs);
        let (_, encoder) = decode(Verb::Predict, r#"{"features":[1,2,3,4]}"#, &model)?;
        let text = encode(&encoder, outputs, &model)?;
        assert_eq!(text, format!(r#"{{{expected},"model_version":"7"}}"#));
    }
    Ok(())
}

#[test]
fn a_model_without_a_batch_axis_takes_its_whole_input() -> anyhow::Result<()> {
    let inputs = vec![spec("x", ElementType::Fp32, &[-1, 2])];
    let mut model = model(inputs, vec![spec("p", ElementType::Fp32, &[1, 3])]);
    model.max_batch_size = 0;
    for body in [r#"{"features":[[1,2],[3,4]]}"#, r#"{"features":[1,2,3,4]}"#] {
        let (request, encoder) = decode(Verb::Predict, body, &model)?;
        assert_eq!(
            request.inputs,
            [floats("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])]
        );
        let text = encode(
            &encoder,
            vec![floats("p", &[1, 3], &[0.0, 1.0, 0.0])],
            &model,
        )?;
        let expected = r#"{"prediction":1,"probabilities":[0.0,1.0,0.0],"model_version":"7"}"#;
        assert_eq!(text, expected);
    }
    let text = error_text(Verb::BatchPredict, r#"{"features":[[1,2]]}"#, &model);
    assert!(text.contains("use /predict"), "{text}");
    Ok(())
}

#[test]
fn a_response_with_other_rows_is_rejected() -> anyhow::Result<()> {
    let (_, encoder) = decode(Verb::Predict, r#"{"features":[1,2,3,4]}"#, &iris())?;
    let missing = encode(&encoder, vec![integers("label", &[1], &[2])], &iris()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Handler);
    let outputs = vec![
        floats("probabilities", &[2, 3], &[0.0; 6]),
        integers("label", &[1], &[2]),
    ];
    let error = encode(&encoder, outputs, &iris()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("not an entry for each of 1 rows"), "{error}");
    Ok(())
}

#[test]
fn every_error_names_the_correction() {
    let example = r#"the body is not an object like {"features": [...]}"#;
    let cases = [
        ("", "the body is not valid JSON: EOF"),
        ("[1,2,3,4]", example),
        ("7", example),
        ("{}", "`features` is missing"),
        (
            r#"{"features":[1,2,3,4]"#,
            "the body is not valid JSON: EOF",
        ),
        (
            r#"{"features":[1],"features":[1,2,3,4]}"#,
            "`features` is given twice",
        ),
        (
            r#"{"features":[1,2,3]}"#,
            "`features`: input `x`: a flat array of 3 does not fill shape [4]",
        ),
        (
            r#"{"features":[1,2,3,"4"]}"#,
            "`features`: input `x`: element 3 is not a number",
        ),
        (
            r#"{"features":null}"#,
            "`features`: input `x`: a flat array of 1 does not fill shape [4]",
        ),
        (
            r#"{"features":{"y":[1]}}"#,
            "`features`: unknown input `y`, expected one of: x",
        ),
    ];
    for (body, expected) in cases {
        let text = error_text(Verb::Predict, body, &iris());
        assert!(text.starts_with(expected), "{body}: {text}");
    }
    let two = [four_numbers(), vec![spec("z", ElementType::Fp32, &[-1])]].concat();
    let text = error_text(
        Verb::Predict,
        r#"{"features":[1]}"#,
        &model(two, Vec::new()),
    );
    let expected = "`features`: it must be an object with a value for each input: x, z";
    assert_eq!(text, expected);
}
