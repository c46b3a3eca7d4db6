//! Tests of files: orientation, WebP, and the limits of a [`Decoder`].

use super::*;
use crate::testing::Model;
use image_webp::{ColorType, WebPEncoder};

/// Accepts all formats.
const DECODER: Decoder = Decoder::new().webp();

#[test]
fn a_file_is_turned_upright_in_every_format() -> Result<()> {
    for file in [JPEG_ON_ITS_SIDE, PNG_ON_ITS_SIDE, WEBP_ON_ITS_SIDE] {
        let image = DECODER.decode(file)?;
        assert_eq!((image.width(), image.height()), (8, 16));
        // Red is at the top.
        expect_near(&image.samples()[..3], [200, 40, 40]);
        expect_near(&image.samples()[8 * 16 * 3 - 3..], [40, 40, 200]);
        let stored = DECODER.ignore_orientation().decode(file)?;
        assert_eq!((stored.width(), stored.height()), (16, 8));
        expect_near(&stored.samples()[15 * 3..16 * 3], [40, 40, 200]);
    }
    Ok(())
}

#[test]
fn a_photograph_of_12_megapixels_is_decoded_within_the_default_limit() -> Result<()> {
    let image = Image::decode(&photograph(4080, 3072))?;
    assert_eq!((image.width(), image.height()), (3072, 4080));
    assert_eq!(image.samples()[..3], [128; 3]);
    Ok(())
}

#[test]
fn a_handler_sets_its_own_limit() -> Result<()> {
    let file = photograph(32, 16);
    assert_eq!(Decoder::new().max_pixels(512).decode(&file)?.width(), 16);
    for file in [file.as_slice(), WEBP_HALF_TRANSPARENT] {
        let problem = DECODER.max_pixels(200).decode(file).unwrap_err();
        assert_eq!(problem.fault(), Fault::Client);
        assert!(problem.message().contains(" in all"), "{problem}");
    }
    // A JPEG with four channels takes eleven bytes per pixel, where the limit is for nine.
    assert_eq!(decode::share(1100, 9), 1100);
    assert_eq!(decode::share(1100, 11), 900);
    Ok(())
}

#[test]
fn a_model_sets_the_limit_of_its_handler() -> Result<()> {
    let file = photograph(32, 16);
    let decode = || -> Result<Image> {
        let decoder = Decoder::new().max_pixels(100).max_pixels_of("most")?;
        decoder.decode(&file)
    };
    let sized = |pixels: i64| Model::new().with_config("most", pixels).run(decode);
    assert_eq!(sized(512)?.width(), 16);
    let problem = sized(511).unwrap_err();
    let expected = "image of 32x16 pixels, more than 511 in all";
    assert_eq!(problem, Error::client(expected));
    let problem = decode().unwrap_err();
    let expected = "image of 32x16 pixels, more than 100 in all";
    assert_eq!(problem, Error::client(expected));
    for wrong in [
        Model::new().with_config("most", "all"),
        Model::new().with_config("most", -1),
    ] {
        let problem = wrong.run(decode).unwrap_err();
        let expected = "`most` in [handler.config] of model.toml is not a size";
        assert_eq!(problem, Error::handler(expected));
    }
    Ok(())
}

#[test]
fn lossless_and_lossy_webp_is_decoded() -> Result<()> {
    let mut file = Vec::new();
    let rgba = [255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 51, 9, 8, 7, 255];
    WebPEncoder::new(&mut file).encode(&rgba, 2, 2, ColorType::Rgba8)?;
    assert_eq!(
        DECODER.decode(&file)?.samples(),
        [255, 0, 0, 255, 255, 255, 204, 204, 204, 9, 8, 7]
    );
    let mut file = Vec::new();
    WebPEncoder::new(&mut file).encode(&[9, 200], 1, 2, ColorType::L8)?;
    assert_eq!(DECODER.decode(&file)?.samples(), [9, 9, 9, 200, 200, 200]);
    let image = DECODER.decode(WEBP_HALF_TRANSPARENT)?;
    expect_near(&image.samples()[..3], [200, 40, 40]);
    assert_eq!(image.samples()[15 * 16 * 3..], [255; 16 * 3]);
    Ok(())
}

#[test]
fn webp_is_refused_unless_it_is_accepted() {
    let problem = Image::decode(WEBP_ON_ITS_SIDE).unwrap_err();
    assert_eq!(problem, Error::client("not a PNG or JPEG image"));
    let problem = DECODER.decode(b"GIF89a").unwrap_err();
    assert_eq!(problem, Error::client("not a PNG, JPEG or WebP image"));
    let problem = DECODER.decode(ANIMATED_WEBP).unwrap_err();
    assert_eq!(problem, Error::client("animated WebP image"));
}

#[test]
fn a_damaged_webp_is_the_clients_fault() {
    for file in [WEBP_ON_ITS_SIDE, WEBP_HALF_TRANSPARENT] {
        // A file without its last chunk may be whole otherwise.
        for length in 0..file.len() / 2 {
            let problem = DECODER.decode(&file[..length]).unwrap_err();
            assert_eq!(problem.fault(), Fault::Client, "{length}");
        }
    }
    // The lossy part declares a height of 16383, for which the decoder would reserve memory.
    let mut bomb = WEBP_HALF_TRANSPARENT.to_vec();
    let part = bomb.windows(4).position(|name| name == b"VP8 ").unwrap();
    bomb[part + 16] = 0xff;
    bomb[part + 17] = 0x3f;
    let problem = DECODER.decode(&bomb).unwrap_err();
    assert_eq!(problem, Error::client("damaged WebP image"));
}

#[track_caller]
fn expect_near(pixel: &[u8], expected: [u8; 3]) {
    let is_near = |(sample, expected): (&u8, u8)| sample.abs_diff(expected) <= 4;
    assert!(pixel.iter().zip(expected).all(is_near), "{pixel:?}");
}

/// Returns a JPEG of gray pixels in three channels, with chroma at half the resolution and orientation 6,
/// as cameras write them. Each code of the scan is one bit, so that the file stays small.
fn photograph(width: u16, height: u16) -> Vec<u8> {
    let segment = |marker: u8, content: &[&[u8]]| {
        let content = content.concat();
        let length = u16::try_from(content.len() + 2).unwrap();
        [&[0xff, marker][..], &length.to_be_bytes(), &content].concat()
    };
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
    // A single code, for a difference of zero or for the end of a block.
    let code = |table: u8| segment(0xc4, &[&[table, 1], &[0; 15], &[0]]);
    // Blocks of 8 x 8 pixels: four of luma and two of chroma, of two bits each.
    let units = usize::from(width.div_ceil(16)) * usize::from(height.div_ceil(16));
    let mut scan = vec![0; units * 12 / 8];
    if units % 2 == 1 {
        // Half a byte is padding.
        scan.push(0x0f);
    }
    [
        b"\xff\xd8".to_vec(),
        segment(0xe1, &[exif]),
        segment(0xdb, &[&[0], &[1; 64]]),
        segment(
            0xc0,
            &[
                &[8],
                &height.to_be_bytes(),
                &width.to_be_bytes(),
                &[3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0],
            ],
        ),
        code(0),
        code(0x10),
        segment(0xda, &[&[3, 1, 0, 2, 0, 3, 0, 0, 63, 0]]),
        scan,
        b"\xff\xd9".to_vec(),
    ]
    .concat()
}

/// Sixteen by eight pixels, red on the left and blue on the right, with orientation 6.
const JPEG_ON_ITS_SIDE: &[u8] = &[
    255, 216, 255, 224, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 255, 225, 0, 34, 69,
    120, 105, 102, 0, 0, 77, 77, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0,
    0, 0, 0, 255, 219, 0, 67, 0, 3, 2, 2, 3, 2, 2, 3, 3, 3, 3, 4, 3, 3, 4, 5, 8, 5, 5, 4, 4, 5, 10,
    7, 7, 6, 8, 12, 10, 12, 12, 11, 10, 11, 11, 13, 14, 18, 16, 13, 14, 17, 14, 11, 11, 16, 22, 16,
    17, 19, 20, 21, 21, 21, 12, 15, 23, 24, 22, 20, 24, 18, 20, 21, 20, 255, 219, 0, 67, 1, 3, 4,
    4, 5, 4, 5, 9, 5, 5, 9, 20, 13, 11, 13, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20,
    20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20,
    20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 20, 255, 192, 0, 17, 8, 0, 8, 0, 16, 3, 1, 17, 0,
    2, 17, 1, 3, 17, 1, 255, 196, 0, 20, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 255,
    196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 196, 0, 22, 1, 1, 1, 1,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 7, 9, 255, 196, 0, 20, 17, 1, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 255, 218, 0, 12, 3, 1, 0, 2, 17, 3, 17, 0, 63, 0, 20, 77, 205, 81, 123,
    71, 64, 119, 255, 217,
];

/// The same pixels and orientation, in PNG.
const PNG_ON_ITS_SIDE: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 16, 0, 0, 0, 8, 8, 2, 0,
    0, 0, 127, 20, 232, 192, 0, 0, 0, 26, 101, 88, 73, 102, 77, 77, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18,
    0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 214, 103, 75, 105, 0, 0, 0, 28, 73, 68, 65, 84, 120,
    218, 99, 60, 161, 161, 193, 128, 13, 36, 48, 44, 192, 42, 206, 196, 64, 34, 24, 213, 64, 12, 0,
    0, 38, 229, 2, 40, 192, 109, 138, 15, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// The same pixels and orientation, in lossy WebP.
const WEBP_ON_ITS_SIDE: &[u8] = &[
    82, 73, 70, 70, 116, 0, 0, 0, 87, 69, 66, 80, 86, 80, 56, 88, 10, 0, 0, 0, 8, 0, 0, 0, 15, 0,
    0, 7, 0, 0, 86, 80, 56, 32, 52, 0, 0, 0, 144, 1, 0, 157, 1, 42, 16, 0, 8, 0, 0, 192, 18, 37,
    160, 2, 116, 186, 0, 3, 152, 0, 254, 250, 204, 127, 255, 37, 28, 191, 244, 97, 255, 246, 165,
    159, 248, 97, 255, 237, 75, 63, 253, 169, 101, 195, 255, 218, 150, 59, 160, 0, 69, 88, 73, 70,
    26, 0, 0, 0, 77, 77, 0, 42, 0, 0, 0, 8, 0, 1, 1, 18, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0,
];

/// Sixteen by sixteen pixels, red on the left and blue on the right, transparent in the lower half.
const WEBP_HALF_TRANSPARENT: &[u8] = &[
    82, 73, 70, 70, 108, 0, 0, 0, 87, 69, 66, 80, 86, 80, 56, 88, 10, 0, 0, 0, 16, 0, 0, 0, 15, 0,
    0, 15, 0, 0, 65, 76, 80, 72, 13, 0, 0, 0, 1, 16, 11, 38, 249, 75, 71, 176, 63, 34, 114, 62, 30,
    0, 86, 80, 56, 32, 56, 0, 0, 0, 16, 2, 0, 157, 1, 42, 16, 0, 16, 0, 0, 192, 18, 37, 160, 2,
    116, 186, 0, 3, 9, 7, 62, 1, 224, 0, 254, 251, 105, 175, 205, 97, 59, 255, 163, 15, 255, 181,
    44, 255, 195, 15, 239, 165, 255, 237, 75, 46, 31, 254, 212, 179, 254, 211, 16, 0,
];

/// Two frames of one pixel.
const ANIMATED_WEBP: &[u8] = &[
    82, 73, 70, 70, 132, 0, 0, 0, 87, 69, 66, 80, 86, 80, 56, 88, 10, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 65, 78, 73, 77, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 65, 78, 77, 70, 38, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 86, 80, 56, 76, 14, 0, 0, 0, 47, 0, 0, 0, 0, 7, 16, 17,
    253, 15, 68, 68, 255, 3, 65, 78, 77, 70, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 86, 80, 56, 76, 17, 0, 0, 0, 47, 0, 0, 0, 0, 7, 208, 255, 254, 247, 191, 255, 129, 136,
    232, 127, 0, 0,
];
