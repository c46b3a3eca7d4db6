//! The order of the axes of an image.

/// The order of the axes of an image, besides a batch axis before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageLayout {
    /// Channels, height, width.
    Nchw,
    /// Height, width, channels.
    Nhwc,
}

impl ImageLayout {
    /// The number of axes of an image, without a batch axis.
    pub const AXES: usize = 3;
}
