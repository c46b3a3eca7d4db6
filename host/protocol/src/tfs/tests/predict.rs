//! Tests of `:predict`, by rows and by columns.

use super::*;

#[test]
fn instances_form_one_batch_and_return_one_prediction_each() -> anyhow::Result<()> {
    let model = model(
        vec![spec("image", ElementType::Fp32, &[-1, 28, 28])],
        vec![spec("dense", ElementType::Fp32, &[-1, 10])],
    );
    let image = vec![vec![0.5; 28]; 28];
    let body = format!(
        r#"{{"signature_name": "serving_default", "instances": {:?}}}"#,
        vec![image; 3]
    );
    let (request, encoder) = decode(Verb::Predict, &body, &model)?;
    assert_eq!(
        request.inputs,
        [floats("image", &[3, 28, 28], &[0.5; 3 * 28 * 28])]
    );
    assert_eq!(request.outputs, Vec::<String>::new());
    let scores: Vec<f32> = (0u8..30).map(f32::from).collect();
    let text = encode(&encoder, vec![floats("dense", &[3, 10], &scores)], &model)?;
    let document: serde_json::Value = serde_json::from_str(&text)?;
    let predictions = document["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 3);
    assert!(
        predictions
            .iter()
            .all(|row| row.as_array().unwrap().len() == 10)
    );
    assert_eq!(predictions[2][9], 29.0);
    Ok(())
}

#[test]
fn rows_are_objects_or_bare_values_of_a_single_input() -> anyhow::Result<()> {
    for body in [
        r#"{"instances":[[1,2],[3,4]]}"#,
        r#"{"instances":[{"x":[1,2]},{"x":[3,4]}]}"#,
        r#"{"instances":[[1,2],{"x":[3,4]}],"unknown":{"a":[]}}"#,
    ] {
        let (request, _) = decode(Verb::Predict, body, &one_input())?;
        assert_eq!(
            request.inputs,
            [floats("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])],
            "{body}"
        );
    }
    let body = r#"{"instances":[{"x":[1,2],"t":"a"},{"t":{"b64":"Yg=="},"x":[3,NaN]}]}"#;
    let (request, _) = decode(Verb::Predict, body, &two_inputs())?;
    assert_eq!(request.inputs[1], strings("t", &[2], &["a", "b"]));
    assert!(
        request.inputs[0]
            .tensor
            .content()
            .ends_with(&f32::NAN.to_le_bytes())
    );
    let text = error_text(Verb::Predict, r#"{"instances":[[1,2]]}"#, &two_inputs());
    assert_eq!(
        text,
        "instance 0: it must be an object with a value for each input: x, t"
    );
    Ok(())
}

#[test]
fn rows_of_a_string_model_are_strings_or_base64() -> anyhow::Result<()> {
    let model = model(
        vec![spec("t", ElementType::Bytes, &[-1])],
        vec![spec("y", ElementType::Fp32, &[-1])],
    );
    let body = r#"{"instances":["a",{"b64":"Yg=="},{"t":"c"},{"t":{"b64":"ZA=="}}]}"#;
    let (request, encoder) = decode(Verb::Predict, body, &model)?;
    assert_eq!(request.inputs, [strings("t", &[4], &["a", "b", "c", "d"])]);
    let numbers = floats(
        "y",
        &[4],
        &[1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
    );
    let text = encode(&encoder, vec![numbers], &model)?;
    assert_eq!(text, r#"{"predictions":[1.0,NaN,Infinity,-Infinity]}"#);
    let (request, _) = decode(Verb::Predict, r#"{"inputs":["a"]}"#, &model)?;
    assert_eq!(request.inputs, [strings("t", &[1], &["a"])]);
    Ok(())
}

#[test]
fn columns_include_the_batch_axis_and_return_outputs() -> anyhow::Result<()> {
    for body in [
        r#"{"inputs":[[1,2],[3,4]]}"#,
        r#"{"inputs":{"x":[[1,2],[3,4]]},"signature_name":""}"#,
    ] {
        let (request, encoder) = decode(Verb::Predict, body, &one_input())?;
        assert_eq!(
            request.inputs,
            [floats("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])],
            "{body}"
        );
        let text = encode(
            &encoder,
            vec![floats("y", &[1, 3], &[1.0, 2.5, 3.0])],
            &one_input(),
        )?;
        assert_eq!(text, r#"{"outputs":[[1.0,2.5,3.0]]}"#);
    }
    let body = r#"{"inputs":{"t":["a"],"x":[[1,2]]},"signature_name":null}"#;
    let (request, encoder) = decode(Verb::Predict, body, &two_inputs())?;
    let expected = [
        floats("x", &[1, 2], &[1.0, 2.0]),
        strings("t", &[1], &["a"]),
    ];
    assert_eq!(request.inputs, expected);
    let outputs = vec![
        tensor("n", ElementType::Int64, &[2], &[[1; 8], [0; 8]].concat()),
        strings("label_bytes", &[1], &["hi"]),
    ];
    let text = encode(&encoder, outputs, &two_inputs())?;
    let expected = r#"{"outputs":{"n":[72340172838076673,0],"label_bytes":[{"b64":"aGk="}]}}"#;
    assert_eq!(text, expected);
    let text = error_text(Verb::Predict, r#"{"inputs":[1]}"#, &two_inputs());
    assert_eq!(
        text,
        "inputs: it must be an object with a value for each input: x, t"
    );
    Ok(())
}

#[test]
fn several_outputs_become_rows_of_objects() -> anyhow::Result<()> {
    let (_, encoder) = decode(
        Verb::Predict,
        r#"{"instances":[[1,2],[3,4]]}"#,
        &one_input(),
    )?;
    let outputs = vec![
        floats("y", &[2, 1, 1], &[1.0, 2.0]),
        strings("t", &[2], &["a", "\"b"]),
    ];
    let text = encode(&encoder, outputs, &one_input())?;
    let expected = r#"{"predictions":[{"y":[[1.0]],"t":"a"},{"y":[[2.0]],"t":"\"b"}]}"#;
    assert_eq!(text, expected);
    Ok(())
}

#[test]
fn the_error_for_an_output_without_rows_suggests_columns() -> anyhow::Result<()> {
    let (_, encoder) = decode(
        Verb::Predict,
        r#"{"instances":[[1,2],[3,4]]}"#,
        &one_input(),
    )?;
    for dimensions in [&[][..], &[1], &[1, 2]] {
        let count = dimensions.iter().product::<u32>() as usize;
        let outputs = vec![floats("y", dimensions, &vec![0.0; count])];
        let error = encode(&encoder, outputs, &one_input()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(
            error.to_string().contains("column format (`inputs`)"),
            "{error}"
        );
    }
    let error = encode(&encoder, Vec::new(), &one_input()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Handler);
    Ok(())
}

#[test]
fn a_model_without_a_batch_axis_takes_columns_only() -> anyhow::Result<()> {
    let mut model = one_input();
    model.max_batch_size = 0;
    let expected = "axis 0 of this model is not a batch axis, so it has no rows: use `:predict` with columns, `inputs`";
    assert_eq!(
        error_text(Verb::Predict, r#"{"instances":[[1,2]]}"#, &model),
        expected
    );
    model.signature.outputs = vec![spec("y", ElementType::Fp32, &[1])];
    for verb in [Verb::Classify, Verb::Regress] {
        assert_eq!(
            error_text(verb, r#"{"examples":[{"x":[1,2]}]}"#, &model),
            expected
        );
    }
    let (request, _) = decode(Verb::Predict, r#"{"inputs":[[1,2]]}"#, &model)?;
    assert_eq!(request.inputs, [floats("x", &[1, 2], &[1.0, 2.0])]);
    Ok(())
}

#[test]
fn every_error_names_the_correction() {
    let cases = [
        ("", "the body is not a valid JSON object: EOF"),
        (
            "[]",
            "the body is not a valid JSON object: expected object but found array",
        ),
        (
            r#"{"instances":[[1,2]]"#,
            "the body is not a valid JSON object: EOF",
        ),
        (
            r#"{"instances":[[1,2,]]}"#,
            "the body is not a valid JSON object: trailing comma",
        ),
        (
            "{}",
            "the body has neither `instances` (rows) nor `inputs` (columns)",
        ),
        (
            r#"{"instances":[[1,2]],"inputs":[[1,2]]}"#,
            "the body has both `instances` and `inputs`: send rows or columns, not both",
        ),
        (
            r#"{"instances":[[1,2]],"instances":[[1,2]]}"#,
            "`instances` is given twice",
        ),
        (r#"{"instances":[]}"#, "`instances` is empty"),
        (r#"{"instances":[ ]}"#, "`instances` is empty"),
        (
            r#"{"instances":{"x":[1,2]}}"#,
            "`instances` is not an array",
        ),
        (r#"{"instances":null}"#, "`instances` is not an array"),
        (
            r#"{"signature_name":7,"instances":[[1,2]]}"#,
            "`signature_name` is not a string",
        ),
        (
            r#"{"signature_name":"other","instances":[[1,2]]}"#,
            "the model has no signature `other`, only `serving_default`: leave `signature_name` out",
        ),
        (
            r#"{"instances":[[1,2],[3]]}"#,
            "instance 1: input `x`: it has shape [1], expected [2]",
        ),
        (
            r#"{"instances":[[1,2],[3,"4"]]}"#,
            "instance 1: input `x`: element 1 is not a number within the range of FP32, NaN, Infinity or null",
        ),
        (
            r#"{"instances":[{"z":1}]}"#,
            "instance 0: unknown input `z`, expected one of: x",
        ),
        (r#"{"instances":[{}]}"#, "instance 0: input `x` is missing"),
        (
            r#"{"instances":[{"b64":"YQ=="}]}"#,
            "instance 0: input `x`: its nesting does not match",
        ),
        (
            r#"{"inputs":[1,2]}"#,
            "inputs: input `x`: its nesting does not match shape [-1, 2]",
        ),
        (
            r#"{"inputs":null}"#,
            "inputs: input `x`: its nesting does not match",
        ),
        (
            r#"{"inputs":{"x":[[1,2]],"x":[[1,2]]}}"#,
            "inputs: input `x` is given twice",
        ),
    ];
    for (body, expected) in cases {
        let text = error_text(Verb::Predict, body, &one_input());
        assert!(text.starts_with(expected), "{body}: {text}");
    }
    let codec = TfsDecoder::new(Verb::Predict);
    let error = codec
        .decode(Bytes::from_static(b"{\"\xff\":1}"), &one_input())
        .unwrap_err();
    assert_eq!(error.to_string(), "the body is not UTF-8");
}

#[test]
fn signature_name_may_be_the_method_name_of_the_verb() -> anyhow::Result<()> {
    let body = r#"{"signature_name":"tensorflow/serving/predict","instances":[[1,2]]}"#;
    decode(Verb::Predict, body, &one_input())?;
    let body = r#"{"signature_name":"tensorflow/serving/regress","instances":[[1,2]]}"#;
    let text = error_text(Verb::Predict, body, &one_input());
    assert!(text.starts_with("the model has no signature"), "{text}");
    Ok(())
}
