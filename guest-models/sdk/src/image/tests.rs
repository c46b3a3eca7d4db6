//! Tests of decoding, its limits, and resizing. `transform` has those of filters and crops.

mod files;
mod transform;

use super::*;
use crate::Fault;

/// Returns a PNG file with these samples.
fn png_file(width: u32, height: u32, colour: png::ColorType, samples: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(colour);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(samples)
        .unwrap();
    file
}

#[test]
fn a_png_is_decoded_and_transparency_becomes_paper() -> Result<()> {
    let rgba = [255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 51, 9, 8, 7, 255];
    let image = Image::decode(&png_file(2, 2, png::ColorType::Rgba, &rgba))?;
    assert_eq!(
        image.samples(),
        [255, 0, 0, 255, 255, 255, 204, 204, 204, 9, 8, 7]
    );
    let image = Image::decode(&png_file(
        2,
        1,
        png::ColorType::GrayscaleAlpha,
        &[0, 0, 7, 255],
    ))?;
    assert_eq!(
        (image.colour(), image.samples()),
        (Colour::Grey, [255, 7].as_slice())
    );
    Ok(())
}

#[test]
fn a_size_beyond_the_limit_is_refused_before_anything_is_decoded() {
    // Only the header declares 15 gigapixels; its checksum is correct.
    let mut bomb = png_file(1, 1, png::ColorType::Grayscale, &[0]);
    bomb[16..24].copy_from_slice(&[0, 1, 0xe2, 0x40, 0, 1, 0xe2, 0x40]);
    let checksum = crc32(&bomb[12..29]).to_be_bytes();
    bomb[29..33].copy_from_slice(&checksum);
    let problem = Image::decode(&bomb).unwrap_err();
    assert_eq!(
        problem,
        Error::client("image of 123456x123456 pixels, more than 13000000 in all")
    );
}

#[test]
fn every_prefix_of_a_file_is_the_clients_fault() {
    let file = png_file(3, 3, png::ColorType::Grayscale, &[7; 9]);
    // Decoders do not need the end chunk of twelve bytes or the checksum before it.
    for length in 0..file.len() - 16 {
        let problem = Image::decode(&file[..length]).unwrap_err();
        assert_eq!(problem.fault(), Fault::Client, "{length}");
    }
    // The scan's data is so short that its last bytes are padding.
    for length in 0..JPEG.len() - 8 {
        let problem = Image::decode(&JPEG[..length]).unwrap_err();
        assert_eq!(problem.fault(), Fault::Client, "{length}");
    }
}

#[test]
fn a_grey_jpeg_stays_grey() -> Result<()> {
    let image = Image::decode(JPEG)?;
    assert_eq!(
        (image.width(), image.height(), image.colour()),
        (8, 8, Colour::Grey)
    );
    assert!(image.samples().iter().all(|sample| *sample == 128));
    Ok(())
}

#[test]
fn resizing_averages_areas_whatever_the_ratio() -> Result<()> {
    let image = Image::new(4, 2, Colour::Grey, vec![0, 10, 20, 30, 40, 50, 60, 70])?;
    assert_eq!(image.resize(2, 1)?.samples(), [25, 45]);
    assert_eq!(image.resize(4, 2)?, image);
    // Each new pixel covers one and a third source pixels.
    let line = Image::new(4, 1, Colour::Grey, vec![0, 90, 180, 240])?;
    assert_eq!(line.resize(3, 1)?.samples(), [23, 135, 225]);
    // Enlarging repeats pixels, and mixes those that a new pixel straddles.
    assert_eq!(
        line.resize(8, 2)?.samples()[..8],
        [0, 0, 90, 90, 180, 180, 240, 240]
    );
    let pair = Image::new(2, 1, Colour::Rgb, vec![0, 100, 255, 200, 0, 255])?;
    assert_eq!(
        pair.resize(1, 3)?.samples(),
        [100, 50, 255, 100, 50, 255, 100, 50, 255]
    );
    assert_eq!(line.resize(0, 1).unwrap_err().fault(), Fault::Handler);
    Ok(())
}

#[test]
fn a_flat_image_stays_flat_at_every_size() -> Result<()> {
    let image = Image::new(7, 5, Colour::Rgb, vec![201; 105])?;
    for size in 1..20 {
        assert!(
            image
                .resize(size, 20 - size)?
                .samples()
                .iter()
                .all(|sample| *sample == 201),
            "{size}"
        );
    }
    Ok(())
}

#[test]
fn grey_is_luma_and_rgb_repeats_it() -> Result<()> {
    let image = Image::new(
        4,
        1,
        Colour::Rgb,
        vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255],
    )?;
    let grey = image.into_grey();
    assert_eq!(grey.samples(), [76, 150, 29, 255]);
    assert_eq!(grey.into_rgb().samples()[..6], [76, 76, 76, 150, 150, 150]);
    assert_eq!(
        Image::new(0, 4, Colour::Grey, Vec::new())
            .unwrap_err()
            .fault(),
        Fault::Client
    );
    Ok(())
}

/// Returns the checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

/// Eight by eight pixels of mid gray.
const JPEG: &[u8] = &[
    255, 216, 255, 224, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 255, 219, 0, 67, 0,
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37,
    29, 40, 58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81,
    87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99, 255, 192, 0, 11,
    8, 0, 8, 0, 8, 1, 1, 17, 0, 255, 196, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 255, 196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 218, 0, 8, 1,
    1, 0, 0, 63, 0, 63, 255, 217,
];
