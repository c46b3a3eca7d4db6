//! Native tests of the handler, with a closure as the graph.

use super::*;
use wisp_handler::{Error, Fault, testing};

/// A model that predicts the body mass index.
fn infer(request: &Request) -> Result<Response> {
    testing::infer::<Progression>(request, |_, inputs| {
        let features = inputs[0].view::<f32>(&[-1, 10])?;
        Ok(vec![Tensor::from_rows(
            "progression",
            &[1],
            features.rows().map(|row| [row[2]]),
        )?])
    })
}

fn patients(indices: &[f32]) -> Result<Request> {
    let row = |index: &f32| [59.0, 2.0, *index, 101.0, 157.0, 93.2, 38.0, 4.0, 4.86, 87.0];
    Ok(Request::new().with_input(Tensor::from_rows(
        "features",
        &[10],
        indices.iter().map(row),
    )?))
}

#[test]
fn predictions_are_limited_to_the_observed_range_and_flagged() -> Result<()> {
    let response = infer(&patients(&[24.9, 25.0, 151.5, 346.0, 1000.0])?)?;
    assert_eq!(
        *response.outputs()[0].view::<f32>(&[-1])?,
        [25.0, 25.0, 151.5, 346.0, 346.0]
    );
    assert_eq!(
        *response.outputs()[1].view::<bool>(&[-1])?,
        [true, false, false, false, true]
    );
    Ok(())
}

#[test]
fn a_feature_that_is_not_finite_is_named_with_its_row() -> Result<()> {
    let problem = infer(&patients(&[30.0, f32::NAN])?).unwrap_err();
    assert_eq!(
        problem,
        Error::client("feature `bmi` of row 1 is not finite")
    );
    assert_eq!(
        infer(&Request::new()).unwrap_err(),
        Error::client("input `features` is missing")
    );
    Ok(())
}

#[test]
fn a_nan_prediction_is_a_model_error() -> Result<()> {
    let nan = |_: &str, _: &[Tensor]| Ok(vec![Tensor::new("progression", &[1, 1], &[f32::NAN])?]);
    let problem = testing::infer::<Progression>(&patients(&[30.0])?, nan).unwrap_err();
    assert_eq!(problem.fault(), Fault::Handler);
    Ok(())
}
