//! Converts image files to the planes of the graph's input.

use wisp_handler::image::{Decoder, PixelFormat};
use wisp_handler::{Request, Result, Tensor};

/// The height and the width of the graph's input.
const SIDE: usize = 32;

/// Accepts PNG, JPEG and WebP files, and turns photographs upright.
const DECODER: Decoder = Decoder::new().webp();

/// The layout of the graph's input, with the mean and the standard deviation of red, green and blue over
/// ImageNet. Most models that are trained or tuned on photographs expect this scaling.
const FORMAT: PixelFormat =
    PixelFormat::nchw().mean_std([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Returns the graph's input, [pictures, 3, 32, 32]. Pictures have at most as many pixels as the setting `max_pixels`
/// in `model.toml` allows.
pub(crate) fn pixels(request: &Request) -> Result<Vec<Tensor>> {
    let decoder = DECODER.max_pixels_of("max_pixels")?;
    let files = request.input("image")?.byte_strings(&[-1])?;
    let mut rows = Vec::with_capacity(files.len());
    for (index, file) in files.into_iter().enumerate() {
        let image = decoder
            .decode(file)
            .map_err(|error| error.within(format_args!("input `image` element {index}")))?;
        rows.push(FORMAT.row(&image.into_rgb().resize(SIDE, SIDE)?));
    }
    Ok(vec![Tensor::from_rows("pixels", &[3, SIDE, SIDE], rows)?])
}
