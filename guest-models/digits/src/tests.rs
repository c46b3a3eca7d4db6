//! Native tests of the handler, with a closure as the graph.

use super::*;
use wisp_handler::testing::{self, Model};
use wisp_handler::{Error, Fault};

/// Returns a picture of eight by eight fields with a bar of ink in columns 3 and 4. Each field is
/// `scale` pixels wide and high.
fn bar(scale: usize, ink: u8, paper: u8) -> Vec<u8> {
    let side = 8 * scale;
    (0..side * side)
        .map(|index| {
            if [3, 4].contains(&(index % side / scale)) {
                ink
            } else {
                paper
            }
        })
        .collect()
}

fn infer(request: &Request) -> Result<Response> {
    testing::infer::<Digits>(request, |_, inputs| {
        let pictures = inputs[0].view::<f32>(&[-1, 1, 8, 8])?;
        let logits = pictures
            .rows()
            .map(|_| [0.0_f32, 5.0, 0.0, 0.0, 2.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
        Ok(vec![Tensor::from_rows("logits", &[10], logits)?])
    })
}

fn pixels(scale: usize, ink: u8, paper: u8) -> Result<Request> {
    let side = 8 * scale;
    Ok(Request::new().with_input(Tensor::new(
        "pixels",
        &[1, side, side],
        &bar(scale, ink, paper),
    )?))
}

#[test]
fn ink_is_one_for_every_background_and_size() -> Result<()> {
    let expected: Vec<f32> = bar(1, 1, 0).into_iter().map(f32::from).collect();
    for (scale, ink, paper) in [(1, 255, 0), (1, 0, 255), (5, 255, 0), (5, 0, 255)] {
        let prepared = Digits::preprocess(&pixels(scale, ink, paper)?)?;
        assert_eq!(
            *prepared[0].view::<f32>(&[1, 1, 8, 8])?,
            *expected,
            "{scale} {ink} {paper}"
        );
    }
    Ok(())
}

#[test]
fn the_requested_number_of_digits_is_sorted_by_score() -> Result<()> {
    let response = infer(&pixels(2, 0, 255)?)?;
    assert_eq!(response.outputs()[0].strings(&[1, 3])?, ["1", "7", "4"]);
    let all = infer(&pixels(2, 0, 255)?.with_parameter("top_k", 10_u64))?;
    let scores = all.outputs()[1].view::<f32>(&[1, 10])?;
    assert!(scores.is_sorted_by(|left, right| left >= right));
    assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    Ok(())
}

#[test]
fn a_file_that_is_not_an_image_is_named_by_its_index() -> Result<()> {
    let image = include_bytes!("../tests/seven.png");
    let request = |second: &[u8]| -> Result<Request> {
        Ok(Request::new().with_input(Tensor::bytes("image", &[2], [image.as_slice(), second])?))
    };
    assert_eq!(infer(&request(image)?)?.outputs()[0].shape(), [2, 3]);
    let problem = infer(&request(b"hello")?).unwrap_err();
    assert_eq!(
        problem,
        Error::client("input `image` element 1: not a PNG or JPEG image")
    );
    Ok(())
}

#[test]
fn a_picture_has_at_most_as_many_pixels_as_the_model_allows() -> Result<()> {
    let image = include_bytes!("../tests/seven.png");
    let request = Request::new().with_input(Tensor::bytes("image", &[1], [image.as_slice()])?);
    let refusal = Model::new()
        .with_config("max_pixels", 1)
        .run(|| infer(&request))
        .unwrap_err();
    assert_eq!(refusal.fault(), Fault::Client);
    assert!(
        refusal.message().ends_with(" pixels, more than 1 in all"),
        "{refusal}"
    );
    Model::new()
        .with_config("max_pixels", 1_000_000)
        .run(|| infer(&request))?;
    Ok(())
}

#[test]
fn an_impossible_request_is_a_client_error() -> Result<()> {
    for request in [
        Request::new(),
        pixels(1, 0, 255)?.with_parameter("top_k", 0_i64),
        pixels(1, 0, 255)?.with_parameter("top_k", 11_i64),
        pixels(1, 0, 255)?.with_parameter("top_k", "three"),
        Request::new().with_input(Tensor::new::<u8>("pixels", &[1, 0, 8], &[])?),
    ] {
        assert_eq!(
            infer(&request).unwrap_err().fault(),
            Fault::Client,
            "{request:?}"
        );
    }
    let none = Request::new().with_input(Tensor::new::<u8>("pixels", &[0, 8, 8], &[])?);
    assert_eq!(infer(&none)?.outputs()[1].shape(), [0, 3]);
    Ok(())
}

#[test]
fn files_and_pixels_in_one_request_are_refused() -> Result<()> {
    let both = pixels(1, 0, 255)?.with_input(Tensor::bytes("image", &[1], [b"hello"])?);
    assert_eq!(
        infer(&both).unwrap_err(),
        Error::client("send either `image` or `pixels`, not both")
    );
    Ok(())
}
