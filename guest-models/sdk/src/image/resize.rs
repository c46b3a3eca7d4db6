//! Area averaging in integer arithmetic, which gives identical results on every platform and for every
//! batch.

use super::Image;

/// The source pixels that one new pixel covers along an axis. In units of which a source pixel has
/// `inner`, the new pixel covers `first` units of its first source pixel, `inner` of each one between,
/// and `last` of its last.
struct Span {
    start: usize,
    end: usize,
    first: u64,
    last: u64,
}

/// Returns the samples of the image at a new size, each side of which is between 1 and 65 535.
pub(super) fn area_average(image: &Image, (width, height): (usize, usize)) -> Vec<u8> {
    let channels = image.colour.channels();
    let columns: Vec<Span> = (0..width)
        .map(|column| span(column, width, image.width))
        .collect();
    // The weights of each axis sum to the size of its source, so this is the sum of all weights.
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
    samples
}

/// Returns the range of source pixels, out of `size`, that new pixel `index` of `count` covers.
fn span(index: usize, count: usize, size: usize) -> Span {
    // A source pixel is `count` units long, and a new one `size`. Computed in 64 bits, since the
    // length of an axis in these units can exceed the 32 bits of Wasm's `usize`.
    let [index, count, size] = [index, count, size].map(|value| value as u64);
    let (from, to) = (index * size, (index + 1) * size);
    let (start, end) = (from / count, (to - 1) / count);
    Span {
        start: pixel(start),
        end: pixel(end),
        first: ((start + 1) * count).min(to) - from,
        last: to - end * count,
    }
}

/// Converts the index of a source pixel, which always fits in a `usize`.
fn pixel(index: u64) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
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

    /// Returns the weighted sum of a line's samples, which are `stride` apart.
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
        // The slice ends with the last pixel, which has another weight.
        first + (middle - last) * inner + last * self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_longer_than_32_bits_count_is_divided_exactly() {
        // In these units, the new pixels end beyond 2^32.
        for (index, count, size, expected) in [
            (
                59_999,
                60_000,
                12_000_000,
                (11_999_800, 11_999_999, 60_000, 60_000),
            ),
            (65_534, 65_535, 100_000, (99_998, 99_999, 34_465, 65_535)),
            (0, 1, usize::from(u16::MAX), (0, 65_534, 1, 1)),
        ] {
            let span = span(index, count, size);
            let found = (span.start, span.end, span.first, span.last);
            assert_eq!(found, expected, "{index} of {count}, from {size}");
        }
    }
}
