//! Interpolation between the centers of pixels, along one axis after the other.
//!
//! The weights are whole numbers, and each axis is rounded once, so that the results are identical on
//! every platform. Pillow computes with weights of 22 bits, and rounds after each axis too.

use super::{Colour, Image};

/// The source pixels that contribute to one new pixel along an axis.
struct Taps {
    /// The index of the first of them.
    first: usize,
    weights: Vec<u64>,
    /// The sum of all weights.
    total: u64,
}

/// Returns the samples of the image at a new size. Without `antialias`, each new pixel is interpolated
/// from at most two source pixels along each axis, however many it covers.
pub(super) fn interpolated(image: &Image, size: (usize, usize), antialias: bool) -> Vec<u8> {
    match image.colour {
        Colour::Grey => interpolate::<1>(image, size, antialias),
        Colour::Rgb => interpolate::<3>(image, size, antialias),
    }
}

fn interpolate<const CHANNELS: usize>(
    image: &Image,
    (width, height): (usize, usize),
    antialias: bool,
) -> Vec<u8> {
    let axis = |count, size| -> Vec<Taps> {
        (0..count)
            .map(|index| Taps::new(index, (count, size), antialias))
            .collect()
    };
    let (columns, rows) = (axis(width, image.width), axis(height, image.height));
    let (pixels, _) = image.samples.as_chunks::<CHANNELS>();
    // The image at its new width. Rows that contribute to no new row stay empty.
    let mut narrow = vec![[0; CHANNELS]; width * image.height];
    let mut finished = 0;
    for taps in &rows {
        let end = taps.first + taps.weights.len();
        for row in finished.max(taps.first)..end {
            let line = &pixels[row * image.width..][..image.width];
            let narrow = &mut narrow[row * width..][..width];
            for (pixel, taps) in narrow.iter_mut().zip(&columns) {
                *pixel = taps.average(line[taps.first..].iter());
            }
        }
        finished = end;
    }
    let mut samples = Vec::with_capacity(width * height * CHANNELS);
    for taps in &rows {
        for column in 0..width {
            let pixels = narrow[taps.first * width + column..].iter();
            samples.extend(taps.average(pixels.step_by(width)));
        }
    }
    samples
}

impl Taps {
    /// Determines the contributions to new pixel `index` of `count`, from `size` source pixels.
    ///
    /// The weight of a source pixel falls linearly with the distance of its center from that of the new
    /// pixel. It is zero at the distance of one source pixel, or, with `antialias`, of one new pixel if
    /// that is larger.
    fn new(index: usize, (count, size): (usize, usize), antialias: bool) -> Self {
        // Distances are in units of which a source pixel has `2 * count`.
        let [index, count, size] = [index, count, size].map(|value| value as u64);
        let center = (2 * index + 1) * size;
        let radius = match antialias {
            true => 2 * count.max(size),
            false => 2 * count,
        };
        let first = match center.checked_sub(radius + count) {
            Some(distance) => distance / (2 * count) + 1,
            None => 0,
        };
        let end = (center + radius - count).div_ceil(2 * count).min(size);
        let weights: Vec<u64> = (first..end)
            .map(|source| radius - center.abs_diff((2 * source + 1) * count))
            .collect();
        Self {
            // The index of a source pixel always fits.
            first: usize::try_from(first).unwrap_or(usize::MAX),
            total: weights.iter().sum(),
            weights,
        }
    }

    fn average<'a, const CHANNELS: usize>(
        &self,
        pixels: impl Iterator<Item = &'a [u8; CHANNELS]>,
    ) -> [u8; CHANNELS] {
        let mut sums = [self.total / 2; CHANNELS];
        for (pixel, weight) in pixels.zip(&self.weights) {
            for (sum, sample) in sums.iter_mut().zip(pixel) {
                *sum += weight * u64::from(*sample);
            }
        }
        sums.map(|sum| u8::try_from(sum / self.total).unwrap_or(u8::MAX))
    }
}
