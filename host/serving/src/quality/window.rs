//! The last observations of one feature, as cells of the histogram of its baseline.
//!
//! The histogram is kept up to date with each observation, so that reading it takes no pass over the window. A window
//! takes two bytes for each observation, once there are any.

/// The cell of a missing value.
pub const MISSING: u16 = u16::MAX;

/// A window over the last observations. Lifetime: a model version.
#[derive(Debug)]
pub struct Window {
    capacity: usize,
    /// The cells of the last observations. It is a ring once it is full.
    ring: Vec<u16>,
    /// The place of the oldest observation in a full ring.
    oldest: usize,
    /// The number of observations in the window, by cell.
    counts: Vec<u64>,
    missing: u64,
}

impl Window {
    /// Creates an empty window over the last `capacity` observations, of a histogram with this many cells.
    pub fn new(capacity: usize, cells: usize) -> Window {
        Window {
            capacity,
            ring: Vec::new(),
            oldest: 0,
            counts: vec![0; cells],
            missing: 0,
        }
    }

    /// Adds an observation, in place of the oldest one if the window is full.
    pub fn push(&mut self, cell: u16) {
        if self.capacity == 0 {
            return;
        }
        if self.ring.len() < self.capacity {
            self.ring.push(cell);
        } else if let Some(place) = self.ring.get_mut(self.oldest) {
            let replaced = std::mem::replace(place, cell);
            self.oldest = (self.oldest + 1) % self.capacity;
            if let Some(count) = self.count(replaced) {
                *count = count.saturating_sub(1);
            }
        }
        if let Some(count) = self.count(cell) {
            *count += 1;
        }
    }

    fn count(&mut self, cell: u16) -> Option<&mut u64> {
        match cell {
            MISSING => Some(&mut self.missing),
            cell => self.counts.get_mut(usize::from(cell)),
        }
    }

    /// Returns the number of observations in the window by cell, without the missing values.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns the number of missing values in the window.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Returns the number of observations in the window.
    pub fn observations(&self) -> u64 {
        u64::try_from(self.ring.len()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_those_of_the_last_observations() {
        let mut window = Window::new(5, 3);
        let cells: Vec<u16> = (0..100u16)
            .map(|i| match i * i % 7 % 4 {
                3 => MISSING,
                cell => cell,
            })
            .collect();
        for (pushed, &cell) in cells.iter().enumerate() {
            window.push(cell);
            let last = &cells[(pushed + 1).saturating_sub(5)..=pushed];
            let count = |cell| last.iter().filter(|&&other| other == cell).count() as u64;
            assert_eq!(window.counts(), [count(0), count(1), count(2)]);
            assert_eq!(window.missing(), count(MISSING));
            assert_eq!(window.observations(), last.len() as u64);
        }
    }

    #[test]
    fn a_window_of_no_observations_stays_empty() {
        let mut window = Window::new(0, 2);
        window.push(1);
        assert_eq!(window.observations(), 0);
        assert_eq!(window.counts(), [0, 0]);
    }
}
