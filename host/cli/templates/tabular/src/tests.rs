//! Native tests of the handler, with a closure in place of the graph. `wisp check` runs the cases in
//! `models/` with the real graph.

use super::*;
use wisp_handler::{Error, testing};

/// Calls the handler with a graph that classifies every row as large.
fn infer(rows: &[[f32; 4]]) -> Result<Response> {
    let request = Request::new().with_input(Tensor::from_rows("features", &[4], rows)?);
    testing::infer::<Parcels>(&request, |_graph, inputs| {
        let rows = inputs[0].view::<f32>(&[-1, 4])?.row_count();
        let logits = (0..rows).map(|_| [0.0_f32, 0.0, 3.0]);
        Ok(vec![Tensor::from_rows("logits", &[3], logits)?])
    })
}

#[test]
fn features_are_scaled_by_the_training_data() -> Result<()> {
    let rows = [[30.0_f32, 20.0, 15.0, 2.0], [45.0, 30.0, 25.0, 4.0]];
    let request = Request::new().with_input(Tensor::from_rows("features", &[4], rows)?);
    let inputs = Parcels::preprocess(&request)?;
    let expected = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0];
    assert_eq!(*inputs[0].view::<f32>(&[2, 4])?, expected);
    Ok(())
}

#[test]
fn each_row_gets_its_class_and_probabilities_that_sum_to_one() -> Result<()> {
    let response = infer(&[[30.0, 20.0, 15.0, 2.0], [9.0, 9.0, 9.0, 0.1]])?;
    assert_eq!(response.outputs()[0].strings(&[-1])?, ["large", "large"]);
    for row in response.outputs()[1].view::<f32>(&[2, 3])?.rows() {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
    Ok(())
}

#[test]
fn the_error_for_an_invalid_feature_names_it() {
    for weight in [-1.0, 0.0, 5000.0, f32::NAN] {
        let error = infer(&[[30.0, 20.0, 15.0, 2.0], [30.0, 20.0, 15.0, weight]]).unwrap_err();
        let expected = format!(
            "feature `weight_kg` of row 1 is {weight}, expected more than 0 and at most 1000"
        );
        assert_eq!(error, Error::client(expected));
    }
}

#[test]
fn a_request_without_rows_has_a_response_without_rows() -> Result<()> {
    assert_eq!(infer(&[])?.outputs()[1].shape(), [0, 3]);
    Ok(())
}
