//! The layout and the scaling of the pixels in a graph's input.

use super::Image;

/// The layout and the scaling of the pixels that a graph takes.
///
/// Each sample is divided by 255; the mean of its channel is subtracted, and the difference is divided by
/// the channel's standard deviation. Without further settings the mean is 0 and the deviation 1, so that
/// the values are between 0 and 1. All functions are `const`:
///
/// ```
/// use wisp_handler::image::{Image, PixelFormat};
/// use wisp_handler::{Result, Tensor};
///
/// /// As most models are trained that classify photographs.
/// const FORMAT: PixelFormat =
///     PixelFormat::nchw().mean_std([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
///
/// fn pixels(images: &[Image]) -> Result<Tensor> {
///     Tensor::from_rows("pixels", &[3, 224, 224], images.iter().map(|image| FORMAT.row(image)))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelFormat {
    layout: Layout,
    is_bgr: bool,
    divisor: f32,
    mean: [f32; 3],
    std: [f32; 3],
}

/// The order of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One channel after the other.
    Planes,
    /// The channels of a pixel next to each other.
    Interleaved,
}

impl PixelFormat {
    /// Returns the format of an NCHW tensor: one channel after the other, as PyTorch has them.
    pub const fn nchw() -> Self {
        Self::with_layout(Layout::Planes)
    }

    /// Returns the format of an NHWC tensor: the channels of a pixel next to each other, as TensorFlow has
    /// them.
    pub const fn nhwc() -> Self {
        Self::with_layout(Layout::Interleaved)
    }

    const fn with_layout(layout: Layout) -> Self {
        Self {
            layout,
            is_bgr: false,
            divisor: 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    /// Orders the channels as blue, green and red, as OpenCV has them. Has no effect on a gray image.
    #[must_use]
    pub const fn bgr(self) -> Self {
        Self {
            is_bgr: true,
            ..self
        }
    }

    /// Leaves samples between 0 and 255 instead of dividing them by 255. Means and deviations are then in
    /// this range too.
    #[must_use]
    pub const fn unscaled(self) -> Self {
        Self {
            divisor: 1.0,
            ..self
        }
    }

    /// Sets the mean and the standard deviation of each channel, in the order of the tensor. Those of a
    /// gray image come first.
    ///
    /// With 0.5 for all of them, values are between -1 and 1.
    #[must_use]
    pub const fn mean_std(self, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self { mean, std, ..self }
    }

    /// Returns one row of a tensor in this format: the values of one image.
    pub fn row(&self, image: &Image) -> Vec<f32> {
        let samples = image.samples();
        let channels = image.colour().channels();
        let mut row = Vec::with_capacity(samples.len());
        match self.layout {
            Layout::Planes => {
                for channel in 0..channels {
                    let source = self.source_channel(channel, channels);
                    let samples = samples.iter().skip(source).step_by(channels);
                    row.extend(samples.map(|sample| self.value(*sample, channel)));
                }
            }
            Layout::Interleaved => {
                for pixel in samples.chunks_exact(channels) {
                    let values = (0..channels).map(|channel| {
                        let source = self.source_channel(channel, channels);
                        self.value(pixel[source], channel)
                    });
                    row.extend(values);
                }
            }
        }
        row
    }

    /// Returns the channel of the image that becomes this channel of the tensor.
    fn source_channel(&self, channel: usize, channels: usize) -> usize {
        match self.is_bgr {
            true => channels - 1 - channel,
            false => channel,
        }
    }

    fn value(&self, sample: u8, channel: usize) -> f32 {
        (f32::from(sample) / self.divisor - self.mean[channel]) / self.std[channel]
    }
}
