//! The settings with which files are decoded.

use super::decode::{self, Decoded};
use super::orientation::Orientation;
use super::{Image, webp};
use crate::config;
use crate::error::{Error, Result};

/// The maximum number of pixels of an image, unless [`Decoder::max_pixels`] or
/// [`Decoder::max_pixels_of`] sets another: 13 megapixels,
/// enough for the photographs of cameras with 12 megapixels.
///
/// No file within it takes more than nine bytes per pixel while it is decoded, or 117 MB of an instance's
/// 128 MiB. Formats that take more have a lower limit: JPEGs with four channels, and lossy WebP
/// images with transparency, 10.6 megapixels.
pub const DEFAULT_MAX_PIXELS: usize = 13_000_000;

/// A decoder of image files.
///
/// ```
/// use wisp_handler::image::{Decoder, Image};
/// use wisp_handler::{Error, Result};
///
/// const DECODER: Decoder = Decoder::new().webp().max_pixels(4_000_000);
///
/// fn decode(file: &[u8]) -> Result<Image> {
///     DECODER.decode(file)
/// }
///
/// let problem = decode(b"GIF89a").unwrap_err();
/// assert_eq!(problem, Error::client("not a PNG, JPEG or WebP image"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    max_pixels: usize,
    is_upright: bool,
    /// A pointer, so that a component whose handler does not call [`Decoder::webp`] is linked without the
    /// decoder for WebP.
    webp: Option<DecodeFile>,
}

/// A function that decodes a file of at most so many pixels.
type DecodeFile = fn(&[u8], usize) -> Result<Decoded>;

impl Decoder {
    /// Returns a decoder of PNG and JPEG files of at most [`DEFAULT_MAX_PIXELS`].
    pub const fn new() -> Self {
        Self {
            max_pixels: DEFAULT_MAX_PIXELS,
            is_upright: true,
            webp: None,
        }
    }

    /// Accepts WebP files too, except for animations. The decoder for them makes the component larger.
    #[must_use]
    pub const fn webp(self) -> Self {
        Self {
            webp: Some(webp::webp),
            ..self
        }
    }

    /// Sets the maximum number of pixels.
    ///
    /// Decoding takes up to nine bytes per pixel, within the instance's limit on memory. More pixels than
    /// [`DEFAULT_MAX_PIXELS`] need a server with a higher one (`--max-handler-memory-bytes`), and usually
    /// more time (`--max-handler-time-milliseconds`).
    #[must_use]
    pub const fn max_pixels(self, max_pixels: usize) -> Self {
        Self { max_pixels, ..self }
    }

    /// Sets the maximum number of pixels to a [setting](crate::config) of the model, so that it can be raised together with
    /// the server's limits. Without the setting, nothing changes.
    ///
    /// ```
    /// use wisp_handler::image::Decoder;
    /// use wisp_handler::{Result, testing::Model};
    ///
    /// const DECODER: Decoder = Decoder::new().webp();
    ///
    /// # fn main() -> Result<()> {
    /// // [handler.config]
    /// // max_pixels = 50000000
    /// let model = Model::new().with_config("max_pixels", 50_000_000);
    /// let decoder = model.run(|| DECODER.max_pixels_of("max_pixels"))?;
    /// # let _ = decoder;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if the setting is not a size.
    pub fn max_pixels_of(self, key: &str) -> Result<Self> {
        let max_pixels = config::get(key)?.unwrap_or(self.max_pixels);
        Ok(self.max_pixels(max_pixels))
    }

    /// Ignores the orientation in the EXIF metadata of a file, and returns the pixels as they are stored.
    #[must_use]
    pub const fn ignore_orientation(self) -> Self {
        Self {
            is_upright: false,
            ..self
        }
    }

    /// Decodes a file, and turns the image upright if its EXIF metadata has an orientation.
    ///
    /// # Errors
    /// Fails with [`Fault::Client`](crate::Fault::Client) if the file has another format, is damaged, or
    /// has too many pixels.
    pub fn decode(&self, file: &[u8]) -> Result<Image> {
        let Decoded { image, exif } = self.decode_file(file)?;
        match exif {
            Some(exif) if self.is_upright => Ok(Orientation::from_exif(&exif).apply(image)),
            _ => Ok(image),
        }
    }

    fn decode_file(&self, file: &[u8]) -> Result<Decoded> {
        if file.starts_with(b"\x89PNG\r\n\x1a\n") {
            return decode::png(file, self.max_pixels);
        }
        if file.starts_with(b"\xff\xd8\xff") {
            return decode::jpeg(file, self.max_pixels);
        }
        match self.webp {
            Some(decode) if webp::is_webp(file) => decode(file, self.max_pixels),
            Some(_) => Err(Error::client("not a PNG, JPEG or WebP image")),
            None => Err(Error::client("not a PNG or JPEG image")),
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}
