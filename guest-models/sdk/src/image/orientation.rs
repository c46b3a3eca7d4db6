//! The orientation in the EXIF metadata of a file, and the turning of an image to it.
//!
//! Cameras store pixels in the order of the sensor, and how the camera was held as a number from 1 to 8.

use super::{Colour, Image};

/// The tag of the orientation in the first directory of the metadata.
const ORIENTATION_TAG: u16 = 0x0112;

/// The types of metadata values that an orientation can have: 16 and 32 bits.
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// The steps that turn an image upright, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Orientation {
    /// Exchanges rows and columns.
    transpose: bool,
    /// Reverses the pixels of each row.
    mirror: bool,
    /// Reverses the rows.
    flip: bool,
}

impl Orientation {
    /// Returns the orientation in EXIF metadata. Without a valid one, the image is upright as it is.
    pub(super) fn from_exif(exif: &[u8]) -> Self {
        orientation_value(exif)
            .and_then(Self::from_value)
            .unwrap_or_default()
    }

    fn from_value(value: u32) -> Option<Self> {
        let (transpose, mirror, flip) = match value {
            1 => (false, false, false),
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return None,
        };
        Some(Self {
            transpose,
            mirror,
            flip,
        })
    }

    /// Turns an image upright. Only a transposition takes memory for a second image.
    pub(super) fn apply(self, image: Image) -> Image {
        match image.colour {
            Colour::Grey => self.apply_to::<1>(image),
            Colour::Rgb => self.apply_to::<3>(image),
        }
    }

    fn apply_to<const CHANNELS: usize>(self, mut image: Image) -> Image {
        if self.transpose {
            image.samples = transposed::<CHANNELS>(&image);
            (image.width, image.height) = (image.height, image.width);
        }
        let line = image.width * CHANNELS;
        if self.mirror {
            for line in image.samples.chunks_exact_mut(line) {
                line.as_chunks_mut::<CHANNELS>().0.reverse();
            }
        }
        if self.flip {
            let half = image.height / 2 * line;
            let (top, bottom) = image.samples.split_at_mut(half);
            for (upper, lower) in top
                .chunks_exact_mut(line)
                .zip(bottom.rchunks_exact_mut(line))
            {
                upper.swap_with_slice(lower);
            }
        }
        image
    }
}

fn transposed<const CHANNELS: usize>(image: &Image) -> Vec<u8> {
    let (pixels, _) = image.samples.as_chunks::<CHANNELS>();
    let mut samples = vec![0; image.samples.len()];
    let (turned, _) = samples.as_chunks_mut::<CHANNELS>();
    for (column, line) in turned.chunks_exact_mut(image.height).enumerate() {
        let pixels = pixels.iter().skip(column).step_by(image.width);
        for (turned, pixel) in line.iter_mut().zip(pixels) {
            *turned = *pixel;
        }
    }
    samples
}

/// Returns the number that the metadata contains as the orientation.
fn orientation_value(exif: &[u8]) -> Option<u32> {
    // WebP files have this prefix too, though only JPEG files should.
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let is_big_endian = match exif.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(match is_big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        })
    };
    let long = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(match is_big_endian {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    let entries = usize::from(short(directory)?);
    (0..entries).find_map(|entry| {
        let at = directory.checked_add(2 + entry * 12)?;
        if short(at)? != ORIENTATION_TAG {
            return None;
        }
        match short(at.checked_add(2)?)? {
            SHORT => short(at.checked_add(8)?).map(u32::from),
            LONG => long(at.checked_add(8)?),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;

    /// Returns metadata with one entry.
    fn exif(entry: [u8; 12], is_big_endian: bool) -> Vec<u8> {
        let mut exif = match is_big_endian {
            true => b"MM\0*\0\0\0\x08\0\x01".to_vec(),
            false => b"II*\0\x08\0\0\0\x01\0".to_vec(),
        };
        exif.extend(entry);
        exif
    }

    /// Returns metadata with this orientation.
    fn oriented(value: u8) -> Vec<u8> {
        exif([0x12, 1, 3, 0, 1, 0, 0, 0, value, 0, 0, 0], false)
    }

    #[test]
    fn each_orientation_is_turned_upright_as_by_pillow() -> Result<()> {
        // The results of `ImageOps.exif_transpose` for pixels 1 to 6 in two rows.
        for (value, width, expected) in [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
            // Not an orientation.
            (0, 3, [1, 2, 3, 4, 5, 6]),
            (9, 3, [1, 2, 3, 4, 5, 6]),
        ] {
            let orientation = Orientation::from_exif(&oriented(value));
            let grey = Image::new(3, 2, Colour::Grey, vec![1, 2, 3, 4, 5, 6])?;
            let upright = orientation.apply(grey.clone());
            assert_eq!((upright.width(), upright.samples()), (width, &expected[..]));
            let rgb = orientation.apply(grey.into_rgb());
            assert_eq!(rgb, upright.into_rgb(), "{value}");
        }
        Ok(())
    }

    #[test]
    fn the_middle_row_of_an_odd_number_stays_where_it_is() -> Result<()> {
        let image = Image::new(1, 3, Colour::Grey, vec![1, 2, 3])?;
        let turned = Orientation::from_exif(&oriented(4)).apply(image);
        assert_eq!(turned.samples(), [3, 2, 1]);
        Ok(())
    }

    #[test]
    fn both_byte_orders_and_sizes_of_values_are_read() {
        let expected = Orientation::from_value(6);
        for metadata in [
            oriented(6),
            exif([0x12, 1, 4, 0, 1, 0, 0, 0, 6, 0, 0, 0], false),
            exif([1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0], true),
            exif([1, 0x12, 0, 4, 0, 0, 0, 1, 0, 0, 0, 6], true),
            [b"Exif\0\0".to_vec(), oriented(6)].concat(),
        ] {
            assert_eq!(Some(Orientation::from_exif(&metadata)), expected);
        }
    }

    #[test]
    fn damaged_metadata_leaves_the_image_as_it_is() {
        let whole = oriented(6);
        for length in 0..18 {
            let orientation = Orientation::from_exif(&whole[..length]);
            assert_eq!(orientation, Orientation::default(), "{length}");
        }
        // A directory that begins beyond the end, and one with more entries than there are.
        for (at, value) in [(4, 0xff), (7, 0xff), (9, 0xff), (10, 0)] {
            let mut metadata = exif([0; 12], false);
            metadata[at] = value;
            assert_eq!(Orientation::from_exif(&metadata), Orientation::default());
        }
    }
}
