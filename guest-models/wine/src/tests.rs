//! Native tests of the handler, with a closure as the graph.

use super::*;
use wisp_handler::{Error, testing};

/// Returns a plausible value for each feature: the middle of its range.
fn middle() -> Vec<f32> {
    FEATURES
        .iter()
        .map(|feature| f32::midpoint(feature.min, feature.max))
        .collect()
}

/// A model that prefers class 2, then class 1, and so on in turn.
fn infer(request: &Request) -> Result<Response> {
    testing::infer::<Wine>(request, |_, inputs| {
        let rows = inputs[0].view::<f32>(&[-1, 13])?.row_count();
        let probabilities = (0..rows).map(|row| {
            if row % 2 == 0 {
                [0.1_f32, 0.2, 0.7]
            } else {
                [0.1, 0.6, 0.3]
            }
        });
        Ok(vec![Tensor::from_rows(
            "probabilities",
            &[3],
            probabilities,
        )?])
    })
}

#[test]
fn a_matrix_is_standardized_and_classes_are_named() -> Result<()> {
    let means: Vec<f32> = FEATURES.iter().map(|feature| feature.mean).collect();
    let request =
        Request::new().with_input(Tensor::from_rows("features", &[13], [means, middle()])?);
    let prepared = Wine::preprocess(&request)?;
    let prepared = prepared[0].view::<f32>(&[2, 13])?;
    assert!(prepared[..13].iter().all(|value| *value == 0.0));
    for (value, feature) in prepared[13..].iter().zip(&FEATURES) {
        let expected = (f32::midpoint(feature.min, feature.max) - feature.mean) / feature.std;
        assert_eq!(*value, expected, "{}", feature.name);
    }
    let response = infer(&request)?;
    assert_eq!(
        response.outputs()[0].strings(&[-1])?,
        ["class_2", "class_1"]
    );
    assert_eq!(response.outputs()[1].shape(), [2, 3]);
    Ok(())
}

#[test]
fn named_columns_are_equivalent_to_the_matrix() -> Result<()> {
    let means: Vec<f32> = FEATURES.iter().map(|feature| feature.mean).collect();
    let matrix = Request::new().with_input(Tensor::from_rows(
        "features",
        &[13],
        [middle(), means.clone()],
    )?);
    // In reverse, since clients need not send columns in any particular order.
    let columns = FEATURES.iter().enumerate().rev().try_fold(
        Request::new(),
        |request, (position, feature)| {
            let column = [middle()[position], means[position]];
            Ok::<_, Error>(request.with_input(Tensor::new(feature.name, &[2], &column)?))
        },
    )?;
    assert_eq!(Wine::preprocess(&matrix)?, Wine::preprocess(&columns)?);
    Ok(())
}

#[test]
fn an_empty_batch_gives_an_empty_response() -> Result<()> {
    let request = Request::new().with_input(Tensor::new::<f32>("features", &[0, 13], &[])?);
    assert_eq!(infer(&request)?.outputs()[1].shape(), [0, 3]);
    Ok(())
}

#[test]
fn an_out_of_range_feature_is_named_with_its_row() -> Result<()> {
    for (value, problem) in [
        (
            f32::NAN,
            "feature `magnesium` of row 1 is not finite".to_owned(),
        ),
        (
            f32::INFINITY,
            "feature `magnesium` of row 1 is not finite".to_owned(),
        ),
        (
            -1.0,
            format!(
                "feature `magnesium` of row 1 is -1, outside {} to {}",
                FEATURES[4].min, FEATURES[4].max
            ),
        ),
    ] {
        let mut second = middle();
        second[4] = value;
        let request =
            Request::new().with_input(Tensor::from_rows("features", &[13], [middle(), second])?);
        assert_eq!(infer(&request).unwrap_err(), Error::client(problem));
    }
    Ok(())
}

#[test]
fn a_missing_or_short_column_is_named() -> Result<()> {
    let nothing = infer(&Request::new()).unwrap_err();
    assert_eq!(
        nothing,
        Error::client("feature `alcohol` is missing; send all 13 or `features`")
    );
    let mut request = Request::new();
    for (feature, value) in FEATURES.iter().zip(middle()) {
        let rows = if feature.name == "hue" { 1 } else { 2 };
        request = request.with_input(Tensor::new(feature.name, &[rows], &[value, value][..rows])?);
    }
    assert_eq!(
        infer(&request).unwrap_err(),
        Error::client("feature `hue` has 1 rows, expected 2")
    );
    Ok(())
}

#[test]
fn a_column_in_addition_to_the_matrix_is_refused() -> Result<()> {
    let request = Request::new()
        .with_input(Tensor::from_rows("features", &[13], [middle()])?)
        .with_input(Tensor::new::<f32>("hue", &[1], &[1.0])?);
    assert_eq!(
        infer(&request).unwrap_err(),
        Error::client("send either `features` or the 13 by name, not `features` and `hue`")
    );
    Ok(())
}
