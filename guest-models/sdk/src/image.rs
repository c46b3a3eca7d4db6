//! Images: decoding, conversion to gray, resizing, and conversion to the planes of a graph's input.
//!
//! Images have eight bits per channel, and one or three channels. Transparent pixels are blended with
//! white, sixteen bits are reduced to eight, and EXIF orientation and color profiles are ignored.
//!
//! Invariant: an image decoded here has at most [`MAX_PIXELS`]. The size that a file declares is
//! checked before memory is reserved for it, and decoding fills no more than that memory.

use crate::error::{Error, Result};

mod decode;
mod resize;

/// The maximum number of pixels of a decoded image: 12 megapixels, which as RGBA take 48 MB of an
/// instance's 128 MiB. A progressive JPEG may have half as many, since its coefficients are stored
/// too.
pub const MAX_PIXELS: usize = 12_000_000;

/// An image in row-major order, with the channels of a pixel next to each other.
///
/// Preprocessing of a batch of files for a graph that takes 28 x 28 pixels in gray:
///
/// ```
/// use wisp_handler::{Request, Result, Tensor, image::Image};
///
/// fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
///     let files = request.input("image")?.byte_strings(&[-1])?;
///     let rows = files.into_iter().map(|file| {
///         let image = Image::decode(file)?.into_grey().resize(28, 28)?;
///         Ok(image.to_planes(&[(0.1307, 0.3081)]))
///     });
///     let rows = rows.collect::<Result<Vec<_>>>()?;
///     Ok(vec![Tensor::from_rows("pixels", &[1, 28, 28], rows)?])
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    colour: Colour,
    samples: Vec<u8>,
}

/// The channels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// One channel: 0 is black, 255 white.
    Grey,
    /// Three channels: red, green and blue.
    Rgb,
}

// === impl Image ===

impl Image {
    /// Decodes a PNG or JPEG file.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if the file has another format, is damaged,
    /// or is larger than [`MAX_PIXELS`].
    ///
    /// ```
    /// let problem = wisp_handler::image::Image::decode(b"GIF89a").unwrap_err();
    /// assert_eq!(problem.message(), "not a PNG or JPEG image");
    /// ```
    pub fn decode(file: &[u8]) -> Result<Self> {
        if file.starts_with(b"\x89PNG\r\n\x1a\n") {
            decode::png(file)
        } else if file.starts_with(b"\xff\xd8\xff") {
            decode::jpeg(file)
        } else {
            Err(Error::client("not a PNG or JPEG image"))
        }
    }

    /// Creates an image from decoded pixels, in row-major order.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if there are no pixels, or not
    /// `width * height` of them.
    pub fn new(width: usize, height: usize, colour: Colour, samples: Vec<u8>) -> Result<Self> {
        let expected = width
            .checked_mul(height)
            .and_then(|pixels| pixels.checked_mul(colour.channels()));
        if samples.is_empty() || expected != Some(samples.len()) {
            let found = samples.len();
            return Err(Error::client(format_args!(
                "{found} samples for an image of {width}x{height} pixels"
            )));
        }
        Ok(Self {
            width,
            height,
            colour,
            samples,
        })
    }

    /// Returns the number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the number of rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the channels of the image.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// Returns the samples in row-major order, with the channels of a pixel next to each other.
    pub fn samples(&self) -> &[u8] {
        &self.samples
    }

    /// Converts the image to gray: ITU-R 601 luma, with the same rounding as Pillow.
    #[must_use]
    pub fn into_grey(self) -> Self {
        let samples = match self.colour {
            Colour::Grey => self.samples,
            Colour::Rgb => self.samples.chunks_exact(3).map(luma).collect(),
        };
        Self {
            colour: Colour::Grey,
            samples,
            ..self
        }
    }

    /// Converts the image to three channels, which are equal if it was gray.
    #[must_use]
    pub fn into_rgb(self) -> Self {
        let samples = match self.colour {
            Colour::Grey => self.samples.iter().flat_map(|grey| [*grey; 3]).collect(),
            Colour::Rgb => self.samples,
        };
        Self {
            colour: Colour::Rgb,
            samples,
            ..self
        }
    }

    /// Returns the image at another size. Each new pixel is the average of the area that it covers.
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if the new size is zero or beyond 65 535.
    ///
    /// ```
    /// # use wisp_handler::{Result, image::{Colour, Image}};
    /// # fn main() -> Result<()> {
    /// let checkered = Image::new(2, 2, Colour::Grey, vec![0, 200, 200, 0])?;
    /// assert_eq!(checkered.resize(1, 1)?.samples(), [100]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resize(&self, width: usize, height: usize) -> Result<Self> {
        let samples = resize::area_average(self, width, height)?;
        Self::new(width, height, self.colour, samples)
    }

    /// Returns one row of an NCHW tensor: one channel after the other, with each sample scaled to 0..1
    /// and standardized with its channel's `(mean, deviation)`.
    ///
    /// ```
    /// # use wisp_handler::{Result, Tensor, image::{Colour, Image}};
    /// # fn main() -> Result<()> {
    /// let image = Image::new(2, 1, Colour::Rgb, vec![255, 0, 51, 255, 0, 51])?;
    /// let row = image.to_planes(&[(0.0, 1.0), (0.0, 1.0), (0.0, 0.5)]);
    /// assert_eq!(row, [1.0, 1.0, 0.0, 0.0, 0.4, 0.4]);
    /// let batch = Tensor::from_rows("pixels", &[3, 1, 2], [row])?;
    /// assert_eq!(batch.shape(), [1, 3, 1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_planes(&self, channels: &[(f32, f32)]) -> Vec<f32> {
        let count = self.colour.channels();
        let mut planes = Vec::with_capacity(self.samples.len());
        for channel in 0..count {
            let (mean, deviation) = channels.get(channel).copied().unwrap_or((0.0, 1.0));
            let samples = self.samples.iter().skip(channel).step_by(count);
            planes.extend(samples.map(|sample| (f32::from(*sample) / 255.0 - mean) / deviation));
        }
        planes
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}x{}", self.colour, self.width, self.height)
    }
}

// === impl Colour ===

impl Colour {
    /// Returns the number of samples per pixel.
    pub const fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

fn luma(pixel: &[u8]) -> u8 {
    let weights = [19595_u32, 38470, 7471];
    let sum: u32 = pixel
        .iter()
        .zip(weights)
        .map(|(sample, weight)| u32::from(*sample) * weight)
        .sum();
    // The weights sum to 65536, so the result is the third byte.
    let [_, _, luma, _] = (sum + 0x8000).to_le_bytes();
    luma
}

#[cfg(test)]
mod tests;
