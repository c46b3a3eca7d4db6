//! Pseudo-random numbers for tests, which are derived from the number of a case, so that a failure can be repeated.

/// A deterministic generator of pseudo-random numbers (splitmix64).
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Returns the generator of a case.
    pub(crate) fn of(case: usize) -> Numbers {
        Numbers(case as u64)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns one of the choices, of which there is at least one.
    pub(crate) fn of_these<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.next() % choices.len() as u64).unwrap_or(0)]
    }

    /// Returns a number that is likely to be near the bound of some check, or any number.
    pub(crate) fn word(&mut self) -> u32 {
        let any = u32::try_from(self.next() >> 32).unwrap_or(0);
        self.of_these(&[
            0,
            1,
            2,
            4,
            12,
            13,
            16,
            17,
            28,
            1023,
            1024,
            1025,
            2048,
            2080,
            2112,
            2120,
            4096,
            4097,
            65_535,
            65_536,
            1 << 20,
            65 << 20,
            (65 << 20) + 1,
            1 << 26,
            1 << 31,
            u32::MAX - 3,
            u32::MAX,
            any,
        ])
    }

    /// Returns a number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// Returns this many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.flatten().take(count).collect()
    }

    /// Changes one to four bytes, and sometimes the length.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                bytes.push(self.next().to_le_bytes()[0]);
            }
            let at = self.below(bytes.len());
            let old = bytes[at];
            bytes[at] = match self.next() % 4 {
                0 => old.wrapping_add(1),
                1 => old.wrapping_sub(1),
                2 => old ^ (1 << self.below(8)),
                _ => self.next().to_le_bytes()[0],
            };
        }
        match self.next() % 8 {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => {
                let from = self.below(bytes.len());
                let again = bytes[from..].to_vec();
                bytes.extend(again);
            }
            _ => {}
        }
    }
}
