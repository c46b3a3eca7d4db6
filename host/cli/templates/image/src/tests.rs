//! Native tests of the handler, with a closure in place of the graph. `wisp check` runs the cases in
//! `models/` with the real graph.

use super::*;
use wisp_handler::testing::{self, Model};
use wisp_handler::{Error, Fault};

const RED: &[u8] = include_bytes!("../models/template/samples/red.png");

fn request(files: &[&[u8]]) -> Result<Request> {
    Ok(Request::new().with_input(Tensor::bytes("image", &[files.len()], files)?))
}

#[test]
fn a_picture_becomes_three_scaled_planes() -> Result<()> {
    let inputs = Pictures::preprocess(&request(&[RED, RED])?)?;
    let pixels = inputs[0].view::<f32>(&[2, 3, 32, 32])?;
    let row = pixels.rows().next().unwrap_or_default();
    let mean = |plane: &[f32]| plane.iter().sum::<f32>() / plane.len() as f32;
    let means: Vec<f32> = row.chunks_exact(32 * 32).map(mean).collect();
    assert!(means[0] > means[1] && means[0] > means[2], "{means:?}");
    Ok(())
}

#[test]
fn labels_are_ranked() -> Result<()> {
    let response = testing::infer::<Pictures>(&request(&[RED])?, |_, _| {
        Ok(vec![Tensor::new("logits", &[1, 3], &[0.5_f32, -1.0, 2.0])?])
    })?;
    assert_eq!(
        response.outputs()[0].strings(&[1, 3])?,
        ["blue", "red", "green"]
    );
    let scores = response.outputs()[1].view::<f32>(&[1, 3])?;
    assert!(scores[0] > scores[1] && scores[1] > scores[2]);
    Ok(())
}

#[test]
fn a_picture_has_at_most_as_many_pixels_as_the_model_allows() -> Result<()> {
    let request = request(&[RED])?;
    let error = Model::new()
        .with_config("max_pixels", 1)
        .run(|| Pictures::preprocess(&request))
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Client);
    Ok(())
}

#[test]
fn a_file_that_is_no_picture_is_a_client_error() -> Result<()> {
    let error = Pictures::preprocess(&request(&[RED, b"hello"])?).unwrap_err();
    let expected = "input `image` element 1: not a PNG, JPEG or WebP image";
    assert_eq!(error, Error::client(expected));
    Ok(())
}
