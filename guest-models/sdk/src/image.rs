//! Images: decoding, conversion to gray, resizing, cropping, and conversion to a graph's input.
//!
//! Images have eight bits per channel, and one or three channels. Transparent pixels are blended with
//! white, sixteen bits are reduced to eight, the EXIF orientation is applied, and color profiles are
//! ignored.
//!
//! The usual preprocessing of a model that classifies photographs:
//!
//! ```
//! use wisp_handler::image::{Decoder, Filter, PixelFormat};
//! use wisp_handler::{Request, Result, Tensor};
//!
//! const DECODER: Decoder = Decoder::new().webp();
//! const FORMAT: PixelFormat =
//!     PixelFormat::nchw().mean_std([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
//!
//! fn preprocess(request: &Request) -> Result<Vec<Tensor>> {
//!     let files = request.input("image")?.byte_strings(&[-1])?;
//!     let rows = files.into_iter().map(|file| {
//!         let photograph = DECODER.decode(file)?.into_rgb();
//!         let small = photograph.resize_shorter_side(256, Filter::Triangle)?;
//!         Ok(FORMAT.row(&small.center_crop(224, 224)?))
//!     });
//!     let rows = rows.collect::<Result<Vec<_>>>()?;
//!     Ok(vec![Tensor::from_rows("pixels", &[3, 224, 224], rows)?])
//! }
//! ```
//!
//! Invariant: an image decoded here has at most as many pixels as its [`Decoder`] allows. The size that a
//! file declares is checked before memory is reserved for it, and decoding fills no more than that memory.

use crate::error::{Error, Result};

mod crop;
mod decode;
mod decoder;
mod interpolate;
mod orientation;
mod pixel_format;
mod resize;
mod webp;

pub use crop::Letterbox;
pub use decoder::{DEFAULT_MAX_PIXELS, Decoder};
pub use pixel_format::PixelFormat;

/// An image in row-major order, with the channels of a pixel next to each other.
///
/// Preprocessing of a batch of files for a graph that takes 28 x 28 pixels in gray. [`PixelFormat`] has
/// other layouts and scalings of a graph's input:
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

/// The way in which new pixels follow from those of the source when an image is resized.
///
/// A model gives its best results with the filter that it was trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The average of the area that a new pixel covers: Pillow's `BOX`, and OpenCV's `INTER_AREA` when an
    /// image is reduced.
    Area,
    /// Linear interpolation, over all source pixels that a new pixel covers when an image is reduced:
    /// Pillow's `BILINEAR`, which torchvision's `Resize` uses too.
    Triangle,
    /// Linear interpolation between the nearest four source pixels, even when an image is reduced:
    /// OpenCV's `INTER_LINEAR`, and PyTorch's `interpolate` without `antialias`.
    Bilinear,
}

// === impl Image ===

impl Image {
    /// Decodes a PNG or JPEG file of at most [`DEFAULT_MAX_PIXELS`]. [`Decoder`] accepts other formats and
    /// sizes.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if the file has another format, is damaged,
    /// or is larger.
    ///
    /// ```
    /// let problem = wisp_handler::image::Image::decode(b"GIF89a").unwrap_err();
    /// assert_eq!(problem.message(), "not a PNG or JPEG image");
    /// ```
    pub fn decode(file: &[u8]) -> Result<Self> {
        Decoder::new().decode(file)
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
        self.resize_with(width, height, Filter::Area)
    }

    /// Returns the image at another size, with the given filter.
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if the new size is zero or beyond 65 535.
    ///
    /// ```
    /// # use wisp_handler::{Result, image::{Colour, Filter, Image}};
    /// # fn main() -> Result<()> {
    /// let edge = Image::new(4, 1, Colour::Grey, vec![0, 0, 0, 240])?;
    /// assert_eq!(edge.resize_with(2, 1, Filter::Area)?.samples(), [0, 120]);
    /// assert_eq!(edge.resize_with(2, 1, Filter::Triangle)?.samples(), [0, 103]);
    /// assert_eq!(edge.resize_with(2, 1, Filter::Bilinear)?.samples(), [0, 120]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resize_with(&self, width: usize, height: usize, filter: Filter) -> Result<Self> {
        let bounds = 1..=usize::from(u16::MAX);
        if !bounds.contains(&width) || !bounds.contains(&height) {
            return Err(Error::handler(format_args!(
                "cannot resize to {width}x{height} pixels"
            )));
        }
        let size = (width, height);
        let samples = match filter {
            Filter::Area => resize::area_average(self, size),
            Filter::Triangle => interpolate::interpolated(self, size, true),
            Filter::Bilinear => interpolate::interpolated(self, size, false),
        };
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
        let (mut mean, mut std) = ([0.0; 3], [1.0; 3]);
        for ((mean, std), given) in mean.iter_mut().zip(&mut std).zip(channels) {
            (*mean, *std) = *given;
        }
        PixelFormat::nchw().mean_std(mean, std).row(self)
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
