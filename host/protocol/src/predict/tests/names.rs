//! Tests of `class_names`.

use super::*;

/// Returns a model with these outputs and these class labels, by output.
fn labelled(outputs: Vec<TensorSpec>, labels: &[(&str, &[&str])]) -> ModelDescription {
    let mut model = model(four_numbers(), outputs);
    for (output, labels) in labels {
        let labels = labels.iter().map(|label| label.to_string()).collect();
        model.class_labels.insert(output.to_string(), labels);
    }
    model
}

fn scores() -> TensorSpec {
    spec("p", ElementType::Fp32, &[-1, 3])
}

#[test]
fn classes_are_named_if_the_client_asks() -> anyhow::Result<()> {
    let scored = || floats("p", &[1, 3], &[0.25, 0.5, 0.25]);
    let number = || spec("n", ElementType::Int64, &[-1]);
    let text = |shape| spec("t", ElementType::Bytes, shape);
    let species: &[&str] = &["setosa", "versicolor", "virginica"];
    let named = r#"{"setosa":0.25,"versicolor":0.5,"virginica":0.25}"#;
    let cases = [
        // The index of the greatest probability.
        (
            labelled(vec![scores()], &[("p", species)]),
            vec![scored()],
            format!(r#""prediction":"versicolor","probabilities":{named}"#),
        ),
        // A string is a name already.
        (
            labelled(vec![text(&[-1]), scores()], &[("p", species)]),
            vec![strings("t", &[1], &["virginica"]), scored()],
            format!(r#""prediction":"virginica","probabilities":{named}"#),
        ),
        // An integer is an index, unless it is a name itself.
        (
            labelled(vec![number(), scores()], &[("p", species)]),
            vec![integers("n", &[1], &[2]), scored()],
            format!(r#""prediction":"virginica","probabilities":{named}"#),
        ),
        (
            labelled(vec![number(), scores()], &[("p", &["3", "5", "2"])]),
            vec![integers("n", &[1], &[2]), scored()],
            r#""prediction":"2","probabilities":{"3":0.25,"5":0.5,"2":0.25}"#.to_owned(),
        ),
        (
            labelled(vec![number(), scores()], &[("p", species)]),
            vec![integers("n", &[1], &[-1]), scored()],
            format!(r#""prediction":-1,"probabilities":{named}"#),
        ),
        // Labels of the prediction's own output.
        (
            labelled(vec![number()], &[("n", species)]),
            vec![integers("n", &[1], &[1])],
            r#""prediction":"versicolor""#.to_owned(),
        ),
        (
            labelled(vec![number()], &[("n", species)]),
            vec![integers("n", &[1], &[7])],
            r#""prediction":7"#.to_owned(),
        ),
        // A label for each class in every row.
        (
            labelled(vec![scores(), text(&[-1, 3])], &[]),
            vec![strings("t", &[1, 3], &["a", "b", "b"]), scored()],
            r#""prediction":"b","probabilities":{"a":0.25,"b":0.5,"b:2":0.25}"#.to_owned(),
        ),
        // Classes without names.
        (
            labelled(vec![scores()], &[("p", &["setosa", ""])]),
            vec![scored()],
            r#""prediction":"1","probabilities":{"setosa":0.25,"1":0.5,"2":0.25}"#.to_owned(),
        ),
        (
            labelled(vec![number(), scores()], &[]),
            vec![integers("n", &[1], &[1]), scored()],
            r#""prediction":"1","probabilities":{"0":0.25,"1":0.5,"2":0.25}"#.to_owned(),
        ),
        (
            labelled(vec![scores()], &[("p", species)]),
            vec![floats("p", &[1, 3], &[f32::NAN; 3])],
            r#""prediction":null,"probabilities":{"setosa":NaN,"versicolor":NaN,"virginica":NaN}"#
                .to_owned(),
        ),
        // Without classes, nothing changes.
        (
            labelled(vec![spec("y", ElementType::Fp32, &[-1])], &[]),
            vec![floats("y", &[1], &[2.5])],
            r#""prediction":2.5"#.to_owned(),
        ),
    ];
    for (model, outputs, expected) in cases {
        let body = r#"{"features":[1,2,3,4],"class_names":true}"#;
        let (_, encoder) = decode(Verb::Predict, body, &model)?;
        let response = response(outputs.clone());
        let text = encode(&encoder, outputs, &model)?;
        assert!(
            text.len() <= 64 + encoder.encoded_bytes(&response),
            "{text}"
        );
        assert_eq!(text, format!(r#"{{{expected},"model_version":"7"}}"#));
    }
    Ok(())
}

#[test]
fn names_are_given_only_on_request() -> anyhow::Result<()> {
    let model = labelled(vec![scores()], &[("p", &["a", "b", "c"])]);
    for body in [
        r#"{"features":[1,2,3,4]}"#,
        r#"{"features":[1,2,3,4],"class_names":false}"#,
    ] {
        let (_, encoder) = decode(Verb::Predict, body, &model)?;
        let text = encode(
            &encoder,
            vec![floats("p", &[1, 3], &[0.0, 0.0, 1.0])],
            &model,
        )?;
        let expected = r#"{"prediction":2,"probabilities":[0.0,0.0,1.0],"model_version":"7"}"#;
        assert_eq!(text, expected);
    }
    Ok(())
}

#[test]
fn every_form_of_a_batch_may_ask_for_names() -> anyhow::Result<()> {
    let model = labelled(vec![scores()], &[("p", &["a", "b", "c"])]);
    let expected = concat!(
        r#"{"predictions":[{"prediction":"a","probabilities":{"a":1.0,"b":0.0,"c":0.0}},"#,
        r#"{"prediction":"c","probabilities":{"a":0.0,"b":0.0,"c":1.0}}],"model_version":"7"}"#,
    );
    for body in [
        r#"{"class_names": true ,"features":[[1,2,3,4],[5,6,7,8]]}"#,
        r#"{"instances":[{"features":[1,2,3,4]},{"features":[5,6,7,8]}],"class_names":true}"#,
        r#"[{"features":[1,2,3,4]},{"class_names":true,"features":[5,6,7,8]}]"#,
    ] {
        let (_, encoder) = decode(Verb::BatchPredict, body, &model)?;
        let outputs = vec![floats("p", &[2, 3], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0])];
        assert_eq!(encode(&encoder, outputs, &model)?, expected, "{body}");
    }
    Ok(())
}

#[test]
fn a_request_for_names_is_a_bool() {
    let expected = "`class_names` must be true or false";
    for body in [
        r#"{"features":[1,2,3,4],"class_names":"yes"}"#,
        r#"{"features":[1,2,3,4],"class_names":1}"#,
        r#"{"features":[1,2,3,4],"class_names":null}"#,
    ] {
        assert_eq!(error_text(Verb::Predict, body, &iris()), expected, "{body}");
    }
    let batch = r#"{"features":[[1,2,3,4]],"class_names":"yes"}"#;
    assert_eq!(error_text(Verb::BatchPredict, batch, &iris()), expected);
    let twice = r#"{"features":[1,2,3,4],"class_names":true,"class_names":true}"#;
    let expected = "`class_names` is given twice";
    assert_eq!(error_text(Verb::Predict, twice, &iris()), expected);
}
