//! Decodes WebP files: lossy and lossless ones, with or without transparency, but not animations.

use super::decode::{Decoded, expect_size, flatten, share};
use super::{Colour, Image};
use crate::error::{Error, Result};
use image_webp::WebPDecoder;
use std::io::Cursor;

/// The memory per pixel of a lossy image with transparency: four channels, luma and chroma, and the
/// transparency, which is decoded as an image of four channels.
const LOSSY_TRANSPARENT_BYTES: usize = 11;

/// The memory per pixel of any other image: at most seven channels, of which four are those of a lossless
/// image before its transparency is removed.
const OTHER_BYTES: usize = 7;

/// The size of the header of the file, and of each chunk.
const FILE_HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;

pub(super) fn is_webp(file: &[u8]) -> bool {
    file.starts_with(b"RIFF") && file.get(8..FILE_HEADER_BYTES) == Some(b"WEBP".as_slice())
}

pub(super) fn webp(file: &[u8], max_pixels: usize) -> Result<Decoded> {
    let damaged = |_| Error::client("damaged WebP image");
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(damaged)?;
    if decoder.is_animated() {
        return Err(Error::client("animated WebP image"));
    }
    let (width, height) = decoder.dimensions();
    let size = (usize::try_from(width)?, usize::try_from(height)?);
    let bytes = match decoder.is_lossy() && decoder.has_alpha() {
        true => LOSSY_TRANSPARENT_BYTES,
        false => OTHER_BYTES,
    };
    expect_size(size, share(max_pixels, bytes))?;
    // The decoder reserves memory for the size of the lossy part before it compares the two.
    if lossy_sizes(file).any(|lossy| lossy != size) {
        return Err(Error::client("damaged WebP image"));
    }
    // No metadata can be larger than the file.
    decoder.set_memory_limit(file.len());
    let exif = decoder.exif_metadata().unwrap_or_default();
    let length = decoder
        .output_buffer_size()
        .ok_or_else(|| Error::client("damaged WebP image"))?;
    let mut samples = vec![0; length];
    decoder.read_image(&mut samples).map_err(damaged)?;
    if decoder.has_alpha() {
        flatten::<4>(&mut samples);
    }
    let image = Image::new(size.0, size.1, Colour::Rgb, samples)?;
    Ok(Decoded { image, exif })
}

/// Returns the sizes that the lossy parts of a file declare.
fn lossy_sizes(file: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut rest = file.get(FILE_HEADER_BYTES..).unwrap_or_default();
    let chunks = std::iter::from_fn(move || {
        let (name, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*after.first_chunk()?);
        let content = rest.get(CHUNK_HEADER_BYTES..)?;
        // Chunks have an even length.
        let length = usize::try_from(length).ok()?.checked_next_multiple_of(2)?;
        rest = content.get(length..).unwrap_or_default();
        Some((*name, content))
    });
    chunks
        .filter(|(name, _)| name == b"VP8 ")
        .filter_map(|(_, content)| {
            // A tag of three bytes and a signature of three bytes come first; the upper two bits of
            // each number are a scale.
            let number = |at: usize| -> Option<usize> {
                let bytes = *content.get(at..)?.first_chunk()?;
                Some(usize::from(u16::from_le_bytes(bytes) & 0x3fff))
            };
            Some((number(6)?, number(8)?))
        })
}
