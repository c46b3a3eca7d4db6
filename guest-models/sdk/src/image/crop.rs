//! Parts of images, and sizes that keep the proportions.

use super::{Filter, Image};
use crate::error::{Error, Result};
use std::ops::Range;

/// An image that was made to fit with bars on two of its sides, by [`Image::letterbox`].
#[derive(Clone, Debug, PartialEq)]
pub struct Letterbox {
    /// The image with its bars.
    pub image: Image,
    /// The width of the bar on the left.
    pub left: usize,
    /// The height of the bar on the top.
    pub top: usize,
    /// The factor by which the source was enlarged or reduced.
    pub scale: f32,
}

impl Letterbox {
    /// Converts a position in the image with bars, such as the corner of a detected box, to the position
    /// in the source.
    pub fn to_source(&self, x: f32, y: f32) -> (f32, f32) {
        let [left, top] = [self.left, self.top].map(|bar| bar as f32);
        ((x - left) / self.scale, (y - top) / self.scale)
    }
}

impl Image {
    /// Returns a part of the image.
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if the part is empty or not within the image.
    pub fn crop(&self, columns: Range<usize>, rows: Range<usize>) -> Result<Self> {
        let within = |range: &Range<usize>, size| !range.is_empty() && range.end <= size;
        if !within(&columns, self.width) || !within(&rows, self.height) {
            return Err(Error::handler(format_args!(
                "columns {columns:?} and rows {rows:?} of an image of {}x{} pixels",
                self.width, self.height
            )));
        }
        let channels = self.colour.channels();
        let columns = columns.start * channels..columns.end * channels;
        let line = self.width * channels;
        let mut samples = Vec::with_capacity(columns.len() * rows.len());
        for row in rows.clone() {
            samples.extend_from_slice(&self.samples[row * line..][columns.clone()]);
        }
        Self::new(columns.len() / channels, rows.len(), self.colour, samples)
    }

    /// Returns the middle of the image. An odd margin is divided as by torchvision's `CenterCrop`.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if the image is smaller, and with
    /// [`Fault::Handler`](crate::Fault::Handler) if the size is zero.
    ///
    /// ```
    /// # use wisp_handler::{Result, image::{Colour, Image}};
    /// # fn main() -> Result<()> {
    /// let image = Image::new(4, 3, Colour::Grey, (0..12).collect())?;
    /// assert_eq!(image.center_crop(2, 1)?.samples(), [5, 6]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn center_crop(&self, width: usize, height: usize) -> Result<Self> {
        let margins = (
            self.width.checked_sub(width),
            self.height.checked_sub(height),
        );
        let (Some(horizontal), Some(vertical)) = margins else {
            return Err(Error::client(format_args!(
                "image of {}x{} pixels, less than {width}x{height}",
                self.width, self.height
            )));
        };
        // Python rounds halves to even numbers.
        let start = |margin: usize| margin / 2 + (margin % 2) * (margin / 2 % 2);
        let (left, top) = (start(horizontal), start(vertical));
        self.crop(left..left + width, top..top + height)
    }

    /// Returns the image with its shorter side at this length, in its proportions, as torchvision's
    /// `Resize` with one number does.
    ///
    /// Most models that classify photographs are trained with a shorter side of 256 and the middle 224 x
    /// 224 pixels of it:
    ///
    /// ```
    /// # use wisp_handler::{Result, image::{Colour, Filter, Image}};
    /// # fn main() -> Result<()> {
    /// # let photo = Image::new(400, 300, Colour::Rgb, vec![128; 400 * 300 * 3])?;
    /// let small = photo.resize_shorter_side(256, Filter::Triangle)?;
    /// assert_eq!((small.width(), small.height()), (341, 256));
    /// let middle = small.center_crop(224, 224)?;
    /// # assert_eq!((middle.width(), middle.height()), (224, 224));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if the longer side would be beyond 65 535, and
    /// with [`Fault::Handler`](crate::Fault::Handler) if `length` is zero or beyond that.
    pub fn resize_shorter_side(&self, length: usize, filter: Filter) -> Result<Self> {
        let shorter = self.width.min(self.height) as u64;
        let scaled = |side: usize| {
            let side = side as u64 * length as u64 / shorter;
            usize::try_from(side).unwrap_or(usize::MAX)
        };
        let size = (scaled(self.width), scaled(self.height));
        let most = usize::from(u16::MAX);
        if length <= most && size.0.max(size.1) > most {
            return Err(Error::client(format_args!(
                "image of {}x{} pixels, too long for its width",
                self.width, self.height
            )));
        }
        self.resize_with(size.0, size.1, filter)
    }

    /// Returns the image in its proportions and as large as possible within this size, in the middle of
    /// bars of one gray level. Ultralytics' YOLO models expect 640 x 640 pixels and level 114.
    ///
    /// The image is resized with [`Filter::Bilinear`], as in their training.
    ///
    /// ```
    /// # use wisp_handler::{Result, image::{Colour, Image}};
    /// # fn main() -> Result<()> {
    /// let image = Image::new(4, 2, Colour::Grey, vec![200; 8])?;
    /// let fitted = image.letterbox(2, 3, 114)?;
    /// assert_eq!(fitted.image.samples(), [114, 114, 200, 200, 114, 114]);
    /// assert_eq!(fitted.to_source(2.0, 2.0), (4.0, 2.0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails with [`Fault::Handler`](crate::Fault::Handler) if the size is zero or beyond 65 535.
    pub fn letterbox(&self, width: usize, height: usize, level: u8) -> Result<Letterbox> {
        let [own_width, own_height, to_width, to_height] =
            [self.width, self.height, width, height].map(|side| side as u64);
        let is_wide = to_width * own_height <= to_height * own_width;
        // Rounds to the nearest number, and leaves at least one pixel.
        let scaled = |side: u64, to: u64, from: u64| {
            let side = (2 * side * to + from) / (2 * from);
            usize::try_from(side.max(1)).unwrap_or(usize::MAX)
        };
        let (fitted_width, fitted_height, scale) = match is_wide {
            true => (
                width,
                scaled(own_height, to_width, own_width),
                width as f32 / self.width as f32,
            ),
            false => (
                scaled(own_width, to_height, own_height),
                height,
                height as f32 / self.height as f32,
            ),
        };
        let fitted = self.resize_with(fitted_width, fitted_height, Filter::Bilinear)?;
        let (left, top) = ((width - fitted.width) / 2, (height - fitted.height) / 2);
        let channels = self.colour.channels();
        let mut samples = vec![level; width * height * channels];
        let lines = samples.chunks_exact_mut(width * channels).skip(top);
        for (line, fitted) in lines.zip(fitted.samples.chunks_exact(fitted.width * channels)) {
            line[left * channels..][..fitted.len()].copy_from_slice(fitted);
        }
        Ok(Letterbox {
            image: Self::new(width, height, self.colour, samples)?,
            left,
            top,
            scale,
        })
    }
}
