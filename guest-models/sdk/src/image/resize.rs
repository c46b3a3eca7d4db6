//! Area averaging, exact in integers: every platform and every batch gets the same bytes.

use super::Image;
use crate::error::{Error, Result};

/// The source pixels that one new pixel covers along an axis. In units of which a source pixel has
/// `inner`, the new one covers `first` of its first, `inner` of those between, `last` of its last.
struct Span {
    start: usize,
    end: usize,
    first: u64,
    last: u64,
}

pub(super) fn area_average(image: &Image, width: usize, height: usize) -> Result<Vec<u8>> {
    let bounds = 1..=usize::from(u16::MAX);
    if !bounds.contains(&width) || !bounds.contains(&height) {
        return Err(Error::handler(format_args!(
            "cannot resize to {width}x{height} pixels"
        )));
    }
    let channels = image.colour.channels();
    let columns: Vec<Span> = (0..width)
        .map(|column| span(column, width, image.width))
        .collect();
    // Every axis' weights sum to its source's size, so these are all the weights there are.
    let whole = (image.width * image.height) as u64;
    let mut sums = vec![0_u64; width * channels];
    let mut samples = Vec::with_capacity(width * height * channels);
    for row in 0..height {
        let rows = span(row, height, image.height);
        sums.fill(0);
        for (source, weight) in rows.weights(height as u64) {
            let line = &image.samples[source * image.width * channels..][..image.width * channels];
            for (sums, column) in sums.chunks_exact_mut(channels).zip(&columns) {
                for (channel, sum) in sums.iter_mut().enumerate() {
                    *sum += weight * column.sum(&line[channel..], channels, width as u64);
                }
            }
        }
        let average = |sum: &u64| u8::try_from((sum + whole / 2) / whole).unwrap_or(u8::MAX);
        samples.extend(sums.iter().map(average));
    }
    Ok(samples)
}

/// What new pixel `index` of `count` covers of `size` source pixels.
fn span(index: usize, count: usize, size: usize) -> Span {
    // A source pixel is `count` units long and a new one `size`.
    let (from, to) = (index * size, (index + 1) * size);
    let (start, end) = (from / count, (to - 1) / count);
    let first = ((start + 1) * count).min(to) - from;
    Span {
        start,
        end,
        first: first as u64,
        last: (to - end * count) as u64,
    }
}

impl Span {
    fn weights(&self, inner: u64) -> impl Iterator<Item = (usize, u64)> {
        (self.start..=self.end).map(move |source| {
            let weight = match source {
                source if source == self.start => self.first,
                source if source == self.end => self.last,
                _ => inner,
            };
            (source, weight)
        })
    }

    /// The weighted sum of a line's samples, which lie `stride` apart.
    fn sum(&self, line: &[u8], stride: usize, inner: u64) -> u64 {
        let first = u64::from(line[self.start * stride]) * self.first;
        if self.start == self.end {
            return first;
        }
        let between = &line[(self.start + 1) * stride..=self.end * stride];
        let middle: u64 = between
            .iter()
            .step_by(stride)
            .map(|sample| u64::from(*sample))
            .sum();
        let last = u64::from(line[self.end * stride]);
        // The slice ends with the last pixel, which counts for less.
        first + (middle - last) * inner + last * self.last
    }
}
