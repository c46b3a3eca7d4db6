//! Decodes PNG and JPEG files with the decoders of two other crates, within a limit on pixels.

use super::{Colour, Image};
use crate::error::{Error, Result};
use png::{ColorType, Transformations};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The memory per pixel for which limits are stated: that of a JPEG with three channels and, if it is
/// progressive or has its channels one after the other, three coefficients of 16 bits.
const BYTES_PER_PIXEL: usize = 9;

/// A decoded file.
pub(super) struct Decoded {
    /// The image as it is stored.
    pub(super) image: Image,
    /// The EXIF metadata.
    pub(super) exif: Option<Vec<u8>>,
}

pub(super) fn png(file: &[u8], max_pixels: usize) -> Result<Decoded> {
    let damaged = |_| Error::client("damaged PNG image");
    let mut decoder = png::Decoder::new(std::io::Cursor::new(file));
    decoder.set_transformations(Transformations::normalize_to_color8());
    // Text chunks and color profiles may be compressed, and neither is used.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let info = decoder.read_header_info().map_err(damaged)?;
    let (width, height) = (usize::try_from(info.width)?, usize::try_from(info.height)?);
    expect_size((width, height), max_pixels)?;
    let mut reader = decoder.read_info().map_err(damaged)?;
    let exif = reader.info().exif_metadata.as_deref().map(<[u8]>::to_vec);
    let length = reader
        .output_buffer_size()
        .ok_or_else(|| Error::client("damaged PNG image"))?;
    let mut samples = vec![0; length];
    let frame = reader.next_frame(&mut samples).map_err(damaged)?;
    samples.truncate(frame.buffer_size());
    let colour = match frame.color_type {
        ColorType::Grayscale => Colour::Grey,
        ColorType::Rgb => Colour::Rgb,
        ColorType::GrayscaleAlpha => {
            flatten::<2>(&mut samples);
            Colour::Grey
        }
        ColorType::Rgba => {
            flatten::<4>(&mut samples);
            Colour::Rgb
        }
        ColorType::Indexed => return Err(Error::client("damaged PNG image")),
    };
    let image = Image::new(width, height, colour, samples)?;
    Ok(Decoded { image, exif })
}

pub(super) fn jpeg(file: &[u8], max_pixels: usize) -> Result<Decoded> {
    let damaged = |_| Error::client("damaged JPEG image");
    // Strict mode rejects incomplete images. The limit is on the number of pixels, not on width or
    // height.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder
        .info()
        .ok_or_else(|| Error::client("damaged JPEG image"))?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    let colour = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => Colour::Grey,
        _ => Colour::Rgb,
    };
    // Coefficients may be stored for the whole image before any of it is decoded.
    let bytes = colour.channels() + 2 * usize::from(info.components);
    expect_size((width, height), share(max_pixels, bytes))?;
    let wanted = match colour {
        Colour::Grey => ColorSpace::Luma,
        Colour::Rgb => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let samples = decoder.decode().map_err(damaged)?;
    let image = Image::new(width, height, colour, samples)?;
    Ok(Decoded {
        image,
        exif: info.exif_data,
    })
}

/// Returns the limit for a file whose decoding takes this memory per pixel.
pub(super) fn share(max_pixels: usize, bytes_per_pixel: usize) -> usize {
    match bytes_per_pixel {
        ..=BYTES_PER_PIXEL => max_pixels,
        more => max_pixels / more * BYTES_PER_PIXEL,
    }
}

pub(super) fn expect_size((width, height): (usize, usize), limit: usize) -> Result<()> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= limit => Ok(()),
        _ => Err(Error::client(format_args!(
            "image of {width}x{height} pixels, more than {limit} in all"
        ))),
    }
}

/// Blends pixels, whose last channel is their opacity, with white, and removes that channel.
pub(super) fn flatten<const CHANNELS: usize>(samples: &mut Vec<u8>) {
    let (pixels, _) = samples.as_chunks::<CHANNELS>();
    let mut flat = 0;
    for index in 0..pixels.len() {
        let start = index * CHANNELS;
        let opacity = u16::from(samples[start + CHANNELS - 1]);
        for channel in 0..CHANNELS - 1 {
            let colour = u16::from(samples[start + channel]);
            let blended = (colour * opacity + 255 * (255 - opacity) + 127) / 255;
            samples[flat] = u8::try_from(blended).unwrap_or(u8::MAX);
            flat += 1;
        }
    }
    samples.truncate(flat);
}
