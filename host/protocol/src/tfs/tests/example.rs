//! Tests of `:classify` and `:regress`.

use super::*;

fn classifier(outputs: Vec<TensorSpec>) -> ModelDescription {
    let inputs = vec![
        spec("x", ElementType::Fp32, &[-1, 2]),
        spec("t", ElementType::Bytes, &[-1]),
        spec("g", ElementType::Uint8, &[-1, 2, 2]),
    ];
    model(inputs, outputs)
}

const EXAMPLES: &str = r#"{"context":{"t":"c","g":[1,2,3,4]},"examples":[{"x":[1,2]},{"x":[3,4],"t":[{"b64":"ZA=="}],"g":[[5,6],[7,8]]}]}"#;

fn scores() -> TensorSpec {
    spec("scores", ElementType::Fp32, &[-1, 2])
}

#[test]
fn examples_contain_values_arrays_and_a_context() -> anyhow::Result<()> {
    let model = classifier(vec![scores()]);
    let (request, _) = decode(Verb::Classify, EXAMPLES, &model)?;
    let expected = [
        floats("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        strings("t", &[2], &["c", "d"]),
        tensor(
            "g",
            ElementType::Uint8,
            &[2, 2, 2],
            &[1, 2, 3, 4, 5, 6, 7, 8],
        ),
    ];
    assert_eq!(request.inputs, expected);
    assert_eq!(request.outputs, ["scores"]);
    let context_last = r#"{"examples":[{"x":[1,2]}],"context":{"t":"c","g":[1,2,3,4]}}"#;
    let (request, _) = decode(Verb::Classify, context_last, &model)?;
    assert_eq!(request.inputs[1], strings("t", &[1], &["c"]));
    Ok(())
}

#[test]
fn classes_are_pairs_of_label_and_score() -> anyhow::Result<()> {
    let two = || floats("scores", &[2, 2], &[0.25, 0.75, 1.0, f32::NAN]);
    let cases = [
        // No labels: the index is the label.
        (
            vec![scores()],
            vec![two()],
            r#"{"results":[[["0",0.25],["1",0.75]],[["0",1.0],["1",NaN]]]}"#,
        ),
        // A label for each class.
        (
            vec![scores(), spec("names", ElementType::Bytes, &[-1, 2])],
            vec![strings("names", &[2, 2], &["a", "b", "c", "d"]), two()],
            r#"{"results":[[["a",0.25],["b",0.75]],[["c",1.0],["d",NaN]]]}"#,
        ),
        // A label for the class with the highest score only.
        (
            vec![spec("label", ElementType::Bytes, &[-1]), scores()],
            vec![strings("label", &[2], &["b", "a"]), two()],
            r#"{"results":[[["b",0.75]],[["a",1.0]]]}"#,
        ),
        // A single class.
        (
            vec![spec("p", ElementType::Fp32, &[-1, 1])],
            vec![floats("p", &[2, 1], &[0.5, 1.0])],
            r#"{"results":[[["0",0.5]],[["0",1.0]]]}"#,
        ),
    ];
    for (specs, outputs, expected) in cases {
        let model = classifier(specs);
        let (_, encoder) = decode(Verb::Classify, EXAMPLES, &model)?;
        assert_eq!(encode(&encoder, outputs, &model)?, expected);
    }
    Ok(())
}

#[test]
fn all_classes_have_the_names_that_the_model_has_for_them() -> anyhow::Result<()> {
    let text = |name| spec(name, ElementType::Bytes, &[-1]);
    // The label of the best class is not needed, and several outputs with labels are not ambiguous.
    for labels in [vec![], vec![text("label")], vec![text("a"), text("b")]] {
        let mut model = classifier([labels, vec![scores()]].concat());
        let names = vec!["no".to_owned()];
        model.class_labels.insert("scores".to_owned(), names);
        let (request, encoder) = decode(Verb::Classify, EXAMPLES, &model)?;
        assert_eq!(request.outputs, ["scores"]);
        let outputs = vec![floats("scores", &[2, 2], &[0.25, 0.75, 1.0, 0.0])];
        // A class without a name has its index.
        let expected = r#"{"results":[[["no",0.25],["1",0.75]],[["no",1.0],["1",0.0]]]}"#;
        assert_eq!(encode(&encoder, outputs, &model)?, expected);
    }
    Ok(())
}

#[test]
fn the_names_of_tf_serving_select_among_several_outputs() -> anyhow::Result<()> {
    let outputs = vec![
        spec("logits", ElementType::Fp32, &[-1, 2]),
        scores(),
        spec("other", ElementType::Bytes, &[-1, 2]),
        spec("classes", ElementType::Bytes, &[-1, 2]),
    ];
    let (request, _) = decode(Verb::Classify, EXAMPLES, &classifier(outputs.clone()))?;
    assert_eq!(request.outputs, ["classes", "scores"]);
    let text = error_text(
        Verb::Classify,
        EXAMPLES,
        &classifier(vec![outputs[0].clone(); 2]),
    );
    assert!(
        text.starts_with("the model cannot classify: this needs one"),
        "{text}"
    );
    let ambiguous = vec![
        scores(),
        outputs[2].clone(),
        spec("l", ElementType::Bytes, &[-1]),
    ];
    let text = error_text(Verb::Classify, EXAMPLES, &classifier(ambiguous));
    assert!(
        text.starts_with("the model cannot classify: several outputs"),
        "{text}"
    );
    Ok(())
}

#[test]
fn a_regression_has_one_number_per_example() -> anyhow::Result<()> {
    let cases: [(&[i64], &[u32]); 3] = [(&[-1], &[2]), (&[-1, 1], &[2, 1]), (&[-1, -1], &[2, 1])];
    for (shape, dimensions) in cases {
        let model = classifier(vec![
            spec("n", ElementType::Int64, &[-1]),
            spec("y", ElementType::Fp32, shape),
        ]);
        let (request, encoder) = decode(Verb::Regress, EXAMPLES, &model)?;
        assert_eq!(request.outputs, ["y"]);
        let text = encode(
            &encoder,
            vec![floats("y", dimensions, &[1.0, -2.5])],
            &model,
        )?;
        assert_eq!(text, r#"{"results":[1.0,-2.5]}"#);
        let wide = vec![floats("y", &[2, 2], &[0.0; 4])];
        let error = encode(&encoder, wide, &model).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    let text = error_text(Verb::Regress, EXAMPLES, &classifier(vec![scores()]));
    assert!(text.starts_with("the model cannot regress"), "{text}");
    Ok(())
}

#[test]
fn every_error_in_an_example_names_the_correction() {
    let model = classifier(vec![scores()]);
    let cases = [
        ("{}", "the body has no `examples`"),
        (r#"{"examples":[]}"#, "`examples` is empty"),
        (r#"{"examples":{}}"#, "`examples` is not an array"),
        (
            r#"{"examples":[[1,2]]}"#,
            "example 0: it must be an object with a value for each input: x, t, g",
        ),
        (
            r#"{"examples":[{"x":[1,2]}]}"#,
            "example 0: input `t` is missing",
        ),
        (
            r#"{"context":[],"examples":[{}]}"#,
            "context: it must be an object",
        ),
        (
            r#"{"context":{"z":1},"examples":[{}]}"#,
            "context: unknown input `z`",
        ),
        (
            r#"{"context":{"x":"a"},"examples":[{}]}"#,
            "context: input `x`: element 0 is not a number",
        ),
        (
            r#"{"examples":[{"x":[1,2,3],"t":"a","g":[1,2,3,4]}]}"#,
            "example 0: input `x`: a flat array of 3 does not fill shape [2]",
        ),
    ];
    for (body, expected) in cases {
        let text = error_text(Verb::Classify, body, &model);
        assert!(text.starts_with(expected), "{body}: {text}");
    }
}
