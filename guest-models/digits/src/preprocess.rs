//! Converts pictures to eight by eight pixels of ink.

use wisp_handler::image::{Colour, Decoder, Image};
use wisp_handler::{Error, Request, Result, Tensor};

/// The height and width of the graph's input.
const SIDE: usize = 8;

/// Returns the graph's input, [pictures, 1, 8, 8], in which ink is 1 and paper is 0.
pub(crate) fn pixels(request: &Request) -> Result<Vec<Tensor>> {
    let inputs = ["image", "pixels"].map(|name| request.optional_input(name));
    let rows = match inputs {
        [Some(files), None] => from_files(files)?,
        [None, Some(pixels)] => from_pixels(pixels)?,
        [Some(_), Some(_)] => {
            return Err(Error::client("send either `image` or `pixels`, not both"));
        }
        [None, None] => {
            return Err(Error::client(
                "input `image` is missing; send it or `pixels`",
            ));
        }
    };
    Ok(vec![Tensor::from_rows("pixels", &[1, SIDE, SIDE], rows)?])
}

/// Decodes one picture at a time, so that a batch needs no more memory than its largest picture.
fn from_files(files: &Tensor) -> Result<Vec<Vec<f32>>> {
    let decoder = Decoder::new().max_pixels_of("max_pixels")?;
    let row = |(index, file)| {
        let image = decoder
            .decode(file)
            .map_err(|error| error.within(format_args!("input `image` element {index}")))?;
        ink(&image.into_grey())
    };
    files
        .byte_strings(&[-1])?
        .into_iter()
        .enumerate()
        .map(row)
        .collect()
}

fn from_pixels(pixels: &Tensor) -> Result<Vec<Vec<f32>>> {
    let pixels = pixels.view::<u8>(&[-1, -1, -1])?;
    let (height, width) = (pixels.shape()[1], pixels.shape()[2]);
    let row = |row: &[u8]| {
        let image = Image::new(width, height, Colour::Grey, row.to_vec());
        ink(&image.map_err(|error| error.within("input `pixels`"))?)
    };
    pixels.rows().map(row).collect()
}

/// Returns the picture at the graph's size, as the amount of ink at each place.
fn ink(image: &Image) -> Result<Vec<f32>> {
    let mut ink = image.resize(SIDE, SIDE)?.to_planes(&[(0.0, 1.0)]);
    if has_bright_paper(&ink) {
        ink.iter_mut().for_each(|value| *value = 1.0 - *value);
    }
    Ok(ink)
}

/// Returns whether the paper is brighter than the ink. Digits are drawn in the middle, so the
/// outermost pixels show the paper.
fn has_bright_paper(pixels: &[f32]) -> bool {
    let is_border = |index: &usize| {
        let (row, column) = (index / SIDE, index % SIDE);
        row == 0 || row == SIDE - 1 || column == 0 || column == SIDE - 1
    };
    let border: f32 = (0..pixels.len())
        .filter(is_border)
        .map(|index| pixels[index])
        .sum();
    border > 0.5 * (4 * SIDE - 4) as f32
}
